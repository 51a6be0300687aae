"""Trying again until something works: the first failure is told once, and the waits grow."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .obstacles import Obstacles

T = TypeVar("T")

#: During about the first half minute of an outage, nobody waits longer than this: so much later than a broker
#: is back, everybody is at work again.
_AT_FIRST = 0.4
_ATTEMPTS_AT_FIRST = 100


def backoff(failures: int, longest: float = 5.0) -> float:
    """Return the seconds to wait before the next attempt, spread at random: 50 ms, later up to ``longest``.

    Args:
        failures: How many attempts have failed in a row. While an outage is young, which it mostly stays, the
            wait is kept short.
        longest: The longest wait.
    """
    steps = min(failures, _ATTEMPTS_AT_FIRST)
    wait = min(_AT_FIRST, 0.05 * 2.0 ** min(steps, 20)) * 2.0 ** min(failures - steps, 20)
    return min(longest, wait) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


class Retrying:
    """One thing that is tried until it works.

    Args:
        logger: Gets the first failure in a row; later ones at the level debug.
        what: Names the thing that fails, as in "reading events as shop-mailer".
        longest: The longest wait between two attempts, in seconds.
        level: The level of the first failure.
        obstacles: Shows it while it lasts; None if somebody else shows it.
        message_id: The message that it is about, for the log.
    """

    __slots__ = ("_extra", "_level", "_logger", "_longest", "_obstacles", "_what", "failures", "trouble")

    def __init__(
        self,
        logger: logging.Logger,
        what: str,
        *,
        longest: float = 5.0,
        level: int = logging.WARNING,
        obstacles: Obstacles | None = None,
        message_id: str = "",
    ) -> None:
        self._logger = logger
        self._what = what
        self._longest = longest
        self._level = level
        self._obstacles = obstacles
        self._extra = {"message_id": message_id} if message_id else None
        #: How many attempts have failed in a row.
        self.failures = 0
        #: Why the last attempt failed; empty while it works.
        self.trouble = ""

    def failed(self, error: BaseException, *, is_told: bool = False) -> float:
        """Note a failure, and tell of the first one in a row.

        Args:
            error: The failure.
            is_told: Whether somebody else tells of it.

        Returns:
            The seconds to wait before the next attempt.
        """
        self.trouble = str(error)
        if self._obstacles is not None:
            self._obstacles.meet(self, f"{self._what}: {error}")
        level = logging.DEBUG if self.failures or is_told else self._level
        self._logger.log(level, "%s: %s; trying again", self._what, error, extra=self._extra)
        self.failures += 1
        return backoff(self.failures, self._longest)

    def clear(self) -> None:
        """Forget the failures: it works, or it is tried no more."""
        if not self.failures:
            return  # As after almost every reading of messages.
        self.failures, self.trouble = 0, ""
        if self._obstacles is not None:
            self._obstacles.clear(self)

    async def wait(self, error: BaseException, *, is_told: bool = False) -> None:
        """Note a failure like :meth:`failed`, and wait before the next attempt."""
        await asyncio.sleep(self.failed(error, is_told=is_told))

    async def until_done(self, attempt: Callable[[], Awaitable[T]], *failures: type[Exception]) -> T:
        """Try something until it works.

        Args:
            attempt: Tries it.
            failures: The errors after which it is tried again; any other one is raised.

        Returns:
            The result of the attempt that worked.
        """
        while True:
            try:
                result = await attempt()
            except failures as e:
                await self.wait(e)
            else:
                self.clear()
                return result
