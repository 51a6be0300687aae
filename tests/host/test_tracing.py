"""The plugin `tracing`: spans of OpenTelemetry, linked from process to process."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import lightbus
from lightbus import Api, BusPath, Event
from lightbus.bus import creation
from lightbus.exceptions import LightbusTimeout, LightbusWorkerError
from lightbus.options import Duration
from lightbus.plugins.tracing import TracingPlugin
from lightbus.worker import Worker
from tests.guide.project import Project, printed
from tests.support.eventually import eventually, eventually_async
from tests.support.servers import Server
from tests.support.timers import HOUR, an_hour_passes

EXPORTER = InMemorySpanExporter()
PROVIDER = TracerProvider()
PROVIDER.add_span_processor(SimpleSpanProcessor(EXPORTER))
TRACER = PROVIDER.get_tracer("the service")
STAYING = asyncio.Event()


class ShopApi(Api):
    """Procedures of either kind, which make spans of their own."""

    sold = Event(("sku",))

    class Meta:
        name = "shop"
        auto_register = False

    async def price(self, sku: str) -> int:
        with TRACER.start_as_current_span("inside"):
            return len(sku)

    def stock(self, sku: str) -> int:
        with TRACER.start_as_current_span("inside"):
            return len(sku)

    def price_by_call(self, sku: str) -> int:
        """Synchronous code in a thread that calls, over the bus of its host."""
        price: int = lightbus.get_bus(service_name="shop").shop.price(sku=sku)
        return price

    async def fail(self) -> None:
        raise KeyError("no such sku")

    async def leave(self) -> None:
        raise SystemExit("gone")

    async def stay(self) -> None:
        STAYING.set()
        await asyncio.sleep(30)


async def note(event: lightbus.EventMessage, sku: str) -> None:
    with TRACER.start_as_current_span("inside"):
        if sku == "teapot":
            raise KeyError("no teapots")


def note_in_thread(event: lightbus.EventMessage, sku: str) -> None:
    with TRACER.start_as_current_span("inside"):
        pass


@pytest.fixture(params=["memory", "redis"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A manifest for everything over one transport."""
    EXPORTER.clear()
    options = {"redis": {"url": request.getfixturevalue("redis_url")}, "memory": {}}[request.param]
    return manifest_of({request.param: options})


def manifest_of(transport: dict[str, Any]) -> dict[str, Any]:
    api = dict.fromkeys(("rpc_transport", "event_transport"), transport)
    return {"apis": {"default": {**api, "rpc_timeout": 10}}, "bus": {"schema": {"transport": transport}}}


def bus_of(config: dict[str, Any], service_name: str, traced: bool = True) -> BusPath:
    plugins = [TracingPlugin(PROVIDER)] if traced else []
    bus = lightbus.create(config, service_name=service_name, process_name=service_name, plugins=plugins)
    bus.client.register_api(ShopApi)
    return bus


@contextlib.asynccontextmanager
async def served(config: dict[str, Any], listener: Any = note, traced: bool = True) -> AsyncIterator[BusPath]:
    """A host of the shop; what is given is another service's bus."""
    host, other = bus_of(config, "shop", traced), bus_of(config, "other")
    host.shop.sold.listen(listener, on_error=lightbus.OnError.ACKNOWLEDGE_AND_LOG)
    host.client.parts.home = asyncio.get_running_loop()
    worker = Worker(host.client.parts)
    worker.prepare(["shop"])
    await worker.ownership.take()
    await worker.join()
    await worker.publish_contracts()
    worker.start()
    yield other
    await worker.drain(0)
    await host.client.close_async()
    await other.client.close_async()


def spans() -> dict[str, ReadableSpan]:
    """The spans that have ended, by kind and name."""
    found = {f"{span.kind.name} {span.name}": span for span in EXPORTER.get_finished_spans()}
    assert len(found) == len(EXPORTER.get_finished_spans())
    return found


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    assert span.context is not None and parent.context is not None
    assert span.context.trace_id == parent.context.trace_id
    return span.parent is not None and span.parent.span_id == parent.context.span_id


@pytest.mark.parametrize("procedure", ["price", "stock"])
async def test_a_call_and_its_procedure_are_one_trace(config: dict[str, Any], procedure: str) -> None:
    async with served(config) as bus:
        with TRACER.start_as_current_span("outside"):
            assert await bus.shop[procedure].call_async(sku="cup") == 3
    found = spans()
    name = f"shop/{procedure}"
    outside, call = found["INTERNAL outside"], found[f"CLIENT {name}"]
    execution, inside = found[f"SERVER {name}"], found["INTERNAL inside"]
    assert is_child(call, outside) and is_child(execution, call) and is_child(inside, execution)
    assert call.attributes == execution.attributes
    attributes = dict(call.attributes or {})
    assert len(str(attributes.pop("messaging.message.id"))) == 36
    assert attributes == {"rpc.system": "lightbus", "rpc.service": "shop", "rpc.method": procedure}
    assert call.status.status_code is execution.status.status_code is StatusCode.UNSET


