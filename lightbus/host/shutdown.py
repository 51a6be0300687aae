"""The end of a process: the first SIGTERM or SIGINT ends it in good order, a second one at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from types import FrameType, TracebackType
from typing import Any

from . import logs
from .processes.signals import SignalPipe, Wishes

logger = logging.getLogger(__name__)

# Exit statuses; 64 to 78 are those of sysexits.h.
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 64
EXIT_UNAVAILABLE = 69
EXIT_CONFIG = 78
EXIT_INTERRUPTED = 130

#: Seconds for closing, on top of those for what runs. A supervisor waits a little longer.
CLOSING = 14.0
#: Seconds for the log and for standard output at the end; whoever should read them may have stopped to.
_LAST_LINES = 1.0
#: Those that end a process, and the one that may.
ENDING = (signal.SIGTERM, signal.SIGINT)
_SIGNALS = (*ENDING, signal.SIGHUP)
_STUCK = (
    "the event loop is blocked, or a task can't be cancelled: what still runs is left behind; "
    "a coroutine must not wait without await, nor go on after a CancelledError"
)


class Shutdown:
    """Turns signals, and requests from within, into an end that a host can wait for.

    As a context manager it handles the signals, in a thread of its own. The main thread may be blocked, or be
    just about to write a log line that nobody reads. Until :meth:`attach`, the first signal raises
    KeyboardInterrupt within :meth:`interruptible`, as there is nothing yet to finish.

    Args:
        patience: Seconds for running work. If the event loop is blocked, or something can't be cancelled, the
            process ends a little after them all the same.
        last_act: Called just before the process ends at once; must not wait.
        on_hang_up: Called by the event loop on SIGHUP, from :meth:`attach` on.
        supervised: Whether a supervisor started this process. It says "at once" by :func:`wish_for_end`, so
            that several signals are never more than one wish.
    """

    def __init__(
        self,
        patience: float,
        last_act: Callable[[], None],
        on_hang_up: Callable[[], None],
        *,
        supervised: bool = False,
    ) -> None:
        self._patience = patience
        self._last_act = last_act
        self._on_hang_up = on_hang_up
        self._supervised = supervised
        self._loop: asyncio.AbstractEventLoop | None = None
        self._attaching = threading.Lock()
        self._event = asyncio.Event()
        self._pipe: SignalPipe | None = None
        # Wishes beside signals: the reason, and whether at once; None for no more watching.
        self._wishes: SimpleQueue[tuple[str, bool] | None] = SimpleQueue()
        self._before: dict[signal.Signals, Any] = {}
        self._signals = Wishes()
        self._is_signalled = self._may_interrupt = self._is_interrupted = False

    def attach(self) -> None:
        """From now on, until :meth:`detach`, the running event loop is told."""
        with self._attaching:
            self._loop = asyncio.get_running_loop()
        if self._pipe is not None and self in _active:
            self._pipe.take()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let the first signal raise KeyboardInterrupt in here, until :meth:`attach`.

        Elsewhere it would come out of what tells of an end already, or of what undoes a start.
        """
        self._may_interrupt = True
        try:
            if self._is_signalled:
                self._interrupt()
            yield
        finally:
            self._may_interrupt = False

    def detach(self) -> None:
        """The running event loop is about to end."""
        if self._pipe is not None and self in _active:
            self._pipe.give_back()

    @property
    def is_requested(self) -> bool:
        """Whether the end has begun."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait until the end is to begin."""
        await self._event.wait()

    def request(self, reason: str = "", *, at_once: bool = False) -> None:
        """Begin the end; may be called from any thread.

        Args:
            reason: A line for the log; it is out before the end begins, unless nobody reads the log.
            at_once: Whether to leave behind what runs.
        """
        self._wishes.put((reason, at_once))
        if self._pipe is not None:
            self._pipe.write()

    def end_now(self, status: int) -> None:
        """End the process without waiting for threads."""
        self._last_act()
        leave(status)

    def __enter__(self) -> Shutdown:
        pipe = self._pipe = SignalPipe()
        threading.Thread(target=self._watch, args=(pipe,), name="lightbus ending", daemon=True).start()
        if threading.current_thread() is threading.main_thread():
            _active.append(self)
            self._before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
            pipe.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pipe is not None and self in _active:
            self._pipe.give_back()
        self.give_back()
        self._wishes.put(None)
        if self._pipe is not None:
            self._pipe.write()
            self._pipe = None

    def heed_no_more(self) -> None:
        """Ignore signals from now on, also after this: the process ends with it."""
        # Given back first, they would for a moment end the process with a status of their own.
        heed_no_more()
        self._before.clear()

    def give_back(self) -> None:
        """Let signals do again what they did before."""
        if self in _active:
            _active.remove(self)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Runs in the main thread, as soon as that can; the pipe has the signal already."""
        if self._pipe is not None and not self._pipe.hears():
            # An event loop of the user's has taken it over.
            self._pipe.write(number)
        if number in ENDING:
            self._is_signalled = True
            self._interrupt()

    def _interrupt(self) -> None:
        if self._may_interrupt and self._loop is None and not self._is_interrupted:
            self._is_interrupted = True
            raise KeyboardInterrupt

    def _watch(self, pipe: SignalPipe) -> None:
        """Heed signals and wishes; after the first, end the process though nothing else in it moves."""
        deadline: float | None = None
        while True:
            numbers = pipe.read(None if deadline is None else deadline - time.monotonic())
            if numbers is None:
                tell(logging.ERROR, _STUCK)
                self.end_now(EXIT_FAILED)
                return
            if signal.SIGHUP in numbers:
                self._tell_loop(self._on_hang_up)
            wishes = [wish for number in numbers if (wish := self._meaning_of(number)) is not None]
            while not self._wishes.empty():
                wish = self._wishes.get()
                if wish is None:
                    pipe.close()
                    return
                wishes.append(wish)
            if wishes and deadline is None:
                deadline = time.monotonic() + self._patience + CLOSING
            for reason, at_once in wishes:
                self._heed(reason, at_once)

    def _meaning_of(self, number: int) -> tuple[str, bool] | None:
        if number not in ENDING:
            return None
        name, wish = signal.Signals(number).name, self._signals.meaning()
        if wish == "in order":
            return f"{name} received", False
        if self._supervised or wish is None:
            return None
        return f"{name} again: what still runs is left behind", True

    def _heed(self, reason: str, at_once: bool) -> None:
        if reason:
            tell(logging.WARNING if at_once else logging.INFO, reason)
        if at_once:
            self.end_now(EXIT_FAILED)
        with self._attaching:
            if self._loop is None:
                self._event.set()
                return
        self._tell_loop(self._event.set)

    def _tell_loop(self, what: Callable[[], None]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: the end is nearly there
                self._loop.call_soon_threadsafe(what)


def wish_for_end(reason: str, *, at_once: bool) -> None:
    """End this process on behalf of its supervisor, whether or not it hosts anything yet."""
    # In one step: the main thread may give its signals back meanwhile.
    latest = _active[-1:]
    if latest:
        latest[0].request(reason, at_once=at_once)
    else:
        # It still imports, and ends as any program does; or its end is nearly there, and it ignores signals.
        os.kill(os.getpid(), signal.SIGTERM)


def tell(level: int, line: str) -> None:
    """Write a log line, and go on after a second though it is not written."""
    _within(_LAST_LINES, lambda: logger.log(level, "%s", line))


def leave(status: int) -> None:
    """End the process now, with what is printed and logged so far where that is possible."""
    _within(_LAST_LINES, _flush)
    os._exit(status)


def end_with(status: int) -> None:
    """See to it that this process ends soon and with this status, now that it has closed everything.

    The rest is up to the interpreter, which waits for threads of user code, and for whoever reads standard
    output. A signal that comes by now changes nothing.
    """
    heed_no_more()
    if not _within(_LAST_LINES, _flush):
        os._exit(status)
    last = threading.Timer(CLOSING, os._exit, [status])
    last.daemon = True
    last.start()


def heed_no_more() -> None:
    """Ignore the signals that would end this process: it ends already."""
    # Not by a handler in Python, which the interpreter takes away before it has ended.
    if threading.current_thread() is threading.main_thread():
        sys.unraisablehook = partial(_unless_ignored, sys.unraisablehook)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def _unless_ignored(tell: Callable[[sys.UnraisableHookArgs], object], told: sys.UnraisableHookArgs) -> None:
    """Tell what Python tells, but for a signal that another thread took just before signals were ignored."""
    if not (isinstance(told.exc_value, OSError) and "ignored due to race condition" in str(told.exc_value)):
        tell(told)


def _flush() -> None:
    logs.flush()
    logging.shutdown()
    if sys.stdout is not None:
        sys.stdout.flush()


def _within(seconds: float, action: Callable[[], None]) -> bool:
    """Do something that may never return, in a thread of its own, and wait for it no longer than that."""
    thread = threading.Thread(target=action, name="lightbus last lines", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


#: Those that handle the signals of this process; several only where hosts are nested.
_active: list[Shutdown] = []
#: Of each thread that forks just now: which signals it had blocked before.
_masks = threading.local()


def _before_fork() -> None:
    """Let no signal reach the child before it has its own way with signals: it would go to this process."""
    if _active:
        _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _after_fork() -> None:
    before = _masks.__dict__.pop("before", None)
    if before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _after_fork_in_child() -> None:
    """A process that a handler forks is no host: it ends by signals as any other does."""
    is_of_host = bool(_active)
    if is_of_host:
        # Else its signals would be written to the parent.
        signal.set_wakeup_fd(-1)
    while _active:
        _active[-1].give_back()
    if is_of_host:
        # A host ignores it while it starts.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
