"""What the processes on the bus say of themselves; which listeners are paused, and who has heeded that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from lightbus.bus.client import BusClient
from lightbus.declared.names import first_of
from lightbus.declared.settings import Identity
from lightbus.exceptions import GroupRefused
from lightbus.transports.cards import AllPauses, Card, ListenerCard, Pause, ScheduleCard
from lightbus.transports.schema import SchemaTransport

#: Seconds that processes have to heed a pause: they look every second.
PATIENCE = 6.0
_ASKED_EVERY = 0.2


async def read_cards(client: BusClient) -> list[Card]:
    """Return the card of each process that shows one, by service and process.

    Args:
        client: The bus.

    Raises:
        TransportError: The broker of the contracts refuses it.
        TransportUnavailable: It can't be reached.
    """
    return list(await client.transports().schema().cards())


async def read_lost(client: BusClient, cards: Iterable[Card]) -> set[Identity]:
    """Return the processes whose cards ended without being taken down: they were killed, or hang.

    Args:
        client: The bus.
        cards: The cards that there are, read a moment ago.

    Raises:
        TransportError: The broker of the contracts refuses it.
        TransportUnavailable: It can't be reached.
    """
    had = await client.transports().schema().had_cards()
    return set(had) - {Identity(card.service, card.process) for card in cards}


async def read_pauses(client: BusClient, services: Iterable[str]) -> dict[tuple[str, str], Pause]:
    """Return the pauses that hold now, by service and listener; raises as :func:`read_cards`.

    Args:
        client: The bus.
        services: The services whose listeners are meant.
    """
    # The name of a group may begin with none.
    return dict(await client.transports().schema().pauses({service for service in services if service}))


async def read_all_pauses(client: BusClient, services: Iterable[str]) -> AllPauses:
    """Return the pauses of listeners and of schedules of some services; raises as :func:`read_cards`."""
    return await client.transports().schema().all_pauses({service for service in services if service})


async def paused_groups(client: BusClient, groups: Iterable[str]) -> dict[str, Pause]:
    """Return the pauses that hold now, by the group of the listener; raises as :func:`read_cards`.

    Args:
        client: The bus.
        groups: The groups that are meant.
    """
    return {f"{service}-{name}": it for (service, name), it in (await paused(client, groups)).items()}


async def paused(client: BusClient, groups: Iterable[str]) -> dict[tuple[str, str], Pause]:
    """Return the pauses that hold now, by service and listener; raises as :func:`read_cards`.

    Args:
        client: The bus.
        groups: The groups of the listeners that are meant.
    """
    # Service and listener may both have dashes: which of them parts the two, only a pause can tell.
    parts = [(group, place) for group in set(groups) for place, each in enumerate(group) if each == "-"]
    pauses = await read_pauses(client, {group[:place] for group, place in parts}) if parts else {}
    named = {(group[:place], group[place + 1 :]) for group, place in parts}
    return {names: pause for names, pause in pauses.items() if names in named}


def parted(group: str, services: Collection[str]) -> tuple[str, str]:
    """Tell the service and the listener of a group apart: a service that is known comes first.

    Args:
        group: The name of the group.
        services: The known services.
    """
    # A bus may have very many of both: each beginning of the name is looked up, the longest first.
    dashes = (place for place in range(len(group) - 1, 0, -1) if group[place] == "-")
    service = next((group[:place] for place in dashes if group[:place] in services), "")
    service = service or group.rpartition("-")[0]
    return service, group.removeprefix(f"{service}-")


def listener_on(card: Card, service: str, listener: str) -> ListenerCard | None:
    """Return what a process says of a listener that it runs, or would run if it were not paused."""
    if card.service != service:
        return None
    return next((it for it in card.listeners if it.name == listener and it.enabled), None)


def schedule_on(card: Card, service: str, schedule: str) -> ScheduleCard | None:
    """Return what a process says of a schedule that it runs, or would run if it were not paused."""
    if card.service != service:
        return None
    return next((it for it in card.schedules if it.name == schedule), None)


def last_runs(cards: Sequence[Card]) -> dict[tuple[str, str], tuple[Card, ScheduleCard]]:
    """Return each schedule as the process has it that was the last to run it, by service and name."""
    found: dict[tuple[str, str], tuple[Card, ScheduleCard]] = {}
    for card in cards:
        for it in card.schedules:
            known = found.get((card.service, it.name))
            if known is None or (it.started or 0.0) > (known[1].started or 0.0):
                found[card.service, it.name] = card, it
    return found


def mixed_versions(cards: Sequence[Card]) -> list[str]:
    """Return a sentence about each service whose hosts run in several versions, as while it is replaced."""
    told = []
    for service in dict.fromkeys(card.service for card in cards):
        of: dict[str, list[str]] = {}
        for card in cards:
            if card.service == service and card.kind == "host" and card.version is not None:
                of.setdefault(card.version, []).append(card.process)
        if len(of) > 1:
            named = " and ".join(f"{version} ({first_of(names, 3)})" for version, names in sorted(of.items()))
            told.append(f"the service {service} runs in several versions: {named}")
    return told


@dataclass(frozen=True, slots=True)
class Heeded:
    """How the processes of a listener or a schedule have taken its pause, or the end of that.

    Args:
        by: The processes that have heeded it.
        not_by: Those that have not said so in time.
        running: How many events are handled still, or how many runs go on.
    """

    by: tuple[str, ...] = ()
    not_by: tuple[str, ...] = ()
    running: int = 0

    @property
    def concerns_nobody(self) -> bool:
        """Whether no process runs it now."""
        return not (self.by or self.not_by)


async def heeded(client: BusClient, service: str, listener: str, *, is_paused: bool) -> Heeded:
    """Wait until the processes of a listener have heeded that it is paused, or that it goes on.

    Args:
        client: The bus.
        service: The service.
        listener: The listener.
        is_paused: Whether it is paused.

    Raises:
        TransportError: The broker of the contracts refuses to have the cards of processes read.
        TransportUnavailable: It can't be reached.
    """
    return await _heeded(client, partial(listener_on, service=service, listener=listener), is_paused)


async def schedule_heeded(client: BusClient, service: str, schedule: str, *, is_paused: bool) -> Heeded:
    """Wait until the processes of a schedule have heeded its pause, or the end of that, as :func:`heeded`."""
    return await _heeded(client, partial(schedule_on, service=service, schedule=schedule), is_paused)


async def _heeded(
    client: BusClient, part_of: Callable[[Card], ListenerCard | ScheduleCard | None], is_paused: bool
) -> Heeded:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        cards = [(card.process, part_of(card)) for card in await read_cards(client)]
        found = [(process, it) for process, it in cards if it is not None]
        late = [process for process, it in found if it.is_paused != is_paused]
        if not late or loop.time() > deadline:
            by = tuple(process for process, it in found if it.is_paused == is_paused)
            return Heeded(by, tuple(late), sum(it.running for _, it in found))
        await asyncio.sleep(_ASKED_EVERY)


@asynccontextmanager
async def taken_along(client: BusClient, group: str, heir: str) -> AsyncIterator[None]:
    """Take a pause along while a group moves: the listener of the new group is paused if the old one is.

    Where somebody ends that pause meanwhile, the one that was taken along ends, too.

    Args:
        client: The bus.
        group: The group.
        heir: The name of the other group.

    Raises:
        GroupRefused: A process of the other listener does not heed it.
        TransportError: The broker of the contracts refuses it.
        TransportUnavailable: It can't be reached.
    """
    schema = client.transports().schema()
    found = {names: it for names, it in (await paused(client, [group])).items() if it.moved_to != heir}
    taken: list[tuple[tuple[str, str], tuple[str, str], Pause]] = []
    for (service, name), pause in found.items():
        cards = await read_cards(client)
        heirs = parted(heir, {service, client.service_name, *(card.service for card in cards)})
        await schema.change_pauses(heirs[0], {heirs[1]: (None, replace(pause, moved_to=""))})
        taken.append(((service, name), heirs, pause))
        late = (await heeded(client, *heirs, is_paused=True)).not_by
        if late:
            raise GroupRefused(
                f"{', '.join(late)} does not heed that {heir} is paused now, as {group} is: nothing moved, "
                "try again"
            )
    yield
    for names, heirs, pause in taken:
        # A process of an older version may have that listener: it must not begin a group anew.
        is_run = any(listener_on(card, *names) is not None for card in await read_cards(client))
        await _leave_behind(schema, names, heirs, pause, heir if is_run else "")


async def _leave_behind(
    schema: SchemaTransport, names: tuple[str, str], heirs: tuple[str, str], pause: Pause, moved_to: str
) -> None:
    """End a pause that was taken along, or mark it; a change meanwhile goes along, too."""
    (service, listener), (heirs_service, heirs_listener) = names, heirs
    while True:
        left = replace(pause, moved_to=moved_to) if moved_to else None
        if await schema.change_pauses(service, {listener: (pause, left)}):
            return
        now = (await schema.pauses([service])).get(names)
        taken, changed = replace(pause, moved_to=""), None if now is None else replace(now, moved_to="")
        await schema.change_pauses(heirs_service, {heirs_listener: (taken, changed)})
        if now is None:
            return
        pause = now
