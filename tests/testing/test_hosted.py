"""A whole bus inside a test: calls, events, retries, dead letters, schedules; no broker, no waiting."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import lightbus
from lightbus import BusClient, DeliveryPolicy, EventMessage, OnError
from lightbus.declared.settings import Feature
from lightbus.exceptions import ConfigurationError, LightbusWorkerError, NoWorker, SyncCallOnEventLoop
from lightbus.manifest.problems import InvalidManifest
from lightbus.plugins import LightbusPlugin
from lightbus.testing import Hosted, VirtualClock, hosted

from . import clerk, shop


class Other(lightbus.Api):
    """An API of another service."""

    sold = lightbus.Event(parameters=("sku", "count"))

    class Meta:
        name = "other"
        auto_register = False


@pytest.fixture(autouse=True)
def empty_logs() -> Iterator[None]:
    yield
    shop.log.clear()
    clerk.log.clear()


def test_a_synchronous_test_calls_fires_and_looks() -> None:
    with hosted(shop) as host:
        assert host.bus.store.price(sku="cup") == 3
        with pytest.raises(LightbusWorkerError, match="unknown"):
            host.bus.store.price(sku="unknown")
        for count in range(3):
            host.bus.store.sold.fire(sku="cup", count=count)
        host.settle()
        assert shop.log == ["sold 0 cup", "sold 1 cup", "sold 2 cup"]
        assert [m.kwargs["count"] for m in host.events("store.sold")] == [0, 1, 2]
        assert host.events("store.refused") == []


def test_an_asynchronous_test_does_too() -> None:
    async def test() -> None:
        async with hosted("tests.testing.shop") as host:
            assert await host.bus.store.price.call_async(sku="cup") == 3
            await host.bus.store.sold.fire_async(sku="cup", count=1)
            await host.settle_async()
            assert shop.log == ["sold 1 cup"]
            with pytest.raises(SyncCallOnEventLoop, match=r"settle_async\(\)"):
                host.settle()

    asyncio.run(test())


def test_retries_come_when_the_clock_is_advanced_and_end_as_a_dead_letter() -> None:
    with hosted(shop) as host:
        host.bus.store.sold.fire(sku="broken", count=1)
        host.settle()
        assert len(shop.log) == 1
        host.advance(1)
        assert len(shop.log) == 2
        assert host.dead_letters("note_sale") == []
        host.advance(3600)
        assert len(shop.log) == 8
        [letter] = host.dead_letters("note_sale")
        assert (letter.reason, letter.attempts, letter.message.kwargs["sku"]) == ("failed", 8, "broken")
        assert "cannot note it" in letter.error


def test_nothing_is_left_for_the_next_test() -> None:
    with hosted(shop) as host:
        assert host.events() == []
        assert host.dead_letters("note_sale") == []


def test_services_that_are_hosted_together_see_each_other() -> None:
    with hosted(shop) as store, hosted(clerk) as other:
        assert other.bus is not clerk.bus and other.bus.client is clerk.bus.client
        assert store.clock is other.clock
        assert clerk.bus.clerk.sell(sku="cup") == 6, "code with a bus of its own reaches the hosted one"
        store.bus.store.sold.fire(sku="cup", count=1)
        other.settle()
        assert (shop.log, clerk.log) == (["sold 1 cup"], ["heard of cup"])


def test_listeners_of_different_apis_have_one_name_and_each_its_own_events() -> None:
    def refuse(event_message: EventMessage, sku: str, count: int) -> None:
        raise RuntimeError(sku)

    bus = lightbus.create({"service_name": "store"})
    bus.store.sold.listen(shop.note_sale, listener_name="same")
    bus.other.sold.listen(refuse, listener_name="same", on_error=DeliveryPolicy(attempts=1))
    with hosted(shop.StoreApi, bus) as host, hosted(Other) as other:
        host.bus.store.sold.fire(sku="cup", count=1)
        other.bus.other.sold.fire(sku="pot", count=2)
        host.settle()
        assert shop.log == ["sold 1 cup"]
        assert [letter.message.canonical_name for letter in host.dead_letters("same")] == ["other.sold"]


def test_schedules_run_when_the_clock_is_advanced() -> None:
    start = datetime(2026, 7, 1, 12, tzinfo=UTC)
    with hosted(clerk, clock=VirtualClock(start)) as host:
        assert clerk.log == []
        host.advance(3599)
        assert clerk.log == ["swept"] * 5
        host.advance(86_400)
        assert clerk.log.count("swept") == 149
        assert clerk.log.count("closed") == 1
        assert host.clock.now() == start.timestamp() + 3599 + 86_400


def test_jobs_of_the_schedule_library_go_by_the_clock_too() -> None:
    import schedule

    bus = lightbus.create({"service_name": "jobs"})
    bus.client.schedule(schedule.every().day.at("10:30"), scope="service")(tick)
    bus.client.schedule(schedule.every().hour.at(":15"), name="quarter")(lambda: shop.log.append("quarter"))
    noon = datetime(2027, 7, 1, 12)
    with hosted(bus, clock=VirtualClock(noon)) as host:
        host.advance(22 * 3600)
        assert "tick" not in shop.log and shop.log.count("quarter") == 22
        host.advance(1800)
        assert shop.log.count("tick") == 1
        host.advance(7 * 86_400)
        assert shop.log.count("tick") == 8
    job = schedule.Scheduler().every().hour.at(":15").do(tick)
    assert job.next_run is not None and job.next_run - datetime.now() <= timedelta(hours=1)


def test_a_bus_is_given_back_as_it_was() -> None:
    client = clerk.bus.client
    parts = client.parts
    before = dict(vars(parts)), dict(vars(parts.declarations))
    with hosted(clerk.bus) as host:
        assert "hear" in client.listeners
        assert client.settings("clerk").rpc_transport.name == "memory"
        assert client.settings("clerk").rpc_timeout == 3.0, "what is configured holds"
        assert lightbus.get_bus().client is host.bus.client
    assert client.parts is parts
    assert (vars(parts), vars(parts.declarations)) == before
    assert client.listeners == {}
    assert client.settings("clerk").rpc_transport.name == "redis"


def test_hooks_and_plugins_of_a_bus_run() -> None:
    class Watcher(LightbusPlugin):
        async def before_event_sent(self, *, client: BusClient, event_message: EventMessage) -> None:
            shop.log.append(f"plugin: {event_message.event_name}")

    bus = lightbus.create({"service_name": "store"}, plugins=[Watcher()])
    bus.client.register_api(shop.StoreApi)

    @bus.client.after_event_sent()  # type: ignore[untyped-decorator]
    def hook(client: BusClient, event_message: EventMessage) -> None:
        shop.log.append(f"hook: {event_message.event_name}")

    with hosted(bus):
        bus.store.refused.fire(sku="cup")
        assert shop.log == ["plugin: refused", "hook: refused"]


def test_a_manifest_declares_listeners_and_schedules() -> None:
    config = {
        "service_name": "reports",
        "listeners": {"notes": {"events": ["store.sold"], "handler": "tests.testing.shop:note_sale"}},
        "schedules": {"tick": {"every": "1h", "call": "tests.testing.test_hosted:tick"}},
    }
    with hosted(shop.StoreApi, config=config) as host:
        assert host.bus.client.service_name == "reports"
        host.bus.store.sold.fire(sku="cup", count=1)
        host.advance(7200)
        assert shop.log == ["sold 1 cup", "tick", "tick"]


def tick() -> None:
    shop.log.append("tick")


def does(host: Hosted) -> set[str]:
    """What a host of the clerk and the store does, as the names of features."""
    done: set[str] = set()
    with contextlib.suppress(NoWorker):
        assert host.bus.store.price(sku="cup") == 3
        done.add("rpcs")
    host.bus.store.sold.fire(sku="cup", count=1)
    host.advance(3600)
    done |= {"events"} if "heard of cup" in clerk.log else set()
    return done | ({"tasks"} if "swept" in clerk.log else set())


FEATURES: tuple[Feature, ...] = ("rpcs", "events", "tasks")
CHOICES = [chosen for size in (1, 2, 3) for chosen in itertools.combinations(FEATURES, size)]


@pytest.mark.parametrize("chosen", CHOICES, ids=" ".join)
@pytest.mark.parametrize("door", ["argument", "manifest", "argument above manifest", "bus"])
def test_a_hosted_service_does_what_it_is_told(door: str, chosen: tuple[Feature, ...]) -> None:
    config: dict[str, Any] = {"service_name": "clerk"}
    if "manifest" in door:
        others = [name for name in FEATURES if name not in chosen]
        config["features"] = (others or ["rpcs"]) if "argument" in door else list(chosen)
    given = chosen if "argument" in door else None
    before = clerk.bus.client.parts.declarations.features
    clerk.bus.client.set_features(chosen if door == "bus" else FEATURES)
    try:
        with hosted(clerk, shop.StoreApi, config=config, features=given) as host:
            assert does(host) == {*chosen}
    finally:
        clerk.bus.client.set_features(before)


@pytest.mark.parametrize("wrong", [(), ("rpc",), "rpcs"])
def test_features_that_do_not_exist_are_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="feature"):
        hosted(shop, features=wrong).__enter__()
    with hosted(shop) as host:
        assert host.bus.store.price(sku="cup") == 3


@pytest.mark.parametrize("step", ["before_server_start", "before_worker_start"])
def test_a_start_that_fails_says_where_and_ends_as_a_host_does(step: str) -> None:
    told: list[BaseException | str] = []

    class Watcher(LightbusPlugin):
        async def exception(self, *, e: BaseException) -> None:
            told.append(e)

    bus = lightbus.create({"service_name": "store"}, plugins=[Watcher()])
    bus.client.after_worker_stopped(lambda client: told.append("stopped"))

    def fail(given: Any = None, client: Any = None) -> None:
        raise ValueError("no shelf")

    module = type(shop)("failing")
    module.__dict__["bus"] = bus
    if step == "before_server_start":
        module.__dict__[step] = fail
    else:
        bus.client.before_worker_start(fail)
    with pytest.raises(ConfigurationError, match=rf"test_hosted.py:\d+: .*{step}.*ValueError: no shelf"):
        hosted(module).__enter__()
    assert [str(each).rpartition(": ")[2] for each in told] == ["no shelf", "stopped"]
    assert bus.client.parts.home is None


def test_a_listener_may_ask_for_the_end() -> None:
    module = type(shop)("ending")
    module.__dict__["StoreApi"] = shop.StoreApi
    module.__dict__["before_server_start"] = lambda bus: bus.store.refused.listen(
        shop.stop_all, on_error=DeliveryPolicy(attempts=1, then=OnError.SHUTDOWN)
    )
    with hosted(module) as host:
        assert host.shutdown_reason is None
        host.bus.store.refused.fire(sku="cup")
        host.settle()
        assert len(host.events()) == 1
        assert "the listener stop_all raised" in (host.shutdown_reason or "")


def test_what_never_ends_is_named() -> None:
    async def test() -> None:
        gate = asyncio.Event()

        async def linger(event_message: EventMessage, sku: str) -> None:
            await gate.wait()

        module = type(shop)("lingering")
        module.__dict__["before_server_start"] = lambda bus: bus.store.refused.listen(linger)
        async with hosted(shop.StoreApi, module) as host:
            await host.bus.store.refused.fire_async(sku="cup")
            with pytest.raises(AssertionError, match="the listener linger has 1 events to handle"):
                await host.settle_async(timeout=0.05)
            gate.set()
            await host.settle_async()

    asyncio.run(test())


def test_without_a_host_nobody_answers_any_more() -> None:
    with hosted(shop) as host:
        bus = host.bus
    with hosted(clerk), pytest.raises(NoWorker):
        clerk.bus.store.price(sku="cup")
    assert bus.client.listeners == {}


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="several buses"):
        hosted(clerk, lightbus.create({"service_name": "other"})).__enter__()
    with hosted(shop), pytest.raises(ConfigurationError, match="have one clock"):
        hosted(clerk, clock=VirtualClock()).__enter__()
    with hosted(shop):
        pass
    assert vars(lightbus.get_bus().client) != {}


def test_what_can_not_be_hosted_says_why_and_leaves_nothing_behind() -> None:
    config = {"listeners": {"notes": {"events": ["store.sold"], "handler": "tests.testing.shop:note"}}}
    with pytest.raises(InvalidManifest, match=r'has no .note.; did you mean "note_sale"'):
        hosted(shop, config=config).__enter__()
    with pytest.raises(ModuleNotFoundError):
        hosted("tests.testing.nowhere").__enter__()
    with hosted(shop) as host:
        assert host.bus.store.price(sku="cup") == 3


def test_time_only_goes_on() -> None:
    with hosted(shop) as host, pytest.raises(ValueError, match="not by -1"):
        host.advance(-1)
