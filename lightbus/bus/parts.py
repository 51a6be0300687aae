"""The parts of one end of the bus, for all that works with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from lightbus.contracts.known import Contracts
from lightbus.contracts.watch import ContractWatch
from lightbus.declared.definition import Definition
from lightbus.declared.metrics import Metrics
from lightbus.declared.names import did_you_mean
from lightbus.declared.registry import Registry
from lightbus.declared.settings import Identity, Wiring
from lightbus.exceptions import NotAuthoritative
from lightbus.messages import EventMessage
from lightbus.plugins.hooks import Hooks
from lightbus.runtime.clock import Clock
from lightbus.runtime.obstacles import Obstacles
from lightbus.runtime.threads.pool import HandlerPool

from .cards import OwnCard
from .connections import Connections
from .declarations import Declarations


class Parts:
    """The parts of one end of the bus. A caller, a worker or a test takes those that it needs.

    Args:
        wiring: The configuration.
        registry: The APIs that this process defines.
        client: The bus as hooks get it.
    """

    def __init__(self, wiring: Wiring, registry: Registry, client: Any = None) -> None:
        #: Counts the work of this bus.
        self.metrics = Metrics()
        #: The reasons that keep it from its work at present.
        self.obstacles = Obstacles()
        #: The threads in which plain functions run.
        self.pool = HandlerPool()
        self.hooks = Hooks(self.pool, client)
        self.registry = registry
        self.declarations = Declarations(registry, self.hooks)
        self.connections = Connections(wiring, self.metrics, self.obstacles)
        #: The settings of an API and the transports of the running event loop: each message needs both.
        self.settings = self.connections.settings
        self.transports = self.connections.transports
        self.contracts = Contracts()
        self.watch = ContractWatch(
            self.contracts, lambda: self.transports().schema(), wiring.schema_ttl, self._concerned
        )
        #: What this process says of itself on the bus.
        self.card = OwnCard(self.connections, self.metrics, self.obstacles)
        #: The clock of schedules.
        self.clock = Clock()
        #: The loop of the host that this bus belongs to, for synchronous code in its threads.
        self.home: asyncio.AbstractEventLoop | None = None
        #: Set by mocks: takes each event that is written into an outbox.
        self.note_written: Callable[[EventMessage], None] | None = None
        #: Set by the host: asks it to finish.
        self.shutdown_handler: Callable[[str], None] | None = None

    @property
    def wiring(self) -> Wiring:
        """The configuration as it is now."""
        return self.connections.wiring

    @property
    def identity(self) -> Identity:
        """The names of this service and process."""
        return self.connections.wiring.identity

    def owns(self, api_name: str) -> bool:
        """Whether an API is this service's to serve and to fire: the manifest says so, else the code."""
        owner = self.settings(api_name).owner
        if owner is None:
            return self.registry.is_offered(api_name)
        return owner == self.identity.service_name and self.registry.find(api_name) is not None

    def group_of(self, listener_name: str, api_name: str) -> str:
        """Return the consumer group in which a listener of this service reads the events of an API."""
        service = getattr(self.settings(api_name).event_transport.options, "service_name", None)
        return f"{service or self.identity.service_name}-{listener_name}"

    def own(self, api_name: str, event_name: str) -> Definition:
        """Return an API, which this process must own, as whoever wants to fire an event of it does.

        Raises:
            NotAuthoritative: This process does not own it.
        """
        settings, registry = self.settings(api_name), self.registry
        event, definition = f"{api_name}.{event_name}", registry.offered(api_name)
        if settings.owner is not None:
            if settings.owner != self.identity.service_name:
                raise _not_ours(self, event, api_name, settings.owner)
            # The manifest gives it to this service, whether or not the code registers it.
            definition = definition or registry.find(api_name)
        if definition is None:
            raise _not_defined(registry, event, api_name)
        return definition

    def request_shutdown(self, reason: str) -> None:
        """Ask the host, if there is one, to finish running work and to end."""
        if self.shutdown_handler is not None:
            self.shutdown_handler(reason)

    async def close(self) -> None:
        """Close the connections of the running event loop; the bus takes no more calls."""
        try:
            # First, while calls still work: a plugin may use the bus once more.
            if not self.connections.is_closed and self.hooks.before_close:
                await self.hooks.before_close()
            await self.card.end()
        finally:
            # Also where whoever closes the bus is cancelled meanwhile: nobody closes it again.
            self.declarations.discard_background()
            self.watch.close()
            try:
                await self.connections.close()
            finally:
                self.pool.close()

    def _concerned(self) -> set[str]:
        """Return the APIs that this process uses, as far as manifest and code name them."""
        listened = (api for listener in self.declarations.listeners.values() for api, _ in listener.events)
        return {*self.registry.names(), *self.wiring.api_names, *listened}


def _not_ours(parts: Parts, event: str, api_name: str, owner: str) -> NotAuthoritative:
    path = f"apis.{api_name}.owner"
    place = parts.wiring.origin(path) or "the manifest"
    return NotAuthoritative(
        f"{event} can't be fired here: {owner!r} owns the API, as {path} in {place} says, and this service "
        f"is {parts.identity.service_name!r}"
    )


def _not_defined(registry: Registry, event: str, api_name: str) -> NotAuthoritative:
    known, what = registry.find(api_name), f"{event} can't be fired here, since this"
    rule = "only the service that owns an API fires its events"
    if known is not None:
        name = known.cls.__name__
        return NotAuthoritative(
            f"{what} service imports the API {api_name!r} and does not register it; if it owns the API, "
            f"write bus.client.register_api({name}()), or apis.{api_name}.owner into the manifest: {rule}"
        )
    example = f"{api_name.rpartition('.')[2].title().replace('_', '')}Api"
    return NotAuthoritative(
        f"{what} process does not define the API {api_name!r}: before firing, import the module whose class "
        f"has Meta.name = {api_name!r}, such as `from bus import {example}`; {rule}"
        f"{did_you_mean(api_name, registry.public())}"
    )
