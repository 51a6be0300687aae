"""What ends a process: the first SIGTERM or SIGINT in good order, the second at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

logger = logging.getLogger(__name__)

# Exit statuses; 64 to 78 are those of sysexits.h.
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 64
EXIT_UNAVAILABLE = 69
EXIT_CONFIG = 78
EXIT_INTERRUPTED = 130

#: Seconds for closing, on top of those for what runs.
_CLOSING = 15.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Shutdown:
    """Turns signals, and requests from within, into an end that a host can wait for.

    As a context manager it handles the signals. Until :meth:`attach`, the first one raises KeyboardInterrupt,
    as there is nothing yet to finish.

    Args:
        patience: Seconds for what runs. Where the event loop is blocked, or something can't be cancelled, the
            process ends a little after them all the same.
        last_act: Called just before the process ends at once; must not wait.
    """

    def __init__(self, patience: float, last_act: Callable[[], None]) -> None:
        self._patience = patience
        self._last_act = last_act
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self._watchdog: threading.Timer | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._signalled = False

    def attach(self) -> None:
        """From now on, the running event loop is told."""
        self._loop = asyncio.get_running_loop()

    @property
    def is_requested(self) -> bool:
        """Whether the end has begun."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait until the end is to begin."""
        await self._event.wait()

    def request(self) -> None:
        """Begin the end; may be called from any thread."""
        self._watch()
        if self._loop is None:
            self._event.set()
        else:
            self._loop.call_soon_threadsafe(self._event.set)

    def end_now(self, status: int) -> None:
        """End the process without waiting for threads."""
        self._last_act()
        logging.shutdown()
        os._exit(status)

    def __enter__(self) -> Shutdown:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._signalled:
            logger.warning("%s again: what still runs is left behind", name)
            self.end_now(EXIT_FAILED)
        self._signalled = True
        logger.info("%s received", name)
        if self._loop is None:
            raise KeyboardInterrupt
        self.request()

    def _watch(self) -> None:
        if self._watchdog is None:
            self._watchdog = threading.Timer(self._patience + _CLOSING, self._give_up)
            self._watchdog.daemon = True
            self._watchdog.start()

    def _give_up(self) -> None:
        logger.error(
            "the event loop is blocked, or a task can't be cancelled: what still runs is left behind; "
            "a coroutine must not wait without await, nor go on after a CancelledError"
        )
        self.end_now(EXIT_FAILED)
