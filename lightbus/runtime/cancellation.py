"""Telling the end of a task from user code that cancels the task it runs in."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, TypeVar
from weakref import WeakSet

_Task = TypeVar("_Task", bound="asyncio.Task[Any]")

#: Tasks that run user code, and go on where it cancels them: only :func:`end` ends them.
_owned: WeakSet[asyncio.Task[Any]] = WeakSet()
#: Those that were told to end.
_ending: WeakSet[asyncio.Task[Any]] = WeakSet()
#: Event loops of which all tasks were told to end, as :class:`asyncio.Runner` does; some begin others then.
_closing: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


class NotStarted(asyncio.CancelledError):
    """A plain function was not called any more: its message is left to others, as at the end of its task."""


def own(task: _Task) -> _Task:
    """Let nobody end a task but :func:`end` and the end of its event loop."""
    _owned.add(task)
    return task


def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and let it know that this is not user code's doing."""
    note_end(task)
    task.cancel()


async def end_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """End tasks, and wait until they have ended, however.

    Whoever waits may be cancelled meanwhile. That is heeded after they have ended, and does not reach them:
    it would interrupt what they do at their end.
    """
    for task in tasks:
        end(task)
    cancelled: asyncio.CancelledError | None = None
    while running := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError as e:
            cancelled = e
    for task in tasks:
        if not task.cancelled():
            task.exception()  # Else asyncio complains that nobody has heard of it.
    if cancelled is not None:
        raise cancelled


def note_end(task: asyncio.Task[Any]) -> None:
    """Let a task know that it is to end, without cancelling it."""
    _ending.add(task)


def is_ending(task: asyncio.Task[Any]) -> bool:
    """Tell whether a task was told to end, by itself or with all others of its event loop."""
    loop = task.get_loop()
    if task in _ending or loop in _closing:
        return True
    if all(other.cancelling() for other in asyncio.all_tasks(loop)):
        _closing.add(loop)
        return True
    return False


def is_cancelled(error: BaseException) -> bool:
    """Tell whether an error means that the running task is to end, and not only that user code raised it."""
    if isinstance(error, NotStarted):
        return True
    task = _running()
    if task is not None and task in _owned:
        return isinstance(error, asyncio.CancelledError) and is_ending(task)
    if isinstance(error, GeneratorExit):
        return True
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


async def withstand() -> None:
    """Go on where user code has cancelled the running task, and only :func:`end` may: what follows is ours.

    The task still says that it was cancelled, so that whoever keeps it can let another one take its place.
    """
    task = asyncio.current_task()
    if task is None or not task.cancelling() or task not in _owned or is_ending(task):
        return
    try:
        # If nothing has been awaited since then, it is still to come.
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        if is_ending(task):
            raise


def _running() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        # A coroutine that was left behind is closed after the end of its event loop.
        return None
