"""Lists of events: stored in few writes, in order, and it is told of each what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

import lightbus
from lightbus import Api, Event, Parameter
from lightbus.bus.parts import Parts
from lightbus.declared.registry import Registry
from lightbus.exceptions import (
    EventNotFound,
    EventsNotFired,
    InvalidEventArguments,
    InvalidMessage,
    InvalidParameters,
    LightbusException,
    NotAuthoritative,
    SyncCallOnEventLoop,
    ValidationError,
)
from lightbus.messages import EventMessage
from lightbus.transports.memory.broker import broker
from lightbus.transports.redis.events import lost_events
from tests.support.eventually import eventually_async
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.timers import HOUR, an_hour_passes

from .conftest import settled
from .limited import as_limited

STREAM = "shop.*:stream"


class ShopApi(Api):
    sold = Event(parameters=(Parameter("number", int),))
    sold_once = Event(parameters=(Parameter("number", int),), dedupe=60)

    class Meta:
        name = "shop"
        auto_register = False


class OtherApi(Api):
    moved = Event(parameters=("what",))

    class Meta:
        name = "other"
        auto_register = False


def make(url: str = "", **shop: Any) -> lightbus.BusPath:
    """A bus over one Redis, or in memory where none is given."""
    memory: dict[str, Any] = {"memory": {}}
    names = ("rpc_transport", "event_transport", "result_transport")
    config: dict[str, Any] = {"apis": {"shop": shop}}
    if url:
        config["bus"] = {"redis": {"url": as_limited(url)}}
    else:
        config["apis"]["default"] = dict.fromkeys(names, memory)
        config["bus"] = {"schema": {"transport": memory}}
    bus = lightbus.create(config, plugins=[])
    bus.client.parts = Parts(bus.client.parts.wiring, Registry(), bus.client)
    bus.client.register_api(ShopApi)
    bus.client.register_api(OtherApi)
    return bus


def numbers(count: int, start: int = 0) -> list[dict[str, int]]:
    return [{"number": n} for n in range(start, start + count)]


def stored(server: Server, stream: str = STREAM) -> list[int]:
    """The numbers in a stream, in their order."""
    entries = server.execute("XRANGE", stream, "-", "+")
    return [int(fields[fields.index(b":number") + 1]) for _, fields in entries]


async def unconfirmed(
    firing: Coroutine[Any, Any, Any],
    server: Server,
    count: int = 21,
    until: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Fire what is stored, but not confirmed in time."""
    fired = asyncio.ensure_future(firing)
    await settled(lambda: _has(server, STREAM, count))
    if until is not None:
        await until()
    an_hour_passes()
    await fired


async def _has(server: Server, stream: str, count: int) -> bool:
    return bool(server.execute("XLEN", stream) == count)


class TestAList:
    async def test_is_stored_in_its_order_and_each_event_has_its_ids(self, redis_server: Server) -> None:
        bus = make(redis_server.url)
        fired = await bus.shop.sold.fire_many_async(numbers(2_500))
        assert stored(redis_server) == list(range(2_500))
        entries = redis_server.execute("XRANGE", STREAM, "-", "+")
        assert [m.native_id for m in fired] == [native_id.decode() for native_id, _ in entries]
        assert len({m.id for m in fired}) == 2_500
        await bus.client.close_async()

    async def test_is_stored_in_memory_too(self) -> None:
        bus = make()
        fired = await bus.shop.sold.fire_many_async(numbers(3))
        assert [s.message.native_id for s in broker().history] == [m.native_id for m in fired]
        await bus.client.close_async()

    async def test_may_have_events_of_several_apis_over_several_brokers(
        self, redis_server: Server, start_server: Any
    ) -> None:
        other = start_server()
        bus = make(redis_server.url, redis={"url": other.url})
        one, two, three = await bus.client.fire_many(
            [
                ("shop", "sold", {"number": 1}),
                ("other", "moved", {"what": "b"}),
                ("shop", "sold", {"number": 2}),
            ]
        )
        assert (one.canonical_name, two.canonical_name) == ("shop.sold", "other.moved")
        assert stored(other) == [1, 2]
        assert redis_server.execute("XLEN", "other.*:stream") == 1
        assert three.native_id
        await bus.client.close_async()

    async def test_may_be_empty(self) -> None:
        bus = make()
        assert await bus.client.fire_many([]) == []

    async def test_may_give_each_event_an_id(self) -> None:
        bus = make()
        fired = await bus.shop.sold.fire_many_async(numbers(2), bus_options={"ids": ["order-1", None]})
        assert fired[0].id == "order-1"
        assert len(fired[1].id) == 36

    async def test_is_counted_event_by_event(self) -> None:
        bus = make()
        await bus.shop.sold.fire_many_async(numbers(3))
        with pytest.raises(InvalidEventArguments):
            await bus.shop.sold.fire_many_async([{"number": 1}, {}])
        fired = bus.client.parts.metrics.events_fired
        assert (fired.total(outcome="ok"), fired.total(outcome="failed")) == (3, 2)

    async def test_has_the_hooks_run_for_each_event(self) -> None:
        bus, seen = make(), []

        def before(client: Any, event_message: EventMessage) -> None:
            seen.append(("before", event_message.kwargs["number"], event_message.native_id is None))
            event_message.kwargs["number"] += 10

        def after(client: Any, event_message: EventMessage) -> None:
            seen.append(("after", event_message.kwargs["number"], event_message.native_id is None))

        bus.client.before_event_sent(before)
        bus.client.after_event_sent(after)
        await bus.shop.sold.fire_many_async(numbers(2))
        assert seen == [
            ("before", 0, True),
            ("before", 1, True),
            ("after", 10, False),
            ("after", 11, False),
        ]

    async def test_cannot_be_fired_by_blocking_the_event_loop(self) -> None:
        with pytest.raises(SyncCallOnEventLoop, match=r"await bus\.shop\.sold\.fire_many_async"):
            make().shop.sold.fire_many(numbers(1))

    def test_is_fired_from_synchronous_code(self, redis_server: Server) -> None:
        bus = make(redis_server.url)
        assert len(bus.shop.sold.fire_many(numbers(3))) == 3
        assert stored(redis_server) == [0, 1, 2]
        bus.client.close()


