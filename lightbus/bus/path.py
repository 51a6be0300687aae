"""``bus.auth.check_password(...)``: names with dots between, to call, to fire and to listen to."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any, Literal, ParamSpec, Protocol, Self, TypeVar, get_args, get_overloads, get_type_hints

from lightbus.declared.listener import Handler, Listener
from lightbus.declared.policy import DeliveryPolicy, OnError
from lightbus.exceptions import InvalidParameters, LightbusException, UnknownApi, ValidationError
from lightbus.messages import EventMessage
from lightbus.runtime.portal import run_blocking, shorten
from lightbus.values import tolerant_caster

from .client import BusClient
from .schema import BusSchema

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
        path = self.__dict__[name] = self[name]
        return path

    def __getitem__(self, name: str) -> BusPath:
        """Return the path of a name that is no identifier, such as ``bus.auth["*"]``."""
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
        api_name, _, name = self._name.rpartition(".")
        if args:
            raise InvalidParameters(
                f"bus.{self._name} takes its arguments by name, but {len(args)} came without one; "
                "write name=value"
            )
        if not api_name:
            what = f"bus.{self._name}" if self._name else "the bus itself"
            raise UnknownApi(f"{what} can't be called, fired or listened to; write bus.<api>.<name>")
        return api_name, name


class TypedPath(BusPath):
    """A path whose results become what a view says: the protocols in a module of ``lightbus types``.

    Args:
        client: The client that does the work.
        name: The name so far; empty for the bus itself.
        view: The protocol of what has this name; None where there is none.
    """

    def __init__(self, client: BusClient, name: str = "", view: Any = None) -> None:
        super().__init__(client, name)
        self._view = view

    @classmethod
    def of(cls, bus: BusPath, view: Any) -> TypedPath:
        """Return a bus with the types of a view: the same one each time, which keeps what it has found."""
        known: dict[Any, TypedPath] = bus.__dict__.setdefault("_typed", {})
        if view not in known:
            known[view] = cls(bus.client, view=view)
        return known[view]

    def __getitem__(self, name: str) -> TypedPath:
        """Return the path of a name that is no identifier."""
        view = _views_below(self._view).get(name) if self._view is not None else None
        return TypedPath(self._client, f"{self._name}.{name}" if self._name else name, view)

    def call(self, /, *args: object, bus_options: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
        """Call the procedure and wait for its result, as its hint says; see :meth:`BusPath.call`."""
        return self._cast(super().call(*args, bus_options=bus_options, **kwargs))

    __call__ = call

    async def call_async(
        self, /, *args: object, bus_options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        """Call the procedure and await its result, as its hint says."""
        return self._cast(await super().call_async(*args, bus_options=bus_options, **kwargs))

    @cached_property
    def _cast(self) -> Callable[[Any], Any]:
        call = getattr(self._view, "call", None)
        hint = get_type_hints(call, include_extras=True).get("return", Any) if call is not None else Any
        convert, place = tolerant_caster(hint), f"the result of {self._name}"
        where = getattr(self._view, "__module__", "the module of its types")

        def cast(result: Any) -> Any:
            try:
                return convert(result)
            except ValidationError as e:
                raise ValidationError(
                    f"{place}: {e}; {where} was written for another contract, so write it again with "
                    "`lightbus types`"
                ) from e

        return cast


@lru_cache(maxsize=4096)
def _views_below(view: Any) -> dict[str, Any]:
    """Return the protocols of what a protocol has, by name."""
    views = get_type_hints(view)
    by_name = view.__dict__.get("__getitem__")
    if by_name is not None:
        for function in get_overloads(by_name) or [by_name]:
            hints = get_type_hints(function)
            views |= dict.fromkeys(get_args(hints["name"]), hints["return"])
    return views


def returning(function: Callable[P, BusPath], typed: Callable[[BusPath], T]) -> Callable[P, T]:
    """Return a function that takes the same arguments and returns its bus as a module has it.

    Args:
        function: Makes or finds a bus.
        typed: Returns it with its types.
    """

    def make(*args: P.args, **kwargs: P.kwargs) -> T:
        return typed(function(*args, **kwargs))

    return make


class ProcedureView(Protocol):
    """What the path of every procedure has besides its calls."""

    @property
    def parameter_schema(self) -> dict[str, Any]:
        """The JSON Schema of the parameters."""

    @property
    def response_schema(self) -> dict[str, Any]:
        """The JSON Schema of the result."""

    def validate_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Check arguments."""

    def validate_response(self, response: Any) -> None:
        """Check a result."""


class EventView(Protocol):
    """What the path of every event has besides firing and listening."""

    @property
    def parameter_schema(self) -> dict[str, Any]:
        """The JSON Schema of the parameters."""

    def validate_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Check arguments."""


class ApiView(Protocol):
    """What the path of every API has besides its procedures and events."""

    @property
    def schema(self) -> Any:
        """The contract of the API."""

    def __getitem__(self, name: Literal["*"], /) -> BusPath:
        """Return the path of all of its events, to listen to."""


class BusView(Protocol):
    """What every bus has besides its APIs."""

    @property
    def client(self) -> BusClient:
        """The bus as async code sees it."""

    @property
    def schema(self) -> BusSchema:
        """The contracts of the bus."""

    def __enter__(self) -> Self:
        """Return the bus."""

    def __exit__(self, *_: object) -> None:
        """Close the bus."""

    async def __aenter__(self) -> Self:
        """Return the bus."""

    async def __aexit__(self, *_: object) -> None:
        """Close the bus."""
