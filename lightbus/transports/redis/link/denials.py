"""Refusals that a consumer meets: in the log once, and on ``/readyz`` for as long as they last."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from lightbus.runtime.obstacles import Obstacles

from .refusals import ReplyError

logger = logging.getLogger(__name__)


class Denials:
    """The things that one consumer may not do at present.

    Args:
        obstacles: Shows them.
        whose: The consumer, for people.
    """

    def __init__(self, obstacles: Obstacles, whose: str) -> None:
        self._obstacles = obstacles
        self._whose = whose
        self._met: set[str] = set()

    def meet(self, what: str, error: BaseException, *, only: str = "") -> None:
        """Note that something failed, and tell of it where it is a refusal that is news.

        A broken connection passes: the consumer that reads tells of it.

        Args:
            what: Completes the sentence "it can't ...".
            error: The reason.
            only: The code that counts, if reading meets the others as well, and tells of them.
        """
        sentence = f"{self._whose} can't {what}: {error}"
        is_news = False
        if _counts(error, only):
            self._met.add(what)
            is_news = self._obstacles.meet((self, what), sentence)
        logger.log(logging.WARNING if is_news else logging.DEBUG, "%s; trying again", sentence)

    def meet_any(self, what: str, errors: Sequence[Exception], *, only: str = "") -> None:
        """Note likewise what failed for several keys: a refusal that counts, if there is one."""
        self.meet(what, max(errors, key=lambda error: _counts(error, only)), only=only)

    def clear(self, what: str) -> None:
        """Note that it can be done."""
        if what in self._met:
            self._met.remove(what)
            self._obstacles.clear((self, what))

    def close(self) -> None:
        """Forget all of it."""
        for what in list(self._met):
            self.clear(what)


def _counts(error: BaseException, only: str) -> bool:
    return isinstance(error, ReplyError) and only in ("", error.code)
