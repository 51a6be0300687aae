"""Sentences about what becomes of a group's events by what is done to it, and where it may read on."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from lightbus.exceptions import InvalidParameters
from lightbus.options import parse_duration
from lightbus.transports.groups import GroupStatus, HandBack, Move, Seek
from lightbus.transports.unserved import waiting
from lightbus.values.wording import counted

#: Where a group stands that has had a stream from its beginning.
_FIRST = ("0", "0-0")


def about(status: GroupStatus, sentence: str) -> Iterable[str]:
    """Say a sentence of a group, and which processes may read it though they are silent.

    Args:
        status: The group.
        sentence: The sentence.
    """
    yield f"{status.stream}: {sentence}"
    for consumer in status.consumers:
        if consumer.is_1x:
            yield (
                f"{status.stream}: {consumer.process_name} is a Lightbus 1.x, which is heard of only when it "
                "reads something; see that it is stopped, or it makes the group again"
            )


def kept(status: GroupStatus) -> str:
    """Say what is kept for a group."""
    return f"{waiting(status)}, {rest(status)}"


def rest(status: GroupStatus) -> str:
    """Say what waits for a group beside what is unread or in work."""
    return f"{status.retrying:,} waiting for another attempt, {counted(status.dead, 'dead letter')}"


def moved(plan: Move) -> str:
    """Say what becomes of all that waits for a group that is moved."""
    status = plan.status
    unread = f"{plan.unread:,}" if plan.began or status.lag_is_exact else f"about {plan.unread:,}"
    kept = f"{unread} unread, {status.pending:,} pending, {rest(status)} go to {plan.heir}"
    if not plan.began:
        return kept
    since = f"since {plan.began} of {_time_of(plan.began)}"
    had = "all events" if plan.began in _FIRST else f"the events {since}"
    return (
        f"{kept}, which is there already; it has had {had} itself, so none of those is given to it again, "
        "but for dead letters"
    )


def sought(plan: Seek) -> str:
    """Say what becomes of the events of a group that reads on from another place."""
    status = plan.status
    if plan.first:
        oldest = ", the oldest that is there" if plan.is_oldest else ""
        start = f"reads on from {plan.first} of {_time_of(plan.first)}{oldest}"
    else:
        start = "reads on with the next event"
    kept = f"{status.pending:,} pending and {status.retrying:,} waiting for another attempt"
    if plan.again:
        count = counted(plan.again, "event")
        return (
            f"{start}; {count} that it has read run again, also those that dedupe remembers; {kept} run "
            f"once, with those or by themselves; {counted(status.dead, 'dead letter')} stay"
        )
    skipped = f"{counted(plan.skipped, 'unread event')} never run" if plan.skipped else "nothing is skipped"
    return f"{start}; {skipped}; {kept} and {counted(status.dead, 'dead letter')} stay"


def handed_back(plan: HandBack, letters: bool) -> str:
    """Say what becomes of the events that wait for a group that goes back to 1.x."""
    said = [f"into the pending list: {counted(plan.pending, 'event')}"]
    if plan.added:
        said.append(f"added again to the stream, which they left: {counted(plan.added, 'event')}")
    kept = plan.letters if letters else plan.status.dead
    said.append(f"dead letters {'among these' if letters else 'that stay'}: {kept:,}")
    if plan.broken:
        said.append(f"that stay since they are no events: {plan.broken:,}")
    if plan.waits:
        said.append(waits(plan))
    return "; ".join(said)


def waits(plan: HandBack) -> str:
    """Say which events can't be handed back yet."""
    return (
        f"{counted(plan.waits, 'event')} can't be added again to {plan.status.stream} before the group "
        f"{plan.behind} has read it, which would get them, too"
    )


def place_of(text: str) -> str:
    """Return the place where a group is to read on, as transports know it.

    Args:
        text: Such as ``start``, ``end``, ``2h`` for two hours ago, a time with its zone, or an id.

    Raises:
        InvalidParameters: It is no such place.
    """
    if text in ("start", "end") or re.fullmatch(r"\d{1,20}-\d{1,20}", text):
        return text
    try:
        return str(time.time() - parse_duration(text))
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return str(max(0.0, at.timestamp()))
    except (ValueError, OverflowError, OSError):
        pass
    raise InvalidParameters(
        f"{text!r} is no place; write start, end, 2h for two hours ago, a time with its zone such as "
        "2026-01-31T12:00:00+01:00, or an id such as 1790000000000-0"
    )


def _time_of(entry_id: str) -> str:
    """Return when an event was stored, from the id that it has in Redis."""
    try:
        at = datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")
