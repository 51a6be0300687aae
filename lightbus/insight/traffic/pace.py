"""How fast listeners go, and how far behind they are in seconds: from looks at them, one after the other."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from lightbus.insight.listeners import ListenerStatus
from lightbus.transports.groups import Held

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
        held: For how long a process has held the oldest event in work; None if none is held.
        held_is_least: Whether it was held at the first look, and so maybe for longer.
    """

    fired: float | None = None
    read: float | None = None
    behind: float | None = None
    is_least: bool = False
    held: float | None = None
    held_is_least: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """A listener at some time, with all its streams.

    Args:
        at: The time, by the clock of the looks.
        lag: How many events it had not read.
        fired: How many events were fired a second since the point before; None for the first one.
        read: How many it has read a second since then; likewise.
    """

    at: float
    lag: int
    fired: float | None = None
    read: float | None = None


class _Looks:
    """The looks at one listener with one of its streams, in 24 bytes each: there may be very many."""

    __slots__ = ("at", "fired", "read")

    def __init__(self) -> None:
        self.at = array("d")
        self.fired, self.read = array("q"), array("q")

    def add(self, at: float, fired: int, read: int) -> None:
        """Add one, and forget those that are too old or too many."""
        self.at.append(at)
        self.fired.append(fired)
        self.read.append(read)
        old = max(len(self.at) - _MOST_KEPT, bisect_left(self.at, at - _KEPT))
        for numbers in (self.at, self.fired, self.read):
            del numbers[:old]


class Paces:
    """The looks at all listeners within the last hour."""

    def __init__(self) -> None:
        self._looks: dict[Key, _Looks] = {}
        self._began: float | None = None
        #: The id of the event that is held, the process that holds it, and when that was first and last seen.
        self._held: dict[Key, tuple[str, str, float, float]] = {}

    def note(self, at: float, listeners: Iterable[ListenerStatus]) -> None:
        """Take note of a look.

        Args:
            at: When it was, in seconds by any clock that does not go back.
            listeners: What was seen.
        """
        self._began = at if self._began is None else self._began
        seen = {_key(it): it for it in listeners}
        self._held = {key: self._holding(key, it.held, at) for key, it in seen.items() if it.held is not None}
        for key in self._looks.keys() - seen.keys():
            del self._looks[key]
        for key, it in seen.items():
            looks = self._looks.get(key)
            if it.fired is None or it.read is None:
                self._looks.pop(key, None)
                continue
            if looks is None or it.fired < looks.fired[-1]:
                looks = self._looks[key] = _Looks()  # its stream is another one by now
            looks.add(at, it.fired, it.read)

    def series(self, listeners: Iterable[ListenerStatus], most: int) -> list[Point]:
        """Return how a listener went in the last hour, the oldest first.

        Args:
            listeners: The listener with each of its streams.
            most: The most points that are wanted.
        """
        looks = [found for it in listeners if (found := self._looks.get(_key(it))) is not None]
        total: dict[float, tuple[int, int, int]] = {}
        for each in looks:
            for at, fired, read in zip(each.at, each.fired, each.read, strict=True):
                count, all_fired, all_read = total.get(at, (0, 0, 0))
                total[at] = count + 1, all_fired + fired, all_read + read
        # A stream that came later would look as if all of its events had come at once.
        known = [(at, fired, read) for at, (count, fired, read) in total.items() if count == len(looks)]
        step = max(1, -(-len(known) // most))
        chosen = known[(len(known) - 1) % step :: step] if known else []
        points = [Point(at, max(0, fired - read)) for at, fired, read in chosen[:1]]
        for (before, fired, read), (at, later, further) in pairwise(chosen):
            seconds = at - before
            rates = (max(0, later - fired) / seconds, max(0, further - read) / seconds)
            points.append(Point(at, max(0, later - further), *rates))
        return points

    def of(self, it: ListenerStatus) -> Pace:
        """Return the pace of a listener, as it was seen last."""
        pace, held = self._of(it), self._held.get(_key(it))
        if held is None:
            return pace
        _, _, first, last = held
        return replace(pace, held=last - first, held_is_least=first == self._began)

    def _holding(self, key: Key, held: Held, at: float) -> tuple[str, str, float, float]:
        """Return since when an event is held, by the looks."""
        before = self._held.get(key)
        is_same = before is not None and before[:2] == (held.native_id, held.process)
        return held.native_id, held.process, before[2] if before is not None and is_same else at, at

    def _of(self, it: ListenerStatus) -> Pace:
        looks = self._looks.get(_key(it))
        if looks is None:
            return Pace(behind=0.0 if it.lag_is_exact and not it.lag else None)
        now, all_fired, all_read = looks.at[-1], looks.fired[-1], looks.read[-1]
        then = bisect_left(looks.at, now - _RATED)
        seconds = now - looks.at[then]
        fired = max(0, all_fired - looks.fired[then]) / seconds if seconds else None
        read = max(0, all_read - looks.read[then]) / seconds if seconds else None
        if not it.lag:
            return Pace(fired, read, 0.0)
        # The oldest that is unread was fired after the last look at which all that is read was all there was.
        before = bisect_right(looks.fired, all_read) - 1
        if before >= 0:
            return Pace(fired, read, now - looks.at[before])
        return Pace(fired, read, now - looks.at[0], is_least=True)


def _key(it: ListenerStatus) -> Key:
    return it.service, it.name, it.stream
