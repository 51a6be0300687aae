"""An overview of the bus from what the brokers know: who is on it, and what waits there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from lightbus.bus.client import BusClient
from lightbus.bus.groups import belongs, heirs_of
from lightbus.contracts.expectations import doubts
from lightbus.declared.settings import Identity
from lightbus.exceptions import TransportUnavailable
from lightbus.transports.events import ConsumerStatus, EventTransport, GroupStatus
from lightbus.transports.rpc import QueueStatus
from lightbus.transports.unserved import consequence, loss, remedy, state, to_move, whose

T = TypeVar("T")


@dataclass(slots=True)
class ProcessStatus:
    """A process that has left a trace.

    Args:
        service: Its service; empty if that is not known.
        name: Its name.
        owns: The APIs whose owner it is.
        serves: The APIs whose calls it takes.
        listens: Its listeners.
        idle: Seconds since a broker last heard of it, where nothing says that it lives now.
        state: Whether it lives; a Lightbus 1.x may, although nobody has heard of it for long.
    """

    service: str
    name: str
    owns: list[str] = field(default_factory=list)
    serves: list[str] = field(default_factory=list)
    listens: list[str] = field(default_factory=list)
    idle: float | None = None
    state: Literal["alive", "ended", "unknown"] = "alive"


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
class ListenerStatus:
    """A listener's group and one of its streams; what is not told here is as in :class:`GroupStatus`.

    Args:
        service: The listener's service.
        name: The listener.
        processes: The processes that read the events, as far as is known.
        ended: How many processes have read them and are gone.
        is_served: Whether one of them was heard of within the last minute.
        gone: How many events left the stream before they were read, as far as that is known.
        group: The group: the service and the listener, with a dash between them.
        fired: How many events the stream has ever got; None if that is not known.
        read: How many of them the group has read; likewise.
    """

    service: str
    name: str
    stream: str
    lag: int
    lag_is_exact: bool
    pending: int
    retrying: int
    dead: int
    processes: tuple[str, ...]
    ended: int = 0
    is_served: bool = True
    gone: int = 0
    group: str = ""
    fired: int | None = None
    read: int | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything at once.

    Args:
        processes: The processes.
        apis: The APIs; of those whose calls go over a broker that can't be reached, nothing.
        listeners: The listeners; likewise.
        unreachable: Why which broker can't be reached.
        notes: Sentences about things that do not fit together.
    """

    processes: list[ProcessStatus]
    apis: list[ApiStatus]
    listeners: list[ListenerStatus]
    unreachable: list[str]
    notes: list[str] = field(default_factory=list)


async def overview(
    client: BusClient,
    api_names: Iterable[str],
    listeners: Mapping[str, Iterable[tuple[str, str]]],
    *,
    scan: bool = False,
    groups: Sequence[GroupStatus] | None = None,
) -> Overview:
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
    named = set(api_names)
    transports = client.transports()
    schema = transports.schema()
    contracts = await (schema.load(named) if groups is None else schema.look(named))
    names = sorted({*named, *contracts})
    owners = await schema.owners(names)
    foreign = await schema.foreign([name for name in contracts if not owners[name]])
    away: dict[str, None] = {}
    if groups is None:
        brokers = transports.brokers(("default", *names))
        groups = [group for broker in brokers for group in await _ask(_groups(broker, scan), away)]
    questions = (_ask(transports.rpc(name).queue_status([name]), away) for name in names)
    queues = [queue for asked in await asyncio.gather(*questions) for queue in asked]
    services = {who.service_name for each in owners.values() for who in each}
    services |= {owner for name in names if (owner := client.settings(name).owner)}
    found = [_listener(group, services) for group in groups]

    def status_of(queue: QueueStatus) -> ApiStatus:
        name = queue.api_name
        owner = next((who.service_name for who in owners[name]), None) or client.settings(name).owner
        taken = queue.process_names, queue.waiting, queue.running
        return ApiStatus(name, owner, name in contracts, *taken, name in foreign)

    return Overview(
        _processes(owners, queues, groups, found),
        list(map(status_of, queues)),
        sorted(found, key=lambda each: (each.service, each.name, each.stream)),
        list(away),
        [*map(str, doubts(listeners, contracts)), *await _notes(client, groups, listeners)],
    )


async def _notes(
    client: BusClient, groups: Sequence[GroupStatus], listeners: Mapping[str, Iterable[tuple[str, str]]]
) -> list[str]:
    """Return the sentences about groups beside their figures."""
    notes, service = [], client.service_name
    for status in (each for each in groups if each.waiting and not each.is_served):
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


def _listener(group: GroupStatus, services: Iterable[str]) -> ListenerStatus:
    """Tell service and listener apart: both may have dashes, so a service that is known comes first."""
    known = [service for service in services if group.group.startswith(f"{service}-")]
    service = group.service or max(known, key=len, default="") or group.group.rpartition("-")[0]
    return ListenerStatus(
        service,
        group.group.removeprefix(f"{service}-"),
        group.stream,
        group.lag,
        group.lag_is_exact,
        group.pending,
        group.retrying,
        group.dead,
        tuple(c.process_name for c in group.consumers if c.is_alive or c.is_1x),
        sum(not (c.is_alive or c.is_1x) for c in group.consumers),
        group.is_served,
        group.gone,
        group.group,
        group.fired,
        group.read,
    )


def _processes(
    owners: Mapping[str, Sequence[Identity]],
    queues: Sequence[QueueStatus],
    groups: Sequence[GroupStatus],
    listeners: Sequence[ListenerStatus],
) -> list[ProcessStatus]:
    found: dict[tuple[str, str], ProcessStatus] = {}

    def process(service: str, name: str) -> ProcessStatus:
        return found.setdefault((service, name), ProcessStatus(service, name))

    for api_name, identities in owners.items():
        for who in identities:
            process(who.service_name, who.process_name).owns.append(api_name)
    for queue in queues:
        services = {who.process_name: who.service_name for who in owners[queue.api_name]}
        for name in queue.process_names:
            process(services.get(name, ""), name).serves.append(queue.api_name)
    alive = set(found)
    for group, listener in zip(groups, listeners, strict=True):
        for consumer in group.consumers:
            it = process(listener.service, consumer.process_name)
            if listener.name not in it.listens:
                it.listens.append(listener.name)
            if (it.service, it.name) not in alive:
                _note_idle(it, consumer)
    return [found[key] for key in sorted(found)]


def _note_idle(process: ProcessStatus, consumer: ConsumerStatus) -> None:
    """Take note of when a process was heard of, by the listener of which it was heard last."""
    if consumer.idle is None or (process.idle is not None and process.idle < consumer.idle):
        return
    process.idle = consumer.idle
    if not consumer.is_alive:
        process.state = "unknown" if consumer.is_1x else "ended"
    else:
        process.state = "alive"
