"""Mocks of a bus: nothing leaves the process, and what was called and fired can be looked at."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any
from unittest.mock import patch

from lightbus.bus.client import BusClient
from lightbus.bus.connections import Transports
from lightbus.bus.path import BusPath
from lightbus.bus.typed.views import BusView
from lightbus.contracts.known import Contracts
from lightbus.messages import EventMessage, ResultMessage, RpcMessage
from lightbus.transports.events import Outgoing
from lightbus.transports.memory.broker import from_json, to_json
from lightbus.transports.memory.events import MemoryEventTransport
from lightbus.transports.memory.rpc import MemoryRpcTransport
from lightbus.transports.memory.schema import MemorySchemaTransport
from lightbus.values import dump_answer


class MockResult:
    """The requests to a mocked bus, and its answers.

    Names are those of the bus: ``auth.check_password``. Each method has a name in camelCase too.

    Args:
        client: The bus.
        require_mocking: Whether each call and event must have been announced.
    """

    def __init__(self, client: BusClient, *, require_mocking: bool) -> None:
        self._client = client
        self._contracts = Contracts()
        self._require_mocking = require_mocking
        self._results: dict[str, tuple[Any, bool, str | None]] = {}
        self._events: set[str] = set()
        self._fired: list[EventMessage] = []
        self._called: list[RpcMessage] = []

    # Its answers

    def mock_rpc_call(
        self, name: str, result: Any = None, *, error: bool = False, trace: str | None = None
    ) -> None:
        """Answer calls of a procedure.

        Args:
            name: The procedure.
            result: Its result; the error's text with ``error``.
            error: Whether calling it raises LightbusWorkerError.
            trace: The worker's traceback, with ``error``.

        Raises:
            ProcedureNotFound: The API is defined here, and has no such procedure.
            ValidationError: The procedure can't return this.
        """
        api_name, _, procedure_name = name.rpartition(".")
        definition = self._client.registry.find(api_name)
        value = dump_answer(result)
        if definition is not None:
            definition.procedure(procedure_name)
            self._contracts.set_local(definition)
        if not error:
            contracts = self._client.parts.contracts if definition is None else self._contracts
            validator = Contracts.rpc_response(contracts, api_name, procedure_name)
            if validator is not None:
                validator.validate(value)
        self._results[name] = to_json(f"the result of {name}", value), error, trace

    def mock_event_firing(self, name: str) -> None:
        """Let an event be fired.

        Raises:
            EventNotFound: The API is defined here, and has no such event.
        """
        api_name, _, event_name = name.rpartition(".")
        definition = self._client.registry.find(api_name)
        if definition is not None:
            definition.event(event_name)
        self._events.add(name)

    # Requests

    def assert_event_fired(self, name: str, *, times: int | None = None) -> None:
        """Check that an event was fired, so many times where that is given."""
        _check("event", "fired", name, self.event_names_fired, times)

    def assert_event_not_fired(self, name: str) -> None:
        """Check that an event was not fired."""
        _check("event", "fired", name, self.event_names_fired, 0)

    def get_event_messages(self, name: str | None = None) -> list[EventMessage]:
        """Return the events that were fired, in order; only those of one name where it is given."""
        return [message for message in self._fired if name in (None, message.canonical_name)]

    @property
    def event_names_fired(self) -> list[str]:
        """The names of the events that were fired, in order."""
        return [message.canonical_name for message in self._fired]

    def assert_rpc_called(self, name: str, *, times: int | None = None) -> None:
        """Check that a procedure was called, so many times where that is given."""
        _check("procedure", "called", name, self.rpc_names_called, times)

    def assert_rpc_not_called(self, name: str) -> None:
        """Check that a procedure was not called."""
        _check("procedure", "called", name, self.rpc_names_called, 0)

    def get_rpc_messages(self, name: str | None = None) -> list[RpcMessage]:
        """Return the calls that were made, in order; only those of one procedure where it is given."""
        return [message for message in self._called if name in (None, message.canonical_name)]

    @property
    def rpc_names_called(self) -> list[str]:
        """The names of the procedures that were called, in order."""
        return [message.canonical_name for message in self._called]

    def __repr__(self) -> str:
        return f"<MockResult: {len(self._fired)} events, {len(self._called)} calls>"

    assert_events_fired = assert_event_fired
    mockRpcCall, mockEventFiring = mock_rpc_call, mock_event_firing
    assertEventFired, assertEventNotFired = assert_event_fired, assert_event_not_fired
    assertRpcCalled, assertRpcNotCalled = assert_rpc_called, assert_rpc_not_called
    getEventMessages, getRpcMessages = get_event_messages, get_rpc_messages
    eventNamesFired, rpcNamesCalled = event_names_fired, rpc_names_called

    # For its transports

    def note_event(self, message: EventMessage) -> None:
        """Take note of an event instead of storing it."""
        name = message.canonical_name
        if self._require_mocking and name not in self._events:
            raise AssertionError(
                f"the event {name} was fired, which this test does not expect; call "
                f"mock_event_firing({name!r}) before, or BusMocker(bus, require_mocking=False)"
            )
        message.native_id = f"mock-{len(self._fired)}"
        self._fired.append(message)

    def answer(self, message: RpcMessage) -> ResultMessage:
        """Take note of a call, and answer it."""
        name = message.canonical_name
        if self._require_mocking and name not in self._results:
            raise AssertionError(
                f"the procedure {name} was called, which this test does not expect; call "
                f"mock_rpc_call({name!r}, result=...) before, or BusMocker(bus, require_mocking=False)"
            )
        definition = self._client.registry.find(message.api_name)
        if definition is not None:
            definition.procedure(message.procedure_name).check_arguments(message.kwargs)
            self._contracts.set_local(definition)
            validator = self._contracts.rpc_parameters(message.api_name, message.procedure_name)
            if validator is not None:
                validator.validate(message.kwargs)
        self._called.append(message)
        result, error, trace = self._results.get(name, (b"null", False, None))
        value = from_json(result)
        names = {"api_name": message.api_name, "procedure_name": message.procedure_name}
        return ResultMessage(value, message.id, error=error, trace=trace, **names)


class BusMocker:
    """Mocks a bus for the length of a ``with`` block, or of a function that it decorates.

    A decorated function, plain or async, gets the :class:`MockResult` as its first argument (after ``self``).

    Args:
        bus: The bus.
        require_mocking: Whether a call or an event that was not announced fails; if not, calls return None.
    """

    def __init__(self, bus: BusPath | BusView, require_mocking: bool = True) -> None:
        self._client = bus.client
        self._require_mocking = require_mocking
        self._stacks: list[ExitStack] = []

    def __enter__(self) -> MockResult:
        client, parts = self._client, self._client.parts
        mock = MockResult(client, require_mocking=self._require_mocking)
        transports = _Mocked(client, mock)
        due = parts.watch.due
        stack = ExitStack()
        stack.callback(lambda: setattr(parts.watch, "due", due))
        stack.enter_context(patch.object(parts, "transports", lambda: transports))
        stack.enter_context(patch.object(parts, "note_written", mock.note_event))
        # Callers keep the transport of an API until the connections are others.
        stack.enter_context(patch.object(parts.connections, "edition", object()))
        # Results were checked when they were announced; the None of those that were not fits nothing.
        stack.enter_context(patch.object(parts.contracts, "rpc_response", lambda *names: None))
        self._stacks.append(stack)
        return mock

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stacks.pop().close()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with ExitStack() as stack:
                result = function(*args, stack.enter_context(self), **kwargs)
                # A plain decorator may hide an async function, which has not begun yet.
                return _within(stack.pop_all(), result) if inspect.isawaitable(result) else result

        @functools.wraps(function)
        async def async_wrapper(*args: Any, **kwargs: Any) -> Any:
            with self as mock:
                return await function(*args, mock, **kwargs)

        made: Any = async_wrapper if inspect.iscoroutinefunction(function) else wrapper
        # For pytest, which would take the mock for a fixture.
        signature = inspect.signature(function)
        names = list(signature.parameters)
        mock = next((name for name in names if name != "self"), None)
        rest = [p for name, p in signature.parameters.items() if name != mock]
        made.__signature__ = signature.replace(parameters=rest)
        return made  # type: ignore[no-any-return]


bus_mocker = BusMocker


async def _within(stack: ExitStack, result: Awaitable[Any]) -> Any:
    with stack:
        return await result


class _Mocked(Transports):
    """Transports that carry nothing."""

    def __init__(self, client: BusClient, mock: MockResult) -> None:
        super().__init__(client.parts.wiring, client.parts.metrics, client.parts.obstacles)
        self._transports = _Rpc(mock), _Event(mock), _Schema(client)

    def rpc(self, api_name: str) -> MemoryRpcTransport:
        return self._transports[0]

    def event(self, api_name: str) -> MemoryEventTransport:
        return self._transports[1]

    def schema(self) -> MemorySchemaTransport:
        return self._transports[2]


class _Rpc(MemoryRpcTransport):
    def __init__(self, mock: MockResult) -> None:
        self._mock = mock

    async def call(self, message: RpcMessage, timeout: float) -> ResultMessage:
        return self._mock.answer(message)


class _Event(MemoryEventTransport):
    def __init__(self, mock: MockResult) -> None:
        self._mock = mock

    async def publish_each(self, events: Sequence[Outgoing], timeout: float) -> None:
        for event in events:
            self._mock.note_event(event.message)


class _Schema(MemorySchemaTransport):
    def __init__(self, client: BusClient) -> None:
        self._client = client

    async def load(self, first: Collection[str] = ()) -> Mapping[str, Mapping[str, Any]]:
        contracts = self._client.parts.contracts
        known = {name: contracts.get_remote(name) for name in contracts.api_names()}
        return {name: contract for name, contract in known.items() if contract is not None}


def _check(kind: str, verb: str, name: str, seen: Sequence[str], times: int | None) -> None:
    found = seen.count(name)
    if found == times or (times is None and found):
        return
    wanted = "" if times is None else "never" if times == 0 else f"{times} times"
    others = f"; {verb} were: {', '.join(seen)}" if seen else f"; nothing was {verb}"
    if times is None:
        raise AssertionError(f"the {kind} {name} was not {verb}{others}")
    raise AssertionError(f"the {kind} {name} should be {verb} {wanted}, and was {found} times{others}")
