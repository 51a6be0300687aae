"""Pausing listeners and letting them go on, and whether all their processes have heeded it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lightbus.bus.client import BusClient
from lightbus.declared.names import meant
from lightbus.exceptions import GroupRefused
from lightbus.transports.cards import Card, ListenerCard, Pause
from lightbus.transports.groups import GroupStatus

from . import groups
from .audit import Actor, acting
from .cards import read_cards, read_pauses

#: Seconds that processes have to heed it: they look every second.
PATIENCE = 6.0
_ASKED_EVERY = 0.2


@dataclass(frozen=True, slots=True)
class Target:
    """A listener that is to be paused or to go on.

    Args:
        service: Its service.
        name: Its name.
        groups: Its group in each of its streams.
        pause: The pause that holds now.
    """

    service: str
    name: str
    groups: tuple[GroupStatus, ...] = ()
    pause: Pause | None = None

    @property
    def group(self) -> str:
        """The name of its group."""
        return f"{self.service}-{self.name}"


@dataclass(frozen=True, slots=True)
class Heeded:
    """What the processes of a listener have made of it.

    Args:
        by: The processes that have heeded it.
        not_by: Those that have not said so in time.
        running: How many events are handled still.
    """

    by: tuple[str, ...] = ()
    not_by: tuple[str, ...] = ()
    running: int = 0


async def find(
    client: BusClient,
    api_names: Sequence[str],
    listener: str,
    listeners: Iterable[str],
    *,
    scan: bool = False,
) -> Target:
    """Find a listener by its name, with or without its service.

    Args:
        client: The bus.
        api_names: APIs whose brokers are asked for groups.
        listener: The name; one of the own service comes first.
        listeners: The listeners of the manifest, which belong to the own service.
        scan: Whether each broker is searched as a whole for streams.

    Raises:
        GroupRefused: There is no such listener, or several services have it.
        TransportUnavailable: A broker can't be reached.
    """
    cards = await read_cards(client)
    found = [each.status for each in await groups.find(client, api_names, scan=scan)]
    own = client.service_name
    known = {(own, name) for name in listeners} | {(c.service, it.name) for c in cards for it in c.listeners}
    services = {service for service, _ in known} | {own}
    known |= {groups.names_of(status, services) for status in found}
    named = [each for each in sorted(known) if listener == f"{each[0]}-{each[1]}"]
    named = named or [each for each in sorted(known) if each == (own, listener)]
    named = named or [each for each in sorted(known) if each[1] == listener]
    names = [f"{service}-{name}" for service, name in sorted(known)]
    if not named:
        near = meant(listener, names)
        hint = f"; do you mean {near}?" if near else "; lightbus status shows those there are"
        raise GroupRefused(f"there is no listener {listener!r}{hint}")
    if len(named) > 1:
        several = " and ".join(f"{service}-{name}" for service, name in named)
        raise GroupRefused(f"several services have a listener {listener!r}: {several}; name one of these")
    service, name = named[0]
    of_it = tuple(status for status in found if status.group == f"{service}-{name}")
    pause = (await read_pauses(client, [service])).get((service, name))
    return Target(service, name, of_it, pause)


async def pause(client: BusClient, target: Target, until: float | None, by: Actor) -> Heeded:
    """Pause a listener, and wait until its processes take nothing more for it.

    Args:
        client: The bus.
        target: The listener.
        until: When the pause ends by itself, by the broker's clock; None if it does not.
        by: Whoever wants it: the pause and the audit say so.

    Raises:
        AuditRefused: It can't be noted, and ``by`` does not say that it is to be done all the same.
        TransportError: The broker refuses it.
        TransportUnavailable: It can't be reached.
    """
    schema = client.transports().schema()
    since = target.pause.since if target.pause is not None else await schema.now()
    chosen = {} if until is None else {"until": datetime.fromtimestamp(until, UTC).isoformat()}
    async with acting(client, by, "listener.pause", target.group, chosen):
        await schema.pause(target.service, target.name, Pause(since=since, until=until, by=by.user))
    return await _heeded(client, target, is_paused=True)


async def resume(client: BusClient, target: Target, *, by: Actor | None = None) -> Heeded:
    """Let a listener go on, and wait until its processes do; raises as :func:`pause`."""
    async with acting(client, by, "listener.resume", target.group):
        await client.transports().schema().resume(target.service, target.name)
    return await _heeded(client, target, is_paused=False)


async def _heeded(client: BusClient, target: Target, *, is_paused: bool) -> Heeded:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        found = list(_of(await read_cards(client), target))
        late = [card.process for card, it in found if it.is_paused != is_paused]
        if not late or loop.time() > deadline:
            by = tuple(card.process for card, it in found if it.is_paused == is_paused)
            return Heeded(by, tuple(late), sum(it.running for _, it in found))
        await asyncio.sleep(_ASKED_EVERY)


def _of(cards: Iterable[Card], target: Target) -> Iterable[tuple[Card, ListenerCard]]:
    """Go through the processes that run a listener, or would if it were not paused."""
    for card in cards:
        for it in card.listeners:
            if (card.service, it.name) == (target.service, target.name) and it.enabled:
                yield card, it


def without_card(target: Target, heeded: Heeded) -> list[str]:
    """Return the processes that read a listener's events and show no card, as those of Lightbus 1.x."""
    known = {*heeded.by, *heeded.not_by}
    consumers = (c for status in target.groups for c in status.consumers if c.is_alive or c.is_1x)
    return sorted({consumer.process_name for consumer in consumers} - known)
