"""Spans of OpenTelemetry for calls, events and their handlers, linked from process to process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

from lightbus.exceptions import MissingExtra
from lightbus.messages import EventMessage, RpcMessage

from . import LightbusPlugin, PluginOptions
from .own_options import TracingOptions

try:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider, get_tracer
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as e:
    raise MissingExtra("the plugin tracing", "otel") from e

_SYSTEM = "lightbus"
_propagator = TraceContextTextMapPropagator()
Attributes = dict[str, str]


class TracingPlugin(LightbusPlugin):
    """Makes a span of each call, procedure, firing and listener, after the semantic conventions.

    Args:
        tracer_provider: Takes the spans; the global one if not given.
    """

    options: ClassVar[type[PluginOptions]] = TracingOptions
    # The work of other plugins on a message happens within its span.
    priority = 10

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer = get_tracer("lightbus", tracer_provider=tracer_provider)

    def around_rpc_call(self, *, rpc_message: RpcMessage, client: Any) -> AbstractContextManager[Any]:
        """Trace a call until its answer is there."""
        return self._sending(rpc_message, _call_name(rpc_message), SpanKind.CLIENT, _call(rpc_message))

    def around_rpc_execution(self, *, rpc_message: RpcMessage, client: Any) -> AbstractContextManager[Any]:
        """Trace a procedure."""
        return self._receiving(rpc_message, _call_name(rpc_message), SpanKind.SERVER, _call(rpc_message))

    def around_event_sent(self, *, event_message: EventMessage, client: Any) -> AbstractContextManager[Any]:
        """Trace the firing of an event."""
        name = f"publish {event_message.canonical_name}"
        attributes = _event(event_message, "publish", "send", client)
        return self._sending(event_message, name, SpanKind.PRODUCER, attributes)

    def around_event_execution(
        self, *, event_message: EventMessage, client: Any, listener_name: str
    ) -> AbstractContextManager[Any]:
        """Trace a listener."""
        name = f"process {event_message.canonical_name}"
        attributes = _event(event_message, "process", "process", client)
        attributes["messaging.consumer.group.name"] = f"{client.service_name}-{listener_name}"
        return self._receiving(event_message, name, SpanKind.CONSUMER, attributes)

    @contextmanager
    def _sending(
        self, message: RpcMessage | EventMessage, name: str, kind: SpanKind, attributes: Attributes
    ) -> Iterator[None]:
        # An event of an outbox has the trace in which it was written.
        parent = _propagator.extract(message.headers) if message.headers else None
        with self._tracer.start_as_current_span(name, parent, kind=kind, attributes=attributes) as span:
            headers: dict[str, str] = {}
            _propagator.inject(headers)
            message.headers = headers or None
            with _errors_told(span):
                yield

    @contextmanager
    def _receiving(
        self, message: RpcMessage | EventMessage, name: str, kind: SpanKind, attributes: Attributes
    ) -> Iterator[None]:
        parent = _propagator.extract(message.headers or {}, Context())
        started = self._tracer.start_as_current_span(name, parent, kind=kind, attributes=attributes)
        with started as span, _errors_told(span):
            yield


@contextmanager
def _errors_told(span: Span) -> Iterator[None]:
    try:
        yield
    except BaseException as e:
        span.set_attribute("error.type", type(e).__qualname__)
        if not isinstance(e, Exception):
            # OpenTelemetry does so itself with all others.
            span.record_exception(e)
            span.set_status(StatusCode.ERROR, f"{type(e).__name__}: {e}")
        raise


def _call_name(message: RpcMessage) -> str:
    return f"{message.api_name}/{message.procedure_name}"


def _call(message: RpcMessage) -> Attributes:
    return {
        "rpc.system": _SYSTEM,
        "rpc.service": message.api_name,
        "rpc.method": message.procedure_name,
        "messaging.message.id": message.id,
    }


def _event(message: EventMessage, operation: str, kind: str, client: Any) -> Attributes:
    return {
        "messaging.system": _SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        "messaging.destination.name": message.canonical_name,
        "messaging.message.id": message.id,
        "messaging.client.id": client.process_name,
    }
