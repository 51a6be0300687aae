"""What the processes on the bus say of themselves, and which listeners are paused; only read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lightbus.bus.client import BusClient
from lightbus.declared.names import first_of
from lightbus.transports.cards import Card, Pause, ScheduleCard


async def read_cards(client: BusClient) -> list[Card]:
    """Return the card of each process that shows one, by service and process.

    Args:
        client: The bus.

    Raises:
        TransportError: The broker of the contracts refuses it.
        TransportUnavailable: It can't be reached.
    """
    return list(await client.transports().schema().cards())


async def read_pauses(client: BusClient, services: Iterable[str]) -> dict[tuple[str, str], Pause]:
    """Return the pauses that hold now, by service and listener; raises as :func:`read_cards`.

    Args:
        client: The bus.
        services: The services whose listeners are meant.
    """
    return dict(await client.transports().schema().pauses(set(services)))


async def paused_groups(client: BusClient, groups: Iterable[str]) -> dict[str, Pause]:
    """Return the pauses that hold now, by the group of the listener; raises as :func:`read_cards`.

    Args:
        client: The bus.
        groups: The groups that are meant.
    """
    # Service and listener may both have dashes: which of them parts the two, only a pause can tell.
    parts = [(group, place) for group in set(groups) for place, each in enumerate(group) if each == "-"]
    pauses = await read_pauses(client, {group[:place] for group, place in parts}) if parts else {}
    named = {(group[:place], group[place + 1 :]): group for group, place in parts}
    return {named[names]: pause for names, pause in pauses.items() if names in named}


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
