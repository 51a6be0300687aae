"""The groups of listeners on the whole bus: found by name, removed, moved, set to another place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from lightbus.bus.client import BusClient
from lightbus.declared.names import meant
from lightbus.exceptions import GroupRefused, TransportUnavailable
from lightbus.transports.events import EventTransport
from lightbus.transports.groups import GroupStatus, HandBack, Move, Seek
from lightbus.transports.unserved import is_read

from .audit import Actor, acting
from .cards import parted, taken_along


@dataclass(frozen=True, slots=True)
class Found:
    """A group of one stream, with the transport by which it was found."""

    transport: EventTransport
    status: GroupStatus


async def find(
    client: BusClient, api_names: Sequence[str], group: str | None = None, *, scan: bool = False
) -> list[Found]:
    """Return the groups that there are, by name.

    Args:
        client: The bus.
        api_names: APIs whose brokers are asked, each broker once.
        group: The only group that is meant; it may have several streams.
        scan: Whether each broker is searched as a whole for streams.

    Raises:
        GroupRefused: There is no group of that name.
        TransportUnavailable: A broker can't be reached: nothing can be said of its groups.
    """
    found, away = [], []
    for transport in client.transports().brokers(api_names):
        try:
            if scan:
                await transport.find_streams()
            found += [Found(transport, status) for status in await transport.group_status()]
        except TransportUnavailable as e:
            away.append(str(e))
    if away:
        raise TransportUnavailable("\n".join(away))
    found.sort(key=lambda each: (each.status.group, each.status.stream))
    wanted = [each for each in found if group in (None, each.status.group)]
    if not wanted and group is not None:
        raise GroupRefused(_unknown(group, [each.status.group for each in found]))
    return wanted


def kept_for(found: Iterable[Found]) -> int:
    """Return how many events wait for a group or are its dead letters, in all of its streams."""
    statuses = [each.status for each in found]
    return sum(it.lag + it.pending + it.retrying + it.dead for it in statuses)


async def remove(client: BusClient, found: Sequence[Found], *, by: Actor | None = None) -> None:
    """Remove a group of all its streams, one after the other.

    Args:
        client: The bus.
        found: The group in each of its streams.
        by: Whoever does it, for the audit.

    Raises:
        GroupRefused: A process reads it.
        TransportUnavailable: A broker can't be reached, or refuses.
    """
    refuse_read(found)
    async with acting(client, by, "group.rm", _named(found)) as doing:
        for each in found:
            await each.transport.remove_group(each.status)
            doing.did(each.status.stream)


async def plan_move(found: Sequence[Found], heir: str) -> list[Move]:
    """Return what moving a group would do with each of its streams.

    Raises:
        GroupRefused: It can't be done with one of them.
        TransportUnavailable: A broker can't be reached, or refuses.
    """
    refuse_read(found)
    return [await each.transport.plan_move(each.status, heir) for each in found]


async def move(client: BusClient, found: Sequence[Found], heir: str, *, by: Actor | None = None) -> None:
    """Let another group take the place of a group in all its streams, one after the other.

    Where the listener is paused, so is the other one from before that on.

    Args:
        client: The bus.
        found: The group in each of its streams.
        heir: The name of the other group.
        by: Whoever does it, for the audit.

    Raises:
        GroupRefused: A process reads it, or one of the other listener does not heed the pause.
        TransportError: The broker of the contracts refuses to have the pause read, or taken along.
        TransportUnavailable: A broker can't be reached, or refuses.
    """
    async with (
        acting(client, by, "group.move", _named(found), {"to": heir}) as doing,
        taken_along(client, found[0].status.group, heir),
    ):
        for each in found:
            await each.transport.move_group(each.status, heir)
            doing.did(each.status.stream)


async def plan_seek(found: Sequence[Found], to: str) -> list[Seek]:
    """Return what would happen to each stream of a group that reads on from another place.

    Raises:
        GroupRefused: It can't be done with one of them.
        TransportUnavailable: A broker can't be reached, or refuses.
    """
    refuse_read(found)
    return [await each.transport.plan_seek(each.status, to) for each in found]


async def seek(
    client: BusClient, found: Sequence[Found], plans: Sequence[Seek], *, by: Actor | None = None
) -> None:
    """Let a group read on from another place in all its streams, as planned.

    Args:
        client: The bus.
        found: The group in each of its streams.
        plans: The plan for each of them.
        by: Whoever does it, for the audit.

    Raises:
        GroupRefused: A process reads it.
        TransportUnavailable: A broker can't be reached, or refuses.
    """
    places = {plan.status.stream: plan.first or "end" for plan in plans}
    async with acting(client, by, "group.seek", _named(found), places) as doing:
        for each, plan in zip(found, plans, strict=True):
            await each.transport.seek_group(plan)
            doing.did(each.status.stream)


async def plan_hand_back(found: Sequence[Found], *, letters: bool) -> list[HandBack]:
    """Look what would be handed back of each stream of a group to a Lightbus 1.x.

    Raises:
        GroupRefused: A process of this version reads it.
        TransportUnavailable: A broker can't be reached, or refuses.
    """
    return [await each.transport.plan_hand_back(each.status, letters=letters) for each in found]


async def hand_back(
    client: BusClient, found: Sequence[Found], *, letters: bool, by: Actor | None = None
) -> list[HandBack]:
    """Hand what waits for a group in all its streams back to a Lightbus 1.x, one stream after the other.

    Args:
        client: The bus.
        found: The group in each of its streams.
        letters: Whether dead letters are handed back, too.
        by: Whoever does it, for the audit.

    Raises:
        GroupRefused: A process of this version reads it.
        TransportUnavailable: A broker can't be reached, or refuses.
    """
    chosen = {"dead_letters": "yes"} if letters else {}
    async with acting(client, by, "group.hand-back", _named(found), chosen) as doing:
        outcome = []
        for each in found:
            outcome.append(await each.transport.hand_back_group(each.status, letters=letters))
            doing.did(each.status.stream)
        return outcome


def names_of(status: GroupStatus, services: Collection[str]) -> tuple[str, str]:
    """Tell service and listener apart: both may have dashes, so a service that is known comes first.

    Args:
        status: The group.
        services: The known services.
    """
    if status.service:
        return status.service, status.group.removeprefix(f"{status.service}-")
    return parted(status.group, services)


def refuse_read(found: Sequence[Found]) -> None:
    """Refuse before anything is changed what would be refused in the middle.

    Raises:
        GroupRefused: A process reads the group in one of its streams.
    """
    for status in (each.status for each in found):
        for consumer in status.consumers:
            if consumer.is_alive:
                raise GroupRefused(is_read(status, consumer.process_name, consumer.idle or 0.0))


def _named(found: Sequence[Found]) -> str:
    return ", ".join(dict.fromkeys(each.status.group for each in found))


def _unknown(group: str, names: Sequence[str]) -> str:
    """Say that there is no such group, and which one may be meant."""
    near = meant(group, names)
    ends = sorted({name for name in names if name.endswith(f"-{group}")}) or ([near] if near else [])
    hint = f"; do you mean {' or '.join(ends)}?" if ends else "; lightbus group list shows those there are"
    return f"there is no group {group!r}{hint}"
