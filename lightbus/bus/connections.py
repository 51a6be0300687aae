"""The settings of each API, and the transports that carry it on each event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from lightbus.declared.metrics import Metrics
from lightbus.declared.settings import ApiSettings, ChosenTransport, Wiring
from lightbus.exceptions import BusAlreadyClosed
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.events import EventTransport
from lightbus.transports.installed import find_transport
from lightbus.transports.port import Kind, Transport
from lightbus.transports.rpc import RpcTransport
from lightbus.transports.schema import SchemaTransport


class Transports:
    """The transports of one bus on one event loop; APIs that are wired alike share one.

    Args:
        wiring: The configuration, which has the transports of each API.
        metrics: The metrics that they count in.
        obstacles: The register in which they enter reasons that keep them from their work.
    """

    def __init__(self, wiring: Wiring, metrics: Metrics, obstacles: Obstacles) -> None:
        self._wiring = wiring
        self._metrics = metrics
        self._obstacles = obstacles
        self._made: dict[tuple[Kind, str, Any], Transport] = {}
        self._rpc: dict[str, RpcTransport] = {}
        self._event: dict[str, EventTransport] = {}

    def rpc(self, api_name: str) -> RpcTransport:
        """Return the transport of an API's calls."""
        transport = self._rpc.get(api_name)
        if transport is None:
            chosen = self._wiring.api(api_name).rpc_transport
            transport = self._rpc[api_name] = self._make("rpc", chosen)
        return transport

    def event(self, api_name: str) -> EventTransport:
        """Return the transport of an API's events."""
        transport = self._event.get(api_name)
        if transport is None:
            chosen = self._wiring.api(api_name).event_transport
            transport = self._event[api_name] = self._make("event", chosen)
        return transport

    def brokers(self, api_names: Iterable[str]) -> list[EventTransport]:
        """Return a transport of events to each broker that carries those of some APIs."""
        found: dict[str, EventTransport] = {}
        for api_name in api_names:
            transport = self.event(api_name)
            found.setdefault(transport.address, transport)
        return list(found.values())

    def reach(self, chosen: ChosenTransport) -> EventTransport:
        """Return a transport of events that no API has; it is closed with the others."""
        transport: EventTransport = self._make("event", chosen)
        return transport

    def schema(self) -> SchemaTransport:
        """Return the transport of contracts."""
        transport: SchemaTransport = self._make("schema", self._wiring.schema_transport)
        return transport

    def made(self) -> list[tuple[Kind, str, str]]:
        """Return the kind, name and address of each transport that is in use; some have no address."""
        return [
            (kind, name, transport.address if type(transport).address is not Transport.address else "")
            for (kind, name, _), transport in self._made.items()
        ]

    def all(self) -> list[Transport]:
        """Return all transports that are in use."""
        return list(self._made.values())

    def in_use(self) -> list[tuple[Kind, Transport, list[str]]]:
        """Return the kind of each transport that is in use, the transport, and the APIs that it carries."""
        answers = {name: rpc.answers for name, rpc in self._rpc.items() if rpc.answers is not None}
        carried: dict[Kind, Mapping[str, Transport]] = {
            "rpc": self._rpc,
            "result": answers,
            "event": self._event,
            "schema": {},
        }
        return [
            (kind, transport, [name for name, used in carried[kind].items() if used is transport])
            for (kind, _, _), transport in self._made.items()
        ]

    async def close(self) -> None:
        """Close all transports, also where whoever closes the bus is cancelled meanwhile."""
        async with contextlib.AsyncExitStack() as closings:
            for transport in reversed(self._made.values()):
                closings.push_async_callback(transport.close)
        self._made.clear()
        self._rpc.clear()
        self._event.clear()

    def _make(self, kind: Kind, chosen: ChosenTransport) -> Any:
        key = (kind, chosen.name, chosen.options)
        if key not in self._made:
            cls = find_transport(kind, chosen.name)
            transport: Transport = cls() if chosen.options is None else cls(chosen.options)
            self._made[key] = self._equip(transport)
            if isinstance(transport, RpcTransport) and transport.answers is not None:
                self._made["result", chosen.name, chosen.options] = self._equip(transport.answers)
        return self._made[key]

    def _equip(self, transport: Transport) -> Transport:
        transport.metrics = self._metrics
        transport.obstacles = self._obstacles
        transport.patience = self._wiring.patience
        return transport


class Connections:
    """The transports of one bus, on any number of event loops, and the settings by which they are made.

    Args:
        wiring: The configuration.
        metrics: The metrics that transports count in.
        obstacles: The register in which they enter reasons that keep them from their work.
    """

    def __init__(self, wiring: Wiring, metrics: Metrics, obstacles: Obstacles) -> None:
        self.wiring = wiring
        self._metrics = metrics
        self._obstacles = obstacles
        self._settings: dict[str, ApiSettings] = {}
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, Transports] = WeakKeyDictionary()
        #: The loop that was asked for last, and its transports.
        self._latest: tuple[asyncio.AbstractEventLoop | None, Transports | None] = None, None
        #: Another object after each change: settings and transports that were kept with it are out of date.
        self.edition = object()
        self.is_closed = False
        #: Called on each event loop on which the bus is first used.
        self.opened: Callable[[], None] = lambda: None

    def settings(self, api_name: str) -> ApiSettings:
        """Return the settings of an API."""
        settings = self._settings.get(api_name)
        if settings is None:
            settings = self._settings[api_name] = self.wiring.api(api_name)
        return settings

    def rewire(self, wiring: Wiring) -> None:
        """Use other settings from now on; transports that are open stay."""
        self.wiring = wiring
        self._settings.clear()
        self.edition = object()

    def transports(self) -> Transports:
        """Return the transports of the running event loop, which are made when first asked for."""
        if self.is_closed:
            raise BusAlreadyClosed
        loop = asyncio.get_running_loop()
        latest, transports = self._latest
        if loop is latest and transports is not None:
            return transports
        transports = self._open.get(loop)
        if transports is None:
            transports = self._open[loop] = Transports(self.wiring, self._metrics, self._obstacles)
            self.opened()
        self._latest = loop, transports
        return transports

    def reconnects(self) -> dict[str, int]:
        """Return the number of times that a lost connection was made again, by the broker's address."""
        found: dict[str, int] = {}
        for transports in list(self._open.values()):
            for transport in transports.all():
                # Those of one broker share their connection.
                found[transport.address] = max(found.get(transport.address, 0), transport.reconnects)
        return found

    async def close(self) -> None:
        """Close the transports of the running event loop; no others are made."""
        self.is_closed = True
        self.edition = object()
        transports = self._open.pop(asyncio.get_running_loop(), None)
        if transports is not None:
            await transports.close()
