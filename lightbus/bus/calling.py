"""Calling procedures, up to the transport and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightbus.declared.names import advice, listed
from lightbus.declared.settings import CONTROL, ApiSettings
from lightbus.exceptions import (
    LightbusException,
    LightbusTimeout,
    LightbusWorkerError,
    NoWorker,
    ProcedureNotFound,
    RpcError,
    SchemaNotFound,
    UndeclaredCall,
    ValidationError,
    WorkerLost,
)
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.runtime import traffic
from lightbus.runtime.deadline import time_left
from lightbus.transports.rpc import RpcTransport, is_loss
from lightbus.values import dump_arguments, marked

from .bus_options import timeout_of
from .parts import Parts

_OUTCOMES: dict[type[RpcError], str] = {LightbusTimeout: "timeout", NoWorker: "no_worker"}


@dataclass(slots=True, eq=False)
class _Route:
    """The settings and the transport of an API's calls, as one event loop has them.

    Args:
        loop: The event loop.
        edition: The state of the connections in which they were looked up.
        settings: The settings.
        transport: The transport.
    """

    loop: asyncio.AbstractEventLoop
    edition: object
    settings: ApiSettings
    transport: RpcTransport


class Caller:
    """Calls procedures by way of a bus."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._connections = parts.connections
        self._routes: dict[str, _Route] = {}
        self._hooks = parts.hooks
        self._contracts = parts.contracts
        self._watch = parts.watch
        self._count = parts.metrics.rpc_calls.add

    async def call(
        self,
        api_name: str,
        name: str,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
    ) -> Any:
        """Call a procedure and wait for its result; see :meth:`BusClient.call_rpc_remote`."""
        started = time.perf_counter()
        outcome, message = "failed", None
        try:
            message = RpcMessage(api_name, name, dump_arguments(dict(kwargs or {}), "call", api_name, name))
            if self._hooks.around_rpc_call:
                with self._hooks.around_rpc_call(message):
                    result = await self._call(message, options)
            else:
                result = await self._call(message, options)
            outcome = "ok"
            return result
        except RpcError as e:
            outcome = _OUTCOMES.get(type(e), "error")
            raise
        finally:
            seconds = time.perf_counter() - started
            self._count((api_name, name), outcome, seconds)
            if message is not None and traffic.is_logged(traffic.DEBUG):
                traffic.log("called", message, outcome, seconds)

    async def _call(self, message: RpcMessage, options: Mapping[str, Any] | None) -> Any:
        loop, edition = asyncio.get_running_loop(), self._connections.edition
        route = self._routes.get(message.api_name)
        if route is None or route.loop is not loop or route.edition is not edition:
            route = self._find_route(message.api_name, loop, edition)
        settings, hooks = route.settings, self._hooks
        timeout = settings.rpc_timeout if options is None else timeout_of(options, settings.rpc_timeout)
        if (left := time_left()) is not None and left < timeout:
            timeout = _rest_of(left, message.canonical_name)
        if hooks.before_rpc_call:
            await hooks.before_rpc_call(message)
            message.kwargs = marked(message.kwargs)
        validate = settings.validate
        if validate.outgoing or validate.incoming or settings.strict_validation:
            if time.monotonic() >= self._watch.due:
                await self._watch.refresh()
            try:
                self._check_call(message, settings)
            except LightbusException as e:
                await self._check_again(e, message, settings)
        try:
            result = await route.transport.call(message, timeout)
        except NoWorker as e:
            self._name_known_apis(e, message.api_name)
            raise
        if hooks.after_rpc_call:
            await hooks.after_rpc_call(message, result)
        if result.error:
            raise _remote_error(message, result)
        if validate.incoming:
            await self._check_result(message, result)
        return result.result

    def _find_route(self, api_name: str, loop: asyncio.AbstractEventLoop, edition: object) -> _Route:
        """Look up the settings and the transport of an API, and keep them for the next call."""
        settings, transport = self._parts.settings(api_name), self._parts.transports().rpc(api_name)
        route = self._routes[api_name] = _Route(loop, edition, settings, transport)
        return route

    def _name_known_apis(self, error: NoWorker, api_name: str) -> None:
        """Add the known APIs to the error about one that is not known at all."""
        known = {name for name in self._contracts.on_bus() if not name.startswith("internal.")}
        if known and api_name not in known and self._parts.registry.find(api_name) is None:
            error.args = (f"{error}{advice(api_name, known, 'on the bus there is')}",)

    def _check_call(self, message: RpcMessage, settings: ApiSettings) -> None:
        api_name, name = message.api_name, message.procedure_name
        validator = self._contracts.rpc_parameters(api_name, name)
        if validator is not None:
            if settings.validate.outgoing:
                validator.validate(message.kwargs)
            return
        contract = self._contracts.get(api_name)
        if contract is None:
            raise SchemaNotFound(
                f"no contract of the API {api_name!r} is on the bus, and strict_validation asks for one; "
                "start the service that owns it, or give its contract with bus.schema.load_local(FILE)"
            )
        known = listed(name, contract.get("rpcs", {}))
        raise ProcedureNotFound(f"the API {api_name!r} has no procedure {name!r}; it has: {known}")

    async def _check_result(self, message: RpcMessage, result: ResultMessage) -> None:
        api_name, name = message.api_name, message.procedure_name
        validator = self._contracts.rpc_response(api_name, name)
        if validator is None:
            return
        try:
            validator.validate(result.result)
        except ValidationError as e:
            find = self._contracts.rpc_response
            await self._watch.validate_again(e, find, api_name, name, result.result)

    async def _check_again(
        self, error: LightbusException, message: RpcMessage, settings: ApiSettings
    ) -> None:
        """Raise the error of a call, unless the bus has a new contract meanwhile, which the call fits."""
        if await self._watch.changed(message.api_name):
            try:
                self._check_call(message, settings)
                return
            except LightbusException as e:
                error = e
        if settings.strict_validation or not isinstance(error, SchemaNotFound):
            raise error


