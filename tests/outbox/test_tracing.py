"""The trace of an event that waits in an outbox is that in which it was written."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lightbus.bus.path import BusPath
from lightbus.plugins.tracing import TracingPlugin
from tests.support.eventually import eventually_async

from .conftest import Outbox, relaying
from .test_django import place


async def test_the_span_of_the_relay_is_a_child_of_that_in_which_the_event_was_written(
    bus: BusPath, sqlite: Outbox
) -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    bus.client.use_plugins({"tracing": TracingPlugin(provider)})
    with provider.get_tracer("tests").start_as_current_span("request") as request:
        await sync_to_async(place)(bus, sqlite, 1)
    async with relaying(bus, sqlite):
        await eventually_async(lambda: len(spans.get_finished_spans()) == 2)
    sent = spans.get_finished_spans()[1]
    assert sent.name == "publish shop.placed" and sent.parent is not None and sent.context is not None
    assert sent.parent.span_id == request.get_span_context().span_id
    assert sent.context.trace_id == request.get_span_context().trace_id
