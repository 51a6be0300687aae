"""How many events may run twice: those that were under way where something went wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .driver import Held
from .ledger import Line, delays
from .settings import LEASE, LISTENERS

#: Seconds within which what is done is acknowledged.
_ACKNOWLEDGED = 0.05


def bound_of(lines: Sequence[Line], struck: Iterable[set[Held]]) -> int:
    """Count the runs that may have to be repeated.

    Args:
        lines: All ledgers.
        struck: For each fault, what those held to whom it happened.
    """
    deaths = sum(_under_way(lines, line) for line in lines if line.verb == "killing")
    return _begun(lines, struck) + deaths + _held_up(lines)


def _begun(lines: Sequence[Line], struck: Iterable[set[Held]]) -> int:
    """What was held and begun with; what was only fetched ahead can't have been done."""
    host_of = {int(line.words[1]): line.words[0] for line in lines if line.verb == "host"}
    begun = {(host_of[line.pid], line.words[0], line.words[2]) for line in lines if line.verb == "started"}
    # Retried events have other ids there than they had when they were begun with.
    return sum(
        ":retry:" in source or (host, listener, entry_id) in begun
        for held in struck
        for host, listener, source, entry_id in held
    )


def _held_up(lines: Sequence[Line]) -> int:
    """What hosts ran, or had fetched, while the machine held them up: another one may have taken it over."""
    host_of = {int(line.words[1]): line.words[0] for line in lines if line.verb == "host"}
    ended = {(line.pid, line.words): line.time for line in lines if line.verb in ("done", "failed")}
    times = delays(lines)
    return sum(
        line.verb == "started"
        and any(
            host_of[line.pid] in hosts
            and line.time < end + LEASE
            and ended.get((line.pid, line.words), end) > begin - _ACKNOWLEDGED
            for hosts, begin, end in times
        )
        for line in lines
    )


def _under_way(lines: Sequence[Line], death: Line) -> int:
    """What a process was running, or had only just done, when an event ended it."""
    running: set[tuple[str, ...]] = set()
    done_lately = in_threads = 0
    for line in lines:
        if line.pid != death.pid or line.time > death.time:
            continue
        if line.verb == "started":
            running.add(line.words)
        elif line.verb in ("done", "failed"):
            running.discard(line.words)
            is_late = line.time > death.time - _ACKNOWLEDGED
            if line.words[0] == "plain":
                in_threads += is_late
            else:
                done_lately += is_late
    # What was done in one turn of the event loop is acknowledged in the next. Meanwhile, a thread may have
    # run all that was fetched ahead.
    return len(running) + min(done_lately, 2 * sum(LISTENERS.values())) + in_threads
