"""For what a service uses each broker, as far as its manifest and its code tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lightbus.bus.client import BusClient
from lightbus.manifest.model import Manifest
from lightbus.transports.port import Kind, Use
from lightbus.transports.redis.acl.roles import Access
from lightbus.transports.redis.base import RedisTransport

_OF_KIND = {
    "rpc": ("serves", "calls", "knows"),
    "result": ("serves", "calls"),
    "event": ("fires", "listens"),
    "schema": ("hosts", "shows", "publishes", "owns", "runs"),
}

#: Stands for any event of an API: a name with two wildcards, since one alone names a stream of all events.
_ANY_EVENT = "**"
#: A listener's name, its events as pairs of API and name, whether it remembers them, and its name before.
_Listener = tuple[str, tuple[tuple[str, str], ...], bool, str]


def uses_of(manifest: Manifest, client: BusClient, kind: Kind, api_names: Sequence[str]) -> list[Use]:
    """Return for what a broker is used.

    Args:
        manifest: The manifest.
        client: Its bus, with what is declared by now.
        kind: The kind of transport.
        api_names: The APIs that it carries; all of them for contracts.
    """
    every = list(_uses(manifest, client))
    runs = "tasks" in client.parts.declarations.features and bool(_schedules(manifest, client))
    if not every or runs or any(use.role not in ("calls", "knows") for use in every):
        before = next((use.renamed_from for use in every if use.renamed_from), "")
        every.append(Use("hosts", client.service_name, renamed_from=before))
    every.append(Use("shows", client.service_name))
    roles = _OF_KIND[kind]
    return [u for u in every if u.role in roles and (kind == "schema" or u.name in api_names)]


@dataclass(frozen=True, slots=True)
class Accessed:
    """One transport over Redis, with the access that a service needs there.

    Args:
        kind: Its kind.
        api_names: The APIs that it carries; empty for contracts.
        transport: The transport.
        access: The access.
    """

    kind: Kind
    api_names: Sequence[str]
    transport: RedisTransport
    access: Access


def accesses(manifest: Manifest, client: BusClient, calls: Sequence[str] = ()) -> Iterator[Accessed]:
    """Go through the access that a service needs to each Redis; nothing is opened.

    Args:
        manifest: The manifest.
        client: Its bus, with what is declared by now.
        calls: APIs that it calls besides.
    """
    transports = client.transports()
    use_brokers(manifest, client)
    for name in calls:
        transports.rpc(name)
    for kind, transport, names in transports.in_use():
        if isinstance(transport, RedisTransport):
            uses = [_widened(client, use) for use in uses_of(manifest, client, kind, names)]
            uses += [Use("calls", name) for name in calls if kind in ("rpc", "result") and name in names]
            yield Accessed(kind, names, transport, transport.access(uses))


def use_brokers(manifest: Manifest, client: BusClient) -> None:
    """Make a transport to each broker that a manifest and its code have to do with; nothing is opened."""
    transports = client.transports()
    transports.schema()
    for name in names_of_apis(manifest, client):
        transports.rpc(name)
        transports.event(name)


def names_of_apis(manifest: Manifest, client: BusClient) -> list[str]:
    """Return the APIs that the manifest or its code has to do with; ``default`` if there is none."""
    listened = [api for _, events, _, _ in _listeners(manifest, client) for api, _ in events]
    named = [*manifest.apis, *client.registry.names(), *listened, *control_of(manifest, client)]
    return list(dict.fromkeys(named)) or ["default"]


def control_of(manifest: Manifest, client: BusClient) -> list[str]:
    """Return the API by which hosts of the service are told to do something; none if they do not allow it."""
    is_told = manifest.bus.remote_control and "tasks" in client.parts.declarations.features
    return [client.parts.identity.control_api] if is_told else []


def _uses(manifest: Manifest, client: BusClient) -> Iterator[Use]:
    features = client.parts.declarations.features
    listeners = list(_listeners(manifest, client))
    listened = {api for _, events, _, _ in listeners for api, _ in events}
    for name in names_of_apis(manifest, client):
        if name in control_of(manifest, client):
            yield from (Use("publishes", name), Use("serves", name))
        elif is_ours(manifest, client, name):
            yield from _of_owner(client, name)
        elif name != "default":
            yield Use("knows" if name in listened else "calls", name)
    for listener, events, dedupes, before in listeners if "events" in features else ():
        for api in dict.fromkeys(api for api, _ in events):
            names = tuple(
                dict.fromkeys(n for each, name in events if each == api for n in _known(client, api, name))
            )
            yield Use("listens", api, names, listener, client.service_name, dedupes, before)
    for schedule, scope in _schedules(manifest, client).items() if "tasks" in features else ():
        if scope == "service":
            yield Use("runs", f"{client.service_name}:{schedule}")


def _widened(client: BusClient, use: Use) -> Use:
    """Return a use with all that it may turn out to be, where the code of its API is not known here."""
    if client.registry.find(use.name) is not None:
        return replace(use, events=tuple(event for event in use.events if event != "*"))
    dedupes = use.dedupes or use.role == "fires"
    return replace(use, dedupes=dedupes, events=tuple(_ANY_EVENT if e == "*" else e for e in use.events))


def _of_owner(client: BusClient, name: str) -> Iterator[Use]:
    definition = client.registry.find(name)
    yield Use("publishes", name)
    if definition is None or not definition.internal:
        yield Use("owns", name)
    if "rpcs" in client.parts.declarations.features and (definition is None or not definition.only_tells):
        yield Use("serves", name)
    events = definition.events if definition is not None else {}
    if definition is None or events:
        dedupes = any(event.dedupe is not None for event in events.values())
        yield Use("fires", name, ("*", *events), dedupes=dedupes)


def is_ours(manifest: Manifest, client: BusClient, name: str) -> bool:
    """Tell whether an API is this service's to serve, as far as the manifest or the code says it."""
    owner = manifest.api(name).owner
    return client.registry.is_offered(name) if owner is None else owner == client.service_name


def _known(client: BusClient, api: str, name: str) -> tuple[str, ...]:
    """Return the events that a pattern means, as far as they are known here."""
    definition = client.registry.find(api)
    return (name, *definition.events) if name == "*" and definition is not None else (name,)


def _schedules(manifest: Manifest, client: BusClient) -> dict[str, str]:
    """Return the scope of each schedule, by its name."""
    named: dict[str, str] = {name: options.scope for name, options in manifest.schedules.items()}
    return named | {schedule.name: schedule.scope for schedule in client.all_schedules().values()}


def _listeners(manifest: Manifest, client: BusClient) -> Iterator[_Listener]:
    for record in client.listeners.values():
        yield record.name, record.events, record.dedupe is not None, record.renamed_from or ""
    for name, options in manifest.listeners.items():
        if name not in client.listeners:
            yield name, options.pairs, options.dedupe is not None, options.renamed_from or ""
