"""The first page: how the bus is, and what needs somebody."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from lightbus.insight.overview import ApiStatus, Overview
from lightbus.insight.processes import ProcessStatus
from lightbus.insight.traffic.pace import Paces
from lightbus.insight.verdicts import Verdict, of_api, of_group, of_process
from lightbus.transports.cards import Card
from lightbus.values.wording import counted, noun
from lightbus.web.asking import Fields, Part, Rows
from lightbus.web.looks import Look
from lightbus.web.pages.kinds import Row

from .listeners import Behind, listeners

#: The most rows of a table that is about the worst, and the most sentences about what needs somebody.
_MOST, _MOST_NOTES = 10, 50


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that tells how the bus is.

    Args:
        number: The number.
        what: What it counts.
        more: What else there is to say of it.
        severity: As that of a verdict.
    """

    number: int
    what: str
    more: str = ""
    severity: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """A service with its processes.

    Args:
        name: Its name; empty for processes of which that is not known.
        verdict: How the worst of its processes fares.
        processes: How many of them there are of each kind, in words.
        versions: The versions of the application that its hosts run.
        owns: The APIs that it owns.
        listens: Its listeners.
        obstacles: What keeps its processes from their work.
    """

    name: str
    verdict: Verdict
    processes: str
    versions: tuple[str, ...]
    owns: tuple[str, ...]
    listens: tuple[str, ...]
    obstacles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failing:
    """A procedure that has raised within the last ten minutes."""

    api: str
    name: str
    service: str
    errors: int
    runs: int
    p95: float | None


@dataclass(frozen=True, slots=True)
class Home:
    """All of the page.

    Args:
        figures: The numbers at its top.
        notes: Sentences about what needs somebody, and how many more there are.
        unreachable: Why which broker can't be reached.
        services: The services, as one page has them.
        listeners: The listeners for which most waits, and how many there are.
        apis: The APIs that need somebody, or whose calls wait, with how each fares, and how many more.
        failing: The procedures that fail most often.
        letters: What most of the newest dead letters have in common.
    """

    figures: list[Figure]
    notes: list[str]
    more_notes: int
    unreachable: list[str]
    services: Rows[Service] | Part[Service]
    listeners: list[Behind]
    more_listeners: int
    apis: list[tuple[ApiStatus, Verdict]]
    more_apis: int
    failing: list[Failing]
    letters: Sequence[Row]

    def part(self, fields: Fields) -> Home:
        """Return the page that the query of an address asks for."""
        them = self.services
        return replace(self, services=them.part(fields)) if isinstance(them, Rows) else self


def home(look: Look, paces: Paces, name: str = "") -> Home:
    """Return what the page shows of a look."""
    seen = look.overview
    found = listeners(seen.listeners, paces)
    waits = [(it, of_api(it)) for it in seen.apis]
    apis = [(it, verdict) for it, verdict in waits if it.waiting or it.running or verdict.severity]
    apis.sort(key=lambda each: (-each[1].severity, -each[0].waiting))
    services, failing = _services(seen.processes), _failing(look.cards)
    return Home(
        _figures(seen, services, failing),
        seen.notes[:_MOST_NOTES],
        len(seen.notes[_MOST_NOTES:]),
        seen.unreachable,
        Rows(services, lambda each: each.name),
        found[:_MOST],
        max(0, len(found) - _MOST),
        apis[:_MOST],
        len(apis[_MOST:]),
        failing[:_MOST],
        look.letters[:_MOST],
    )


def _figures(seen: Overview, services: Sequence[Service], failing: Sequence[Failing]) -> list[Figure]:
    alive = [p for p in seen.processes if p.state == "alive"]
    unready = sum(of_process(p).severity > 0 for p in alive)
    unread = sum(it.lag for it in seen.listeners)
    held = sum(it.pending + it.retrying for it in seen.listeners)
    dead = sum(it.dead for it in seen.listeners)
    calls = sum(it.waiting for it in seen.apis)
    running = sum(it.running for it in seen.apis)
    worst = max((of_group(it).severity for it in seen.listeners if it.lag), default=0)
    stuck = max((of_api(it).severity for it in seen.apis if it.waiting), default=0)
    not_ready = f"{unready} not ready" if unready else "all ready" if alive else "none is on the bus"
    put_aside = "put aside until somebody looks" if dead else "nothing was put aside"
    lived = len({p.service for p in alive})
    return [
        Figure(len(alive), noun(len(alive), "process", "processes"), not_ready, 2 if unready else 0),
        Figure(lived, noun(lived, "service"), counted(len(seen.apis), "API")),
        Figure(unread, noun(unread, "unread event"), f"{held:,} in work or to be retried", worst),
        Figure(dead, noun(dead, "dead letter"), put_aside, 1 if dead else 0),
        Figure(calls, noun(calls, "call waiting", "calls waiting"), f"{running:,} running", stuck),
        Figure(
            len(failing),
            noun(len(failing), "failing procedure"),
            "in the last ten minutes",
            1 if failing else 0,
        ),
    ]


def _services(processes: Iterable[ProcessStatus]) -> list[Service]:
    found = []
    for name, group in groupby(processes, lambda p: p.service):
        all_ = list(group)
        alive = [p for p in all_ if p.state != "ended"]
        # Those that have ended matter where nothing of the service is left.
        verdict = max((of_process(p) for p in alive or all_), key=lambda v: v.severity)
        found.append(
            Service(
                name,
                verdict if alive else Verdict("gone", 2),
                _by_state(all_),
                tuple(sorted({p.version for p in alive if p.version and p.kind == "host"})),
                _named(p.owns for p in all_),
                _named(p.listens for p in all_),
                tuple(dict.fromkeys(f"{p.name}: {it}" for p in alive for it in p.obstacles)),
            )
        )
    return sorted(found, key=lambda it: (-it.verdict.severity, it.name))


def _by_state(processes: Iterable[ProcessStatus]) -> str:
    """Say how many processes there are of each state."""
    counts: dict[str, int] = {}
    for each in processes:
        word = of_process(each).word
        kind = "client" if each.kind == "client" and word == "ok" else "ready" if word == "ok" else word
        counts[kind] = counts.get(kind, 0) + 1
    return ", ".join(f"{number} {word}" for word, number in counts.items())


def _named(lists: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(sorted({name for names in lists for name in names if not name.startswith("internal.")}))


def _failing(cards: Iterable[Card]) -> list[Failing]:
    """Return the procedures that have raised, by all processes of their service together."""
    found: dict[tuple[str, str, str], tuple[int, int, float]] = {}
    for card in cards:
        for it in card.procedures:
            runs = sum(it.recent.outcomes.values())
            errors = runs - it.recent.outcomes.get("ok", 0)
            if errors:
                key = it.api, it.name, card.service
                before = found.get(key, (0, 0, 0.0))
                found[key] = before[0] + errors, before[1] + runs, max(before[2], it.recent.p95 or 0.0)
    failing = [
        Failing(api, f"{api}.{name}", service, errors, runs, p95 or None)
        for (api, name, service), (errors, runs, p95) in found.items()
    ]
    return sorted(failing, key=lambda each: (-each.errors, each.name))
