"""The metrics of one bus since it was made.

A family is counted in one place of the code; what it means stands beside it, for those who show it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from lightbus.runtime.counting import Counter, Labels, Timer


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
    schedule_runs_by_hand: Counter = _counter(
        "schedule_runs_by_hand",
        ("schedule",),
        "Those of them that somebody wanted to run then, as by lightbus schedule run.",
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
    outbox_relayed: Counter = _counter(
        "outbox_relayed",
        ("database", "outcome"),
        "Events that this process took from an outbox: sent; failed: they can never be sent; again: the "
        "broker did not take them, and they are sent again.",
    )
    inbox: Counter = _counter(
        "inbox",
        ("listener", "outcome"),
        "Events that came to handlers with an inbox: new: handled, and noted with the effects; done_before: "
        "acknowledged without a run.",
    )
    reloads: Counter = _counter(
        "reloads", ("outcome",), "Readings of the manifest by SIGHUP: applied or refused."
    )

    def __iter__(self) -> Iterator[Counter | Timer]:
        """Go through all families."""
        yield from vars(self).values()
