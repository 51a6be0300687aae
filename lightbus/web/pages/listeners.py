"""The pages of listeners: all of them, and each by itself."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from lightbus.insight.listeners import ListenerStatus
from lightbus.insight.traffic.pace import Pace, Paces, Point
from lightbus.insight.verdicts import Verdict, of_group
from lightbus.transports.cards import Card, ListenerCard
from lightbus.transports.merging import stored_at
from lightbus.web.asking import ROWS, Rows
from lightbus.web.looks import Look

#: The most points that are drawn, and that are written as a table.
_MOST_POINTS, _MOST_ROWS = 180, 12


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
class Slowest:
    """The oldest event in work.

    Args:
        process: The process that holds it.
        fired: When it was fired, as a Unix time; None if that is not known.
        seconds: For how long it was seen there.
        is_least: Whether it was there before anybody looked.
    """

    process: str
    fired: float | None
    seconds: float
    is_least: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """How a listener went in the last hour.

    Args:
        points: The points, the oldest first, with times as Unix times.
        lags: The lines of unread events, for the script that draws.
        rates: Those of what was fired and read a second.
    """

    points: list[Point]
    lags: str
    rates: str

    @property
    def rows(self) -> list[Point]:
        """As many points as a table may have, the newest first."""
        step = max(1, -(-len(self.points) // _MOST_ROWS))
        return self.points[::-1][::step]


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
        processes: The processes that run it, each with what it says; no more than a page has rows.
        more: How many more processes run it.
        chart: How it went; None where it was seen less than twice.
        paused: Since when and by whom it is paused; empty if it is not.
        slowest: The oldest event in work, of all its streams; None if none is.
    """

    group: str
    name: str
    service: str
    streams: list[Behind]
    runs: Runs
    declared: ListenerCard | None
    processes: list[tuple[Card, ListenerCard]]
    more: int
    paused: str = ""
    chart: Chart | None = None
    slowest: Slowest | None = None


def table(look: Look, paces: Paces, name: str = "") -> Rows[Behind]:
    """Return the table of all listeners."""
    found = listeners(look.overview.listeners, paces)
    return Rows(found, lambda each: f"{each.it.group} {each.it.stream}")


def listeners(them: Iterable[ListenerStatus], paces: Paces) -> list[Behind]:
    """Return listeners with how far they are behind, those in need of help first."""
    found = [Behind(it, of_group(it), paces.of(it)) for it in them]
    return sorted(found, key=_urgency, reverse=True)


def listener(look: Look, paces: Paces, name: str) -> Listener | None:
    """Return what the page of a group shows; None if there is no such group."""
    streams = listeners((it for it in look.overview.listeners if it.group == name), paces)
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
        cards[:ROWS],
        len(cards[ROWS:]),
        next((each.it.paused for each in streams if each.it.paused), ""),
        _chart(paces.series((each.it for each in streams), _MOST_POINTS)),
        max(filter(None, map(_slowest, streams)), key=lambda each: each.seconds, default=None),
    )


def _slowest(each: Behind) -> Slowest | None:
    held, seconds = each.it.held, each.pace.held
    if held is None or seconds is None:
        return None
    return Slowest(held.process, stored_at(held.native_id), seconds, each.pace.held_is_least)


def _chart(points: list[Point]) -> Chart | None:
    if len(points) < 2:
        return None
    # The looks have their times by a clock of their own.
    offset = time.time() - time.monotonic()
    points = [replace(each, at=round(each.at + offset, 1)) for each in points]
    at = [each.at for each in points]
    lags = [("unread", [each.lag for each in points])]
    rates = [
        (name, [None if rate is None else round(rate, 2) for rate in found])
        for name, found in (
            ("fired/s", [each.fired for each in points]),
            ("read/s", [each.read for each in points]),
        )
    ]
    return Chart(points, json.dumps([at, lags]), json.dumps([at, rates]))


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
