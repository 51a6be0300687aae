"""An overview of the bus from what the brokers know: who is on it, and what waits there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from shlex import quote
from typing import Any, TypeVar

from lightbus.bus.client import BusClient
from lightbus.bus.groups import belongs, heirs_of
from lightbus.contracts.expectations import doubts
from lightbus.declared.settings import CONTROL, Identity
from lightbus.exceptions import TransportError, TransportUnavailable
from lightbus.transports.cards import AllPauses, Card, Pause, ScheduleCard
from lightbus.transports.events import EventTransport, GroupStatus
from lightbus.transports.rpc import QueueStatus
from lightbus.transports.unserved import consequence, loss, remedy, state, to_move, waiting, whose

from .cards import last_runs, mixed_versions, read_all_pauses, read_cards, read_lost
from .groups import names_of
from .listeners import ListenerStatus as ListenerStatus
from .listeners import listener
from .processes import ProcessStatus as ProcessStatus
from .processes import processes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiStatus:
    """An API that is on the bus or in the manifest.

    Args:
        name: The API.
        owner: The service that owns it now; by the manifest where none does.
        is_published: Whether its contract is on the bus.
        processes: The processes that take its calls.
        waiting: How many calls nobody has taken.
        running: How many were taken and not answered.
        is_1x: Whether a Lightbus 1.x owns it, which does not tell who serves it.
    """

    name: str
    owner: str | None
    is_published: bool
    processes: tuple[str, ...]
    waiting: int
    running: int
    is_1x: bool = False


@dataclass(frozen=True, slots=True)
class ScheduleStatus:
    """A schedule of a service that some process has on its card.

    Args:
        times: When it runs, in words.
        scope: Whether it runs once for all processes of the service, or in each.
        next_run: Its next time, as a Unix time.
        started: When it was run last, likewise, as far as a process that lives has run it.
        seconds: How long that took; None while it runs.
        outcome: Its outcome: ``ok`` or ``error``.
        process: The process that has run it last; empty if none of those that live has.
        running: How many runs go on.
        by: Who wanted the last run; empty if it was its time.
        missed: ``run_once`` if the last time that was missed is made up for, else ``skip``.
        paused: Since when it is paused, by whom and until when, in words; empty if it is not.
    """

    service: str
    name: str
    times: str
    scope: str
    next_run: float | None
    started: float | None
    seconds: float | None
    outcome: str | None
    process: str
    running: int
    by: str = ""
    missed: str = "skip"
    paused: str = ""


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """An outbox of a service: of its own one, its database is asked as well.

    Args:
        name: The database, such as ``django:default``.
        process: The process that has sent its events last; empty if none of those that live has.
        sent: When that was, as a Unix time.
        rows: How many events wait; None where the database was not asked, or did not answer.
        oldest: For how many seconds the oldest of them has waited; likewise.
        failed: How many can't be sent; likewise.
    """

    service: str
    name: str
    process: str = ""
    sent: float | None = None
    rows: int | None = None
    oldest: float | None = None
    failed: int | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything at once.

    Args:
        processes: The processes.
        apis: The APIs; of those whose calls go over a broker that can't be reached, nothing.
        listeners: The listeners; likewise.
        schedules: The schedules of processes that live.
        unreachable: Why which broker can't be reached.
        notes: Sentences about things that do not fit together.
        outboxes: The outboxes of processes that live.
    """

    processes: list[ProcessStatus]
    apis: list[ApiStatus]
    listeners: list[ListenerStatus]
    unreachable: list[str]
    notes: list[str] = field(default_factory=list)
    schedules: list[ScheduleStatus] = field(default_factory=list)
    outboxes: list[OutboxStatus] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Survey:
    """An overview, with what it was made of.

    Args:
        overview: Who is on it, and what waits there.
        cards: What processes say of themselves; nothing where this user may not read it.
        contracts: The contracts that are published, by API.
    """

    overview: Overview
    cards: list[Card]
    contracts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