class DeclaredCaller(Caller):
    """Calls procedures that the manifest declares, and refuses the others where they are called."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._declared: set[tuple[str, str]] = set()

    async def call(
        self,
        api_name: str,
        name: str,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
    ) -> Any:
        """Call a procedure and wait for its result; see :meth:`BusClient.call_rpc_remote`."""
        if (api_name, name) not in self._declared:
            self._check_declared(api_name, name)
            self._declared.add((api_name, name))
        return await super().call(api_name, name, kwargs, options)

    def _check_declared(self, api_name: str, name: str) -> None:
        wiring, path = self._parts.wiring, f"{api_name}.{name}"
        known = wiring.only_calls
        if api_name.startswith(CONTROL):
            return  # It is an operator who calls, not the code of this service.
        if known is None or {api_name, path} & known or self._parts.owns(api_name):
            return
        origin = wiring.origin("calls") or wiring.origin("strict_calls")
        place = f" ({origin})" if origin else ""
        raise UndeclaredCall(
            f"{path} is not among the calls that the manifest declares{place}, and strict_calls is on; add "
            f"{path} or {api_name} to calls"
        )


def _rest_of(left: float, name: str) -> float:
    """Return the seconds that are left to a call within another call, which must not end after that one."""
    if left <= 0:
        raise LightbusTimeout(
            f"{name} was not called, since the procedure that calls it has no time left: its own caller has "
            "stopped waiting",
            "no",
        )
    return left


def _remote_error(message: RpcMessage, result: ResultMessage) -> Exception:
    """Make the error that a caller gets from the report of its worker."""
    if is_loss(message, result):
        return WorkerLost(f"{message.canonical_name}: the process that ran it died; it may have had effects")
    trace = f"\n\nIn the worker:\n{result.trace}" if result.trace else ""
    return LightbusWorkerError(f"{message.canonical_name} failed in its worker: {result.result}{trace}")
