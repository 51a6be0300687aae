"""The cards of processes, which say what each is, runs and calls; and the pauses of listeners and schedules.

A transport need not have them. Its processes are then seen by what else they leave on the broker.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

logger = logging.getLogger(__name__)

#: The most bytes of a card; its longest lists are cut until it has no more.
MOST_BYTES = 64 * 1024
#: The most that is read of a card that another version has written.
_MOST_READ = 4 * MOST_BYTES
#: The most of each text, such as the sentence of an obstacle.
_MOST_TEXT = 500
#: Begins the names under which schedules are kept beside listeners, whose names have no colon.
_OF_SCHEDULE = "schedule:"


# What was read of JSON has no circles, so Python need not look for any in cards (``gc``): with hundreds of
# them, which have thousands of parts, that took longer than to read them.
class Recent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a process has run within the last ten minutes; times are in seconds.

    Args:
        outcomes: How often it had which outcome.
        p50: The time within which half of the runs were over; None where there was none.
        p95: Likewise, of 95 %.
        longest: The longest time.
    """

    outcomes: Mapping[str, int] = msgspec.field(default_factory=dict)
    p50: float | None = None
    p95: float | None = None
    longest: float | None = None


class PolicyCard(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What becomes of events whose handler raises; the fields are those of a policy in the manifest."""

    attempts: int = 1
    then: str = ""
    max_deaths: int = 1
    initial: float = 0.0
    factor: float = 1.0
    longest: float = 0.0


class ListenerCard(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A listener of a process.

    Args:
        events: The events as ``api.event``, or ``api.*``.
        handler: The function as ``module:function``.
        file: Its file, from the folder of the process where it lies beneath that.
        dedupe: Seconds; None where it has none.
        inbox: The database that notes what it has handled, such as ``django:default``; empty for none.
        enabled: Whether manifest, code and policy want it to run.
        is_paused: Whether somebody has paused it.
        paused_until: When that ends by itself, as a Unix time; None if it does not.
        running: How many events are handled now.
        trouble: Why it reads no events at present; empty while it does.
        in_code: Whether code alone declares it, so that its manifest says nothing of it.
    """

    name: str = ""
    group: str = ""
    events: tuple[str, ...] = ()
    handler: str = ""
    file: str = ""
    line: int = 0
    policy: PolicyCard = PolicyCard()
    concurrency: int = 1
    dedupe: float | None = None
    inbox: str = ""
    batch: int | None = None
    renamed_from: str | None = None
    enabled: bool = True
    is_paused: bool = False
    paused_until: float | None = None
    running: int = 0
    trouble: str = ""
    recent: Recent = Recent()
    in_code: bool = False


class ApiCard(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An API that a process owns.

    Args:
        running: How many calls run now.
        trouble: Why it takes no calls at present; empty while it does.
        stream_use: Which events share a stream, where its transport knows that.
        max_stream_length: The most events that a stream keeps for its listeners, likewise.
        address: The broker of its events, without secrets.
    """

    name: str = ""
    concurrency: int = 1
    running: int = 0
    trouble: str = ""
    stream_use: str | None = None
    max_stream_length: int | None = None
    address: str = ""


class ProcedureCard(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A procedure that a process serves; its fields are as those of a listener."""

    api: str = ""
    name: str = ""
    handler: str = ""
    file: str = ""
    line: int = 0
    recent: Recent = Recent()


class ScheduleCard(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A schedule, and its last run in this process: the latest of all processes is that of the service.

    Args:
        times: When it runs, in words.
        next_run: Its next time, as a Unix time; None if it does not run here or none comes.
        started: When it was run last here; None if it was not.
        seconds: How long that took; None while it runs.
        outcome: ``ok`` or ``error``; None while it runs.
        running: How many runs go on now.
        by: Who wanted the last run; empty if it was its time.
        missed: ``run_once`` if the last time that was missed is made up for, else ``skip``.
        is_paused: Whether somebody has paused it, so that it only runs by hand.
    """

    name: str = ""
    times: str = ""
    timezone: str | None = None
    scope: str = "service"
    next_run: float | None = None
    started: float | None = None
    seconds: float | None = None
    outcome: str | None = None
    running: int = 0
    by: str = ""
    missed: str = "skip"
    is_paused: bool = False


class OutboxCard(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An outbox whose events a process relays.

    Args:
        name: The database, such as ``django:default``.
        sent: When this process has sent events of it last, as a Unix time; None if it has not.
        trouble: Why it sends none at present; empty while it does, or nothing waits.
    """

    name: str = ""
    sent: float | None = None
    trouble: str = ""


class Card(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one process says of itself.

    Args:
        version: The version of the application, where that is known.
        kind: Whether it hosts a service, or only uses the bus.
        obstacles: What keeps it from its work, as on ``/readyz``.
        waits: What it waits for that does not keep it from being ready.
        remote_control: Whether it may be told to run a schedule.
        calls: How often it has called each procedure within the last hour, as ``api.procedure``.
        fires: How often it has fired each event within the last hour, as ``api.event``.
        cut: How many entries each list lacks, since the card would be too long.
    """

    service: str = ""
    process: str = ""
    version: str | None = None
    lightbus: str = ""
    python: str = ""
    pid: int = 0
    host: str = ""
    started_at: float = 0.0
    kind: Literal["host", "client"] = "client"
    phase: Literal["starting", "ready", "stopping"] = "ready"
    obstacles: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    remote_control: bool = False
    apis: tuple[ApiCard, ...] = ()
    listeners: tuple[ListenerCard, ...] = ()
    procedures: tuple[ProcedureCard, ...] = ()
    schedules: tuple[ScheduleCard, ...] = ()
    calls: Mapping[str, int] = msgspec.field(default_factory=dict)
    fires: Mapping[str, int] = msgspec.field(default_factory=dict)
    cut: Mapping[str, int] = msgspec.field(default_factory=dict)
    outboxes: tuple[OutboxCard, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A pause of a listener or a schedule.

    Args:
        since: When it began, as a Unix time.
        until: When it ends by itself, by the broker's clock; None if it does not.
        by: Who has paused it.
        moved_to: The group that has taken the place of the listener's, with a pause of its own; empty where
            none has. The listener itself stays paused: processes of an older version may have it.
    """

    since: float = 0.0
    until: float | None = None
    by: str = ""
    moved_to: str = ""

    def holds(self, now: float) -> bool:
        """Tell whether it still goes on."""
        return self.until is None or now < self.until

    def in_words(self) -> str:
        """Say since when it goes on, who wanted it, and when it ends by itself."""
        until = f" until {_moment(self.until)}" if self.until is not None else ""
        return f"paused since {_moment(self.since)}{f' by {self.by}' if self.by else ''}{until}"


@dataclass(frozen=True, slots=True)
class AllPauses:
    """The pauses of some services, each by service and name.

    Args:
        listeners: Those of listeners that hold now.
        schedules: Those of schedules that hold now.
        ended: Those of schedules that have ended.
    """

    listeners: Mapping[tuple[str, str], Pause] = field(default_factory=dict)
    schedules: Mapping[tuple[str, str], Pause] = field(default_factory=dict)
    ended: Mapping[tuple[str, str], Pause] = field(default_factory=dict)


def write_card(card: Card) -> bytes:
    """Return the bytes of a card: JSON of at most 64 KiB, for which the longest lists are cut."""
    card = replace(card, obstacles=_cut(card.obstacles), waits=_cut(card.waits))
    blob = msgspec.json.encode(card)
    while len(blob) > MOST_BYTES:
        card = _shorter(card)
        blob = msgspec.json.encode(card)
    return blob


def read_card(blob: bytes) -> Card | None:
    """Read a card; None if it is none, or too long. What a newer version says besides is left out."""
    if len(blob) > _MOST_READ:
        return None
    try:
        return _decoder().decode(blob)
    except (msgspec.DecodeError, RecursionError) as e:
        logger.debug("a card can't be read: %s", e)
        return None


@cache
def _decoder() -> msgspec.json.Decoder[Card]:
    """Return what reads cards. A bus may have hundreds, which are read for each overview."""
    return msgspec.json.Decoder(Card)


def kept_as(schedule: str) -> str:
    """Return the name under which the pause of a schedule is kept, which no listener can have."""
    return f"{_OF_SCHEDULE}{schedule}"


def sorted_out(kept: Iterable[tuple[tuple[str, str], Pause]], now: float) -> AllPauses:
    """Tell the pauses of listeners and of schedules apart.

    Args:
        kept: Those of a service, each with the service and the name under which it is kept.
        now: The time of the broker.
    """
    listeners: dict[tuple[str, str], Pause] = {}
    schedules: dict[tuple[str, str], Pause] = {}
    ended: dict[tuple[str, str], Pause] = {}
    for (service, name), pause in kept:
        holds = pause.holds(now)
        if name.startswith(_OF_SCHEDULE):
            of_schedules = schedules if holds else ended
            of_schedules[service, name.removeprefix(_OF_SCHEDULE)] = pause
        elif holds:
            listeners[service, name] = pause
    return AllPauses(listeners, schedules, ended)


def write_pause(pause: Pause) -> bytes:
    """Return the bytes of a pause."""
    return msgspec.json.encode(pause)


def read_pause(blob: bytes) -> Pause:
    """Read a pause. One that can't be read holds all the same: whoever wrote it has meant something by it."""
    try:
        return msgspec.json.decode(blob, type=Pause)
    except (msgspec.DecodeError, RecursionError) as e:
        logger.debug("a pause can't be read: %s", e)
        return Pause()


def _moment(time: float) -> str:
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "an unknown time"


def _cut(sentences: Iterable[str]) -> tuple[str, ...]:
    return tuple(sentence[:_MOST_TEXT] for sentence in sentences)


def _shorter(card: Card) -> Card:
    """Return a card with the half of its longest list, by bytes; mappings keep the highest numbers."""
    lists = {name: getattr(card, name) for name in card.__struct_fields__ if name != "cut"}
    sizes = {n: len(msgspec.json.encode(v)) for n, v in lists.items() if isinstance(v, tuple | dict) and v}
    name = max(sizes, key=sizes.__getitem__)
    entries: Any = lists[name]
    kept = len(entries) // 2
    if isinstance(entries, dict):
        shorter: Any = dict(sorted(entries.items(), key=lambda each: -each[1])[:kept])
    else:
        shorter = entries[:kept]
    cut = {**card.cut, name: card.cut.get(name, 0) + len(entries) - kept}
    return replace(card, **{name: shorter}, cut=cut)
