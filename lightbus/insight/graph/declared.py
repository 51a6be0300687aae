"""What manifests say of who owns, calls and listens to which API."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from lightbus.bus.client import BusClient
from lightbus.manifest.model import Manifest

from .model import Link, Side, together


def declared_by(manifest: Manifest, client: BusClient | None = None, known: Collection[str] = ()) -> Side:
    """Return what one manifest says.

    Args:
        manifest: The manifest.
        client: Its bus, with what bus modules declare, where they are imported.
        known: The names of APIs beyond those that it names, by which names in ``calls`` are understood.
    """
    service = manifest.service_name or (client.service_name if client else "") or "(no service_name)"
    owners = {name: api.owner for name, api in manifest.apis.items()}
    if client is not None:
        for name in client.registry.public():
            if manifest.api(name).owner is None and client.registry.is_offered(name):
                owners[name] = service
    links = {Link(owner, "owns", name) for name, owner in owners.items() if owner}
    links |= set(_listens(manifest, client, service))
    apis = {*known, *owners, *(link.api for link in links)}
    links |= {called(service, name, apis) for name in manifest.calls}
    registry = client.registry if client is not None else None
    procedures = {name: list(registry.get(name).procedures) for name in registry.public()} if registry else {}
    return Side(
        frozenset({service}),
        frozenset(links),
        frozenset({*owners}),
        procedures=procedures,
        owned=frozenset(name for name, owner in owners.items() if owner),
        unread=frozenset() if client else frozenset({service}),
    )


def declared_by_all(manifests: Iterable[Manifest]) -> Side:
    """Return what several manifests say together: a name in ``calls`` is an API if any of them knows it."""
    manifests = list(manifests)
    apis = together(map(declared_by, manifests)).apis
    return together(declared_by(manifest, known=apis) for manifest in manifests)


def called(service: str, name: str, apis: Collection[str]) -> Link:
    """Return the link for a name in ``calls``: an API, or one of its procedures."""
    api, _, procedure = name.rpartition(".")
    return (
        Link(service, "calls", api, procedure) if api and name not in apis else Link(service, "calls", name)
    )


def _listens(manifest: Manifest, client: BusClient | None, service: str) -> Iterator[Link]:
    pairs = {name: options.pairs for name, options in manifest.listeners.items() if options.enabled}
    if client is not None:
        pairs |= {each.name: each.events for each in client.listeners.values()}
    for listener, events in pairs.items():
        for api, event in events:
            yield Link(service, "listens", api, event, listener)
