"""The boxes and arrows of a graph, for every form in which it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Literal, TypeVar

from lightbus.insight.graph.model import Graph, Kind, Link, Side, State

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
Column = Literal["services", "apis", "listeners"]
_WORST: dict[State, int] = {"undeclared": 2, "there": 1, "absent": 0}


@dataclass(frozen=True, slots=True)
class Box:
    """A service, an API or a listener.

    Args:
        column: Which of these.
        key: What tells it from others of its column.
        title: Its name.
        lines: What is said of it.
        state: Whether it is declared, and on the bus.
    """

    column: Column
    key: str
    title: str
    lines: tuple[str, ...] = ()
    state: State = "there"


@dataclass(frozen=True, slots=True)
class Arrow:
    """What leads from one box to another: from a service to an API, or from an API to a listener.

    Args:
        kind: What it means.
        source: The box from which it comes.
        target: The box to which it leads.
        label: The procedures or events, for forms that can write on arrows.
        state: Whether it is declared, and on the bus.
    """

    kind: Kind
    source: Box
    target: Box
    label: str
    state: State


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it, in an order in which arrows cross little.

    Args:
        boxes: The boxes.
        arrows: The arrows.
    """

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    def column(self, name: Column) -> list[Box]:
        """Return the boxes of one column, from above."""
        return [box for box in self.boxes if box.column == name]


def picture_of(graph: Graph) -> Picture:
    """Return what there is to draw."""
    links = graph.links
    of_service, of_api = grouped(links, lambda it: it.service), grouped(links, lambda it: it.api)
    of_listener = grouped(links, lambda it: (it.service, it.listener))
    named = dict.fromkeys([*graph.services, *sorted(of_service)])
    services = {name: _service(graph, name, of_service.get(name, ())) for name in named}
    apis = {name: _api(graph, name, of_api.get(name, ())) for name in graph.apis}
    listeners = {key: _listener(graph, same) for key, same in of_listener.items() if key[1]}
    arrows = []
    for (service, kind, api, listener), alike in _alike(links):
        state = _worst(graph, alike)
        label = ", ".join(_told(graph, [each for each in alike if each.name], partial(_called, graph)))
        if kind == "listens":
            arrows.append(Arrow(kind, apis[api], listeners[service, listener], label, state))
        else:
            arrows.append(Arrow(kind, services[service], apis[api], label or kind, state))
    return Picture(
        tuple(_ordered(services.values(), apis.values(), listeners.values(), arrows)), tuple(arrows)
    )


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Return links or arrows by what they have in common, in their order: there may be thousands."""
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def _alike(links: Iterable[Link]) -> list[tuple[tuple[str, Kind, str, str], list[Link]]]:
    """Return the links that become one arrow, each time with what they have in common."""

    def key(link: Link) -> tuple[str, Kind, str, str]:
        return link.service, link.kind, link.api, link.listener

    return [(common, list(alike)) for common, alike in groupby(sorted(links, key=key), key)]


def _service(graph: Graph, name: str, links: Iterable[Link]) -> Box:
    used = [each for each in links if each.kind in ("calls", "fires")]
    state = graph.state_of_service(name)
    lines = _told(graph, used, lambda each: f"{each.kind} {_called(graph, each, whole=True)}", state)
    return Box("services", name, name, tuple(lines), state)


def _api(graph: Graph, name: str, links: Iterable[Link]) -> Box:
    owners = [link for link in links if link.kind == "owns"]
    state = _worst(graph, owners)
    said = f"owned by {' and '.join(link.service for link in owners)}" if owners else "no owner is known"
    failed, runs = graph.live.failed.get(name, (0, 0)) if graph.live else (0, 0)
    failing = (f"{failed:,} of {runs:,} calls failed",) if failed else ()
    return Box("apis", name, name, (said, *failing), state)


def _listener(graph: Graph, same: Sequence[Link]) -> Box:
    link = same[0]
    state = _worst(graph, same)
    live, names = graph.live or Side(), (link.service, link.listener)
    lag, dead = live.lags.get(names), live.dead.get(names)
    said = ["paused"] if names in live.paused else []
    said += [f"{lag:,} waiting"] if lag is not None else []
    said += [f"{dead:,} dead"] if dead else []
    events = _told(graph, same, lambda each: each.target)
    return Box(
        "listeners",
        f"{link.service}-{link.listener}",
        link.listener,
        (f"of {link.service}", *events, *([", ".join(said)] if said else ())),
        state,
    )


def _worst(graph: Graph, links: Iterable[Link]) -> State:
    return max((graph.state(link) for link in links), key=_WORST.__getitem__, default="there")


def _told(graph: Graph, links: Sequence[Link], say: Callable[[Link], str], *drawn: State) -> list[str]:
    """Say something of each link, and its state as well where one line or box stands for several states.

    Args:
        graph: The graph.
        links: The links.
        say: Says it.
        drawn: The state as which they are drawn; left out, the worst of theirs.
    """
    states = [graph.state(link) for link in links]
    differ = len({*drawn, *states}) > 1
    return [
        say(link) + (_aside(link, state) if differ else "") for link, state in zip(links, states, strict=True)
    ]


def _aside(link: Link, state: State) -> str:
    if state == "undeclared":
        return " (not declared)"
    return "" if state == "there" else " (not called)" if link.kind == "calls" else " (not on the bus)"


def _called(graph: Graph, link: Link, *, whole: bool = False) -> str:
    count = graph.live.per_hour.get(link) if graph.live else None
    return (link.target if whole else link.name) + (f" {count:,}/h" if count else "")


def _ordered(
    services: Iterable[Box], apis: Iterable[Box], listeners: Iterable[Box], arrows: Iterable[Arrow]
) -> list[Box]:
    """Put each API beside its owner and each listener beside its API, as far as there is room."""
    arrows = list(arrows)
    ordered = list(services)
    for column in (list(apis), list(listeners)):
        height = {box: place for place, box in enumerate(ordered)}
        places: dict[Box, list[int]] = {box: [] for box in column}
        for arrow in arrows:
            if arrow.target in places and arrow.source in height:
                # An owner draws as strongly as five callers.
                places[arrow.target] += [height[arrow.source]] * (5 if arrow.kind == "owns" else 1)

        def middle(box: Box, places: dict[Box, list[int]] = places) -> float:
            return sum(places[box]) / len(places[box]) if places[box] else float("inf")

        ordered += sorted(column, key=lambda box: (middle(box), box.key))
    return ordered
