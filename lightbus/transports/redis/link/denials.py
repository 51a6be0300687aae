"""What Redis refuses a consumer at present: in the log once, and on ``/readyz`` for as long as it lasts."""

from __future__ import annotations

from lightbus.runtime.obstacles import Obstacles

from .refusals import ReplyError


class Denials:
    """What one consumer may not do at present.

    Args:
        obstacles: Where it is shown.
        whose: The consumer, for people.
    """

    def __init__(self, obstacles: Obstacles, whose: str) -> None:
        self._obstacles = obstacles
        self._whose = whose
        self._met: set[str] = set()

    def meet(self, what: str, error: BaseException, *, only: str = "") -> bool:
        """Note that something failed; a broken connection passes, and is told of by who reads.

        Args:
            what: What can't be done, as in "it can't ...".
            error: Why.
            only: The code that counts, where who reads meets the others as well, and tells of them.

        Returns:
            Whether it is a refusal that is news.
        """
        if not isinstance(error, ReplyError) or (only and error.code != only):
            return False
        self._met.add(what)
        return self._obstacles.meet((self, what), f"{self._whose} can't {what}: {error}")

    def clear(self, what: str) -> None:
        """Note that it can be done."""
        if what in self._met:
            self._met.remove(what)
            self._obstacles.clear((self, what))

    def close(self) -> None:
        """Forget all of it."""
        for what in list(self._met):
            self.clear(what)
