"""The lines with which a host begins: what it hosts, where that travels, and a call to try."""

from __future__ import annotations

import logging
import os
import shlex
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightbus import __version__
from lightbus.bus.client import BusClient
from lightbus.bus.modules.offers import Offers
from lightbus.declared.listener import Listener
from lightbus.declared.names import first_of
from lightbus.declared.settings import FEATURES
from lightbus.manifest.model import Manifest
from lightbus.transports.port import Kind
from lightbus.worker import Worker

from . import logs
from .embedded import says_where

logger = logging.getLogger(__name__)

#: The most files of a manifest that are named.
_MOST_NAMED = 3
_CARRIED: dict[Kind, str] = {"rpc": "calls", "result": "answers", "event": "events", "schema": "contracts"}
#: A value of each type that can be typed without thinking; one letter, so that the line fits a terminal.
_VALUES = {"string": "x", "integer": "1", "number": "1", "boolean": "true"}
#: Values that a shell must not read; not every procedure takes them.
_EMPTY = {"array": "[]", "object": "{}"}

Line = tuple[str, dict[str, Any]]


def tell_start(manifest: Manifest, *, reloads: bool = False) -> None:
    """Tell which Lightbus starts here, in which process, and by which manifest.

    Args:
        manifest: The manifest.
        reloads: Whether the processes are started again when something changes.
    """
    many, pid = manifest.processes > 1, os.getpid()
    process = f"{manifest.processes} processes under {pid}" if many else f"process {pid}"
    process += ", reloading" if reloads else ""
    named = f"manifest {listed(manifest.sources)}" if manifest.sources else "no manifest"
    about = {"version": __version__, "pid": pid, "processes": manifest.processes}
    _log(f"Lightbus {__version__}, {process}, {named}", {**about, "manifest": list(manifest.sources)})


def listed(names: Sequence[str]) -> str:
    """Return names with commas between, and only the number of those after the first few."""
    return first_of(names, _MOST_NAMED)


