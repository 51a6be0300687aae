"""The signals of a process, for a thread that hears them whatever the main thread is at."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Literal

#: Seconds in which several signals are one wish: a terminal, systemd and a wrapper that passes signals on may
#: each send one.
ONE_WISH = 1.0


def terminal_is_closed() -> bool:
    """Tell whether the terminal is gone that this process writes to, or reads from.

    The hang-up of a terminal comes as the same signal by which others have a manifest read again. Under nohup
    or a service manager no standard stream is a terminal.
    """
    for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        try:
            termios.tcgetattr(stream.fileno() if stream is not None else -1)
        except termios.error as e:
            if e.args[0] == errno.EIO:
                return True
        except (OSError, ValueError):
            continue  # It is closed.
    return False


class SignalPipe:
    """A pipe into which the number of each signal is written when it comes.

    Python runs the handler of a signal in the main thread. If that thread is in a system call, the operating
    system may give the signal to another thread, as happens when several come at once. Nothing interrupts the
    call then, and the handler never runs. Here only the reader's thread has to move.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        # Handlers of signals write, too, also while their thread holds it.
        self._lock = threading.RLock()
        self._is_open = True
        #: Another one that gets the signals as well: an event loop.
        self._forward = -1

    def take(self) -> None:
        """Have signals written here, and hand them on to whoever has had them; in the main thread only."""
        with self._lock:
            before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            if before != self._write:
                self._forward = before

    def give_back(self) -> None:
        """Let those have the signals again from whom they were taken; in the main thread only."""
        with self._lock:
            if self.hears():
                signal.set_wakeup_fd(self._forward, warn_on_full_buffer=False)
            self._forward = -1

    def hears(self) -> bool:
        """Tell whether signals are written here; in the main thread only."""
        # The owner of the signals is known only by taking them away.
        now = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        if now != self._write:
            signal.set_wakeup_fd(now, warn_on_full_buffer=False)
        return now == self._write

    def fileno(self) -> int:
        """Return what can be read from once a signal has come, for an event loop."""
        return self._read

    def write(self, number: int = 0) -> None:
        """Wake the reader, as if a signal had come; may be called from a signal handler."""
        # Else the reader may close it in between, and somebody else have its number by now.
        with self._lock:
            if self._is_open:
                with suppress(BlockingIOError):  # full, so the reader wakes anyway
                    os.write(self._write, bytes((number,)))

    def read(self, timeout: float | None) -> bytes | None:
        """Wait for signals.

        Args:
            timeout: Seconds; None for any time.

        Returns:
            Their numbers, with zeros in between where it was only woken; None if time is up.
        """
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        if not poll.poll(None if timeout is None else max(0.0, timeout * 1000)):
            return None
        numbers = os.read(self._read, 4096)
        with self._lock:
            if self._forward != -1:
                with suppress(OSError):
                    os.write(self._forward, numbers)
        return numbers

    def close(self) -> None:
        """Close it; for the reader, after it was given back."""
        with self._lock:
            self._is_open = False
            os.close(self._read)
            os.close(self._write)


class Wishes:
    """What signals ask for that end a process: first an end in good order, later one at once."""

    def __init__(self) -> None:
        self._latest: float | None = None

    def meaning(self) -> Literal["in order", "at once"] | None:
        """Return what a signal wishes for that has come just now; None if it repeats the wish before."""
        now, before = time.monotonic(), self._latest
        if before is not None and now - before < ONE_WISH:
            return None
        self._latest = now
        return "in order" if before is None else "at once"


class LoopSignals:
    """Signals that the running event loop heeds; whoever closes this says first what they do from then on.

    The loop's own way, ``add_signal_handler()``, ends in a gap: once a handler is removed or the loop closed,
    a signal ends the process with a status of its own, or is raised as KeyboardInterrupt.

    Args:
        heard: Called by the loop with each signal.
    """

    def __init__(self, heard: Callable[[signal.Signals], None]) -> None:
        self._heard = heard
        self._pipe: SignalPipe | None = None

    def heed(self, *numbers: signal.Signals) -> None:
        """Heed these from now on; in the main thread only."""
        pipe = self._pipe = SignalPipe()
        pipe.take()
        for number in numbers:
            signal.signal(number, _noted)
        asyncio.get_running_loop().add_reader(pipe, self._on_readable)

    def close(self) -> None:
        """Let the loop hear no more; what signals do by now stays."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            asyncio.get_running_loop().remove_reader(pipe)
            pipe.give_back()
            pipe.close()

    def _on_readable(self) -> None:
        for number in (self._pipe and self._pipe.read(0)) or b"":
            if signal.getsignal(number) is _noted:
                self._heard(signal.Signals(number))


def _noted(number: int, frame: FrameType | None) -> None:
    """The pipe has the signal already."""
