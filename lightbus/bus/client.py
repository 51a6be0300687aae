"""The bus as async code sees it: call, fire, listen, and everything that a bus module declares."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from lightbus.declared.listener import Listener
from lightbus.declared.registry import Registry, auto_registered
from lightbus.declared.settings import ApiSettings, Wiring
from lightbus.messages import EventMessage
from lightbus.plugins import LightbusPlugin
from lightbus.runtime.portal import run_blocking

from .calling import Caller, DeclaredCaller
from .connections import Transports
from .declarations import Declarations
from .firing import Firer
from .parts import Parts

P = ParamSpec("P")
R = TypeVar("R")


def _declaring(
    method: Callable[Concatenate[Declarations, P], R],
) -> Callable[Concatenate[BusClient, P], R]:
    """Make a method of the client from one of its declarations."""

    @functools.wraps(method)
    def delegate(self: BusClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return method(self.parts.declarations, *args, **kwargs)

    return delegate


class BusClient:
    """One service's end of the bus. It may be used on any number of event loops, and after ``fork()``.

    Args:
        wiring: The configuration.
        registry: The APIs that this process defines; every auto-registered one if not given.
    """

    def __init__(self, wiring: Wiring, registry: Registry | None = None) -> None:
        self.parts = Parts(wiring, registry if registry is not None else Registry(auto_registered), self)

    @property
    def parts(self) -> Parts:
        """The parts of this bus; tests may exchange them as a whole."""
        return self._parts

    @parts.setter
    def parts(self, parts: Parts) -> None:
        self._parts = parts
        #: Fires the events; an outbox makes its own by it, and its relay sends them.
        self.firer = Firer(parts)
        # Where all calls are allowed, none costs a look.
        self._caller = Caller(parts) if parts.wiring.only_calls is None else DeclaredCaller(parts)

    def __repr__(self) -> str:
        return f"<BusClient of {self.described()}>"

    def described(self) -> str:
        """Return the service, the process and the broker in words, without a secret; nothing is opened."""
        broker = self.settings("default").event_transport
        closed = ", closed" if self.is_closed else ""
        return f"{self.service_name!r}, process {self.process_name!r}, {broker}{closed}"

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, and takes no more calls."""
        return self.parts.connections.is_closed

    # Calling and firing

    async def call_rpc_remote(
        self,
        api_name: str,
        name: str,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a procedure and wait for its result.

        Args:
            api_name: The API.
            name: The procedure.
            kwargs: Its arguments.
            options: ``timeout``: seconds to wait, instead of the API's ``rpc_timeout``.

        Returns:
            The result, as JSON values.

        Raises:
            LightbusTimeout: No answer in time; ``executed`` says whether it may have run.
            NoWorker: No process serves the API.
            LightbusWorkerError: The procedure raised.
            InvalidParameters: The arguments are not the procedure's.
            ValidationError: An argument or the result does not fit the contract.
            TransportUnavailable: The broker can't be reached.
            UndeclaredCall: The manifest does not declare it, and ``strict_calls`` is on.
        """
        return await self._caller.call(api_name, name, kwargs, options)

    async def fire_event(
        self,
        api_name: str,
        name: str,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> EventMessage:
        """Fire an event and wait until the broker has stored it.

        Args:
            api_name: The API, which this process must own.
            name: The event.
            kwargs: Its arguments.
            options: ``timeout``: seconds to wait, instead of the API's ``event_fire_timeout``; ``id``: the
                event's id, such as that of a ``PublishNotConfirmed``, instead of a new one.

        Returns:
            The event, with its id and the broker's.

        Raises:
            NotAuthoritative: This process does not own the API.
            EventNotFound: The API has no such event.
            InvalidEventArguments: The arguments are not the event's.
            ValidationError: An argument does not fit the contract.
            PublishNotConfirmed: It may or may not be stored.
            TransportUnavailable: It was not stored.
        """
        return await self.firer.fire(api_name, name, kwargs, options)

    async def fire_many(
        self, events: Iterable[tuple[str, str, Mapping[str, Any]]], options: Mapping[str, Any] | None = None
    ) -> list[EventMessage]:
        """Fire a list of events in few writes, and wait until the broker has stored all of them.

        All of them are checked before any is sent. They are stored in their order on each broker.

        Args:
            events: The API, the name and the arguments of each event.
            options: ``timeout``: seconds to wait for all of them, instead of the longest
                ``event_fire_timeout`` of their APIs; ``ids``: the id of each event, None for a new one.

        Returns:
            The events, with their ids and the broker's.

        Raises:
            EventsNotFired: Some are not stored, or may not be; its ``outcomes`` has the outcome of each.
            LightbusException: One of them can't be fired, as with :meth:`fire_event`; the message has its
                place in the list, and nothing was fired.
        """
        return await self.firer.fire_many(events, options)

    # Declaring

    register_api = _declaring(Declarations.register_api)
    listen_for_event = _declaring(Declarations.listen_for_event)
    listen_for_events = _declaring(Declarations.listen_for_events)
    add_listener = _declaring(Declarations.add_listener)
    add_background_task = _declaring(Declarations.add_background_task)
    every = _declaring(Declarations.every)
    schedule = _declaring(Declarations.schedule)
    all_schedules = _declaring(Declarations.all_schedules)
    set_features = _declaring(Declarations.set_features)
    use_plugins = _declaring(Declarations.use_plugins)
    hook = _declaring(Declarations.hook)
    before_worker_start = on_start = _declaring(Declarations.before_worker_start)
    after_worker_stopped = on_stop = _declaring(Declarations.after_worker_stopped)
    before_rpc_call = _declaring(Declarations.before_rpc_call)
    after_rpc_call = _declaring(Declarations.after_rpc_call)
    before_rpc_execution = _declaring(Declarations.before_rpc_execution)
    after_rpc_execution = _declaring(Declarations.after_rpc_execution)
    before_event_sent = _declaring(Declarations.before_event_sent)
    after_event_sent = _declaring(Declarations.after_event_sent)
    before_event_execution = _declaring(Declarations.before_event_execution)
    after_event_execution = _declaring(Declarations.after_event_execution)

    # Knowing

    @property
    def service_name(self) -> str:
        """The service that this process belongs to."""
        return self.parts.identity.service_name

    @property
    def process_name(self) -> str:
        """This process's name."""
        return self.parts.identity.process_name

    @property
    def registry(self) -> Registry:
        """The APIs that this process defines."""
        return self.parts.registry

    @property
    def listeners(self) -> dict[str, Listener]:
        """The listeners of this process, by name."""
        return self.parts.declarations.listeners

    @property
    def plugins(self) -> dict[str, LightbusPlugin]:
        """The plugins that are in use, by name."""
        return self.parts.declarations.plugins

    def settings(self, api_name: str) -> ApiSettings:
        """Return the settings of an API."""
        return self.parts.settings(api_name)

    def transports(self) -> Transports:
        """Return the transports of the running event loop, which are made when first asked for."""
        return self.parts.transports()

    async def load_contracts(self) -> None:
        """Read the contracts on the bus now, instead of with the first message that needs one.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """
        await self.parts.watch.load()

    # Ending

    def request_shutdown(self, reason: str = "the bus was asked to shut down") -> None:
        """Ask the host to finish running work and to end."""
        self.parts.request_shutdown(reason)

    def close(self) -> None:
        """Close the connections of synchronous code; the bus takes no more calls."""
        run_blocking(self.parts.home, self.close_async, blocking="close()", awaitable="close_async()")

    async def close_async(self) -> None:
        """Close the connections of the running event loop; the bus takes no more calls."""
        await self.parts.close()
