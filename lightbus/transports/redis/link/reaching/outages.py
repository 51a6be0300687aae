"""The outages of one Redis, as one process saw them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable, Iterable

from lightbus.runtime.obstacles import Obstacles

logger = logging.getLogger(__name__)

#: Seconds after Redis is back in which those at the other end may not know it yet.
_AFTERMATH = 1.0


class Hearers(list[Obstacles]):
    """Those who are told of the outages of a Redis that several connections lead to, and their common log.

    Args:
        obstacles: Show that commands don't reach Redis, while that is so.
    """

    def __init__(self, obstacles: Iterable[Obstacles] = ()) -> None:
        super().__init__(obstacles)
        #: How often each sentence was logged, by the address that it is about.
        self.logged: dict[str, Counter[tuple[int, str]]] = {}


class Outages:
    """The times without a connection to one Redis; all by the event loop's clock.

    Args:
        address: The address of Redis, without secrets.
        told: Shows that commands don't reach Redis, while that is so.
        which: Tells it from another connection to the same Redis.
    """

    def __init__(self, address: str, told: Hearers, which: Hashable = None) -> None:
        self._address = address
        self._told = told
        self._logged = told.logged.setdefault(address, Counter())
        # How often this connection would have logged each sentence, had it been alone from the beginning.
        self._noted = Counter(self._logged)
        #: The key of this obstacle.
        self.obstacle = ("redis", address, which)
        #: When the connection was made last.
        self.ended_at = 0.0
        self._began_at: float | None = None
        self._is_away = False
        self._is_over = False
        # The last unexpected error, which was logged with its traceback already.
        self._fault = ""

    def begin(self, now: float) -> None:
        """The connection broke."""
        if not self._is_over:
            self._began_at, self._is_away = now, True

    def end(self, now: float) -> None:
        """There is a connection."""
        self.ended_at, self._is_away = now, False

    def finish(self, now: float) -> None:
        """Nobody needs this Redis any more, since another one has taken its place."""
        self.end(now)
        self.clear()
        self._is_over = True

    def since(self, moment: float, now: float) -> str:
        """Say for how long Redis was away, where that was after a moment; else nothing.

        A little after Redis is back counts, too: others may not be connected again yet.
        """
        if self._began_at is None or (not self._is_away and moment > self.ended_at + _AFTERMATH):
            return ""
        if self._is_away:
            return f"Redis at {self._address} has been away for {now - self._began_at:.1f} s"
        return (
            f"Redis at {self._address} was away for {self.ended_at - self._began_at:.1f} s until "
            f"{now - self.ended_at:.1f} s ago"
        )

    def tell(self, sentence: str, fault: BaseException | None = None) -> None:
        """Tell why commands don't reach Redis.

        Args:
            sentence: The reason.
            fault: An unexpected error: it is logged with its traceback, but once.
        """
        if fault is not None and repr(fault) != self._fault:
            self._fault = repr(fault)
            logger.error(
                "%s; trying again, but this is a fault of Lightbus: please report it",
                sentence,
                exc_info=fault,
            )
        for obstacles in () if self._is_over else self._told:
            obstacles.meet(self.obstacle, f"commands don't reach Redis: {sentence}")

    def log(self, level: int, sentence: str) -> None:
        """Log a sentence, unless another connection has done it: each notes the same outage by itself."""
        said = level, sentence
        self._noted[said] += 1
        if self._noted[said] > self._logged[said]:
            self._logged[said] = self._noted[said]
            logger.log(level, "%s", sentence)

    def clear(self) -> None:
        """Commands reach Redis."""
        for obstacles in self._told:
            obstacles.clear(self.obstacle)
