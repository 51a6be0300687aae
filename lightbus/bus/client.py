"""The bus as async code sees it: call, fire, listen, and everything that a bus module declares."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from lightbus.contracts.expectations import advice
from lightbus.declared.registry import Registry, auto_registered
from lightbus.declared.settings import ApiSettings, Wiring
from lightbus.exceptions import (
    LightbusException,
    LightbusTimeout,
    LightbusWorkerError,
    NoWorker,
    ProcedureNotFound,
    RpcError,
    SchemaNotFound,
    ValidationError,
    WorkerLost,
)
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.runtime import traffic
from lightbus.runtime.deadline import time_left
from lightbus.runtime.portal import run_blocking
from lightbus.values import dump

from .bus_options import timeout_of
from .connections import Transports
from .contract_watch import ContractWatch
from .firing import Firing

_OUTCOMES: dict[type[RpcError], str] = {LightbusTimeout: "timeout", NoWorker: "no_worker"}


class BusClient(Firing):
    """One service's end of the bus. It may be used on any number of event loops, and after ``fork()``.

    Args:
        wiring: What is configured.
        registry: The APIs that this process defines; every auto-registered one where not given.
    """

    def __init__(self, wiring: Wiring, registry: Registry | None = None) -> None:
        super().__init__(wiring, registry if registry is not None else Registry(auto_registered))
        self.watch = ContractWatch(
            self.contracts, lambda: self.transports().schema(), wiring.schema_ttl, self._concerned
        )
        #: The loop of the host that this bus belongs to, for synchronous code in its threads.
        self.home: asyncio.AbstractEventLoop | None = None
        #: Set by the host: asks it to finish.
        self.shutdown_handler: Callable[[str], None] | None = None

    def reconnects(self) -> dict[str, int]:
        """Return, by the broker's address, how often a lost connection to it was made again."""
        found: dict[str, int] = {}
        for transports in list(self._open.values()):
            for transport in transports.all():
                # Those of one broker share their connection.
                found[transport.address] = max(found.get(transport.address, 0), transport.reconnects)
        return found

    def __repr__(self) -> str:
        return f"<BusClient of {self.described()}>"

    def described(self) -> str:
        """Return the service, the process and the broker in words, without a secret; nothing is opened."""
        chosen = self.wiring.api("default").event_transport
        known = Transports(self.wiring, self.metrics, self.obstacles)
        address = known.event("default").address
        closed = ", closed" if self.is_closed else ""
        return f"{self.service_name!r}, process {self.process_name!r}, {chosen.name} at {address}{closed}"

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, and takes no more calls."""
        return self._closed

    # Calling

    async def call_rpc_remote(
        self,
        api_name: str,
        name: str,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a procedure and wait for what it returns.

        Args:
            api_name: The API.
            name: The procedure.
            kwargs: Its arguments.
            options: ``timeout``: seconds to wait, instead of the API's ``rpc_timeout``.

        Returns:
            The result, as JSON values.

        Raises:
            LightbusTimeout: No answer in time; ``executed`` says whether it may have run.
            NoWorker: Nobody serves the API.
            LightbusWorkerError: The procedure raised.
            InvalidParameters: The arguments are not the procedure's.
            ValidationError: An argument or the result does not fit the contract.
            TransportUnavailable: The broker can't be reached.
        """
        started = time.perf_counter()
        outcome, message = "failed", None
        try:
            message = RpcMessage(api_name, name, dump(dict(kwargs or {})))
            hooks = self.hooks
            if hooks.around_rpc_call:
                with hooks.around(hooks.around_rpc_call, client=self, rpc_message=message):
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
            self.metrics.rpc_calls.add((api_name, name), outcome, seconds)
            if message is not None and traffic.is_logged(traffic.DEBUG):
                traffic.log("called", message.canonical_name, message.id, outcome, seconds)

    # Ending

    def request_shutdown(self, reason: str = "the bus was asked to shut down") -> None:
        """Ask the host to finish what runs and to end."""
        if self.shutdown_handler is not None:
            self.shutdown_handler(reason)

    def close(self) -> None:
        """Close the connections of synchronous code; the bus takes no more calls."""
        run_blocking(self.home, self.close_async, blocking="close()", awaitable="close_async()")

    async def close_async(self) -> None:
        """Close the connections of the running event loop; the bus takes no more calls."""
        if not self._closed and self.hooks.before_close:
            await self.hooks.run_after("before_close", self.hooks.before_close, client=self)
        self._closed = True
        self.discard_background()
        self.watch.close()
        transports = self._open.pop(asyncio.get_running_loop(), None)
        if transports is not None:
            await transports.close()
        self.pool.close()

    # Inside

    def _concerned(self) -> set[str]:
        """Return the APIs that this process has to do with, as far as manifest and code name them."""
        listened = (api for listener in self.listeners.values() for api, _ in listener.events)
        return {*self.registry.names(), *self.wiring.api_names, *listened}

    async def _call(self, message: RpcMessage, options: Mapping[str, Any] | None) -> Any:
        settings = self.settings(message.api_name)
        timeout = _within_deadline(timeout_of(options, settings.rpc_timeout), message.canonical_name)
        transport = self.transports().rpc(message.api_name)
        hooks = self.hooks
        if hooks.before_rpc_call:
            await hooks.run(hooks.before_rpc_call, client=self, rpc_message=message)
        validate = settings.validate
        if validate.outgoing or validate.incoming or settings.strict_validation:
            if time.monotonic() >= self.watch.due:
                await self.watch.refresh()
            try:
                self._check_call(message, settings)
            except LightbusException as e:
                await self._check_again(e, message, settings)
        try:
            result = await transport.call(message, timeout)
        except NoWorker as e:
            self._name_known_apis(e, message.api_name)
            raise
        if hooks.after_rpc_call:
            after = hooks.after_rpc_call
            await hooks.run_after(
                "after_rpc_call", after, client=self, rpc_message=message, result_message=result
            )
        if result.error:
            raise _remote_error(message, result)
        if validate.incoming:
            await self._check_result(message, result)
        return result.result

    def _name_known_apis(self, error: NoWorker, api_name: str) -> None:
        """Add what there is to the error about an API that is not known at all."""
        known = {name for name in self.contracts.on_bus() if not name.startswith("internal.")}
        if known and api_name not in known and self.registry.find(api_name) is None:
            error.args = (f"{error}{advice(api_name, known, 'on the bus there is')}",)

    def _check_call(self, message: RpcMessage, settings: ApiSettings) -> None:
        api_name, name = message.api_name, message.procedure_name
        validator = self.contracts.rpc_parameters(api_name, name)
        if validator is not None:
            if settings.validate.outgoing:
                validator.validate(message.kwargs)
            return
        contract = self.contracts.get(api_name)
        if contract is None:
            raise SchemaNotFound(
                f"no contract of the API {api_name!r} is on the bus, and strict_validation asks for one; "
                "start the service that owns it, or give its contract with bus.schema.load_local(FILE)"
            )
        known = ", ".join(sorted(contract.get("rpcs", {}))) or "none at all"
        raise ProcedureNotFound(f"the API {api_name!r} has no procedure {name!r}; it has: {known}")

    async def _check_result(self, message: RpcMessage, result: ResultMessage) -> None:
        api_name, name = message.api_name, message.procedure_name
        validator = self.contracts.rpc_response(api_name, name)
        if validator is None:
            return
        try:
            validator.validate(result.result)
        except ValidationError as e:
            find = self.contracts.rpc_response
            await self.watch.validate_again(e, find, api_name, name, result.result)

    async def _check_again(
        self, error: LightbusException, message: RpcMessage, settings: ApiSettings
    ) -> None:
        """Raise what is wrong with a call, unless the bus has another contract meanwhile, which it fits."""
        if await self.watch.changed(message.api_name):
            try:
                self._check_call(message, settings)
                return
            except LightbusException as e:
                error = e
        if settings.strict_validation or not isinstance(error, SchemaNotFound):
            raise error

    async def load_contracts(self) -> None:
        """Read the contracts on the bus now, instead of with the first message that needs one.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """
        await self.watch.load()


def _within_deadline(timeout: float, name: str) -> float:
    """Return how long a call may take where it is made on behalf of another one, whose caller waits, too."""
    left = time_left()
    if left is None or left > timeout:
        return timeout
    if left <= 0:
        raise LightbusTimeout(
            f"{name} was not called, since there is no time left: the caller of the procedure that calls it "
            "waits no longer",
            "no",
        )
    return left


def _remote_error(message: RpcMessage, result: ResultMessage) -> Exception:
    """Make the error that a caller sees of what its worker reports."""
    text = str(result.result)
    if text.startswith("WorkerLost("):
        return WorkerLost(f"{message.canonical_name}: the process that ran it died; it may have had effects")
    trace = f"\n\nIn the worker:\n{result.trace}" if result.trace else ""
    return LightbusWorkerError(f"{message.canonical_name} failed in its worker: {text}{trace}")
