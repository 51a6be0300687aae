"""The processes on the bus, by what they say of themselves and by what else they have left on the brokers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lightbus.declared.settings import Identity
from lightbus.transports.cards import Card
from lightbus.transports.events import ConsumerStatus, GroupStatus
from lightbus.transports.rpc import QueueStatus


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
        kind: Whether it hosts a service or only uses the bus; empty where it shows no card, as all below.
        version: The version of the application.
        host: Its host.
        started_at: When it was started, as a Unix time.
        phase: Whether it starts, is ready or stops.
        obstacles: What keeps it from its work.
    """

    service: str
    name: str
    owns: list[str] = field(default_factory=list)
    serves: list[str] = field(default_factory=list)
    listens: list[str] = field(default_factory=list)
    idle: float | None = None
    state: Literal["alive", "ended", "unknown"] = "alive"
    kind: Literal["", "host", "client"] = ""
    version: str | None = None
    host: str = ""
    started_at: float | None = None
    phase: str = ""
    obstacles: tuple[str, ...] = ()


def processes(
    owners: Mapping[str, Sequence[Identity]],
    queues: Sequence[QueueStatus],
    groups: Sequence[GroupStatus],
    listeners: Sequence[tuple[str, str]],
    cards: Sequence[Card],
    lost: Container[Identity] = (),
) -> list[ProcessStatus]:
    """Return the processes that have left a trace, by service and name.

    Args:
        owners: The owners of each API.
        queues: The calls of each API.
        groups: The groups of listeners.
        listeners: The service and the listener of each group.
        cards: The cards of processes.
        lost: The processes whose cards ended without being taken down. What else they have left on the
            brokers may look alive for a while longer.
    """
    found: dict[tuple[str, str], ProcessStatus] = {}

    def process(service: str, name: str) -> ProcessStatus:
        key = service, name
        return found.get(key) or found.setdefault(key, ProcessStatus(service, name))

    for api_name, identities in owners.items():
        for who in (each for each in identities if each not in lost):
            process(who.service_name, who.process_name).owns.append(api_name)
    # Nobody owns an API that describes the bus itself: what else the process does says whose it is.
    known = _known(cards, owners, groups, listeners)
    for queue in queues:
        services = known | {who.process_name: who.service_name for who in owners[queue.api_name]}
        for name in queue.process_names:
            if Identity(services.get(name, ""), name) not in lost:
                process(services.get(name, ""), name).serves.append(queue.api_name)
    alive = set(found)
    alive |= {(card.service, card.process) for card in cards}
    for group, (service, listener) in zip(groups, listeners, strict=True):
        for consumer in group.consumers:
            it = process(service, consumer.process_name)
            if listener not in it.listens:
                it.listens.append(listener)
            if (it.service, it.name) not in alive:
                _note_idle(it, consumer)
                if Identity(it.service, it.name) in lost:
                    it.state = "ended"
    for card in cards:
        _note_card(process(card.service, card.process), card)
    return [found[key] for key in sorted(found)]


def _known(
    cards: Sequence[Card],
    owners: Mapping[str, Sequence[Identity]],
    groups: Sequence[GroupStatus],
    listeners: Sequence[tuple[str, str]],
) -> dict[str, str]:
    """Return the service of each process whose name only one service has."""
    found = {(card.process, card.service) for card in cards}
    # A process that has just been started shows no card yet.
    found |= {(who.process_name, who.service_name) for each in owners.values() for who in each}
    for group, (service, _) in zip(groups, listeners, strict=True):
        found |= {(each.process_name, service) for each in group.consumers if each.is_alive and service}
    times = Counter(process for process, _ in found)
    return {process: service for process, service in found if times[process] == 1}


def _note_card(process: ProcessStatus, card: Card) -> None:
    """Take note of what a process says of itself."""
    process.kind, process.version, process.host = card.kind, card.version, card.host
    process.started_at, process.phase, process.obstacles = card.started_at, card.phase, card.obstacles
    for listener in card.listeners:
        # One that is paused is in no group.
        if listener.enabled and listener.name not in process.listens:
            process.listens.append(listener.name)


def _note_idle(process: ProcessStatus, consumer: ConsumerStatus) -> None:
    """Take note of when a process was heard of, by the listener of which it was heard last."""
    if consumer.idle is None or (process.idle is not None and process.idle < consumer.idle):
        return
    process.idle = consumer.idle
    if not consumer.is_alive:
        process.state = "unknown" if consumer.is_1x else "ended"
    else:
        process.state = "alive"