async def test_a_call_by_synchronous_code_in_a_procedure_is_in_its_trace(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creation, "_buses", {})
    async with served(config) as bus:
        assert await bus.shop.price_by_call.call_async(sku="cup") == 3
    found = spans()
    assert is_child(found["CLIENT shop/price"], found["SERVER shop/price_by_call"])
    assert is_child(found["SERVER shop/price"], found["CLIENT shop/price"])


@pytest.mark.parametrize("listener", [note, note_in_thread])
async def test_an_event_and_its_listeners_are_one_trace(config: dict[str, Any], listener: Any) -> None:
    async with served(config, listener) as bus:
        with TRACER.start_as_current_span("outside"):
            event = await bus.shop.sold.fire_async(sku="cup")
        await eventually_async(lambda: len(spans()) == 4)
    found = spans()
    fired, handled = found["PRODUCER publish shop.sold"], found["CONSUMER process shop.sold"]
    assert is_child(fired, found["INTERNAL outside"]) and is_child(handled, fired)
    assert is_child(found["INTERNAL inside"], handled)
    both = {
        "messaging.system": "lightbus",
        "messaging.destination.name": "shop.sold",
        "messaging.message.id": event.id,
    }
    assert dict(fired.attributes or {}) == {
        **both,
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.client.id": "other",
    }
    assert dict(handled.attributes or {}) == {
        **both,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.client.id": "shop",
        "messaging.consumer.group.name": f"shop-{listener.__name__}",
    }


@pytest.mark.parametrize(("procedure", "error"), [("fail", "KeyError"), ("leave", "SystemExit")])
async def test_what_a_procedure_raises_is_on_both_spans(
    config: dict[str, Any], procedure: str, error: str
) -> None:
    async with served(config) as bus:
        with pytest.raises(LightbusWorkerError):
            await bus.shop[procedure].call_async()
    found = spans()
    for kind, name in (("SERVER", error), ("CLIENT", "LightbusWorkerError")):
        span = found[f"{kind} shop/{procedure}"]
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == name
        assert [event.name for event in span.events] == ["exception"]
        assert str((span.events[0].attributes or {})["exception.type"]).endswith(name)


async def test_what_a_listener_raises_is_on_its_span(config: dict[str, Any]) -> None:
    async with served(config) as bus:
        await bus.shop.sold.fire_async(sku="teapot")
        await eventually_async(lambda: len(spans()) == 3)
    span = spans()["CONSUMER process shop.sold"]
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]
    assert spans()["PRODUCER publish shop.sold"].status.status_code is StatusCode.UNSET


async def test_a_call_without_an_answer_has_a_span_with_the_error(config: dict[str, Any]) -> None:
    async with served(config) as bus:
        STAYING.clear()
        calling = asyncio.ensure_future(bus.shop.stay.call_async(bus_options={"timeout": HOUR}))
        await eventually_async(STAYING.is_set)
        an_hour_passes()
        with pytest.raises(LightbusTimeout):
            await calling
        span = spans()["CLIENT shop/stay"]
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "LightbusTimeout"


async def test_one_message_is_not_within_the_span_of_the_one_before(config: dict[str, Any]) -> None:
    async with served(config) as bus:
        for _ in range(3):
            await bus.shop.price.call_async(sku="cup")
        untraced = bus_of(config, "third", traced=False)
        await untraced.shop.price.call_async(sku="cup")
        await untraced.client.close_async()
    servers = [span for span in EXPORTER.get_finished_spans() if span.kind is SpanKind.SERVER]
    assert len({span.context.trace_id for span in servers if span.context}) == 4
    assert [span.parent is None for span in servers] == [False, False, False, True]


async def test_a_host_without_it_takes_what_is_traced(config: dict[str, Any]) -> None:
    async with served(config, traced=False) as bus:
        assert await bus.shop.price.call_async(sku="cup") == 3
        await bus.shop.sold.fire_async(sku="cup")
        await eventually_async(lambda: len(EXPORTER.get_finished_spans()) == 4)


def in_redis(server: Server) -> list[bytes]:
    """The names of the fields of the newest event."""
    ((_, fields),) = server.execute("XREVRANGE", "shop.*:stream", "+", "-", "COUNT", "1")
    return [bytes(name) for name in fields[::2]]