async def overview(
    client: BusClient,
    api_names: Iterable[str],
    listeners: Mapping[str, Iterable[tuple[str, str]]],
    *,
    scan: bool = False,
    groups: Sequence[GroupStatus] | None = None,
) -> Overview:
    """Ask every broker; takes and raises the same as :func:`survey`."""
    return (await survey(client, api_names, listeners, scan=scan, groups=groups)).overview


async def survey(
    client: BusClient,
    api_names: Iterable[str],
    listeners: Mapping[str, Iterable[tuple[str, str]]],
    *,
    scan: bool = False,
    groups: Sequence[GroupStatus] | None = None,
) -> Survey:
    """Ask every broker.

    Args:
        client: The bus.
        api_names: The APIs of the manifest; those with a contract on the bus are added.
        listeners: The events that the listeners of the manifest ask for.
        scan: Whether to search each broker as a whole for streams before.
        groups: The groups, where they are known already; then brokers are left as they are.

    Raises:
        TransportUnavailable: The broker that has the contracts can't be reached.
    """
    apis = await _apis(client, set(api_names), may_load=groups is None)
    away: dict[str, None] = {}
    if groups is None:
        brokers = client.transports().brokers(("default", *apis.names))
        groups = [group for broker in brokers for group in await _ask(_groups(broker, scan), away)]
    queues = await _queues(client, apis.names, away)
    cards, lost = await _cards(client, notes := list[str]())
    services = apis.services(client) | {card.service for card in cards}
    named = [names_of(group, services) for group in groups]
    pauses = await _pauses(client, services | {service for service, _ in named}, notes)
    held, timed = pauses.listeners, _schedules(cards, pauses)
    found = [listener(group, names, held, lost) for group, names in zip(groups, named, strict=True)]
    paused = {each.group: each.paused for each in found if each.paused}
    seen = Overview(
        processes(apis.owners, queues, groups, named, cards, lost),
        [apis.status(queue, client) for queue in queues],
        sorted(found, key=lambda each: (each.service, each.name, each.stream)),
        list(away),
        [
            *notes,
            *map(str, doubts(listeners, apis.contracts)),
            *await _notes(client, groups, listeners, paused),
            *(how_paused(it) for it in timed if it.paused),
            *mixed_versions(cards),
            *(f"{c.process} of {c.service}: {it}" for c in cards if c.phase == "ready" for it in c.obstacles),
        ],
        timed,
        _outboxes(cards),
    )
    return Survey(seen, cards, apis.contracts)


@dataclass(frozen=True, slots=True)
class _Apis:
    """The APIs of the manifest and of the bus, as their contracts and owners are published.

    Args:
        contracts: The contracts that are on the bus, by API.
        owners: The processes that own each API now.
        foreign: Those that a Lightbus 1.x owns.
    """

    names: list[str]
    contracts: Mapping[str, Mapping[str, Any]]
    owners: Mapping[str, Sequence[Identity]]
    foreign: Collection[str]

    def services(self, client: BusClient) -> set[str]:
        """The services that own them, now or by the manifest."""
        now = {who.service_name for each in self.owners.values() for who in each}
        return now | {owner for name in self.names if (owner := client.settings(name).owner)}

    def status(self, queue: QueueStatus, client: BusClient) -> ApiStatus:
        """The status of the one whose calls wait in this queue."""
        name = queue.api_name
        owner = next((who.service_name for who in self.owners[name]), None) or client.settings(name).owner
        if name.startswith(CONTROL):
            owner = name.removeprefix(CONTROL)
        taken = queue.process_names, queue.waiting, queue.running
        return ApiStatus(name, owner, name in self.contracts, *taken, name in self.foreign)


async def _apis(client: BusClient, wanted: set[str], *, may_load: bool) -> _Apis:
    schema = client.transports().schema()
    contracts = await (schema.load(wanted) if may_load else schema.look(wanted))
    names = sorted({*wanted, *contracts})
    owners = await schema.owners(names)
    foreign = await schema.foreign([name for name in contracts if not owners[name]])
    return _Apis(names, contracts, owners, foreign)


async def _queues(client: BusClient, names: Sequence[str], away: dict[str, None]) -> list[QueueStatus]:
    transports = client.transports()
    questions = (_ask(transports.rpc(name).queue_status([name]), away) for name in names)
    return [queue for asked in await asyncio.gather(*questions) for queue in asked]


