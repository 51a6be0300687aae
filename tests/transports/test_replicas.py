"""Events that replicas have when firing returns: none that was confirmed is lost with its primary."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import lightbus
from lightbus import Api, Event, Parameter
from lightbus.bus.parts import Parts
from lightbus.declared.registry import Registry
from lightbus.exceptions import EventsNotFired, LightbusException, PublishNotConfirmed, TransportUnavailable
from lightbus.messages import EventMessage
from lightbus.options import Duration, Secret, SecretUrl
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.events import Outgoing
from lightbus.transports.port import Use
from lightbus.transports.redis.events.transport import RedisEventTransport
from lightbus.transports.redis.link.promise import Promise, Replicas
from lightbus.transports.redis.options import RedisEventOptions
from tests.conftest import require
from tests.support.eventually import eventually_async
from tests.support.pair import Pair
from tests.support.proxy import Proxy
from tests.support.servers import KINDS, Kind, Server
from tests.support.timers import HOUR, an_hour_passes

from .conftest import fields_of

STREAM = "auth.*:stream"
#: Seconds for which replicas are waited for, where they are to be too late and where they are not.
SHORT, LONG = 0.1, 30.0


@pytest.fixture(scope="module")
def pairs() -> Iterator[dict[Kind, Pair]]:
    with contextlib.ExitStack() as started:
        made: dict[Kind, Pair] = {}
        yield made
        for pair in made.values():
            started.enter_context(pair)


def of_kind(kind: Kind, pairs: dict[Kind, Pair]) -> Pair:
    if kind not in pairs:
        require(kind)
        pairs[kind] = Pair(kind)
    pairs[kind].reset()
    return pairs[kind]


@pytest.fixture(params=KINDS)
def any_pair(request: pytest.FixtureRequest, pairs: dict[Kind, Pair]) -> Pair:
    """A primary and its replica, of each kind of server in turn, empty."""
    return of_kind(request.param, pairs)


@pytest.fixture
def pair(pairs: dict[Kind, Pair]) -> Pair:
    """A primary and its replica, empty."""
    return of_kind("valkey", pairs)


@contextlib.asynccontextmanager
async def transport_to(url: str, replicas: int = 1, **options: Any) -> AsyncIterator[RedisEventTransport]:
    """A transport of events whose firing waits for replicas."""
    given = {"max_stream_length": None, "replicas_timeout": Duration(SHORT), **options}
    transport = RedisEventTransport(
        RedisEventOptions(url=SecretUrl(url), replicas_before_confirmed=replicas, **given)
    )
    transport.obstacles = Obstacles()
    try:
        yield transport
    finally:
        await transport.close()


def events(count: int) -> list[EventMessage]:
    return [EventMessage("auth", "user_registered", {"n": n}) for n in range(count)]


async def fire(
    transport: RedisEventTransport, *messages: EventMessage, dedupe: float | None = None, timeout: float = 60
) -> dict[str, str]:
    """Fire a list of events; returns the outcome of each, by its id."""
    each = [Outgoing(message, transport.encode(message), dedupe) for message in messages]
    await transport.publish_each(each, timeout)
    return {one.message.id: type(one.error).__name__ if one.error else "confirmed" for one in each}


def stored(server: Server) -> list[str]:
    """The ids of the events in the stream."""
    return [fields_of(entry[1])["id"] for entry in server.execute("XRANGE", STREAM, "-", "+")]


def waits(server: Server) -> int:
    """How often replicas were waited for."""
    stats = server.execute("INFO", "commandstats").decode()
    return next((int(line.split("calls=")[1].split(",")[0]) for line in stats.split() if "_wait:" in line), 0)


def has_heard_all(primary: Server) -> bool:
    """Whether somebody waits for replicas, and the only one has said that it has all that was written."""
    told = dict(
        line.split(":", 1) for line in primary.execute("INFO", "replication").decode().split("\r\n")[1:-1]
    )
    return bool(waiting_clients(primary)) and f"offset={told['master_repl_offset']}," in told["slave0"]


def waiting_clients(primary: Server) -> list[str]:
    """The numbers of the connections that wait for replicas."""
    clients = primary.execute("CLIENT", "LIST").decode().splitlines()
    return [each.split()[0].removeprefix("id=") for each in clients if " flags=b " in each]


def end_wait(primary: Server) -> None:
    """Let the time be over for which replicas are waited for."""
    for number in waiting_clients(primary):
        primary.execute("CLIENT", "UNBLOCK", number)


async def through_a_failover(pair: Pair, replicas: int, size: int, dedupe: float | None) -> dict[str, str]:
    """Fire without a pause while the replica falls behind and takes the place of its primary."""
    outcomes: dict[str, str] = {}
    async with transport_to(pair.primary.url, replicas) as transport:

        async def fire_on() -> None:
            while not is_over.is_set():
                outcomes.update(await fire(transport, *events(size), dedupe=dedupe))

        is_over = asyncio.Event()
        firing = [asyncio.ensure_future(fire_on()) for _ in range(4)]
        await eventually_async(lambda: Counter(outcomes.values())["confirmed"] >= 40)
        with pair.lagging():
            before = len(stored(pair.primary))
            await eventually_async(lambda: len(stored(pair.primary)) > before + 4 * size)
            pair.promote()
            is_over.set()
            await asyncio.gather(*firing)
    return outcomes


@pytest.mark.parametrize(
    ("size", "dedupe"), [(1, None), (20, None), (20, 60.0)], ids=["one", "list", "dedupe"]
)
async def test_what_was_confirmed_is_on_the_replica_that_takes_over(
    any_pair: Pair, size: int, dedupe: float | None
) -> None:
    outcomes = await through_a_failover(any_pair, 1, size, dedupe)
    kept = set(stored(any_pair.replica))
    assert Counter(outcomes.values()).keys() == {"confirmed", "PublishNotConfirmed"}
    assert [name for name, outcome in outcomes.items() if outcome == "confirmed" and name not in kept] == []


async def test_without_the_option_a_failover_loses_what_was_confirmed(pair: Pair) -> None:
    outcomes = await through_a_failover(pair, 0, 20, None)
    kept = set(stored(pair.replica))
    assert [name for name, outcome in outcomes.items() if outcome == "confirmed" and name not in kept]


async def test_the_loss_is_seen_where_the_answer_of_the_replicas_is_not_read(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Replicas, "_failure", lambda *_: None)
    outcomes = await through_a_failover(pair, 1, 20, None)
    kept = set(stored(pair.replica))
    assert [name for name, outcome in outcomes.items() if outcome == "confirmed" and name not in kept]


async def test_the_error_says_how_many_replicas_had_it_and_what_to_do(pair: Pair) -> None:
    async with transport_to(pair.primary.url, replicas=2, replicas_timeout=Duration(LONG)) as transport:
        (message,) = events(1)
        firing = asyncio.ensure_future(transport.publish([message], 60))
        await eventually_async(lambda: has_heard_all(pair.primary))
        end_wait(pair.primary)
        with pytest.raises(PublishNotConfirmed) as error:
            await firing
    assert error.value.event_id == message.id
    assert str(error.value) == (
        f"Redis at 127.0.0.1:{pair.primary.port}/0 stored auth.user_registered (event {message.id}), but "
        "1 of 2 replicas had it within 30 s: a failover may lose it; look by INFO replication whether they "
        "are connected and keep up, and fire it again with this id in bus_options if the event has `dedupe`, "
        "else only if its listeners can take it twice"
    )
    assert stored(pair.primary) == [message.id]


async def test_the_time_for_firing_bounds_that_for_replicas(pair: Pair) -> None:
    async with transport_to(pair.primary.url, replicas_timeout=Duration(LONG)) as transport:
        await transport.publish(events(1), 30)
        with pair.lagging():
            firing = asyncio.ensure_future(transport.publish(events(1), HOUR))
            await eventually_async(lambda: waiting_clients(pair.primary))
            an_hour_passes()
            with pytest.raises(PublishNotConfirmed, match="it waits until 1 of its replicas have it"):
                await firing
            # It was not even sent, since Redis would not read it: so it may be fired again without a doubt.
            with pytest.raises(TransportUnavailable, match="was not fired within"):
                await transport.publish(events(1), 0.2)
        await transport.publish(events(1), 30)
    assert len(stored(pair.primary)) == 3


async def test_a_replica_that_lags_holds_up_nobody_to_whom_none_is_promised(pair: Pair) -> None:
    async with (
        transport_to(pair.primary.url, replicas_timeout=Duration(LONG)) as promising,
        transport_to(pair.primary.url, replicas=0) as plain,
    ):
        await promising.publish(events(1), 30)
        with pair.lagging():
            waiting = asyncio.ensure_future(promising.publish(events(1), 60))
            await eventually_async(lambda: len(stored(pair.primary)) == 2)
            for message in events(3):
                await plain.publish([message], 30)
            assert not waiting.done()
        await waiting
    assert len(stored(pair.primary)) == 5


async def test_an_outage_is_logged_once_although_two_connections_meet_it(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    def logged(words: str) -> int:
        return sum(words in record.getMessage() for record in caplog.records)

    caplog.set_level(logging.INFO, "lightbus")
    with Proxy(pair.primary.port) as proxy:
        async with transport_to(proxy.url, replicas_timeout=Duration(LONG)) as transport:
            channels = transport.pipe, transport.session.promising(Promise(1, Duration(LONG)))
            for outage in range(1, 3):
                await fire(transport, *events(1))
                await transport.now()
                proxy.set("refuse")
                await eventually_async(lambda: all(channel.failure for channel in channels))
                # The first attempts may fail in two ways: one of them, just before nobody listened any more.
                await eventually_async(
                    lambda: (
                        list(transport.obstacles) == [f"commands don't reach Redis: {channels[0].failure}"]
                    )
                )
                proxy.set("pass")
                await eventually_async(lambda: not any(channel.failure for channel in channels))
                await fire(transport, *events(1))
                await transport.now()
                assert [logged(words) for words in (" broke: ", "trying again", "answers again")] == [
                    *(outage, outage, outage)
                ]


async def test_many_events_share_a_wait_and_none_takes_it_away_from_the_others(pair: Pair) -> None:
    async with transport_to(pair.primary.url, replicas_timeout=Duration(LONG)) as transport:
        await transport.publish(events(1), 30)
        before = waits(pair.primary)
        with pair.lagging():
            firing = [asyncio.ensure_future(transport.publish([message], 60)) for message in events(100)]
            await eventually_async(lambda: len(stored(pair.primary)) > 1)
            firing[0].cancel()
            firing[-1].cancel()
        outcomes = await asyncio.gather(*firing, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [asyncio.CancelledError] * 2
    assert waits(pair.primary) - before == 2, "one of those sent at once, one of those sent meanwhile"
    assert len(stored(pair.primary)) == 1 + 99, "the last one was taken back"


@pytest.mark.parametrize("lags", [True, False])
async def test_an_event_that_is_found_after_a_broken_link_is_confirmed_by_replicas_too(
    any_pair: Pair, lags: bool
) -> None:
    with Proxy(any_pair.primary.port) as proxy:
        patience = Duration(SHORT if lags else LONG)
        async with transport_to(proxy.url, replicas_timeout=patience) as transport:
            await transport.open()
            proxy.set("drop_replies")
            with any_pair.lagging() if lags else contextlib.nullcontext():
                (message,) = events(1)
                firing = asyncio.ensure_future(fire(transport, message))
                await eventually_async(lambda: message.id in stored(any_pair.primary))
                proxy.set("pass")
                outcomes = await firing
    assert outcomes == {message.id: "PublishNotConfirmed" if lags else "confirmed"}
    assert stored(any_pair.primary).count(message.id) == 1


@pytest.mark.parametrize("lags", [True, False])
async def test_an_event_that_another_one_has_stored_before_is_confirmed_by_replicas_too(
    any_pair: Pair, lags: bool
) -> None:
    url = any_pair.primary.url
    patience = Duration(SHORT if lags else LONG)
    async with (
        transport_to(url, replicas_timeout=patience) as transport,
        transport_to(url, replicas=0) as other,
    ):
        with any_pair.lagging() if lags else contextlib.nullcontext():
            (message,) = events(1)
            assert await fire(other, message, dedupe=60) == {message.id: "confirmed"}
            outcomes = await fire(transport, message, dedupe=60)
        assert outcomes == {message.id: "PublishNotConfirmed" if lags else "confirmed"}
    assert stored(any_pair.primary).count(message.id) == 1
    fired = any_pair.primary.execute("PTTL", f"{{{STREAM}}}:fired:{message.id}")
    assert 0 < fired <= 60_000, "it is remembered no longer than without"


async def test_an_event_whose_primary_becomes_a_replica_is_stored_at_the_new_one(any_pair: Pair) -> None:
    old, new = any_pair.primary, any_pair.replica
    with Proxy(old.port) as proxy:
        async with transport_to(proxy.url, replicas_timeout=Duration(LONG)) as transport:
            await transport.publish(events(1), 30)
            with any_pair.lagging():
                (message,) = events(1)
                firing = asyncio.ensure_future(fire(transport, message))
                await eventually_async(lambda: message.id in stored(old))
                any_pair.promote()
                proxy.target_port = new.port
                old.execute("REPLICAOF", "127.0.0.1", str(new.port))
                assert await firing == {message.id: "confirmed"}
    assert stored(new).count(message.id) == stored(old).count(message.id) == 1


async def test_an_unbroken_link_to_what_has_become_a_replica_confirms_nothing(pair: Pair) -> None:
    pair.promote()
    async with transport_to(pair.replica.url) as transport:
        (message,) = events(1)
        pair.replica.execute("REPLICAOF", "127.0.0.1", str(pair.primary.port))
        (outcome,) = (await fire(transport, message, timeout=0.5)).values()
        # Each attempt is refused; the time may be over before the refusal of the last one has come.
        assert outcome in ("TransportUnavailable", "PublishNotConfirmed")
    assert message.id not in stored(pair.replica)


async def test_a_user_who_may_not_wait_is_told_so(pair: Pair) -> None:
    pair.primary.execute("ACL", "SETUSER", "shop", "on", ">secret", "~*", "+@all", "-wait")
    try:
        async with transport_to(pair.primary.url, username="shop", password=Secret("secret")) as transport:
            with pytest.raises(PublishNotConfirmed, match="does not tell whether 1 replicas had it: NOPERM"):
                await transport.publish(events(1), 60)
            found = [
                each.what for each in await transport.check([Use("fires", "auth", ("user_registered",))])
            ]
            assert any("may not use WAIT" in what and "+wait" in what for what in found), found
    finally:
        pair.primary.execute("ACL", "DELUSER", "shop")


async def test_fewer_replicas_than_are_waited_for_are_found_by_a_check_of_who_fires(pair: Pair) -> None:
    fires = Use("fires", "auth", ("user_registered",))
    listens = Use("listens", "auth", ("user_registered",), "on_user", "shop")

    async def told(replicas: int, use: Use) -> list[str]:
        async with transport_to(pair.primary.url, replicas) as transport:
            found = await transport.check([use])
        return [each.what for each in found if "replicas_before_confirmed" in each.what]

    (what,) = await told(2, fires)
    assert "has 1 of the 2 replicas" in what and "PublishNotConfirmed" in what
    assert await told(1, fires) == await told(2, listens) == []


async def test_such_events_have_a_connection_from_the_start_on(pair: Pair) -> None:
    async with transport_to(pair.primary.url, replicas=9, replicas_timeout=Duration(LONG)) as transport:
        begun = asyncio.get_running_loop().time()
        await transport.open()
        assert asyncio.get_running_loop().time() < begun + LONG, "no replica is waited for"
        assert transport._streams.pipe.failure is None


async def test_an_obstacle_of_that_connection_is_shown_and_taken_back(pair: Pair) -> None:
    with Proxy(pair.primary.port) as proxy:
        async with transport_to(proxy.url) as transport:
            await transport.open()
            proxy.set("refuse")
            await eventually_async(lambda: len(transport.obstacles._said) == 2)
            proxy.set("pass")
            await eventually_async(lambda: not list(transport.obstacles))
            proxy.set("refuse")
            await eventually_async(lambda: len(transport.obstacles._said) == 2)
            obstacles = transport.obstacles
            with contextlib.suppress(LightbusException):
                await transport.close()
            assert not list(obstacles)


async def test_the_option_of_an_api_holds_for_its_events_alone_by_one_and_in_lists(pair: Pair) -> None:
    """By a bus with a manifest, as people use it."""
    promised = {"redis": {"replicas_before_confirmed": 1, "replicas_timeout": SHORT}}
    bus = lightbus.create(
        {
            "bus": {"redis": {"url": pair.primary.url}},
            "apis": {"orders": {"event_transport": promised}},
        },
        plugins=[],
    )
    bus.client.parts = Parts(bus.client.parts.wiring, Registry(), bus.client)
    for api in OrdersApi, ViewsApi:
        bus.client.register_api(api)
    try:
        await eventually_async(lambda: _is_fired(bus.orders.placed))
        with pair.lagging():
            await bus.views.placed.fire_async(number=1)
            with pytest.raises(PublishNotConfirmed, match=r"0 of 1 replicas had it within 0\.1 s"):
                await bus.orders.placed.fire_async(number=1)
            with pytest.raises(EventsNotFired) as several:
                await bus.orders.placed.fire_many_async([{"number": 1}, {"number": 2}])
            assert [outcome.state for outcome in several.value.outcomes] == ["unknown", "unknown"]
    finally:
        await bus.client.close_async()


async def _is_fired(event: Any) -> bool:
    with contextlib.suppress(PublishNotConfirmed):
        await event.fire_async(number=0)
        return True
    return False


class OrdersApi(Api):
    placed = Event(parameters=(Parameter("number", int),))

    class Meta:
        name = "orders"
        auto_register = False


class ViewsApi(Api):
    placed = Event(parameters=(Parameter("number", int),))

    class Meta:
        name = "views"
        auto_register = False
