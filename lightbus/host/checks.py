"""Checks beyond reading a manifest: of the code that it names, and of the brokers that it needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from lightbus.bus.client import BusClient
from lightbus.bus.groups import belongs, groups_of, heirs_of, what_to_tell
from lightbus.bus.path import BusPath
from lightbus.contracts.expectations import doubts, misspelt, procedures_of
from lightbus.declared.registry import Registry, auto_registered
from lightbus.declared.settings import Identity
from lightbus.exceptions import LightbusException, MissingExtra
from lightbus.insight.graph.calls import unknown_calls
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import InvalidManifest, Place, Problem, Problems, Severity
from lightbus.manifest.wiring import wiring_of
from lightbus.runtime.clock import difference, lead_of
from lightbus.runtime.portal import run
from lightbus.transports.port import Kind, Transport

from .importing import look_in
from .loading import Loader
from .uses import names_of_apis, use_brokers, uses_of

#: Seconds for which a broker is asked for the time.
_PATIENCE = 2.0


def client_for(manifest: Manifest) -> BusClient:
    """Make the bus that a manifest describes, on which nothing is declared yet."""
    look_in(Path.cwd())
    registry = Registry(auto_registered)
    wiring = wiring_of(manifest, registry)
    # A service without a name gets that of its first API, which is not imported yet.
    identity = Identity(manifest.service_name or "", wiring.identity.process_name)
    return BusClient(replace(wiring, identity=identity), registry)


def check(manifest: Manifest, folder: Path, *, imports: bool, connect: bool) -> list[Problem]:
    """Look for what is wrong with a manifest that can be read.

    Args:
        manifest: The manifest.
        folder: The folder in which modules are looked for first.
        imports: Whether to import the code that it names.
        connect: Whether to ask its brokers.

    Returns:
        Everything that is wrong, with the warnings and notes of reading it, in the order of the files.
    """
    problems = Problems(list(manifest.notes))
    client = client_for(manifest)
    if imports:
        problems.found += import_problems(manifest, client, folder)
    if connect:
        problems.found += run(_check_brokers(manifest, client, imports))
    else:
        problems.found += _misspelt_apis(manifest, client)
        problems.found += unknown_calls(manifest, _procedures(manifest, client), is_all=False)
    client.parts.declarations.discard_background()
    return problems.ordered("error", "warning", "note")


def _misspelt_apis(manifest: Manifest, client: BusClient) -> list[Problem]:
    """Tell of listeners to an API that is named nowhere else, where one of nearly that name is."""
    named = {*manifest.apis, *client.registry.names()}
    found = []
    for listener, event, near in misspelt(_listened(manifest, client), named):
        path = f"listeners.{listener}.events"
        what = f"{event}: neither manifest nor code names the API {event.rpartition('.')[0]} elsewhere"
        place = manifest.origin(path) or Place("")
        found.append(Problem(place, path, f"{what}; did you mean {near}?", "warning"))
    return found


def _listened(manifest: Manifest, client: BusClient) -> dict[str, Sequence[tuple[str, str]]]:
    """Return the events that listeners of the manifest and of the code ask for."""
    in_code = client.parts.declarations.listened()
    return {**{name: options.pairs for name, options in manifest.listeners.items()}, **in_code}


def import_problems(manifest: Manifest, client: BusClient, folder: Path) -> list[Problem]:
    """Import what a manifest names, and declare it on a bus.

    Args:
        manifest: The manifest.
        client: The bus.
        folder: The folder in which modules are looked for first.

    Returns:
        What can't be imported or does not fit.
    """
    loader = Loader(manifest, client, folder)
    with suppress(InvalidManifest):
        loader.load(BusPath(client))
    found = loader.problems.found
    return [*found, *_metrics_problems(manifest)] if manifest.http.listen is not None else found


def _metrics_problems(manifest: Manifest) -> list[Problem]:
    try:
        import_module("prometheus_client")
    except ImportError:
        place = manifest.origin("http.listen") or Place("")
        return [Problem(place, "http.listen", str(MissingExtra("the server of health and metrics", "http")))]
    return []


async def broker_problems(
    manifest: Manifest, client: BusClient, unreachable: Severity, *, in_detail: bool = False
) -> list[Problem]:
    """Ask every broker that is in use whether it has what the promises need.

    Args:
        manifest: The manifest.
        client: Its bus.
        unreachable: How bad it is where one does not answer.
        in_detail: Whether to tell details, too.

    Returns:
        Their faults, each once, located at the place in the manifest that names the broker.
    """
    transports = client.transports()
    checks = [_ask(manifest, client, unreachable, in_detail, *made) for made in transports.in_use()]
    problems = Problems()
    for found in await asyncio.gather(*checks):
        for problem in found:
            problems.add(problem.place, problem.path, problem.what, problem.severity, problem.topic)
    return problems.found


async def _check_brokers(manifest: Manifest, client: BusClient, imports: bool) -> list[Problem]:
    use_brokers(manifest, client)
    try:
        found = await broker_problems(manifest, client, "error")
        works = all(problem.severity != "error" for problem in found)
        if works:
            found += await clock_problems(manifest, client)
            found += await unknown_events(manifest, client)
            found += await _unknown_calls(manifest, client)
            found += await unserved_groups(manifest, client, imports=imports)
        return found
    finally:
        await client.close_async()


async def clock_problems(manifest: Manifest, client: BusClient) -> list[Problem]:
    """Compare this machine's clock with that of each broker that answers."""
    problems = Problems()
    for kind, transport, api_names in client.transports().in_use():
        try:
            async with asyncio.timeout(_PATIENCE):
                lead = await lead_of(transport.now, client.parts.clock)
        except (TimeoutError, LightbusException):
            continue  # That it does not answer is told already.
        if lead:
            path, place = origin_of(manifest, kind, api_names[0] if api_names else "default")
            what = difference(lead, transport.address, client.parts.clock.now())
            problems.add(place, path, f"{what}; set the wrong one right, as by NTP", "warning")
    return problems.found


