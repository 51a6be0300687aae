"""What the bus shows of who owns, calls and listens to which API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from lightbus.bus.client import BusClient
from lightbus.contracts.expectations import procedures_of
from lightbus.insight.cards import read_cards
from lightbus.insight.listeners import ListenerStatus
from lightbus.insight.overview import overview
from lightbus.transports.cards import Card

from .model import Kind, Link, Side


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
    listeners = (await overview(client, (), {})).listeners if lag else []
    return replace(shown_by(cards, listeners), procedures=procedures_of(client.parts.contracts.on_bus()))


def shown_by(cards: Iterable[Card], listeners: Iterable[ListenerStatus] = ()) -> Side:
    """Return what cards show; what several processes of a service do is added up.

    Args:
        cards: The cards.
        listeners: How far listeners are; none where that is not to be drawn.
    """
    cards = list(cards)
    # Many processes show the same: each link is made once.
    shown: dict[tuple[str, Kind, str, str, str], int] = {}
    of_manifests: set[tuple[str, str]] = set()
    for card in cards:
        shown |= {(card.service, "owns", api.name, "", ""): 0 for api in card.apis}
        for listener in card.listeners:
            for event in listener.events if listener.enabled else ():
                api, _, name = event.rpartition(".")
                shown[card.service, "listens", api, name, listener.name] = 0
            if not listener.in_code:
                of_manifests.add((card.service, listener.name))
        used: tuple[tuple[Kind, Mapping[str, int]], ...] = (("calls", card.calls), ("fires", card.fires))
        for kind, counts in used:
            for full, count in counts.items():
                api, _, name = full.rpartition(".")
                key = (card.service, kind, api, name, "")
                shown[key] = shown.get(key, 0) + count
    made = {Link(*key): count for key, count in shown.items()}
    per_hour = {link: count for link, count in made.items() if link.kind in ("calls", "fires")}
    # What describes the bus itself is on each of them.
    links = {each for each in made if not each.api.startswith("internal.")}
    services, apis = {card.service for card in cards}, {each.api for each in links}
    lags, dead = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for each in listeners:
        lags[each.service, each.name] += each.lag + each.pending + each.retrying
        dead[each.service, each.name] += each.dead
    drawn = (frozenset(services), frozenset(links), frozenset(apis), per_hour)
    paused = frozenset((card.service, it.name) for card in cards for it in card.listeners if it.is_paused)
    # During a deployment, one of two processes may have it in its code, and the other in its manifest.
    in_code = frozenset(
        link for link in links if link.kind == "listens" and (link.service, link.listener) not in of_manifests
    )
    return Side(*drawn, dict(lags), dead=dict(dead), failed=_failed(cards), paused=paused, in_code=in_code)


def _failed(cards: Iterable[Card]) -> dict[str, tuple[int, int]]:
    """Return how many calls of each API have failed within the last ten minutes, and of how many."""
    found: dict[str, tuple[int, int]] = {}
    for it in (it for card in cards for it in card.procedures):
        failed, runs = found.get(it.api, (0, 0))
        of_it = sum(it.recent.outcomes.values())
        found[it.api] = failed + of_it - it.recent.outcomes.get("ok", 0), runs + of_it
    return found