@pytest.mark.parametrize("traced", [True, False])
async def test_only_what_is_traced_has_more_on_the_wire(redis_server: Server, traced: bool) -> None:
    config = manifest_of({"redis": {"url": redis_server.url}})
    bus = bus_of(config, "shop", traced)
    await bus.shop.sold.fire_async(sku="cup")
    own = [b"id", b"api_name", b"event_name", b"version"]
    assert in_redis(redis_server) == [*own, *([b"traceparent"] if traced else []), b":sku"]
    redis_server.execute("SET", "schema:shop", "{}")
    calling = asyncio.create_task(bus.shop.stay.call_async())
    blob: Any = await eventually_async(lambda: redis_server.execute("LINDEX", "shop:rpc_queue", 0))
    # Beside the metadata, where Lightbus 1.x does not look.
    call = json.loads(blob)
    assert sorted(call) == (["headers"] if traced else []) + ["kwargs", "metadata"]
    assert sorted(call["metadata"]) == ["api_name", "id", "procedure_name", "return_path"]
    if traced:
        assert list(call["headers"]) == ["traceparent"]
    calling.cancel()
    await asyncio.wait([calling])
    await bus.client.close_async()


async def test_a_retry_stays_in_the_trace(redis_server: Server) -> None:
    EXPORTER.clear()
    config = manifest_of({"redis": {"url": redis_server.url}})
    async with served(config) as bus:
        quick = lightbus.DeliveryPolicy(
            attempts=2, backoff=lightbus.Backoff(initial=Duration(0.01), jitter=False)
        )
        again = bus_of(config, "again")
        again.shop.sold.listen(note, listener_name="again", on_error=quick)
        worker = Worker(again.client.parts)
        worker.prepare([])
        await worker.join()
        worker.start()
        await bus.shop.sold.fire_async(sku="teapot")
        await eventually_async(lambda: len(EXPORTER.get_finished_spans()) == 7)
        await worker.drain(1)
        await again.client.close_async()
    assert len({span.context.trace_id for span in EXPORTER.get_finished_spans() if span.context}) == 1


@pytest.mark.parametrize(
    "hostile", ["", "00-zz-zz-01", "x" * 10_000, "00-" + "0" * 32 + "-" + "0" * 16 + "-01"]
)
async def test_what_is_no_traceparent_begins_a_new_trace(redis_server: Server, hostile: str) -> None:
    EXPORTER.clear()
    async with served(manifest_of({"redis": {"url": redis_server.url}})):
        fields = ["id", "1", "api_name", "shop", "event_name", "sold", "version", "1", "traceparent", hostile]
        redis_server.execute("XADD", "shop.*:stream", "*", *fields, ":sku", '"cup"')
        await eventually_async(lambda: len(spans()) == 2)
    assert spans()["CONSUMER process shop.sold"].parent is None


TRACED = """
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    def line(span):
        parent = f'{span.parent.span_id:x}' if span.parent else None
        return f'span {span.kind.name} {span.context.trace_id:x} {span.context.span_id:x} {parent}\\n'

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=line)))
    trace.set_tracer_provider(provider)
"""


def spans_in(lines: list[str]) -> dict[str, list[str]]:
    """Trace, span and parent of what processes have printed, by kind."""
    return {line.split()[1]: line.split()[2:] for line in lines if line.startswith("span ")}


def switch_on(project: Project, server: Server) -> None:
    bus = f"bus: {{redis: {{url: '{server.url}'}}, log_format: text}}"
    project.write("lightbus.yaml", f"{bus}\nplugins: {{tracing: {{enabled: true}}}}\n")


def test_it_is_switched_on_by_the_manifest_and_goes_from_process_to_process(
    project: Project, redis_server: Server
) -> None:
    switch_on(project, redis_server)
    project.write(
        "bus.py",
        f"""{TRACED}
    from lightbus import Api

    class ShopApi(Api):
        class Meta:
            name = 'shop'

        def price(self, sku: str) -> int:
            return len(sku)
""",
    )
    host = project.host()
    assert "plugins: tracing" in host.output()
    said = project.script(
        f"""{TRACED}
    import lightbus

    bus = lightbus.create()
    with trace.get_tracer('script').start_as_current_span('outside'):
        bus.shop.price(sku='cup')
"""
    )
    client = spans_in(said.splitlines())
    eventually(lambda: "SERVER" in spans_in(printed(host)))
    server = spans_in(printed(host))["SERVER"]
    assert server[0] == client["CLIENT"][0] == client["INTERNAL"][0]
    assert server[2] == client["CLIENT"][1]
    assert client["CLIENT"][2] == client["INTERNAL"][1]


def test_without_its_extra_it_says_what_to_install(
    project: Project, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTBUS_TEST_EXEC", "1")  # What is forked has imported the package already.
    switch_on(project, redis_server)
    project.write("opentelemetry/__init__.py", "raise ImportError('not installed')")
    project.write("bus.py", "")
    done = project.python("-m", "lightbus", "run")
    assert done.returncode == 78
    assert "lightbus.yaml:2:30" in done.stderr
    assert "the plugin tracing needs the extra 'otel'; run: pip install 'lightbus[otel]'" in done.stderr