async def unknown_events(manifest: Manifest, client: BusClient) -> list[Problem]:
    """Tell which events of listeners nobody on the bus has."""
    try:
        await client.parts.watch.load(only_look=True)
    except LightbusException as e:
        path, place = origin_of(manifest, "schema", "default")
        return [Problem(place, path, f"the events that listeners ask for were not checked: {e}", "warning")]
    listened = _listened(manifest, client)
    found = []
    ours = [name for name, record in manifest.apis.items() if record.owner == manifest.service_name]
    defined, named = {*client.registry.names(), *ours}, manifest.apis
    for doubt in doubts(listened, client.parts.contracts.on_bus(), defined, named):
        path, what = f"listeners.{doubt.listener}.events", f"{doubt.event}: {doubt.what}"
        where = manifest.origin(path)
        if where is None:
            found.append(Problem(Place(""), "", f"the listener {doubt.listener} waits for {what}", "warning"))
        else:
            found.append(Problem(where, path, what, "warning"))
    return found


async def _unknown_calls(manifest: Manifest, client: BusClient) -> list[Problem]:
    """Tell which calls that the manifest declares nobody on the bus has."""
    try:
        await client.parts.watch.load(only_look=True)
    except LightbusException:
        return []  # That contracts can't be read is told already.
    return unknown_calls(manifest, _procedures(manifest, client), is_all=True)


def _procedures(manifest: Manifest, client: BusClient) -> dict[str, Collection[str] | None]:
    """Return the procedures of each API that is known by the manifest, by contracts or by its class."""
    known: dict[str, Collection[str] | None] = dict.fromkeys(manifest.apis)
    known |= procedures_of(client.parts.contracts.on_bus())
    definitions = map(client.registry.find, client.registry.names())
    return known | {each.name: each.procedures for each in definitions if each is not None}


async def unserved_groups(manifest: Manifest, client: BusClient, *, imports: bool) -> list[Problem]:
    """Tell which groups of the service nobody reads and no listener stands for."""
    try:
        return [problem async for problem in _stale_groups(manifest, client, imports)]
    except LightbusException as e:
        path, place = origin_of(manifest, "event", "default")
        return [Problem(place, path, f"groups without listeners were not looked for: {e}", "warning")]


async def _stale_groups(manifest: Manifest, client: BusClient, imports: bool) -> AsyncIterator[Problem]:
    parts, service = client.parts, client.service_name
    events = _listened(manifest, client)
    known = (*manifest.listeners.values(), *client.listeners.values())
    listeners = {*events, *(each.renamed_from for each in known if each.renamed_from)}
    where = "in manifest and modules" if imports else "in the manifest (--imports looks at modules)"
    for status in await groups_of(parts, [(name, "*") for name in names_of_apis(manifest, client)]):
        if status.is_served or what_to_tell(status, service, listeners, where) is None:
            continue
        heirs = await heirs_of(parts, status, events) if belongs(status, service) else ()
        told = what_to_tell(status, service, listeners, where, heirs)
        is_near = status.limit is not None and 2 * status.waiting >= status.limit
        severity: Severity = "warning" if status.waiting else "note"
        yield Problem(Place(""), "", told or "", severity, "data" if is_near else "")


async def _ask(
    manifest: Manifest,
    client: BusClient,
    unreachable: Severity,
    in_detail: bool,
    kind: Kind,
    transport: Transport,
    api_names: Sequence[str],
) -> list[Problem]:
    path, place = origin_of(manifest, kind, api_names[0] if api_names else "default")
    try:
        found = await transport.check(uses_of(manifest, client, kind, api_names))
    except LightbusException as e:
        return [Problem(place, path, str(e), unreachable, "away")]
    is_check = unreachable == "error"
    problems = []
    for f in found:
        if (is_check or not f.is_watched) and (in_detail or not f.is_detail):
            severity = "error" if f.fatal else f.severity if is_check else _milder(f.severity)
            problems.append(Problem(place, path, f.what, severity, f.topic))
    return problems


def _milder(severity: Severity) -> Severity:
    """Return how bad it is for a host, which goes on and tries again."""
    return "warning" if severity == "error" else severity


def origin_of(manifest: Manifest, kind: Kind, api_name: str) -> tuple[str, Place]:
    """Return by which key, and where, the manifest says how to reach a broker."""
    own = "bus.schema.transport.redis" if kind == "schema" else f"apis.{api_name}.{kind}_transport.redis"
    beneath = ("bus.redis", "apis.default.redis", f"apis.{api_name}.redis")
    for path in (own, f"apis.default.{kind}_transport.redis", "bus.redis"):
        for key in ("url", "sentinel", "cluster"):
            place = manifest.origin(f"{path}.{key}")
            if place is not None:
                # The options beneath a transport are named by their own key.
                paths = [p for p in beneath if manifest.origin(f"{p}.{key}") == place]
                return f"{(*paths, path)[0]}.{key}", place
    return "bus.redis.url", Place("the default")
