"""The page of an API: its contract as documentation, who serves and calls it, and who listens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightbus.contracts.compare import is_whole
from lightbus.contracts.printing import show
from lightbus.insight.overview import ApiStatus
from lightbus.insight.traffic.pace import Paces
from lightbus.insight.traffic.revisions import Revision
from lightbus.insight.verdicts import Verdict, of_api
from lightbus.transports.cards import Card
from lightbus.web.looks import Look


@dataclass(frozen=True, slots=True)
class Procedure:
    """A procedure, by all processes that serve it.

    Args:
        name: Its name.
        handler: The function.
        place: Its file and line.
        runs: How often it has run within the last ten minutes.
        errors: How many of them did not end well.
        p95: The longest time within which 95 % of the runs of a process were over.
        callers: How often each service has called it within the last hour.
    """

    name: str
    handler: str
    place: str
    runs: int
    errors: int
    p95: float | None
    callers: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Api:
    """All of the page.

    Args:
        it: What is known of it.
        verdict: How it fares.
        text: Its contract, as its owner would write it in Python; empty if none is on the bus.
        procedures: Its procedures.
        listeners: Its events that somebody listens to: each with a listener and its group.
        fires: How often each event was fired within the last hour.
        calls: The procedures that its contract has.
        events: The events that its contract has.
        revision: How its contract has changed, as far as that was seen; None if it was not.
    """

    it: ApiStatus
    verdict: Verdict
    text: str
    procedures: list[Procedure]
    listeners: list[tuple[str, str, str]]
    fires: list[tuple[str, int]]
    calls: list[str]
    events: list[str]
    revision: Revision | None


def api(look: Look, paces: Paces, name: str) -> Api | None:
    """Return what the page of an API shows; None if there is no such API."""
    it = next((each for each in look.overview.apis if each.name == name), None)
    if it is None:
        return None
    contract: Mapping[str, Any] = look.contracts.get(name) or {}
    asked = {event for card in look.cards for each in card.listeners if each.enabled for event in each.events}
    events = [event for event in sorted(asked) if event.rpartition(".")[0] == name]
    listening = {
        (event, each.name, each.group)
        for event in events
        for card in look.cards
        for each in card.listeners
        if event in each.events
    }
    return Api(
        it,
        of_api(it),
        show(name, dict(contract)) if is_whole(contract) else "",
        _procedures(look.cards, name, contract),
        sorted(listening),
        sorted(_within(name, (card.fires for card in look.cards)).items()),
        sorted(contract.get("rpcs", ())),
        sorted(contract.get("events", ())),
        look.revisions.of(name),
    )


def _procedures(cards: list[Card], api_name: str, contract: Mapping[str, Any]) -> list[Procedure]:
    served: dict[str, list[Any]] = {name: [] for name in contract.get("rpcs", ())}
    callers: dict[str, Counter[str]] = {}
    for card in cards:
        for it in card.procedures:
            if it.api == api_name:
                served.setdefault(it.name, []).append(it)
        for name, number in _within(api_name, [card.calls]).items():
            callers.setdefault(name, Counter())[card.service] += number
    return [_procedure(name, found, callers.get(name, Counter())) for name, found in sorted(served.items())]


def _procedure(name: str, found: list[Any], callers: Counter[str]) -> Procedure:
    outcomes = [(outcome, n) for it in found for outcome, n in it.recent.outcomes.items()]
    return Procedure(
        name,
        found[0].handler if found else "",
        f"{found[0].file}:{found[0].line}" if found and found[0].file else "",
        sum(n for _, n in outcomes),
        sum(n for outcome, n in outcomes if outcome != "ok"),
        max(filter(None, (it.recent.p95 for it in found)), default=None),
        tuple(callers.most_common()),
    )


def _within(api_name: str, counts: Any) -> Counter[str]:
    """Add up the counts of one API, by the names of its procedures or events."""
    total: Counter[str] = Counter()
    for each in counts:
        for full, number in each.items():
            owner, _, name = full.rpartition(".")
            if owner == api_name:
                total[name] += number
    return total
