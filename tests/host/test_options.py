"""Options of the manifest that a host acts upon: another value, another behaviour."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest

from lightbus.exceptions import (
    LightbusTimeout,
    LightbusWorkerError,
    NotAuthoritative,
    NoWorker,
    PublishNotConfirmed,
)
from lightbus.worker import Worker
from tests.host.conftest import Bench
from tests.host.shop import ledger
from tests.support.eventually import eventually_async
from tests.support.servers import Server

LISTENER = "listeners: {note: {events: [shop.sold], handler: 'tests.host.shop:note'}}\n"


def groups(server: Server, stream: str = "shop.*:stream") -> list[str]:
    return [group[1].decode() for group in server.execute("XINFO", "GROUPS", stream)]


@pytest.mark.parametrize("name", ["shop", "store"])
async def test_the_service_names_its_consumer_groups(bench: Bench, redis_server: Server, name: str) -> None:
    async with bench.host(LISTENER + f"service_name: {name}"):
        assert groups(redis_server) == [f"{name}-note"]


@pytest.mark.parametrize("name", ["one", "two"])
async def test_the_process_names_itself_in_them(bench: Bench, redis_server: Server, name: str) -> None:
    async with bench.host(LISTENER + f"process_name: {name}") as host:
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts["cup"])
        (consumer,) = redis_server.execute("XINFO", "CONSUMERS", "shop.*:stream", "shop-note")
        assert consumer[1].decode() == name


@pytest.mark.parametrize("features", ["rpcs", "events", "tasks"])
async def test_a_host_does_what_its_features_say(bench: Bench, features: str) -> None:
    text = LISTENER + "schedules: {tick: {every: 20ms, call: 'tests.host.shop:tick', scope: process}}\n"
    async with bench.host(f"{text}features: [{features}]") as host:
        await host.fire("cup")
        patience = 20 if features == "rpcs" else 1  # Without them, nobody answers.
        with contextlib.suppress(NoWorker, LightbusTimeout):
            await host.bus.shop.price.call_async(sku="cup", bus_options={"timeout": patience})
        await eventually_async(lambda: ledger.counts.total())
        await asyncio.sleep(0.1)
    done = {what for what in ("price", "cup", "tick") if ledger.counts[what]}
    assert done == {{"rpcs": "price", "events": "cup", "tasks": "tick"}[features]}


@pytest.mark.parametrize("exposed", [True, False])
async def test_a_caller_gets_the_traceback_where_it_is_exposed(bench: Bench, exposed: bool) -> None:
    async with bench.host(f"bus: {{expose_tracebacks: {str(exposed).lower()}}}") as host:
        with pytest.raises(LightbusWorkerError) as caught:
            await host.bus.shop.fail.call_async()
    assert "NoSuchSku" in str(caught.value)
    assert ("Traceback" in str(caught.value)) is exposed


@pytest.mark.parametrize(("owner", "fires"), [("shop", True), ("somebody", False)])
async def test_only_the_owner_fires_and_serves(bench: Bench, owner: str, fires: bool) -> None:
    async with bench.host(f"apis:\n  shop:\n    owner: {owner}") as host:
        if fires:
            await host.fire("cup")
            assert await host.bus.shop.price.call_async(sku="cup") == 3
            return
        with pytest.raises(NotAuthoritative) as caught:
            await host.fire("cup")
        assert "'somebody' owns the API, as apis.shop.owner in lightbus.yaml:3:12 says" in str(caught.value)
        with pytest.raises(NoWorker):
            await host.bus.shop.price.call_async(sku="cup")


@pytest.mark.parametrize("timeout", [0.1, 0.4])
async def test_a_call_waits_as_long_as_its_api_says(bench: Bench, timeout: float) -> None:
    async with bench.host(f"apis: {{shop: {{rpc_timeout: {timeout}}}}}") as host:
        started = time.monotonic()
        with pytest.raises(LightbusTimeout, match=f"within {timeout} s"):
            await host.bus.shop.stay.call_async()
        assert time.monotonic() - started >= timeout


@pytest.mark.parametrize("timeout", [0.1, 0.4])
async def test_firing_waits_as_long_as_its_api_says(
    bench: Bench, redis_server: Server, timeout: float
) -> None:
    async with bench.host(f"apis: {{shop: {{event_fire_timeout: {timeout}}}}}") as host:
        await host.bus.shop.sold.fire_async(sku="cup", bus_options={"timeout": 60})
        redis_server.pause()
        started = time.monotonic()
        with pytest.raises(PublishNotConfirmed, match=f"within {timeout} s"):
            await host.fire("cup")
        assert time.monotonic() - started >= timeout
        redis_server.resume()


@pytest.mark.parametrize(("patience", "warned"), [("50ms", True), ("20s", False)])
async def test_a_listener_that_takes_its_time_to_set_up_is_told(
    bench: Bench, redis_server: Server, patience: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    host = bench.host(LISTENER + f"apis: {{shop: {{event_listener_setup_timeout: {patience}}}}}")
    worker = Worker(host.client.parts)
    worker.prepare(["shop"])
    redis_server.pause()
    joining = asyncio.create_task(worker.join())
    await eventually_async(lambda: "is not set up" in caplog.text or not warned)
    await asyncio.sleep(0.15)
    assert ("the listener note is not set up after 0.05 s" in caplog.text) is warned
    redis_server.resume()
    await joining
    await worker.drain(0)
    await host.client.close_async()


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_an_api_runs_so_many_calls_at_a_time(bench: Bench, concurrency: int) -> None:
    async with bench.host(f"apis: {{shop: {{rpc_concurrency: {concurrency}}}}}") as host:
        calls = [asyncio.create_task(host.bus.shop.stay.call_async()) for _ in range(5)]
        await eventually_async(lambda: ledger.running == concurrency)
        ledger.gate.set()
        await asyncio.gather(*calls)
    assert ledger.most == concurrency


@pytest.mark.parametrize("where", ["redis", "event_transport: {redis", "rpc_transport: {redis"])
async def test_an_api_may_live_on_another_redis(bench: Bench, redis_server: Server, where: str) -> None:
    closing = "}" if "{" in where else ""
    other = f"apis: {{shop: {{{where}: {{url: '{bench.url[:-1]}5'}}}}}}{closing}"
    async with bench.host(LISTENER + other) as host:
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts["cup"])
        assert await host.bus.shop.price.call_async(sku="cup") == 3
        keyspace = redis_server.execute("INFO", "keyspace").decode()
        assert "db5:" in keyspace and "db0:" in keyspace  # contracts stay on the Redis of the bus
        assert redis_server.execute("EXISTS", "shop.*:stream") == (where.startswith("rpc"))


async def test_contracts_may_live_on_another_redis(bench: Bench, redis_server: Server) -> None:
    async with bench.host(f"bus: {{schema: {{transport: {{redis: {{url: '{bench.url[:-1]}5'}}}}}}}}"):
        assert redis_server.execute("EXISTS", "schema:shop") == 0
        assert "db5:" in redis_server.execute("INFO", "keyspace").decode()


async def test_what_travels_by_debug_is_logged_and_no_more(
    bench: Bench, redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lightbus")
    text = "apis: {shop: {event_transport: {debug: {}}, rpc_transport: {debug: {}}, validate: false}}\n"
    host = bench.host("features: [tasks]\n" + text)
    async with host:
        await host.fire("cup")
        assert await host.bus.shop.price.call_async(sku="cup") is None
    assert "shop.sold" in caplog.text and "shop.price" in caplog.text and "goes nowhere" in caplog.text
    assert redis_server.execute("KEYS", "shop*") == [] and ledger.counts["price"] == 0


async def test_contracts_that_travel_by_debug_are_logged_and_known_here_alone(
    bench: Bench, redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "lightbus")
    async with bench.host("bus: {schema: {transport: {debug: {}}}}") as host:
        assert await host.bus.shop.price.call_async(sku="cup") == 3
        assert redis_server.execute("KEYS", "schema:*") == []
    assert "the contract of shop goes nowhere, since its transport is debug" in caplog.text


@pytest.mark.parametrize(("kept", "at_most"), [("null", 602), ("100s", 102)])
async def test_a_call_is_kept_for_a_worker_so_long(
    bench: Bench, redis_server: Server, kept: str, at_most: int
) -> None:
    text = f"apis: {{shop: {{rpc_timeout: 600s, rpc_transport: {{redis: {{rpc_timeout: {kept}}}}}}}}}"
    async with bench.host("features: [events]\n" + text) as host:
        redis_server.execute("SET", "schema:shop", "{}")
        call = asyncio.create_task(host.bus.shop.stay.call_async())
        keys: list[Any] = await eventually_async(lambda: redis_server.execute("KEYS", "rpc_expiry_key:*"))
        assert at_most - 60 < redis_server.execute("TTL", keys[0]) <= at_most
        call.cancel()
        await asyncio.wait([call])


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_listener_handles_so_many_events_at_a_time(bench: Bench, concurrency: int) -> None:
    text = f"""
    listeners:
      stay: {{events: [shop.sold], handler: "tests.host.shop:stay", concurrency: {concurrency}}}
    """
    async with bench.host(text) as host:
        for number in range(5):
            await host.fire(str(number))
        await eventually_async(lambda: ledger.running == concurrency)
        ledger.gate.set()
        await eventually_async(lambda: sum(ledger.counts.values()) == 5)
    assert ledger.most == concurrency


@pytest.mark.parametrize(("since", "old"), [("new", 0), ("earliest", 1), ("'2020-01-01T00:00:00Z'", 1)])
async def test_a_new_group_begins_where_its_listener_says(bench: Bench, since: str, old: int) -> None:
    async with bench.host() as before:
        await before.fire("old")
    text = LISTENER.replace("{events", f"{{since: {since}, events")
    async with bench.host(text) as host:
        await host.fire("new")
        await eventually_async(lambda: ledger.counts["new"])
    assert ledger.counts["old"] == old


@pytest.mark.parametrize("enabled", [True, False])
async def test_a_listener_runs_where_it_is_enabled(bench: Bench, enabled: bool) -> None:
    text = LISTENER.replace("{events", f"{{enabled: {str(enabled).lower()}, events")
    async with bench.host(text) as host:
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts["cup"] or not enabled)
        await asyncio.sleep(0.1)
    assert ledger.counts["cup"] == enabled


@pytest.mark.parametrize(("pattern", "seen"), [("shop.sold", 1), ("shop.*", 1), ("shop.other", 0)])
async def test_a_listener_gets_the_events_that_it_names(bench: Bench, pattern: str, seen: int) -> None:
    text = LISTENER.replace("shop.sold", pattern)
    if not seen:
        text += "apis: {shop: {owner: shop}}\n"
        with pytest.raises(Exception, match="the API 'shop' has no event 'other'"):
            bench.host(text)
        return
    async with bench.host(text) as host:
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts["cup"] == seen)


@pytest.mark.parametrize(("dedupe", "runs"), [("10m", 1), ("null", 2)])
async def test_a_listener_handles_an_id_once_where_it_says_dedupe(
    bench: Bench, dedupe: str, runs: int
) -> None:
    text = LISTENER.replace("{events", f"{{dedupe: {dedupe}, events")
    async with bench.host(text) as host:
        for _ in range(2):
            await host.bus.shop.sold.fire_async(sku="cup", bus_options={"id": "1"})
        await host.fire("end")
        await eventually_async(lambda: ledger.counts["end"])
    assert ledger.counts["cup"] == runs


@pytest.mark.parametrize(("batch", "lists"), [(2, 3), (6, 1)])
async def test_a_listener_gets_lists_as_long_as_it_says(bench: Bench, batch: int, lists: int) -> None:
    text = LISTENER.replace("{events", f"{{batch: {batch}, batch_wait: 1m, events")
    async with bench.host(text.replace(":note", ":note_list")) as host:
        await host.bus.shop.sold.fire_many_async([{"sku": "cup"}] * 6)
        await eventually_async(lambda: ledger.counts["cup"] == 6)
    assert ledger.counts["lists"] == lists


@pytest.mark.parametrize(("wait", "together"), [("0s", False), ("1m", True)])
async def test_a_list_waits_for_more_as_long_as_it_says(bench: Bench, wait: str, together: bool) -> None:
    text = LISTENER.replace("{events", f"{{batch: 3, batch_wait: {wait}, events").replace(
        ":note", ":note_list"
    )
    async with bench.host(text) as host:
        for number in range(3):
            await host.fire("cup")
            if not together:
                await eventually_async(lambda: ledger.counts["cup"] == number + 1)  # noqa: B023 - within it
        await eventually_async(lambda: ledger.counts["cup"] == 3)
    assert (ledger.counts["lists"] == 1) is together
