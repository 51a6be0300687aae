"""Lines for a reader, written in order; a reader that has stopped keeps no process waiting."""

from __future__ import annotations

import codecs
import json
import os
import select
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

#: The most bytes that wait in memory for a slow reader.
MOST_WAITING = 1 << 20
#: Seconds without any progress, after which nobody is believed to read.
PATIENCE = 2.0
#: Seconds for the last lines when the process ends; likewise, and in all.
_LAST_PATIENCE, _LONGEST_FLUSH = 1.0, 5.0
#: As much as fits into any pipe that is not full.
_PIECE = 4096
#: For ``errors=``: a letter that an encoding lacks is written as JSON can say it in ASCII.
ESCAPED = "lightbus.escaped"


class Output:
    """Writes lines to a descriptor.

    A line is written at once if there is room, so that a process that dies has written its last ones. Else it
    waits in memory, and a thread writes it later. With too much in memory, :meth:`write` waits as long as
    somebody reads at all. If nobody has read for two seconds, lines are dropped and counted.

    Args:
        descriptor: The descriptor, such as 2.
        tell_dropped: Makes the line that says how many were dropped.
    """

    def __init__(self, descriptor: int, tell_dropped: Callable[[int], bytes]) -> None:
        self._send, self._descriptor = _without_waiting(descriptor)
        self._tell_dropped = tell_dropped
        self._begin()
        if hasattr(os, "register_at_fork"):
            # Waiting lines belong to the parent, whose thread may hold the lock for ever.
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._progress = threading.Condition(threading.RLock())
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._dropped = 0
        self._is_sending = False
        self._is_stalled = False
        self._thread: threading.Thread | None = None

    def write(self, line: bytes) -> None:
        """Write a line, now or soon."""
        with self._progress:
            if self._size and self._size + len(line) > MOST_WAITING and not self._await_room(len(line)):
                self._dropped += 1
                return
            self._put(line)
            if self._thread is None:
                self._push()

    def flush(self) -> bool:
        """Wait until all is written, but not for a reader who has stopped.

        Returns:
            Whether all is written.
        """
        end = time.monotonic() + _LONGEST_FLUSH
        with self._progress:
            while self._waiting and time.monotonic() < end:
                if not self._progress.wait(_LAST_PATIENCE):
                    break
            return not self._waiting

    def _put(self, line: bytes) -> None:
        if self._dropped:
            line = self._tell_dropped(self._dropped) + line
            self._dropped = 0
        self._waiting.append(line)
        self._size += len(line)

    def _await_room(self, length: int) -> bool:
        while self._size and self._size + length > MOST_WAITING:
            if self._is_stalled:
                return False
            self._is_stalled = not self._progress.wait(PATIENCE)
        return True

    def _push(self) -> None:
        """Write as much as there is room for; the rest is for the thread."""
        if self._is_sending:
            return  # this is a signal handler amid another line, whose writer goes on with this one
        self._is_sending = True
        try:
            while self._waiting:
                line = self._waiting[0]
                try:
                    sent = self._send(line)
                except BlockingIOError:
                    self._start_thread()
                    return
                except OSError:
                    # Nobody will read it: the reader is gone, or the disk is full.
                    sent = len(line)
                self._size -= sent
                self._is_stalled = False
                if sent == len(line):
                    self._waiting.popleft()
                else:
                    self._waiting[0] = line[sent:]
        finally:
            self._is_sending = False

    def _start_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._carry_on, name="lightbus log", daemon=True)
            with suppress(RuntimeError):  # the interpreter ends, and starts no more threads
                self._thread.start()

    def _carry_on(self) -> None:
        """Write what waits when there is room, until nothing waits."""
        while True:
            _await_room(self._descriptor)
            with self._progress:
                before = self._size
                self._push()
                if self._size < before:
                    self._progress.notify_all()
                if not self._waiting:
                    if not self._dropped:
                        self._thread = None
                        return
                    self._put(b"")


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error(ESCAPED, _escape)


def _await_room(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()


def _without_waiting(descriptor: int) -> tuple[Callable[[bytes], int], int]:
    """Return a function that writes some of a text or raises BlockingIOError, and its descriptor.

    The descriptor itself stays as it is: other processes may have it, too, and take it for one that waits.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        # As of the journal of systemd.
        link = socket.socket(fileno=os.dup(descriptor))
        return (lambda data: link.send(data, socket.MSG_DONTWAIT)), link.fileno()
    if not (stat.S_ISFIFO(mode) or os.isatty(descriptor)):
        return (lambda data: os.write(descriptor, data)), descriptor
    try:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
        own = os.open(f"/proc/self/fd/{descriptor}", flags)
    except OSError:
        # Not on Linux, or another user's. So others who write there may make this wait, but nobody else.
        return (lambda data: _write_if_room(descriptor, data)), descriptor
    return (lambda data: os.write(own, data)), own


def _write_if_room(descriptor: int, data: bytes) -> int:
    if not select.select((), (descriptor,), (), 0)[1]:
        raise BlockingIOError
    return os.write(descriptor, data[:_PIECE])
