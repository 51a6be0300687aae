"""Pausing listeners and letting them go on, and whether all their processes have heeded it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from lightbus.bus.client import BusClient
from lightbus.declared.names import meant
from lightbus.exceptions import GroupRefused, InvalidParameters
from lightbus.insight import groups
from lightbus.insight.audit import Actor, acting
from lightbus.insight.cards import PATIENCE as PATIENCE
from lightbus.insight.cards import Heeded as Heeded
from lightbus.insight.cards import heeded, listener_on, parted, read_cards, read_pauses
from lightbus.options import parse_duration
from lightbus.transports.cards import Pause
from lightbus.transports.groups import GroupStatus


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
        listener: The name; one of the own service comes first. Where only the pause of the name that it had
            before keeps it from its work, that is found.
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
    pauses = await read_pauses(client, {service for service, _ in known} | services)
    # Its group may be gone meanwhile.
    known |= set(pauses)
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
    if (service, name) not in pauses:
        # Of a listener that was renamed, it may still be kept under the name before.
        shown = (listener_on(card, service, name) for card in cards)
        formers = [it.renamed_from for it in shown if it is not None and it.is_paused and it.renamed_from]
        name = next((each for each in formers if (service, each) in pauses), name)
    of_it = tuple(status for status in found if status.group == f"{service}-{name}")
    return Target(service, name, of_it, pauses.get((service, name)))


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
    async with pausing(client, "listener.pause", target.group, target.pause, until, by) as it:
        await client.transports().schema().pause(target.service, target.name, it)
    return await heeded(client, target.service, target.name, is_paused=True)


@asynccontextmanager
async def pausing(
    client: BusClient, action: str, target: str, held: Pause | None, until: float | None, by: Actor
) -> AsyncIterator[Pause]:
    """Note in the audit that something is paused; raises as :func:`pause`.

    Args:
        client: The bus.
        action: The name of that in the audit.
        target: What is paused, likewise.
        held: The pause that holds now, whose beginning stays.
        until: When it ends by itself, by the broker's clock; None if it does not.
        by: Whoever wants it.

    Yields:
        The pause, which is to be written within ``async with``.
    """
    since = held.since if held is not None else await client.transports().schema().now()
    ends = None if until is None else datetime.fromtimestamp(until, UTC)
    chosen = {} if ends is None else {"until": ends.isoformat(timespec="seconds")}
    async with acting(client, by, action, target, chosen):
        yield Pause(since=since, until=until, by=by.user)


async def resume(client: BusClient, target: Target, *, by: Actor | None = None) -> Heeded:
    """Let a listener go on, and wait until its processes do; raises as :func:`pause`.

    Where another listener takes its place in this moment and takes its pause along, that one goes on.
    """
    schema = client.transports().schema()
    async with acting(client, by, "listener.resume", target.group):
        target = await _ended(client, target)
        cards = await read_cards(client)
        for names, it in (await schema.pauses([target.service])).items():
            # That of its name before, which no process has any more.
            if it.moved_to == target.group and not any(listener_on(card, *names) for card in cards):
                await schema.resume(*names)
    return await heeded(client, target.service, target.name, is_paused=False)


async def _ended(client: BusClient, target: Target) -> Target:
    """End the pause of a listener; return the one that had it in the end."""
    schema, seen = client.transports().schema(), target.pause
    while seen is not None and not await schema.change_pauses(target.service, {target.name: (seen, None)}):
        now = (await schema.pauses([target.service])).get((target.service, target.name))
        if now is not None and now.moved_to and now.moved_to != seen.moved_to:
            services = {target.service, *(card.service for card in await read_cards(client))}
            service, name = parted(now.moved_to, services)
            held = await schema.pauses([service])
            target, now = Target(service, name), held.get((service, name))
        seen = now
    return target


async def end_in(client: BusClient, seconds: float | None) -> float | None:
    """Return the time in so many seconds, by the clock of the broker; None if that is None."""
    return None if seconds is None else await client.transports().schema().now() + seconds


def seconds_until(text: str) -> float:
    """Return for how long a pause lasts, in seconds.

    Args:
        text: Such as ``2h``, or when it ends, as a time with its zone.

    Raises:
        InvalidParameters: It is no time to come.
    """
    try:
        seconds: float = parse_duration(text)
    except ValueError:
        try:
            at = datetime.fromisoformat(text)
            seconds = at.timestamp() - time.time() if at.tzinfo is not None else -1.0
        except (ValueError, OverflowError, OSError):
            seconds = -1.0
    if seconds <= 0:
        raise InvalidParameters(
            f"{text!r} is no time to come; write 30m or 2h, or a time with its zone such as "
            "2026-01-31T12:00:00+01:00"
        )
    return seconds


def not_heeded(heeded: Heeded, what: str) -> str:
    """Say which processes have not heeded it in time, and why that may be.

    Args:
        heeded: What they have made of it.
        what: What they do instead.
    """
    names = ", ".join(heeded.not_by)
    return (
        f"{names} {what}, as far as is known after {PATIENCE:g} s: it is busy, can't reach Redis, or "
        "was killed within the last half minute; lightbus status shows whether it runs"
    )


def without_card(target: Target, heeded: Heeded) -> list[str]:
    """Return the processes that read a listener's events and show no card, as those of Lightbus 1.x."""
    known = {*heeded.by, *heeded.not_by}
    consumers = (c for status in target.groups for c in status.consumers if c.is_alive or c.is_1x)
    return sorted({consumer.process_name for consumer in consumers} - known)