async def _notes(
    client: BusClient,
    groups: Sequence[GroupStatus],
    listeners: Mapping[str, Iterable[tuple[str, str]]],
    paused: Mapping[str, str],
) -> list[str]:
    """Return the sentences about groups beside their figures."""
    notes, service = [], client.service_name
    for status in (each for each in groups if each.waiting and not each.is_served):
        if status.group in paused:
            kept = f"{waiting(status)}; {consequence(status)}"
            resume = f"it goes on with lightbus resume {quote(status.group)}"
            notes.append(f"{whose(status)} is {paused[status.group]}: {kept}; {resume}")
            continue
        is_stale = belongs(status, service) and status.group.removeprefix(f"{service}-") not in listeners
        heirs = await heirs_of(client.parts, status, listeners) if is_stale else ()
        helps = remedy(status, to_move(status, heirs))
        notes.append(f"{whose(status)}: {state(status)}; {consequence(status)}; {helps}")
    return notes + [loss(status) for status in groups if status.gone]


async def _groups(broker: EventTransport, scan: bool) -> Sequence[GroupStatus]:
    if scan:
        await broker.find_streams()
    return await broker.group_status()


async def _ask(question: Awaitable[Sequence[T]], away: dict[str, None]) -> Sequence[T]:
    """Return a broker's answer; where it can't be reached, add the reason to ``away`` and return nothing."""
    try:
        return await question
    except TransportUnavailable as e:
        away[str(e)] = None
        return ()


async def _cards(client: BusClient, notes: list[str]) -> tuple[list[Card], set[Identity]]:
    """Return the cards of processes, and who was killed; where this user may not read that, say so."""
    try:
        cards = await read_cards(client)
        return cards, await read_lost(client, cards)
    except TransportUnavailable:
        raise
    except TransportError as e:
        notes.append(str(e))
        return [], set()


async def _pauses(client: BusClient, services: Iterable[str], notes: list[str]) -> AllPauses:
    try:
        return await read_all_pauses(client, services)
    except TransportUnavailable:
        raise
    except TransportError as e:
        notes.append(str(e))
        return AllPauses()


async def schedules(client: BusClient) -> tuple[list[ScheduleStatus], list[str]]:
    """Return the schedules of processes that live, and what can't be known of them.

    Raises as :func:`.cards.read_cards`.
    """
    cards, notes = await read_cards(client), list[str]()
    pauses = await _pauses(client, {card.service for card in cards if card.schedules}, notes)
    return _schedules(cards, pauses), notes


def how_paused(it: ScheduleStatus) -> str:
    """Say since when a schedule is paused, by whom and until when, and how it goes on."""
    which = f"{quote(it.name)} --service {quote(it.service)}"
    told = f"the schedule {it.name} of {it.service} is {it.paused}"
    return f"{told}; it runs again with lightbus schedule resume {which}"


def _schedules(cards: Sequence[Card], pauses: AllPauses) -> list[ScheduleStatus]:
    found = sorted(last_runs(cards).items(), key=lambda each: each[0])
    return [_schedule(names, *each, pauses.schedules.get(names)) for names, each in found]


def _schedule(names: tuple[str, str], card: Card, it: ScheduleCard, pause: Pause | None) -> ScheduleStatus:
    service, name = names
    process = card.process if it.started is not None else ""
    times = f"{it.times} ({it.timezone})" if it.timezone else it.times
    last = (it.started, it.seconds, it.outcome, process, it.running, it.by, it.missed)
    paused = pause.in_words() if pause is not None else ""
    return ScheduleStatus(service, name, times, it.scope, it.next_run, *last, paused)


def _outboxes(cards: Sequence[Card]) -> list[OutboxStatus]:
    found: dict[tuple[str, str], OutboxStatus] = {}
    for card in cards:
        for it in card.outboxes:
            key = card.service, it.name
            known = found.setdefault(key, OutboxStatus(*key))
            if it.sent is not None and it.sent > (known.sent or 0.0):
                found[key] = replace(known, process=card.process, sent=it.sent)
    return [found[key] for key in sorted(found)]
