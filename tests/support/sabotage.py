"""Ending a task of Lightbus's own, as a library or user code may by accident."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Literal

How = Literal["cancel", "raise"]


class Sabotage:
    """Ends the first task of a name as soon as it runs.

    Args:
        name: The task's name.
        how: Whether it is cancelled, or raises.
    """

    def __init__(self, name: str, how: How) -> None:
        self._name = name
        self._how = how
        self.is_done = False
        factory: Any = self._make
        asyncio.get_running_loop().set_task_factory(factory)

    def _make(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **more: Any
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(self._run(work), loop=loop, **more)
        # If it is cancelled before its first step, nobody has begun the work.
        task.add_done_callback(lambda _: work.close())
        return task

    async def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.current_task()
        assert task is not None
        if task.get_name() == self._name and not self.is_done:
            self.is_done = True
            if self._how == "raise":
                work.close()
                raise RuntimeError("it broke")
            # A worker that is cancelled while it handles a message is a handler that fails; one that connects
            # connects again.
            if self._name.startswith(("lightbus worker", "lightbus redis pipe")):
                task.get_loop().call_later(0.05, task.cancel)
            else:
                # Where it waits first. A moment later, it may be in user code, or have been told to end.
                task.cancel()
        return await work
