"""When a Redis answers, asked as plainly as can be; and how late this machine is meanwhile."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass

from tests.support.eventually import eventually

from .cluster import pause

#: Seconds between an answer and the next question, and within which an answer must come.
_EVERY, _PATIENCE = 0.01, 20.0


@dataclass(frozen=True)
class Beat:
    """One PING: when it should have been sent, and when its answer was here."""

    due: float
    answered: float


class Pulse:
    """Sends PING after PING from a thread of its own; use it as a context.

    Args:
        port: Where the server is, which may be stopped, killed and started again.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._beats: list[Beat] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def back(self, since: float) -> float:
        """Wait for an answer, and return when it came.

        Args:
            since: The time from which on answers count.
        """
        return eventually(lambda: next((b.answered for b in self._beats if b.answered >= since), 0.0))

    def delay(self, begin: float, end: float) -> float:
        """By how many seconds the latest answer to the questions of a time was late."""
        return max((b.answered - b.due for b in self._beats if begin <= b.due <= end), default=0.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(OSError), self._connect() as link:
                while not self._stopping.is_set():
                    due = time.monotonic() + _EVERY
                    pause(_EVERY)
                    link.sendall(b"PING\r\n")
                    answer = link.recv(64)
                    if answer.startswith(b"+PONG"):
                        self._beats.append(Beat(due, time.monotonic()))
                    elif not answer:
                        break
            pause(_EVERY)

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=_PATIENCE)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
