"""Which transports carry which API, and the transports that one event loop has opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from lightbus.declared.api import ApiOptions, ValidateOptions
from lightbus.exceptions import TransportNotFound
from lightbus.metrics import Metrics
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.port import EventTransport, Identity, Kind, RpcTransport, SchemaTransport, Transport


@dataclass(frozen=True, slots=True)
class ChosenTransport:
    """A transport by its entry point's name.

    Args:
        name: The entry point's name.
        options: An object of the class that it has as ``options``; None for its defaults.
    """

    name: str = "redis"
    options: Any = None


class ApiSettings(Protocol):
    """What the bus must know of one API; the manifest's record of it is one."""

    @property
    def owner(self) -> str | None: ...  # noqa: D102
    @property
    def rpc_timeout(self) -> float: ...  # noqa: D102
    @property
    def event_fire_timeout(self) -> float: ...  # noqa: D102
    @property
    def event_listener_setup_timeout(self) -> float: ...  # noqa: D102
    @property
    def rpc_concurrency(self) -> int: ...  # noqa: D102
    @property
    def validate(self) -> ValidateOptions: ...  # noqa: D102
    @property
    def strict_validation(self) -> bool: ...  # noqa: D102
    @property
    def cast_values(self) -> bool: ...  # noqa: D102
    @property
    def rpc_transport(self) -> ChosenTransport: ...  # noqa: D102
    @property
    def event_transport(self) -> ChosenTransport: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultApi(ApiOptions):
    """What holds for an API where nothing is configured."""

    rpc_transport: ChosenTransport = field(default_factory=ChosenTransport)
    event_transport: ChosenTransport = field(default_factory=ChosenTransport)


@dataclass(frozen=True, slots=True)
class Wiring:
    """Everything that is configured for one bus.

    Args:
        identity: Who this is.
        api: Returns what holds for an API, by name.
        schema_transport: Where contracts are published.
        schema_ttl: Seconds after which the contract of an absent owner is forgotten.
        schema_human_readable: Whether published contracts are indented.
        expose_tracebacks: Whether callers get the traceback of a procedure that raised.
        drain_timeout: Seconds that running work may take to finish at the end.
        origin: Returns where the manifest says something, by its path, as ``file:line:column``; or nothing.
        api_names: The APIs that the manifest names.
    """

    identity: Identity
    api: Callable[[str], ApiSettings] = lambda name: DefaultApi()
    schema_transport: ChosenTransport = field(default_factory=ChosenTransport)
    schema_ttl: float = 60.0
    schema_human_readable: bool = True
    expose_tracebacks: bool = False
    drain_timeout: float = 25.0
    origin: Callable[[str], str] = lambda path: ""
    api_names: tuple[str, ...] = ()


class Transports:
    """The transports of one bus on one event loop; APIs that are wired alike share one.

    Args:
        wiring: Which API travels how.
        metrics: What they count in.
        obstacles: Where they tell what keeps them from their work.
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

    def schema(self) -> SchemaTransport:
        """Return the transport of contracts."""
        transport: SchemaTransport = self._make("schema", self._wiring.schema_transport)
        return transport

    def made(self) -> list[tuple[Kind, str, str]]:
        """Return the kind, name and address of each transport that is in use."""
        return [(kind, name, transport.address) for (kind, name, _), transport in self._made.items()]

    def all(self) -> list[Transport]:
        """Return all that are in use."""
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
        """Close all of them."""
        for transport in self._made.values():
            await transport.close()
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
        return transport


def find_transport(kind: Kind, name: str) -> type[Any]:
    """Look up a transport class by the name that a manifest gives it.

    Args:
        kind: Which of the three ports.
        name: The entry point's name in the group ``lightbus_{kind}_transports``.

    Returns:
        The class; it is made with an object of its ``options`` dataclass, or without arguments.

    Raises:
        TransportNotFound: No installed package offers it; the message lists those that are offered.
    """
    # Not at the top: it is slow to import, and a process looks a transport up once.
    from importlib.metadata import entry_points

    offered = entry_points(group=f"lightbus_{kind}_transports")
    for entry in offered:
        if entry.name == name:
            return cast(type[Any], entry.load())
    names = ", ".join(sorted(e.name for e in offered)) or "none at all"
    raise TransportNotFound(f"no {kind} transport named {name!r} is installed; there are: {names}")
