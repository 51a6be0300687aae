"""Deadlines: a procedure that calls another one waits no longer than its own caller."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar, Token


class Deadline:
    """A deadline for all code within ``with``, and for the tasks and threads that it starts.

    Args:
        at: The time when the caller gives up, by ``time.monotonic()``; None if it is not known.
    """

    __slots__ = ("_at", "_token")

    def __init__(self, at: float | None) -> None:
        self._at = math.inf if at is None else at
        self._token: Token[Deadline | None] | None = None

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return self._at - time.monotonic()

    def __enter__(self) -> Deadline:
        self._token = _current.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        # A task that the procedure leaves behind works for nobody who waits.
        self._at = math.inf
        if self._token is not None:
            _current.reset(self._token)


_current: ContextVar[Deadline | None] = ContextVar("lightbus_deadline", default=None)


def time_left() -> float | None:
    """Return for how many seconds the caller of this code still waits; None if nobody waits."""
    deadline = _current.get()
    return deadline.left if deadline is not None else None
