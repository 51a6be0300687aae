"""The pages of listeners: all of them, and each by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from lightbus.insight.overview import ListenerStatus
from lightbus.insight.pace import Pace, Paces
from lightbus.insight.verdicts import Verdict, of_group
from lightbus.transports.cards import Card, ListenerCard
from lightbus.web.looks import Look


class Behind(NamedTuple):
    """A listener, with one of its streams, and how far behind it is."""

    it: ListenerStatus
    verdict: Verdict
    pace: Pace


@dataclass(frozen=True, slots=True)
class Runs:
    """What the processes of a listener have run within the last ten minutes.

    Args:
        outcomes: How often they had which outcome.
        p50: The longest time within which half of the runs of a process were over; None where none was.
        p95: Likewise, of 95 %.
        longest: The longest run.
    """

    outcomes: tuple[tuple[str, int], ...]
    p50: float | None
    p95: float | None
    longest: float | None


@dataclass(frozen=True, slots=True)
class Listener:
    """The page of one listener.

    Args:
        group: Its group.
        name: Its name.
        service: Its service.
        streams: Its streams.
        runs: What has run.
        declared: What a process says of it; None if none shows it.
        processes: The processes that run it, each with what it says.
    """

    group: str
    name: str
    service: str
    streams: list[Behind]
    runs: Runs
    declared: ListenerCard | None
    processes: list[tuple[Card, ListenerCard]]


def listeners(look: Look, paces: Paces, name: str = "") -> list[Behind]:
    """Return all listeners, those in need of help first."""
    found = [Behind(it, of_group(it), paces.of(it)) for it in look.overview.listeners]
    return sorted(found, key=_urgency, reverse=True)


def listener(look: Look, paces: Paces, name: str) -> Listener | None:
    """Return what the page of a group shows; None if there is no such group."""
    streams = [each for each in listeners(look, paces) if each.it.group == name]
    cards = [(card, it) for card in look.cards for it in card.listeners if it.group == name]
    if not streams and not cards:
        return None
    known = streams[0].it if streams else None
    declared = next((it for _, it in cards if it.enabled), cards[0][1] if cards else None)
    return Listener(
        name,
        known.name if known is not None else cards[0][1].name,
        known.service if known is not None else cards[0][0].service,
        streams,
        _runs(it for _, it in cards),
        declared,
        cards,
    )


def _runs(cards: Iterable[ListenerCard]) -> Runs:
    recent = [it.recent for it in cards]
    total: Counter[str] = Counter()
    for each in recent:
        total.update(each.outcomes)
    return Runs(
        tuple(total.most_common()),
        max(filter(None, (each.p50 for each in recent)), default=None),
        max(filter(None, (each.p95 for each in recent)), default=None),
        max(filter(None, (each.longest for each in recent)), default=None),
    )


def _urgency(each: Behind) -> tuple[int, float, int, int]:
    it = each.it
    return each.verdict.severity, each.pace.behind or 0.0, it.lag + it.pending, it.retrying + it.dead
