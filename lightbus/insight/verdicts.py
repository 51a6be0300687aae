"""One word for how something on the bus fares, and how badly it needs somebody."""

from __future__ import annotations

from dataclasses import dataclass

from lightbus.transports.audit import Act
from lightbus.transports.groups import GroupStatus

from .overview import ApiStatus, ListenerStatus, OutboxStatus, ScheduleStatus
from .processes import ProcessStatus

_OF_ACTS = {"begun": 1, "refused": 1, "failed": 2, "stopped": 1}


#: Seconds after which an event that waits in an outbox needs help.
_LATE = 60.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A word about something, shown in the colour of its severity.

    Args:
        word: Such as "ok".
        severity: 0 where nothing is to be done, 1 for what should be looked at, 2 for what waits for help.
    """

    word: str
    severity: int = 0


def of_process(process: ProcessStatus) -> Verdict:
    """Return the word for how a process fares."""
    if process.state == "unknown":
        return Verdict("1.x")
    if process.state == "ended":
        return Verdict("ended", 1)
    if process.phase in ("starting", "stopping"):
        return Verdict(process.phase, 1)
    return Verdict("not ready", 2) if process.obstacles else Verdict("ok")


def of_api(it: ApiStatus) -> Verdict:
    """Return the word for how an API fares."""
    if it.is_1x:
        return Verdict("1.x")
    if it.processes or is_of_all(it):
        return Verdict("ok")
    return Verdict("stuck", 2) if it.waiting else Verdict("unserved", 1)


def is_of_all(it: ApiStatus) -> bool:
    """Tell whether an API describes the bus itself, so that every service has it."""
    return it.name.startswith("internal.") and it.owner is None


def of_group(it: ListenerStatus | GroupStatus, *, is_paused: bool = False) -> Verdict:
    """Return the word for how a listener or a group fares; of a group, it is given whether it is paused."""
    if it.gone:
        return Verdict("lost", 2)
    if is_paused or (isinstance(it, ListenerStatus) and it.paused):
        return Verdict("paused", 1)
    if not it.is_served:
        return Verdict("unserved", 2 if it.lag + it.pending else 1)
    if it.dead:
        return Verdict("dead", 1)
    return Verdict("retrying") if it.retrying else Verdict("ok")


def of_schedule(it: ScheduleStatus) -> Verdict:
    """Return the word for how a schedule fares."""
    if it.paused:
        return Verdict("paused", 1)
    if it.outcome == "error":
        return Verdict("failed", 1)
    return Verdict("running") if it.running else Verdict("ok")


def of_act(act: Act) -> Verdict:
    """Return the word for how an act of somebody has ended."""
    return Verdict(act.outcome, _OF_ACTS.get(act.outcome, 0))


def of_outbox(it: OutboxStatus) -> Verdict:
    """Return the word for how an outbox fares."""
    if it.rows and (it.oldest or 0.0) > _LATE:
        return Verdict("stuck", 2)
    if it.failed:
        return Verdict("dead", 1)
    return Verdict("ok") if it.rows is not None else Verdict("not asked")