class Banner:
    """Tells what a service consists of, each thing once.

    Args:
        manifest: The manifest of the service.
        client: Its bus.
        arguments: The arguments of the command line, for the call to try; None if there is none.
        is_first: Whether no other process of the same supervisor tells the same.
    """

    def __init__(
        self, manifest: Manifest, client: BusClient, arguments: Namespace | None, *, is_first: bool
    ) -> None:
        self._manifest = manifest
        self._client = client
        self._arguments = arguments
        self._level = logging.INFO if is_first else logging.DEBUG
        self._told: set[str] = set()

    def tell(self, worker: Worker, served: Sequence[str], offers: Offers) -> None:
        """Tell what was made ready by now.

        Args:
            worker: It has the listeners.
            served: The APIs that are this process's own.
            offers: It knows why they are.
        """
        for line, about in self._lines(worker, served, offers):
            if line not in self._told:
                self._told.add(line)
                _log(line, about, self._level)

    def tell_ready(self, worker: Worker) -> None:
        """Tell that all of it works, and how to try it out."""
        service, process = self._client.service_name, self._client.process_name
        _log(f"ready: {service} runs as {process}", {"service": service, "process": process})
        command = self._command(worker.served)
        if command and logs.is_text():
            _log(f"try: {command}", {}, self._level)

    def _lines(self, worker: Worker, served: Sequence[str], offers: Offers) -> Iterator[Line]:
        client = self._client
        yield from self._of_brokers()
        if client.plugins:
            names = sorted(client.plugins)
            yield f"plugins: {', '.join(names)}", {"plugins": names}
        for name in client.registry.names():
            if name not in served:
                owner = self._manifest.api(name).owner
                why = (
                    f"is owned by {owner}: known here, but" if owner else "is imported, not registered: it is"
                )
                yield f"the API {name} {why} not served", {"api": name, "owner": owner}
        if reasons := self._reasons(served, offers):
            apis = [name for names in reasons.values() for name in names]
            listed = "; ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items())
            yield f"APIs in the registry: {listed}", {"apis": apis}
        if set(self._features) != set(FEATURES):
            yield f"features: {', '.join(self._features)}", {"features": list(self._features)}
        yield from self._of_outboxes()
        for event in worker.events:
            yield _of_listener(event.listener)
        for schedule in client.all_schedules().values() if "tasks" in self._features else ():
            about = {"schedule": schedule.name, "times": schedule.times, "scope": schedule.scope}
            yield f"schedule {schedule.name}: {schedule.times} ({schedule.scope})", about

    def _reasons(self, served: Sequence[str], offers: Offers) -> dict[str, list[str]]:
        """Return the APIs that are served, by the reason for it."""
        found: dict[str, list[str]] = {}
        for name in self._client.registry.public():
            if name in served:
                is_given = self._manifest.api(name).owner is not None
                found.setdefault("by the manifest" if is_given else offers.reason(name), []).append(name)
        return found

    def _of_brokers(self) -> Iterator[Line]:
        """Yield each broker once, and what it carries unless that is everything."""
        carried: dict[tuple[str, str], list[Kind]] = {}
        for kind, name, address in self._client.transports().made():
            carried.setdefault((name, address), []).append(kind)
        for (name, address), kinds in carried.items():
            if len(carried) == 1 and says_where(self._manifest):
                continue
            label = "Redis" if name == "redis" else "transport"
            where = address if name == "redis" else f"{name} at {address}" if address else name
            names = [_CARRIED[kind] for kind in dict.fromkeys(kinds)]
            what = f" ({', '.join(names)})" if len(carried) > 1 else ""
            yield f"{label}: {where}{what}", {"transport": name, "address": address, "carries": names}

    def _of_outboxes(self) -> Iterator[Line]:
        outbox = self._manifest.outbox
        many = f", {outbox.partitions} partitions" if outbox.partitions > 1 else ""
        for name in outbox.names if "outbox" in self._features else ():
            about = {"outbox": name, "partitions": outbox.partitions}
            yield f"outbox {name}: {outbox.batch} events at a time{many}", about

    @property
    def _features(self) -> Sequence[str]:
        return self._client.parts.declarations.features

    def _command(self, served: Sequence[str]) -> str:
        """Return a command that calls a procedure of this service; empty if none can be given."""
        given = vars(self._arguments) if self._arguments is not None else {}
        if any(each.startswith(("bus.redis", "apis.")) for each in given.get("overrides", ())):
            return ""  # It would have to be repeated, and may be a secret.
        options = [word for path in given.get("config", ()) for word in ("-c", path)]
        reachable = [n for n in served if self._manifest.api(n).rpc_transport.name == "redis"]
        for values in (_VALUES, {**_VALUES, **_EMPTY}):
            for api_name in reachable if "rpcs" in self._features else ():
                for name, contract in self._contract(api_name).get("rpcs", {}).items():
                    arguments = _arguments(contract["parameters"], values)
                    if arguments is not None:
                        words = ["lightbus", "call", *options, f"{api_name}.{name}", *arguments]
                        return shlex.join(words)
        return ""

    def _contract(self, api_name: str) -> Mapping[str, Any]:
        is_public = not self._client.registry.get(api_name).internal
        return (self._client.parts.contracts.get(api_name) or {}) if is_public else {}


def _of_listener(listener: Listener) -> Line:
    events = [f"{api}.{name}" for api, name in listener.events]
    about = {"listener": listener.name, "events": events, "concurrency": listener.concurrency}
    many = f" (concurrency {listener.concurrency})" if listener.concurrency > 1 else ""
    return f"listener {listener.name}: {', '.join(events)}{many}", about


def _arguments(parameters: Mapping[str, Any], values: Mapping[str, str]) -> list[str] | None:
    """Return ``NAME=VALUE`` for each argument that a procedure needs; None where one has no such value."""
    words = []
    for name in parameters.get("required", ()):
        value = _value(parameters["properties"][name], values)
        if value is None:
            return None
        words.append(f"{name}={value}")
    return words


def _value(schema: Mapping[str, Any], values: Mapping[str, str]) -> str | None:
    if schema.keys() & {"format", "pattern", "minLength", "minimum", "exclusiveMinimum", "multipleOf"}:
        return None  # Not every value of the type fits.
    for choice in schema.get("enum", ()):
        return str(choice)
    if schema.keys() & {"$ref", "anyOf", "allOf", "oneOf", "const"}:
        return None
    kind = schema.get("type", "string")
    return values.get(kind) if isinstance(kind, str) else None


def _log(line: str, about: Mapping[str, Any], level: int = logging.INFO) -> None:
    logger.log(level, "%s", line, extra={"about": about})
