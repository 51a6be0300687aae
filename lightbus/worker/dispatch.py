"""From a message to user code and back: hooks, validate, cast, call, outcome."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, KeysView
from typing import Any

from lightbus.bus.parts import Parts
from lightbus.contracts.contract import warn_of_hint
from lightbus.contracts.validator import Validator
from lightbus.declared.definition import EMPTY, Procedure, where
from lightbus.declared.listener import Handler, Listener
from lightbus.declared.policy import OnError
from lightbus.declared.settings import ApiSettings
from lightbus.exceptions import (
    InvalidParameters,
    LightbusException,
    ProcedureNotFound,
    SchemaNotFound,
    ValidationError,
    text_of,
)
from lightbus.messages import EventMessage, ResultMessage, RpcMessage
from lightbus.runtime import traffic
from lightbus.runtime.cancellation import is_cancelled, withstand
from lightbus.runtime.complaints import Complaints
from lightbus.runtime.deadline import Deadline
from lightbus.runtime.isolation import Isolation
from lightbus.runtime.threads.call import ThreadCall
from lightbus.transports.events import Delivery
from lightbus.values import arguments_caster, dump_answer, hints_of, marked, named_caster, optional

from .inboxes import handler_of

logger = logging.getLogger(__name__)

_MAX_TEXT = 10_000
#: The most casters that are kept: names of events come from the bus, and may be any number.
_MOST_CASTERS = 1_000
#: Errors of the call, as opposed to errors of the procedure.
_REFUSED = (InvalidParameters, ProcedureNotFound, ValidationError)
#: Stands in metrics for a procedure that does not exist: callers choose its name.
_UNKNOWN = "(unknown)"

Arguments = dict[str, Any]
Caster = Callable[[Arguments], Arguments]


class Call:
    """One procedure, made ready: all that can be looked up before the first call is looked up here."""

    __slots__ = ("caster", "function", "is_async", "parameters", "procedure", "response")

    def __init__(self, parts: Parts, procedure: Procedure) -> None:
        settings = parts.settings(procedure.api_name)
        names = (procedure.api_name, procedure.name)
        self.procedure = procedure
        self.function = getattr(parts.registry.instance(procedure.api_name), procedure.name)
        self.is_async = procedure.is_async
        self.caster: Caster | None = None
        if settings.cast_values:
            self.caster = arguments_caster(procedure.signature, hints_of(procedure.function))
        self.parameters: Validator | None = None
        self.response: Validator | None = None
        if settings.validate.incoming:
            self.parameters = parts.contracts.rpc_parameters(*names)
        if settings.validate.outgoing:
            self.response = parts.contracts.rpc_response(*names)


class Dispatch:
    """Runs procedures and listeners for one bus. It turns each of their errors into an outcome."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        #: Makes the context in which each message is handled.
        self.isolation = Isolation()
        self._hooks = parts.hooks
        self._pool = parts.pool
        self._metrics = parts.metrics
        self._complaints = Complaints(logger)
        self._expose_tracebacks = parts.wiring.expose_tracebacks
        self._calls: dict[str, dict[str, Call]] = {}
        #: By listener: whether its handler begins on the event loop, not in a thread; and what is called.
        self._handlers: dict[str, tuple[bool, Handler]] = {}
        self._casters: dict[str, Caster] = {}
        self._event_casters: dict[str, Caster | None] = {}
        self._takes: dict[str, Callable[[KeysView[str]], bool]] = {}

    def prepare_api(self, api_name: str) -> None:
        """Make the procedures of an API ready.

        Raises:
            MisconfiguredApiOptions: The class can't be made into an object, or has an unusable hint.
        """
        parts = self._parts
        definition = parts.registry.get(api_name)
        parts.contracts.set_local(definition)
        self._calls[api_name] = {
            name: Call(parts, procedure) for name, procedure in definition.procedures.items()
        }

    def prepare_listener(self, listener: Listener) -> None:
        """Make a listener ready.

        Raises:
            MisconfiguredApiOptions: One of its hints can't be used.
            InvalidListener: Its inbox can't be used.
        """
        self._handlers[listener.key] = listener.is_async, handler_of(self._parts, listener)
        self._casters[listener.key] = listener.caster()
        self._takes[listener.key] = listener.takes()
        for name, hint, what in listener.unconverted():
            place = f"{where(listener.handler)}: the listener {listener.name}: parameter {name}"
            warn_of_hint(place, hint, what)

    def event_caster(self, message: EventMessage) -> Caster | None:
        """Return the caster of an event's JSON arguments to its declared types; None if it declares none."""
        key = message.canonical_name
        if key not in self._event_casters:
            if len(self._event_casters) >= _MOST_CASTERS:
                self._event_casters.clear()
            self._event_casters[key] = _event_caster(self._parts, message)
        return self._event_casters[key]

    async def execute(self, message: RpcMessage) -> ResultMessage:
        """Run the procedure of a call; an error becomes the result, too.

        Returns:
            The result of the procedure, or its error.
        """
        hooks = self._hooks
        started, name, outcome = time.perf_counter(), message.procedure_name, "ok"
        in_thread: ThreadCall | None = None
        try:
            call = self._calls[message.api_name].get(name)
            if call is None:
                name = _UNKNOWN
                self._parts.registry.get(message.api_name).procedure(message.procedure_name)
                raise ProcedureNotFound(message.procedure_name[:80])
            if not call.is_async:
                in_thread = ThreadCall(call.function, is_bound=hooks.bind_rpc_execution)
            if hooks.around_rpc_execution:
                with hooks.around_rpc_execution(message):
                    result = await self._call(call, message, in_thread)
            else:
                result = await self._call(call, message, in_thread)
        except BaseException as e:
            if is_cancelled(e):
                raise
            await withstand()
            outcome = "refused" if isinstance(e, _REFUSED) else "error"
            result = await self._failed(message, e)
        seconds = (in_thread and in_thread.seconds) or time.perf_counter() - started
        self._metrics.rpc_executions.add((message.api_name, name), outcome, seconds)
        if traffic.is_logged(traffic.DEBUG):
            traffic.log("answered", message, outcome, seconds)
        if hooks.after_rpc_execution:
            await hooks.after_rpc_execution(message, result)
            result.result = marked(result.result)
        return result

    async def handle(self, listener: Listener, delivery: Delivery) -> None:
        """Run a listener on an event and settle the delivery, whatever happens."""
        hooks = self._hooks
        started, outcome = time.perf_counter(), "ok"
        in_thread: ThreadCall | None = None
        is_async, handler = self._handlers[listener.key]
        if not is_async and listener.batch is None:
            # With dedupe, it is bound: whether the event was handled before is asked just before it is.
            is_bound = hooks.bind_event_execution or listener.dedupe is not None
            in_thread = ThreadCall(handler, delivery.message, is_bound=is_bound)
        try:
            if hooks.around_event_execution:
                with hooks.around_event_execution(delivery.message, listener.name):
                    await self._run_listener(listener, delivery, in_thread)
            else:
                await self._run_listener(listener, delivery, in_thread)
        except BaseException as e:
            if is_cancelled(e):
                raise
            await withstand()
            outcome = await self._after_failure(listener, delivery, e)
        else:
            if hooks.after_event_execution:
                await hooks.after_event_execution(delivery.message)
            delivery.ack()
        message = delivery.message
        labels = (listener.name, message.api_name, message.event_name)
        seconds = (in_thread and in_thread.seconds) or time.perf_counter() - started
        self._metrics.event_handlings.add(labels, outcome, seconds)
        if traffic.is_logged(traffic.DEBUG):
            traffic.log("got", message, outcome, seconds, listener.name)

    async def _call(self, call: Call, message: RpcMessage, in_thread: ThreadCall | None) -> ResultMessage:
        hooks = self._hooks
        if hooks.before_rpc_execution:
            await hooks.before_rpc_execution(message)
        kwargs = message.kwargs
        call.procedure.check_arguments(kwargs)
        if call.parameters is not None:
            call.parameters.validate(kwargs)
        if call.caster is not None:
            kwargs = call.caster(kwargs)
        with Deadline(message.deadline):
            if in_thread is None:
                value = await call.function(**kwargs)
            else:
                value = await _in_thread(in_thread, kwargs)
        result = dump_answer(value)
        if call.response is not None:
            call.response.validate(result)
        return ResultMessage(
            result, message.id, api_name=message.api_name, procedure_name=message.procedure_name
        )

    async def _failed(self, message: RpcMessage, error: BaseException) -> ResultMessage:
        name = message.canonical_name
        if isinstance(error, _REFUSED):
            what, place = "%.200s (call %s) is answered with an error: %s", f"the calls of {message.api_name}"
            self._complaints.tell(place, what, name, message.id, error, message_id=message.id)
        else:
            logger.error("%s (call %s) raised:", name, message.id, exc_info=error)
            await self._hooks.report(error)
        trace = "".join(traceback.format_exception(error)) if self._expose_tracebacks else None
        return ResultMessage(
            text_of(error)[:_MAX_TEXT],
            message.id,
            error=True,
            trace=trace,
            api_name=message.api_name,
            procedure_name=message.procedure_name,
        )

    async def _run_listener(
        self, listener: Listener, delivery: Delivery, in_thread: ThreadCall | None
    ) -> None:
        hooks, parts, message = self._hooks, self._parts, delivery.message
        if hooks.before_event_execution:
            await hooks.before_event_execution(message)
        settings = parts.settings(message.api_name)
        kwargs = message.kwargs
        if settings.validate.incoming or settings.strict_validation:
            validator = parts.contracts.event(message.api_name, message.event_name)
            try:
                if validator is None:
                    await self._check_unknown(message, settings)
                elif settings.validate.incoming:
                    validator.validate(kwargs)
            except ValidationError as e:
                find = parts.contracts.event
                try:
                    await parts.watch.validate_again(e, find, message.api_name, message.event_name, kwargs)
                except ValidationError as e:
                    raise _Unfit(e) from e
        if not self._takes[listener.key](kwargs.keys()):
            raise _Unfit(listener.misfit(kwargs))
        if settings.cast_values:
            caster = self._casters[listener.key] if listener.batch is None else self.event_caster(message)
            try:
                kwargs = caster(kwargs) if caster is not None else kwargs
            except ValidationError as e:
                raise _Unfit(e) from e
        if in_thread is not None:
            await _in_thread(in_thread, kwargs)
        elif listener.batch is None:
            await self._handlers[listener.key][1](message, **kwargs)
        else:
            message.kwargs = kwargs
            await self.handle_list(listener, [message])

    async def handle_list(self, listener: Listener, messages: list[EventMessage]) -> None:
        """Call the handler of a listener that takes lists."""
        await self._pool.call(*self._handlers[listener.key], messages)

    async def _check_unknown(self, message: EventMessage, settings: ApiSettings) -> None:
        """Look on the bus for an event that no known contract has; ``strict_validation`` demands one."""
        parts = self._parts
        await parts.watch.changed(message.api_name)
        validator = parts.contracts.event(message.api_name, message.event_name)
        if validator is None and settings.strict_validation:
            raise SchemaNotFound(
                f"no contract on the bus has the event {message.canonical_name}, and strict_validation asks "
                "for one; is the service that owns it running?"
            )
        if validator is not None and settings.validate.incoming:
            validator.validate(message.kwargs)

    async def _after_failure(self, listener: Listener, delivery: Delivery, error: BaseException) -> str:
        message = delivery.message
        what = f"{message.canonical_name} (event {message.id})"
        if isinstance(error, _Unfit):
            self._complaints.tell(
                f"the events of the listener {listener.name}",
                "%s does not fit the listener %s: %s",
                what,
                listener.name,
                error.reason,
                level=logging.ERROR,
                message_id=message.id,
            )
            await delivery.dead_letter("invalid", error.reason)
            return "dead_letter"
        decision = listener.on_error.decide(delivery.attempt, error)
        logger.error(
            "the listener %s raised on %s, attempt %d of %d; %s",
            listener.name,
            what,
            delivery.attempt,
            listener.on_error.attempts,
            _OUTCOME[decision.action].format(delay=decision.delay),
            exc_info=error,
        )
        await self._hooks.report(error)
        if decision.action is OnError.RETRY:
            await delivery.retry(decision.delay, error)
            return "retry"
        if decision.action is OnError.DEAD_LETTER:
            await delivery.dead_letter("failed", error)
            return "dead_letter"
        if decision.action is OnError.ACKNOWLEDGE_AND_LOG:
            delivery.ack()
            return "acknowledged"
        await delivery.release()
        if decision.action is OnError.STOP_LISTENER:
            listener.enabled = False
        else:
            self._parts.request_shutdown(f"the listener {listener.name} raised on {what}")
        return "stopped"


