"""``bus.auth.check_password(...)``: names with dots between, to call, to fire and to listen to."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, overload

from lightbus.declared.api import Api
from lightbus.declared.definition import Event
from lightbus.declared.listener import Handler, Listener
from lightbus.declared.policy import DeliveryPolicy, OnError
from lightbus.exceptions import InvalidParameters, LightbusException, UnknownApi
from lightbus.messages import EventMessage
from lightbus.runtime.portal import run_blocking, shorten

from .client import BusClient
from .schema import BusSchema
from .typed.methods import MethodPath, member_of

P = ParamSpec("P")
T = TypeVar("T")


class BusPath:
    """A name on the bus. Attributes lead further down; calling it calls the procedure of that name.

    Args:
        client: The client that does the work.
        name: The name so far; empty for the bus itself.
    """

    def __init__(self, client: BusClient, name: str = "") -> None:
        self._client = client
        self._name = name
        api_name, _, last = name.rpartition(".")
        self._names = api_name, last

    @property
    def client(self) -> BusClient:
        """The bus as async code sees it; modules register their declarations with it."""
        return self._client

    @property
    def schema(self) -> Any:
        """The contracts of the bus, as a :class:`BusSchema`; below the bus, the contract of the API."""
        schema = BusSchema(self._client.parts)
        return schema.get(self._name) if self._name else schema

    @property
    def parameter_schema(self) -> dict[str, Any]:
        """The JSON Schema of the parameters of the procedure or event."""
        return BusSchema(self._client.parts).parameter_schema(*self._split(()))

    @property
    def response_schema(self) -> dict[str, Any]:
        """The JSON Schema of the result of the procedure."""
        return BusSchema(self._client.parts).response_schema(*self._split(()))

    def validate_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Check arguments of the procedure or event; see :meth:`BusSchema.validate_parameters`."""
        BusSchema(self._client.parts).validate_parameters(*self._split(()), parameters)

    def validate_response(self, response: Any) -> None:
        """Check a result of the procedure; see :meth:`BusSchema.validate_response`."""
        BusSchema(self._client.parts).validate_response(*self._split(()), response)

    def __getattr__(self, name: str) -> BusPath:
        if name.startswith("_"):
            raise AttributeError(f"names on the bus don't start with an underscore: {name!r}")
        # Kept in the instance, so that Python finds it without this function the next time.
        path = self.__dict__[name] = self._below(name)
        return path

    # A class could be called, too, as what the third form takes; this one comes first.
    @overload
    def __getitem__(self, name: str | type[Api] | Event) -> BusPath: ...  # type: ignore[overload-overlap]

    @overload
    def __getitem__(
        self, name: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]
    ) -> MethodPath[P, T]: ...

    @overload
    def __getitem__(self, name: Callable[Concatenate[Any, P], T]) -> MethodPath[P, T]: ...

    def __getitem__(self, name: Any) -> Any:
        """Return the path of a name that is no identifier, or of what an API's class has.

        Args:
            name: A name, as in ``bus.auth["*"]``; or of the bus itself a class derived from :class:`Api`, or
                one of its methods or events, as in ``bus[AuthApi.check_password](username="ann")``, whose
                arguments and result a type checker knows.

        Raises:
            UnknownApi: It is none of these, or is of several APIs.
        """
        if isinstance(name, str):
            return self._below(name)
        member = member_of(name)
        if self._name:
            raise UnknownApi(
                f"{member.path} is looked up from the bus itself; bus.{self._name} is a name on it"
            )
        path = self._below(member.path)
        return MethodPath(path, member.procedure) if member.procedure is not None else path

    def _below(self, name: str) -> BusPath:
        return BusPath(self._client, f"{self._name}.{name}" if self._name else name)

    def call(self, /, *args: object, bus_options: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
        """Call the procedure and wait for its result.

        Args:
            args: None: arguments go by name.
            bus_options: ``timeout``: seconds to wait, instead of the API's ``rpc_timeout``.
            kwargs: The procedure's arguments.

        Returns:
            The result, as JSON values.

        Raises:
            SyncCallOnEventLoop: An event loop runs in this thread; await :meth:`call_async` there.
        """
        api_name, name = self._split(args)
        return self._block("call", self._client.call_rpc_remote, api_name, name, kwargs, bus_options)

    __call__ = call

    async def call_async(
        self, /, *args: object, bus_options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        """Call the procedure and await its result; see :meth:`BusClient.call_rpc_remote`."""
        api_name, name = self._split(args)
        try:
            return await self._client.call_rpc_remote(api_name, name, kwargs, bus_options)
        except LightbusException as e:
            shorten(e)
            raise

    def fire(
        self, /, *args: object, bus_options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> EventMessage:
        """Fire the event and wait until the broker has stored it.

        Args:
            args: None: arguments go by name.
            bus_options: ``timeout``: seconds to wait, instead of the API's ``event_fire_timeout``;
                ``id``: the event's id, instead of a new one.
            kwargs: The event's arguments.

        Returns:
            The event as it was stored.

        Raises:
            SyncCallOnEventLoop: An event loop runs in this thread; await :meth:`fire_async` there.
        """
        api_name, name = self._split(args)
        return self._block("fire", self._client.fire_event, api_name, name, kwargs, bus_options)

    async def fire_async(
        self, /, *args: object, bus_options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> EventMessage:
        """Fire the event and wait until the broker has stored it; see :meth:`BusClient.fire_event`."""
        api_name, name = self._split(args)
        try:
            return await self._client.fire_event(api_name, name, kwargs, bus_options)
        except LightbusException as e:
            shorten(e)
            raise

    def fire_many(
        self, events: Iterable[Mapping[str, Any]], *, bus_options: Mapping[str, Any] | None = None
    ) -> list[EventMessage]:
        """Fire the event many times in few writes, and wait until the broker has stored all of them.

        Args:
            events: The arguments of each.
            bus_options: ``timeout``: seconds to wait for all, instead of the API's ``event_fire_timeout``;
                ``ids``: the id of each event, None for a new one.

        Returns:
            The events as they were stored, in their order.

        Raises:
            EventsNotFired: Some are not stored, or may not be; its ``outcomes`` has the outcome of each.
            SyncCallOnEventLoop: An event loop runs in this thread; await :meth:`fire_many_async` there.
        """
        api_name, name = self._split(())
        all_of_them = [(api_name, name, kwargs) for kwargs in events]
        return self._block("fire_many", self._client.fire_many, all_of_them, bus_options)

    async def fire_many_async(
        self, events: Iterable[Mapping[str, Any]], *, bus_options: Mapping[str, Any] | None = None
    ) -> list[EventMessage]:
        """Fire the event many times and wait until all are stored; see :meth:`BusClient.fire_many`."""
        api_name, name = self._split(())
        return await self._client.fire_many([(api_name, name, kwargs) for kwargs in events], bus_options)

    def listen(
        self,
        listener: Handler,
        *,
        listener_name: str | None = None,
        bus_options: Mapping[str, Any] | None = None,
        on_error: OnError | DeliveryPolicy = OnError.DEAD_LETTER,
    ) -> Listener:
        """Handle the event while this process is hosted; see :meth:`BusClient.listen_for_events`."""
        api_name, name = self._split(())
        return self._client.listen_for_event(api_name, name, listener, listener_name, bus_options, on_error)

    def __dir__(self) -> list[str]:
        """List the known names below this one: APIs, procedures and events."""
        client, prefix = self._client, f"{self._name}." if self._name else ""
        names: set[str] = set()
        for api_name in {*client.registry.names(), *client.parts.contracts.api_names()}:
            if api_name == self._name:
                contract = client.parts.contracts.get(api_name) or {}
                names.update(contract.get("rpcs", {}), contract.get("events", {}))
                definition = client.registry.find(api_name)
                if definition is not None:
                    names.update(definition.procedures, definition.events)
            elif api_name.startswith(prefix):
                names.add(api_name[len(prefix) :].partition(".")[0])
        return sorted({*names, *(n for n in dir(type(self)) if not n.startswith("__"))})

    def __str__(self) -> str:
        return self._name or repr(self)

    def __repr__(self) -> str:
        name = f" {self._name}" if self._name else ""
        return f"<BusPath{name} of {self._client.described()}>"

    def __enter__(self) -> Self:
        self._check_whole()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_hosts:
            self._client.close()

    async def __aenter__(self) -> Self:
        self._check_whole()
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._is_hosts:
            await self._client.close_async()

    @property
    def _is_hosts(self) -> bool:
        """Whether this bus belongs to a host, which closes it, since other code uses it, too."""
        return self._client.parts.shutdown_handler is not None

    def _check_whole(self) -> None:
        if self._name:
            raise TypeError(f"`with` takes the bus itself, and closes it; bus.{self._name} is a name on it")

    def _block(self, form: str, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run a coroutine function of the client and wait for it."""
        awaitable = f"bus.{self._name}.{form}_async(...)"
        blocking = f"bus.{self._name}(...)" if form == "call" else f"bus.{self._name}.{form}(...)"
        return run_blocking(self._client.parts.home, function, *args, blocking=blocking, awaitable=awaitable)

    def _split(self, args: tuple[object, ...]) -> tuple[str, str]:
        if args:
            raise InvalidParameters(
                f"bus.{self._name} takes its arguments by name, but {len(args)} came without one; "
                "write name=value"
            )
        if not self._names[0]:
            what = f"bus.{self._name}" if self._name else "the bus itself"
            raise UnknownApi(f"{what} can't be called, fired or listened to; write bus.<api>.<name>")
        return self._names
