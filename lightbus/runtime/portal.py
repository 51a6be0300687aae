"""Synchronous code to an event loop, from any thread, also after ``fork()``."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError as ThreadCancelledError
from functools import partial
from typing import Any, Generic, TypeVar

from lightbus.exceptions import (
    BusAlreadyClosed,
    ConfigurationError,
    LightbusException,
    SyncCallOnEventLoop,
    TransportError,
)

from .cancellation import end
from .threads.native import replaced_by, start_thread, wait_for

logger = logging.getLogger(__name__)

T = TypeVar("T")

_OURS = frozenset({"lightbus", "asyncio", "concurrent", "uvloop", "redis"})


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new uvloop event loop, or asyncio's own where uvloop has no wheel."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    # It ends the process where one of its own descriptors gets the number of a standard one.
    open_standard_descriptors()
    return uvloop.new_event_loop()


def open_standard_descriptors() -> None:
    """Open those of standard input, output and error that are closed, as they are in some daemons."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest one that is free.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a new event loop; before Python 3.12, ``asyncio.run()`` can't choose which."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(coroutine)


class Portal:
    """An event loop in a thread of its own, for processes that have none; made when first used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the portal's loop, starting it where it does not run."""
        with self._lock:
            if self._loop is None:
                self._loop = new_event_loop()
                start_thread(partial(self._run, self._loop), "lightbus")
            return self._loop

    def stop(self) -> None:
        """End the loop's tasks and its thread."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None or not loop.is_running():
            return
        try:
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(timeout=2)
        except (TimeoutError, ThreadCancelledError):
            return
        finally:
            loop.call_soon_threadsafe(loop.stop)

    def forget(self) -> None:
        """After ``fork()``: the thread is not there any more, and its loop belongs to the parent."""
        if self._loop is not None:
            # Kept, since closing it would take the parent's registrations out of the shared epoll.
            _abandoned.append(self._loop)
        self._lock = threading.Lock()
        self._loop = None

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while True:
            try:
                loop.run_forever()
                return
            except (SystemExit, KeyboardInterrupt):
                # Its awaiter gets it; all others who wait for this loop must not wait for ever.
                logger.exception("code on the event loop of synchronous calls raised this; the loop goes on")


_abandoned: list[asyncio.AbstractEventLoop] = []
portal = Portal()
atexit.register(portal.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=portal.forget)


def run_blocking(
    home: asyncio.AbstractEventLoop | None,
    function: Callable[..., Coroutine[Any, Any, T]],
    *args: Any,
    blocking: str,
    awaitable: str,
) -> T:
    """Run a coroutine function on the bus's loop and wait for its result.

    Args:
        home: The loop of the host that this thread works for; None for the portal's.
        function: The coroutine function.
        args: Its arguments.
        blocking: The call as the user wrote it, for the error.
        awaitable: The expression to await instead on an event loop, for the error.

    Raises:
        SyncCallOnEventLoop: This thread runs an event loop, which waiting would stop.
        ConfigurationError: eventlet has replaced threads; what stands in for them can't wait for this loop.
    """
    _check_may_wait(blocking, awaitable)
    loop = home if home is not None else portal.loop()
    awaited = _Awaited(function(*args), loop)
    try:
        wait_for(awaited.begin)
    except BaseException:
        awaited.give_up()
        raise
    # Left there, an error would keep itself alive by its traceback.
    error, awaited.error = awaited.error, None
    if error is None:
        return awaited.result
    try:
        if isinstance(error, asyncio.CancelledError):
            raise BusAlreadyClosed(f"the bus was closed while {blocking} waited") from None
        raise error
    except LightbusException as e:
        # Raised once more, it does not name this function either.
        shorten(e)
        raise
    finally:
        del error


def _check_may_wait(blocking: str, awaitable: str) -> None:
    """Refuse to wait where that would stop a loop, or last for ever."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise SyncCallOnEventLoop(blocking, awaitable)
    if replaced_by() == "eventlet":
        raise ConfigurationError(
            f"{blocking} would wait for ever, since eventlet has replaced threads; call "
            "eventlet.monkey_patch(thread=False) instead, or use gevent"
        )


class _Awaited(Generic[T]):
    """A coroutine that an event loop runs for a thread, which waits for its end.

    The thread is woken in the very turn of the loop in which the coroutine ends. By way of a future of
    ``concurrent.futures`` it would be a turn later, after two callbacks and a condition for each call.

    Args:
        work: The coroutine.
        loop: The event loop.
    """

    __slots__ = ("_loop", "_task", "_tell", "_work", "error", "result")

    #: What the coroutine has returned, if it raised nothing.
    result: T

    def __init__(self, work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> None:
        self._work = work
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._tell: Callable[[], object] | None = None
        #: What it has raised.
        self.error: BaseException | None = None

    def begin(self, tell: Callable[[], object]) -> None:
        """Have the loop begin, in the context of this thread, and call a function once it is over."""
        self._tell = tell
        self._loop.call_soon_threadsafe(self._start)

    def give_up(self) -> None:
        """Cancel it: nobody waits any more."""
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError as e:
            logger.debug("what nobody waits for any more is not cancelled: %s", e)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(self._note_end)

    async def _run(self) -> None:
        try:
            self.result = await self._work
        except Exception as e:
            self.error = e
        except BaseException as e:
            self.error = e
            raise
        finally:
            self._wake()

    def _wake(self) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """Tell of a task that was cancelled before its beginning, and take note of what others raised."""
        if not task.cancelled():
            task.exception()  # Else asyncio reports it as lost.
        elif self._tell is not None:
            self._work.close()
            self.error = asyncio.CancelledError()
            self._wake()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def shorten(error: LightbusException) -> None:
    """Take an error's way through Lightbus out of its traceback; it says nothing that its text does not.

    So does an error of the broker that led to it. If other code is on that way, such as a hook, it stays.
    """
    if isinstance(error.__cause__, TransportError):
        error.__cause__ = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] not in _OURS:
            return
        trace = trace.tb_next
    error.__traceback__ = None


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        end(task)
    await asyncio.gather(*tasks, return_exceptions=True)