class TestOneThatIsWrong:
    """Nothing is fired, and it is told which one it was."""

    @pytest.mark.parametrize(
        ("wrong", "error", "said"),
        [
            (("shop", "sold", {"numbr": 1}), InvalidEventArguments, "event 1 of the list: shop.sold takes"),
            (("shop", "sold", {"number": "x"}), ValidationError, "event 1 of the list: "),
            (("shop", "bought", {}), EventNotFound, "event 1 of the list: the API 'shop' has no event"),
            (("strange", "sold", {}), NotAuthoritative, "event 1 of the list: strange.sold can't be fired"),
            (
                ("other", "moved", {"what": "x" * (1 << 21)}),
                InvalidMessage,
                "event 1 of the list: other.moved",
            ),
            (("other", "moved", {"what": object()}), ValidationError, "event 1 of the list: "),
            (("shop", "sold"), InvalidParameters, "event 1 of the list is ('shop', 'sold'); give"),
            (("shop", "sold", [1]), InvalidParameters, "event 1 of the list is ('shop', 'sold', [1]); give"),
        ],
    )
    async def test_keeps_all_from_being_fired(
        self, wrong: Any, error: type[LightbusException], said: str, redis_server: Server
    ) -> None:
        bus = make(redis_server.url)
        right = ("shop", "sold", {"number": 1})
        with pytest.raises(error) as raised:
            await bus.client.fire_many([right, wrong, right])
        assert str(raised.value).startswith(said)
        assert redis_server.execute("DBSIZE") == 0
        await bus.client.close_async()

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"ids": ["a"]}, "1 ids for 2 events"),
            ({"ids": ["a", "\n"]}, "id is '\\n'; give a UUID"),
            ({"timeout": 0}, "timeout is 0; give seconds above zero"),
            ({"patience": 1}, "no option 'patience'; it has timeout and ids"),
        ],
    )
    async def test_options_are_checked(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(InvalidParameters) as raised:
            await make().shop.sold.fire_many_async(numbers(2), bus_options=options)
        assert said in str(raised.value)

    async def test_a_hook_that_raises_keeps_all_from_being_fired(self) -> None:
        bus = make()

        def before(client: Any, event_message: EventMessage) -> None:
            if event_message.kwargs["number"] == 1:
                raise RuntimeError("not this one")

        bus.client.before_event_sent(before)
        with pytest.raises(RuntimeError):
            await bus.shop.sold.fire_many_async(numbers(3))
        assert not broker().history


class TestWhatIsNotConfirmed:
    @pytest.mark.parametrize("name", ["sold", "sold_once"])
    async def test_lost_replies_are_looked_for_or_with_dedupe_sent_again_and_nothing_is_stored_twice(
        self, redis_server: Server, proxy: Proxy, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # So that the search goes through several pages.
        monkeypatch.setattr(lost_events, "_PAGE", 70)
        bus = make(proxy.url)
        await bus.shop[name].fire_async(number=-1)
        proxy.set("drop_replies")
        firing = asyncio.create_task(bus.shop[name].fire_many_async(numbers(300)))

        async def arrived() -> bool:
            return bool(redis_server.execute("XLEN", STREAM) == 301)

        await settled(arrived)
        proxy.set("pass")
        fired = await firing
        entries = redis_server.execute("XRANGE", STREAM, "-", "+")
        assert [m.native_id for m in fired] == [native_id.decode() for native_id, _ in entries[1:]]
        await bus.client.close_async()

    @pytest.mark.parametrize("name", ["sold", "sold_once"])
    async def test_what_stays_unknown_is_never_called_stored(
        self, name: str, redis_server: Server, proxy: Proxy
    ) -> None:
        bus = make(proxy.url)
        await bus.shop[name].fire_async(number=-1)
        proxy.set("drop_replies")
        firing = bus.shop[name].fire_many_async(numbers(20), bus_options={"timeout": HOUR})
        with pytest.raises(EventsNotFired) as raised:
            await unconfirmed(firing, redis_server)
        assert {outcome.state for outcome in raised.value.outcomes} == {"unknown"}
        assert "of 20 events, 0 are not stored and 20 may or may not be" in str(raised.value)
        proxy.set("pass")
        await bus.client.close_async()

    async def test_exactly_the_rest_is_fired_again(self, redis_server: Server, proxy: Proxy) -> None:
        bus = make(proxy.url)
        await bus.shop.sold_once.fire_async(number=-1)
        proxy.set("drop_replies")
        events = numbers(20)
        firing = bus.shop.sold_once.fire_many_async(events, bus_options={"timeout": HOUR})
        with pytest.raises(EventsNotFired) as raised:
            await unconfirmed(firing, redis_server)
        proxy.set("pass")
        rest = raised.value.rest
        ids = [outcome.event_id for outcome in rest]
        await bus.shop.sold_once.fire_many_async([events[o.index] for o in rest], bus_options={"ids": ids})
        assert sorted(stored(redis_server)) == list(range(-1, 20))
        await bus.client.close_async()

    async def test_nothing_that_waited_for_a_connection_goes_out_after_its_time(
        self, redis_server: Server, proxy: Proxy
    ) -> None:
        bus = make(proxy.url)
        await bus.shop.sold.fire_async(number=-1)
        proxy.set("refuse")
        pipe: Any = bus.client.transports().event("shop")

        async def away() -> bool:
            return pipe.pipe.failure is not None

        await settled(away)
        with pytest.raises(EventsNotFired) as raised:
            await bus.shop.sold.fire_many_async(numbers(2_000), bus_options={"timeout": 0.2})
        assert {outcome.state for outcome in raised.value.outcomes} == {"not stored"}
        proxy.set("pass")
        await bus.shop.sold.fire_async(number=-2)
        assert stored(redis_server) == [-1, -2]
        await bus.client.close_async()

    async def test_a_broker_that_takes_its_part_is_told_from_one_that_does_not(
        self, redis_server: Server, proxy: Proxy
    ) -> None:
        bus = make(redis_server.url, redis={"url": as_limited(proxy.url)})
        await bus.shop.sold.fire_async(number=-1)
        await bus.other.moved.fire_async(what="a")  # its connection is open, however busy the machine is
        proxy.set("drop_replies")
        events: list[Any] = [("shop", "sold", {"number": 0}), ("other", "moved", {"what": "b"})]
        other: Any = bus.client.transports().event("other")

        async def until_it_is_confirmed() -> None:
            await settled(lambda: _has(redis_server, "other.*:stream", 2))
            await other.pipe.send("PING")  # Replies come in their order.

        firing = bus.client.fire_many(events, {"timeout": HOUR})
        with pytest.raises(EventsNotFired) as raised:
            await unconfirmed(firing, redis_server, 2, until_it_is_confirmed)
        first, second = raised.value.outcomes
        assert (first.state, second.state) == ("unknown", "stored")
        assert second.native_id
        assert bus.client.parts.metrics.events_fired.total("other", "moved", outcome="ok") == 2
        proxy.set("pass")
        await bus.client.close_async()

    async def test_a_redis_that_refuses_writes_is_said_for_each(self, redis_server: Server) -> None:
        bus = make(redis_server.url)
        await bus.shop.sold.fire_async(number=-1)
        redis_server.execute("CONFIG", "SET", "maxmemory", 1)
        try:
            with pytest.raises(EventsNotFired, match="refused it") as raised:
                await bus.shop.sold.fire_many_async(numbers(3))
        finally:
            redis_server.execute("CONFIG", "SET", "maxmemory", 0)
        assert [outcome.state for outcome in raised.value.outcomes] == ["not stored"] * 3
        await bus.client.close_async()


async def test_a_list_does_not_overtake_the_look_at_a_full_stream(redis_server: Server) -> None:
    """The stream keeps 100, of which a group has acknowledged none."""
    bus = make(
        redis_server.url,
        event_transport={"redis": {"url": as_limited(redis_server.url), "max_stream_length": 100}},
    )
    redis_server.execute("XGROUP", "CREATE", STREAM, "shop-slow", "0", "MKSTREAM")
    firing = asyncio.ensure_future(
        bus.shop.sold.fire_many_async(numbers(2_000), bus_options={"timeout": HOUR})
    )

    def waits_for_room() -> bool:
        return f"lightbus room {STREAM}" in (task.get_name() for task in asyncio.all_tasks())

    def is_over() -> bool:
        if waits_for_room():
            an_hour_passes()  # For the first part of the list, and for the next one.
        return firing.done()

    await eventually_async(is_over)
    with pytest.raises(EventsNotFired, match="its stream holds 100 events") as raised:
        await firing
    states = [outcome.state for outcome in raised.value.outcomes]
    there = len(stored(redis_server))
    assert states == ["stored"] * there + ["not stored"] * (2_000 - there)
    assert 100 <= there <= 1_150  # On a busy machine the second look is sooner.
    await bus.client.close_async()
