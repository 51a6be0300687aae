"""What the bus shows of who owns, calls and listens to which API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from lightbus.bus.client import BusClient
from lightbus.contracts.expectations import procedures_of
from lightbus.insight.cards import read_cards
from lightbus.insight.overview import overview
from lightbus.transports.cards import Card

from .model import Link, Side


async def look_at(client: BusClient, *, lag: bool = False) -> Side:
    """Read the cards of the processes that live now, and the contracts.

    Args:
        client: The bus.
        lag: Whether to ask, too, how many events wait for each listener.

    Raises:
        TransportError: A broker refuses it.
        TransportUnavailable: A broker can't be reached.
    """
    cards = await read_cards(client)
    await client.parts.watch.load(only_look=True)
    lags: dict[tuple[str, str], int] = {}
    if lag:
        for each in (await overview(client, (), {})).listeners:
            waits = each.lag + each.pending + each.retrying
            lags[each.service, each.name] = lags.get((each.service, each.name), 0) + waits
    return replace(shown_by(cards, lags), procedures=procedures_of(client.parts.contracts.on_bus()))


def shown_by(cards: Iterable[Card], lags: Mapping[tuple[str, str], int]) -> Side:
    """Return what cards show; what several processes of a service do is added up."""
    cards = list(cards)
    links: set[Link] = set()
    per_hour: dict[Link, int] = {}
    for card in cards:
        links |= {Link(card.service, "owns", api.name) for api in card.apis}
        for listener in card.listeners:
            for event in listener.events if listener.enabled else ():
                api, _, name = event.rpartition(".")
                links.add(Link(card.service, "listens", api, name, listener.name))
        for procedure, count in card.calls.items():
            api, _, name = procedure.rpartition(".")
            link = Link(card.service, "calls", api, name)
            per_hour[link] = per_hour.get(link, 0) + count
        for event, count in card.fires.items():
            api, _, name = event.rpartition(".")
            link = Link(card.service, "fires", api, name)
            per_hour[link] = per_hour.get(link, 0) + count
    # What describes the bus itself is on each of them.
    links = {each for each in links | per_hour.keys() if not each.api.startswith("internal.")}
    services, apis = {card.service for card in cards}, {each.api for each in links}
    return Side(frozenset(services), frozenset(links), frozenset(apis), per_hour, dict(lags))
