"""Who owns, calls and listens to which API: as manifests say it, and as the bus shows it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Kind = Literal["owns", "calls", "fires", "listens"]
#: Whether something is declared and on the bus, only declared, or only on the bus.
State = Literal["there", "absent", "undeclared"]


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """What one service has to do with one API.

    Args:
        service: The service.
        kind: What it does.
        api: The API.
        name: The procedure that it calls, or the event that it fires or listens to; empty for the API as a
            whole, and ``*`` for all events.
        listener: Its listener.
    """

    service: str
    kind: Kind
    api: str
    name: str = ""
    listener: str = ""

    @property
    def target(self) -> str:
        """The API, with the procedure or event."""
        return f"{self.api}.{self.name}" if self.name else self.api


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two sides that are compared: what manifests say, or what is on the bus.

    Args:
        services: The services.
        links: What they have to do with APIs.
        apis: The APIs that are known, whoever owns them.
        per_hour: How often procedures were called and events fired within the last hour.
        lags: How many events wait for listeners, by service and listener.
        procedures: The procedures of the APIs whose contract or class is known.
        dead: How many dead letters listeners have, by service and listener.
        failed: How many calls of each API have failed within the last ten minutes, and of how many.
        paused: The listeners that a process says are paused, by service and listener.
        owned: The APIs whose owner is named.
        unread: The services whose bus modules were not imported: these own what they define, unless an owner
            is named, and have the listeners that they declare.
        in_code: The links of listeners that code alone declares, as their processes say.
    """

    services: frozenset[str] = frozenset()
    links: frozenset[Link] = frozenset()
    apis: frozenset[str] = frozenset()
    per_hour: Mapping[Link, int] = field(default_factory=lambda: MappingProxyType({}))
    lags: Mapping[tuple[str, str], int] = field(default_factory=lambda: MappingProxyType({}))
    procedures: Mapping[str, Collection[str]] = field(default_factory=lambda: MappingProxyType({}))
    dead: Mapping[tuple[str, str], int] = field(default_factory=lambda: MappingProxyType({}))
    failed: Mapping[str, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))
    paused: frozenset[tuple[str, str]] = frozenset()
    owned: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()
    in_code: frozenset[Link] = frozenset()

    def known(self) -> dict[str, Collection[str] | None]:
        """Return the procedures of each API that somebody has; None if only its name is known."""
        names = {*self.apis, *(link.api for link in self.links if link.kind != "calls")}
        return {**dict.fromkeys(names), **self.procedures}


def together(sides: Iterable[Side]) -> Side:
    """Return what several manifests say together."""
    sides = list(sides)
    return Side(
        frozenset[str]().union(*(side.services for side in sides)),
        frozenset[Link]().union(*(side.links for side in sides)),
        frozenset[str]().union(*(side.apis for side in sides)),
        procedures={api: each for side in sides for api, each in side.procedures.items()},
        owned=frozenset[str]().union(*(side.owned for side in sides)),
        unread=frozenset[str]().union(*(side.unread for side in sides)),
    )


@dataclass(frozen=True, slots=True)
class Graph:
    """What is drawn.

    Args:
        declared: What manifests say.
        live: What is on the bus; None if that was not asked.
        compares: Whether what is only declared, or only on the bus, is to be told from the rest.
        focus: The only service, API or listener that matters, with its neighbours; empty for all of them.
    """

    declared: Side
    live: Side | None = None
    compares: bool = False
    focus: str = ""

    @property
    def links(self) -> list[Link]:
        """All links that are in focus, in their order."""
        links = {*self.declared.links, *(self.live.links if self.live else ())}
        # What is called in truth says more than that something of the API may be.
        called = {(it.service, it.api) for it in self.live.links if it.kind == "calls"} if self.live else ()
        links -= {it for it in links if it.kind == "calls" and not it.name and (it.service, it.api) in called}
        # An owner fires its events anyway.
        links -= {each for each in links if each.kind == "fires" and _owning(each) in links}
        return sorted(self._in_focus(links) if self.focus else links)

    @property
    def services(self) -> list[str]:
        """The services, in the order of their names."""
        if self.focus:
            return sorted({each.service for each in self.links})
        return sorted({*self.declared.services, *(self.live.services if self.live else ())})

    @property
    def apis(self) -> list[str]:
        """The APIs, in the order of their names."""
        linked = {each.api for each in self.links}
        known = {*self.declared.apis, *(self.live.apis if self.live else ())}
        return sorted(linked if self.focus else linked | known)

    def names(self) -> set[str]:
        """Return all that may be in focus."""
        every = (self.declared, self.live) if self.live else (self.declared,)
        links = [each for side in every for each in side.links]
        services = [name for side in every for name in side.services]
        apis = [name for side in every for name in side.apis]
        return {*services, *apis, *(each.api for each in links), *(each.listener for each in links)} - {""}

    def state(self, link: Link) -> State:
        """Return where a link is; everything is there if nothing is compared."""
        if not self.compares or self.live is None:
            return "there"
        if link in self.live.links:
            return "there" if self.is_declared(link) or self._is_foreign(link.service) else "undeclared"
        return "absent"

    def state_of_service(self, service: str) -> State:
        """Return where a service is."""
        if not self.compares or self.live is None or self._is_foreign(service):
            return "there"
        if service not in self.declared.services:
            return "undeclared"
        return "there" if service in self.live.services else "absent"

    def differences(self) -> list[str]:
        """Return a sentence for each difference between what is declared and what is on the bus."""
        found = []
        for service in self.services:
            state = self.state_of_service(service)
            if state == "undeclared":
                found.append(f"{service} is on the bus, and no manifest declares it")
            elif state == "absent":
                found.append(f"{service} is declared, but none of its processes is on the bus")
        for link in self.links:
            # What is wrong with a service is said once, and not for all that it does.
            if self.state_of_service(link.service) == "there" and (said := self._difference(link)):
                found.append(said)
        return found

    def _difference(self, link: Link) -> str:
        state = self.state(link)
        what = f"{link.service} {link.kind}{' to' if link.kind == 'listens' else ''} {link.target}"
        by = f" by {link.listener}" if link.listener else ""
        if state == "undeclared":
            return f"{what}{by}, which its manifest does not declare"
        # That nobody has called something within an hour is no mistake.
        if state == "absent" and link.kind != "calls":
            return f"{what}{by} by its manifest, but not on the bus"
        return ""

    def is_declared(self, link: Link) -> bool:
        """Tell whether a manifest says it, or says it of all that an API has, or leaves it to modules."""
        links = self.declared.links
        if link in links:
            return True
        if link.service in self.declared.unread:
            if link.kind == "owns":
                return link.api not in self.declared.owned
            if link.kind == "listens":
                return self.live is not None and link in self.live.in_code
        return link.kind == "calls" and Link(link.service, "calls", link.api) in links

    def _is_foreign(self, service: str) -> bool:
        """Tell whether a service belongs to a part of the bus that nobody wants compared."""
        return bool(self.focus) and service not in self.declared.services

    def _in_focus(self, links: Collection[Link]) -> Iterator[Link]:
        """Go through the links of what is in focus and of what is next to it."""
        focus = self.focus
        # Who owns what the service in focus uses, and who uses what it owns.
        near = {each.api for each in links if focus in (each.service, each.listener)}
        owned = {each.api for each in links if each.kind == "owns" and each.service == focus}
        for each in links:
            is_near = each.api in (near if each.kind == "owns" else owned)
            if is_near or focus in (each.service, each.api, each.listener):
                yield each


def _owning(link: Link) -> Link:
    """Return the link by which the same service owns the same API."""
    return Link(link.service, "owns", link.api)
