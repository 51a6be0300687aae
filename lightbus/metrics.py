"""The metrics of one bus since it was made: plain numbers, for any collector.

A family is counted in one place of the code; what it means stands beside it, for those who show it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

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

    def total(self, *labels: str, outcome: str | None = None) -> int:
        """Return the number of all whose first labels are these, and whose outcome is this."""
        found = (s.outcomes for key, s in self.series.items() if key[: len(labels)] == labels)
        return sum(n for o in found for name, n in o.items() if outcome is None or name == outcome)


def _counter(name: str, labels: Labels, help: str) -> Counter:
    family: Counter = field(default_factory=partial(Counter, name, labels, help))
    return family


def _timer(name: str, labels: Labels, help: str, outcomes: str) -> Timer:
    family: Timer = field(default_factory=partial(Timer, name, labels, help, outcomes))
    return family


@dataclass(eq=False)
class Metrics:
    """Everything that one bus counts."""

    rpc_calls: Timer = _timer(
        "rpc_calls",
        ("api", "procedure"),
        "Calls that this process made.",
        "ok; error: the procedure raised; timeout; no_worker; failed: anything else",
    )
    rpc_executions: Timer = _timer(
        "rpc_executions",
        ("api", "procedure"),
        "Calls that this process ran.",
        "ok; error: the procedure raised; refused: unknown procedure or wrong arguments",
    )
    events_fired: Timer = _timer(
        "events_fired", ("api", "event"), "Events that this process fired.", "ok; failed: fire() raised"
    )
    event_handlings: Timer = _timer(
        "event_handlings",
        ("listener", "api", "event"),
        "Runs of listeners on events.",
        "ok; retry: it raised and runs again later; dead_letter: it was put aside; acknowledged: it "
        "raised and is done with; stopped: it raised, and the event stays",
    )
    schedule_runs: Timer = _timer(
        "schedule_runs", ("schedule",), "Runs of schedules in this process.", "ok; error: it raised"
    )
    dead_letters: Counter = _counter(
        "dead_letters",
        ("listener", "api", "event", "reason"),
        "Events that were put aside: failed, invalid, invalid_message or process_died.",
    )
    messages_refused: Counter = _counter(
        "messages_refused",
        ("place",),
        "Bytes that are no message, by the queue or stream that they were in.",
    )
    events_dropped: Counter = _counter(
        "events_dropped",
        ("stream",),
        "Unhandled events that a full stream dropped, where that is wanted.",
    )
    data_losses: Counter = _counter(
        "data_losses", ("group",), "How often a consumer group or its stream was gone from the broker."
    )
    events_gone: Counter = _counter(
        "events_gone",
        ("group",),
        "Events that were taken out of a stream before the group had read them, as by Lightbus 1.x; each "
        "process of the group counts them all.",
    )
    reloads: Counter = _counter(
        "reloads", ("outcome",), "Readings of the manifest by SIGHUP: applied or refused."
    )

    def __iter__(self) -> Iterator[Counter | Timer]:
        """Go through all families."""
        yield from vars(self).values()
