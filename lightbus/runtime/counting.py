"""Counting: families of plain numbers, for any collector, and what was counted of one lately."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: Upper bounds of the histograms' buckets, in seconds; the last bucket has none.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: The most label sets of one family: names come from the wire, and memory must not follow them.
MOST_SERIES = 5_000
_REST = "(others)"

Labels = tuple[str, ...]


@dataclass(slots=True, eq=False)
class Counter:
    """A family of numbers that only rise.

    Args:
        name: Of the family, without the ending that a format adds.
        labels: The labels that tell the numbers apart.
        help: Says what is counted.
    """

    name: str
    labels: Labels
    help: str
    values: dict[Labels, int] = field(default_factory=dict)

    def add(self, *labels: str, by: int = 1) -> None:
        """Count something, under the values of its labels."""
        values = self.values
        if labels not in values and len(values) >= MOST_SERIES:
            labels = (_REST,) * len(labels)
        values[labels] = values.get(labels, 0) + by

    def total(self, *labels: str) -> int:
        """Return the sum of all whose first labels are these."""
        return sum(n for key, n in self.values.items() if key[: len(labels)] == labels)


@dataclass(slots=True, eq=False)
class Series:
    """The numbers of one label set of a :class:`Timer`."""

    outcomes: dict[str, int] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0
    #: The longest time since a :class:`Window` last looked.
    longest: float = 0.0


@dataclass(slots=True, eq=False)
class Timer:
    """A family of things that take time and have an outcome.

    Args:
        name: Of the family, in the plural; times are kept under its singular with ``_seconds``.
        labels: The labels that tell them apart, besides the outcome.
        help: Says what is counted.
        outcomes: The possible outcomes, in words.
    """

    name: str
    labels: Labels
    help: str
    outcomes: str
    series: dict[Labels, Series] = field(default_factory=dict)

    def add(self, labels: Labels, outcome: str, seconds: float, by: int = 1) -> None:
        """Count one, or so many, and the time that each took."""
        series = self.series.get(labels)
        if series is None:
            if len(self.series) >= MOST_SERIES:
                labels = (_REST,) * len(labels)
            series = self.series.setdefault(labels, Series())
        series.outcomes[outcome] = series.outcomes.get(outcome, 0) + by
        series.buckets[bisect_left(BUCKETS, seconds)] += by
        series.seconds += seconds * by
        if seconds > series.longest:
            series.longest = seconds

    def total(self, *labels: str, outcome: str | None = None) -> int:
        """Return the number of all whose first labels are these, and whose outcome is this."""
        found = (s.outcomes for key, s in self.series.items() if key[: len(labels)] == labels)
        return sum(n for o in found for name, n in o.items() if outcome is None or name == outcome)


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted of some things within a while."""

    outcomes: Mapping[str, int] = field(default_factory=dict)
    buckets: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    longest: float = 0.0

    @property
    def number(self) -> int:
        """How many there were."""
        return sum(self.outcomes.values())

    def within(self, share: float) -> float | None:
        """Return the time within which so large a share of them were over, as exact as the buckets are."""
        left = share * sum(self.buckets)
        lower = 0.0
        for number, upper in zip(self.buckets, (*BUCKETS, self.longest), strict=True):
            upper = max(lower, min(upper, self.longest))
            if number and left <= number:
                return lower + (upper - lower) * left / number
            left -= number
            lower = upper
        return None

    @classmethod
    def together(cls, parts: Iterable[Counted]) -> Counted:
        """Return what was counted of several kinds of things."""
        total = cls()
        for part in parts:
            outcomes = dict(total.outcomes)
            for outcome, number in part.outcomes.items():
                outcomes[outcome] = outcomes.get(outcome, 0) + number
            buckets = tuple(a + b for a, b in zip(total.buckets, part.buckets, strict=True))
            total = cls(outcomes, buckets, max(total.longest, part.longest))
        return total


class Window:
    """What a timer has counted lately, found by looking at it now and then: messages cost no more for it.

    Args:
        timer: The timer; it has one window at most.
        seconds: The length of the window.
        step: Seconds between two looks that are kept.
    """

    def __init__(self, timer: Timer, seconds: float, step: float) -> None:
        self._timer = timer
        self._seconds = seconds
        self._step = step
        #: The looks with their times; the first is the one from which on things count.
        self._looks: deque[tuple[float, dict[Labels, Counted]]] = deque()

    def look(self, now: float) -> dict[Labels, Counted]:
        """Return what was counted within the window that ends now, as far as it is anything.

        Args:
            now: The time by a clock that is never set.
        """
        if not self._looks or now - self._looks[-1][0] >= self._step:
            self._looks.append((now, self._totals()))
        while len(self._looks) > 1 and self._looks[1][0] <= now - self._seconds:
            self._looks.popleft()
        # Before the first look that is so old, nothing was counted.
        start, base = self._looks[0]
        before = base if start <= now - self._seconds else {}
        later = [totals for at, totals in self._looks if at > start or not before]
        found = {}
        for labels, series in list(self._timer.series.items()):
            counted = _since(
                series, before.get(labels), [each[labels].longest for each in later if labels in each]
            )
            if counted.number:
                found[labels] = counted
        return found

    def _totals(self) -> dict[Labels, Counted]:
        """Return all that was counted ever; what has not changed is kept once."""
        last = self._looks[-1][1] if self._looks else {}
        totals = {}
        for labels, series in list(self._timer.series.items()):
            known = last.get(labels)
            if known is None or known.outcomes != series.outcomes or known.longest != series.longest:
                known = Counted(dict(series.outcomes), tuple(series.buckets), series.longest)
            totals[labels] = known
            series.longest = 0.0
        return totals


def _since(series: Series, before: Counted | None, longest: Iterable[float]) -> Counted:
    """Return what a series has counted since a look."""
    most = max([series.longest, *longest])
    if before is None:
        return Counted(dict(series.outcomes), tuple(series.buckets), most)
    outcomes = {
        name: number - before.outcomes.get(name, 0)
        for name, number in series.outcomes.items()
        if number > before.outcomes.get(name, 0)
    }
    buckets = tuple(a - b for a, b in zip(series.buckets, before.buckets, strict=True))
    return Counted(outcomes, buckets, most)