async def _in_thread(call: ThreadCall, kwargs: Arguments) -> Any:
    """Call a function in a thread; if its result can be awaited, await that here."""
    if call.is_bound:
        await withstand()  # User code that ran before this one must not cancel it.
    call.kwargs = kwargs
    result = await call
    if not call.goes_on:
        return result
    # From now on, the time of the message counts, and not that of the thread.
    call.seconds = 0.0
    try:
        return await result
    finally:
        await withstand()


def _event_caster(parts: Parts, message: EventMessage) -> Caster | None:
    definition = parts.registry.find(message.api_name)
    event = definition.events.get(message.event_name) if definition is not None else None
    parameters = event.parameters if event is not None else ()
    hints = {p.name: optional(p.type, p.default) for p in parameters if p.type is not EMPTY}
    if not hints:
        return None
    return named_caster(hints)


class _Unfit(Exception):
    """An event does not fit its handler, as opposed to a handler that fails on it."""

    def __init__(self, reason: LightbusException) -> None:
        super().__init__(reason)
        self.reason = reason


_OUTCOME = {
    OnError.RETRY: "it is tried again in {delay:.1f} s",
    OnError.DEAD_LETTER: "it is put aside as a dead letter",
    OnError.ACKNOWLEDGE_AND_LOG: "it is acknowledged in spite of that",
    OnError.STOP_LISTENER: "the listener stops, and the event stays",
    OnError.SHUTDOWN: "the host shuts down, and the event stays",
}
