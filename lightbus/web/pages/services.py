"""The page of a service: its processes, and what it owns, calls, fires and listens to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from lightbus.insight.processes import ProcessStatus
from lightbus.insight.traffic.pace import Paces
from lightbus.insight.verdicts import Verdict, of_process
from lightbus.transports.cards import Card
from lightbus.web.asking import ROWS, Fields, Part, Rows
from lightbus.web.looks import Look

from .listeners import Behind, listeners


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a service.

    Args:
        it: What is known of it.
        verdict: How it fares.
        card: What it says of itself; None if it shows no card.
    """

    it: ProcessStatus
    verdict: Verdict
    card: Card | None


@dataclass(frozen=True, slots=True)
class Service:
    """All of the page.

    Args:
        name: The service.
        processes: Its processes, those that live first, as one page has them.
        ended: How many processes have ended that are not shown.
        owns: The APIs that it owns.
        calls: How often it has called each procedure within the last hour.
        fires: How often it has fired each event within the last hour.
        listeners: Its listeners, with each of their streams; no more than a page has rows.
        more_listeners: How many more there are.
    """

    name: str
    processes: Rows[Process] | Part[Process]
    ended: int
    owns: list[str]
    calls: list[tuple[str, int]]
    fires: list[tuple[str, int]]
    listeners: list[Behind]
    more_listeners: int

    def part(self, fields: Fields) -> Service:
        """Return the page that the query of an address asks for."""
        them = self.processes
        return replace(self, processes=them.part(fields)) if isinstance(them, Rows) else self


#: The most ended processes that are shown.
_MOST_ENDED = 5


def service(look: Look, paces: Paces, name: str) -> Service | None:
    """Return what the page of a service shows; None if nothing of it is on the bus."""
    seen = look.overview
    cards = {card.process: card for card in look.cards if card.service == name}
    all_ = [Process(p, of_process(p), cards.get(p.name)) for p in seen.processes if p.service == name]
    alive = [each for each in all_ if each.it.state != "ended"]
    ended = sorted((each for each in all_ if each.it.state == "ended"), key=lambda each: each.it.idle or 0.0)
    groups = listeners((it for it in seen.listeners if it.service == name), paces)
    if not all_ and not groups:
        return None
    return Service(
        name,
        Rows([*alive, *ended[:_MOST_ENDED]], lambda each: f"{each.it.name} {each.it.host}"),
        len(ended[_MOST_ENDED:]),
        sorted({api for each in all_ for api in each.it.owns if not api.startswith("internal.")}),
        _added(card.calls for card in cards.values()),
        _added(card.fires for card in cards.values()),
        groups[:ROWS],
        len(groups[ROWS:]),
    )


def _added(counts: Iterable[Mapping[str, int]]) -> list[tuple[str, int]]:
    """Add up what several processes have done; the most frequent comes first."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update({name: number for name, number in each.items() if not name.startswith("internal.")})
    return sorted(total.items(), key=lambda each: (-each[1], each[0]))
