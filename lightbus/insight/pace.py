"""How fast listeners go, and how far behind they are in seconds: from looks at them, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from .overview import ListenerStatus

#: Seconds for which looks are kept, and how many of them.
_KEPT, _MOST_KEPT = 3600.0, 720
#: Rates are those of so many seconds.
_RATED = 60.0

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one listener goes with one of its streams.

    Args:
        fired: How many events were fired a second; None where that is not known.
        read: How many it has read a second; likewise.
        behind: How long ago the oldest event was fired that it has not read, to the time between two looks;
            None where that is not known, and 0 where it has read all.
        is_least: Whether it is behind for longer than the looks go back.
    """

    fired: float | None = None
    read: float | None = None
    behind: float | None = None
    is_least: bool = False


@dataclass(frozen=True, slots=True)
class _Look:
    at: float
    fired: int
    read: int


class Paces:
    """The looks at all listeners within the last hour."""

    def __init__(self) -> None:
        self._looks: dict[Key, deque[_Look]] = {}

    def note(self, at: float, listeners: Iterable[ListenerStatus]) -> None:
        """Take note of a look.

        Args:
            at: When it was, in seconds by any clock that does not go back.
            listeners: What was seen.
        """
        seen = {_key(it): it for it in listeners}
        for key in self._looks.keys() - seen.keys():
            del self._looks[key]
        for key, it in seen.items():
            looks = self._looks.setdefault(key, deque(maxlen=_MOST_KEPT))
            if it.fired is None or it.read is None or (looks and it.fired < looks[-1].fired):
                looks.clear()  # its stream is another one by now
            if it.fired is not None and it.read is not None:
                looks.append(_Look(at, it.fired, it.read))
            while looks and looks[0].at < at - _KEPT:
                looks.popleft()

    def of(self, it: ListenerStatus) -> Pace:
        """Return the pace of a listener, as it was seen last."""
        looks = self._looks.get(_key(it))
        if not looks:
            return Pace(behind=0.0 if it.lag_is_exact and not it.lag else None)
        now = looks[-1]
        then = next(look for look in looks if look.at >= now.at - _RATED)
        seconds = now.at - then.at
        fired = max(0, now.fired - then.fired) / seconds if seconds else None
        read = max(0, now.read - then.read) / seconds if seconds else None
        if not it.lag:
            return Pace(fired, read, 0.0)
        # The oldest that is unread was fired after the last look at which all that is read was all there was.
        before = next((look for look in reversed(looks) if look.fired <= now.read), None)
        if before is not None:
            return Pace(fired, read, now.at - before.at)
        return Pace(fired, read, now.at - looks[0].at, is_least=True)


def _key(it: ListenerStatus) -> Key:
    return it.service, it.name, it.stream
