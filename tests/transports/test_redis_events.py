"""Events over Redis: what lies in the streams, and what others leave there."""

from __future__ import annotations

import asyncio

import pytest

from lightbus.exceptions import PublishNotConfirmed, TransportUnavailable
from lightbus.messages import EventMessage
from lightbus.transports.base import EventConsumer
from tests.proxy import Proxy
from tests.servers import Server

from .conftest import Ports, fields_of, settled, take

STREAM = "auth.*:stream"
GROUP = "shop-on_user"
GOOD = ("id", "1", "api_name", "auth", "event_name", "user_registered", "version", "1", ":username", '"a"')


async def names(consumer: EventConsumer, wanted: int) -> list[str]:
    """Take and acknowledge so many events; returns their usernames."""
    deliveries = await take(consumer, wanted)
    for delivery in deliveries:
        delivery.ack()
    return [delivery.message.kwargs["username"] for delivery in deliveries]


def pending(server: Server, stream: str = STREAM, group: str = GROUP) -> int:
    count: int = server.execute("XPENDING", stream, group)[0]
    return count


async def all_acknowledged(server: Server, stream: str = STREAM, group: str = GROUP) -> None:
    async def condition() -> bool:
        return pending(server, stream, group) == 0

    await settled(condition)


async def test_an_acknowledged_event_is_no_longer_pending(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport)
    await any_ports.fire(transport, "a")
    (delivery,) = await take(consumer)
    assert pending(any_redis) == 1
    delivery.ack()
    await all_acknowledged(any_redis)


async def test_a_placeholder_of_lightbus_1_is_skipped_and_acknowledged(
    any_ports: Ports, any_redis: Server
) -> None:
    any_redis.execute("XADD", STREAM, "*", "", "")
    transport = any_ports.events()
    consumer = await any_ports.listen(transport, since="earliest")
    await any_ports.fire(transport, "a")
    assert await names(consumer, 1) == ["a"]
    await all_acknowledged(any_redis)
    assert await any_ports.dead() == []


async def test_other_events_of_a_shared_stream_are_acknowledged(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport)
    await any_ports.fire(transport, "x", event="user_deleted")
    await any_ports.fire(transport, "a")
    assert await names(consumer, 1) == ["a"]
    await all_acknowledged(any_redis)


async def test_bare_fields_that_are_not_known_are_ignored(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport)
    any_redis.execute("XADD", STREAM, "*", *GOOD, "traceparent", "00-ab", "attempts", "7")
    (delivery,) = await take(consumer)
    assert (delivery.message.kwargs, delivery.attempt) == ({"username": "a"}, 1)
    await delivery.retry(0, ValueError("no"))
    (again,) = await take(consumer)
    assert (again.message.kwargs, again.attempt) == ({"username": "a"}, 2)
    again.ack()


BAD = {
    "no id": GOOD[2:],
    "no api": GOOD[:2] + GOOD[4:],
    "not json": (*GOOD[:-1], "{"),
    "deep": (*GOOD[:-1], "[" * 1_000),
    "large": (*GOOD[:-1], '"' + "x" * 1_200_000 + '"'),
    "version": (*GOOD[:6], "version", "one", *GOOD[8:]),
    "binary": (*GOOD, b"\xff", b"\xff"),
    "fields": (*GOOD, *(part for n in range(1_100) for part in (f":a{n}", "1"))),
}


@pytest.mark.parametrize("kind", BAD)
async def test_what_is_not_an_event_becomes_a_dead_letter_and_the_next_one_runs(
    redis_ports: Ports, redis_server: Server, kind: str
) -> None:
    transport = redis_ports.events()
    consumer = await redis_ports.listen(transport)
    redis_server.execute("XADD", STREAM, "*", *BAD[kind])
    await redis_ports.fire(transport, "good")
    assert await names(consumer, 1) == ["good"]
    await all_acknowledged(redis_server)
    (entry,) = redis_server.execute("XRANGE", f"{{{STREAM}}}:dead:{GROUP}", "-", "+")
    fields = dict(zip(entry[1][::2], entry[1][1::2], strict=True))
    assert fields[b"reason"] == b"invalid_message"
    assert b"InvalidMessage" in fields[b"error"]


async def test_a_dead_letter_is_the_entry_with_all_that_is_known(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport)
    message = EventMessage("auth", "user_registered", {"username": "a"})
    await transport.publish([message], 5)
    (delivery,) = await take(consumer)
    try:
        raise ValueError("no such user")
    except ValueError as e:
        await delivery.dead_letter("failed", e)
    (entry,) = any_redis.execute("XRANGE", f"{{{STREAM}}}:dead:{GROUP}", "-", "+")
    fields = fields_of(entry[1])
    assert (fields["id"], fields[":username"], fields["origin"]) == (message.id, '"a"', message.native_id)
    assert (fields["reason"], fields["attempts"]) == ("failed", "1")
    assert fields["error"] == "ValueError('no such user')"
    assert "test_a_dead_letter_is_the_entry" in fields["trace"]
    assert pending(any_redis) == 0


async def test_a_stream_of_each_event_where_that_is_chosen(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events(stream_use="per_event")
    consumer = await any_ports.listen(transport)
    await any_ports.fire(transport, "x", event="user_deleted")
    await any_ports.fire(transport, "a")
    assert await names(consumer, 1) == ["a"]
    lengths = {
        event: any_redis.execute("XLEN", f"auth.{event}:stream")
        for event in ("user_registered", "user_deleted")
    }
    assert lengths == {"user_registered": 1, "user_deleted": 1}
    assert any_redis.execute("EXISTS", STREAM) == 0


async def test_an_asterisk_reads_the_streams_of_all_known_events(redis_ports: Ports) -> None:
    transport = redis_ports.events(stream_use="per_event")
    known = {"auth": ("user_registered", "user_deleted")}
    consumer = await redis_ports.listen(transport, [("auth", "*")], known=known)
    await redis_ports.fire(transport, "a")
    await redis_ports.fire(transport, "b", event="user_deleted")
    assert sorted(await names(consumer, 2)) == ["a", "b"]


async def test_an_asterisk_without_known_events_says_what_is_missing(redis_ports: Ports) -> None:
    transport = redis_ports.events(stream_use="per_event")
    with pytest.raises(TransportUnavailable, match=r"auth.*contract"):
        await redis_ports.listen(transport, [("auth", "*")])


async def test_a_stream_that_is_something_else_is_said_so(any_ports: Ports, any_redis: Server) -> None:
    any_redis.execute("SET", STREAM, "hello")
    transport = any_ports.events()
    with pytest.raises(TransportUnavailable, match="WRONGTYPE"):
        await any_ports.listen(transport)
    with pytest.raises(TransportUnavailable, match="WRONGTYPE"):
        await any_ports.fire(transport, "a")


async def test_names_in_the_group_may_be_chosen(redis_ports: Ports, redis_server: Server) -> None:
    transport = redis_ports.events(service_name="front", consumer_name="one")
    consumer = await redis_ports.listen(transport)
    await redis_ports.fire(transport, "a")
    await take(consumer)
    (group,) = redis_server.execute("XINFO", "GROUPS", STREAM)
    assert group[group.index(b"name") + 1] == b"front-on_user"
    (info,) = redis_server.execute("XINFO", "CONSUMERS", STREAM, "front-on_user")
    assert info[info.index(b"name") + 1] == b"one"


@pytest.mark.parametrize("batch_size", [1, 7])
async def test_no_more_is_fetched_at_once_than_batch_size(
    redis_ports: Ports, redis_server: Server, batch_size: int
) -> None:
    transport = redis_ports.events(batch_size=batch_size)
    consumer = await redis_ports.listen(transport)
    await redis_ports.fire(transport, *"abcdefghijklmnop")
    assert len(await consumer.take(100)) == batch_size
    assert pending(redis_server) == batch_size


async def test_a_consumer_that_leaves_holding_nothing_is_removed(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport)
    await any_ports.fire(transport, "a")
    assert await names(consumer, 1) == ["a"]
    await consumer.stop()
    await consumer.close()
    assert any_redis.execute("XINFO", "CONSUMERS", STREAM, GROUP) == []


async def test_absent_consumers_that_hold_nothing_are_removed_after_their_ttl(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events(consumer_ttl=1, reclaim_interval=0.05)
    any_redis.execute("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    any_redis.execute("XADD", STREAM, "*", *GOOD)
    for name in ("holds nothing", "holds one"):
        any_redis.execute("XREADGROUP", "GROUP", GROUP, name, "COUNT", 1, "STREAMS", STREAM, ">")
        if name == "holds nothing":
            (stream,) = any_redis.execute("XREADGROUP", "GROUP", GROUP, name, "STREAMS", STREAM, "0")
            any_redis.execute("XACK", STREAM, GROUP, stream[1][0][0])
            any_redis.execute("XADD", STREAM, "*", *GOOD)
    await any_ports.listen(transport)

    async def removed() -> bool:
        consumers = any_redis.execute("XINFO", "CONSUMERS", STREAM, GROUP)
        found = {info[info.index(b"name") + 1] for info in consumers}
        return b"holds nothing" not in found and b"holds one" in found

    await settled(removed)


class TestWhatIsGone:
    async def test_a_deleted_group_is_made_again_where_it_was(
        self, any_ports: Ports, any_redis: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        transport = any_ports.events(consumption_restart_delay=0.05)
        await any_ports.fire(transport, "old")
        consumer = await any_ports.listen(transport)
        await any_ports.fire(transport, "a")
        assert await names(consumer, 1) == ["a"]
        await all_acknowledged(any_redis)
        any_redis.execute("XGROUP", "DESTROY", STREAM, GROUP)
        await any_ports.fire(transport, "while gone")
        assert await names(consumer, 1) == ["while gone"]
        errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
        assert len(errors) == 1
        assert "is gone from Redis" in errors[0]

    async def test_a_group_deleted_before_it_read_anything_starts_where_it_was_made(
        self, any_ports: Ports, any_redis: Server
    ) -> None:
        transport = any_ports.events(consumption_restart_delay=0.05)
        await any_ports.fire(transport, "old")
        consumer = await any_ports.listen(transport)
        any_redis.execute("XGROUP", "DESTROY", STREAM, GROUP)
        await any_ports.fire(transport, "while gone")
        assert await names(consumer, 1) == ["while gone"]

    async def test_a_deleted_group_is_never_made_at_the_end_by_the_next_process(
        self, any_ports: Ports, any_redis: Server
    ) -> None:
        transport = any_ports.events()
        consumer = await any_ports.listen(transport)
        await any_ports.fire(transport, "a")
        assert await names(consumer, 1) == ["a"]
        await consumer.stop()
        await consumer.close()
        any_redis.execute("XGROUP", "DESTROY", STREAM, GROUP)
        await any_ports.fire(transport, "while gone")
        again = await any_ports.listen(transport, since="new")
        assert await names(again, 1) == ["while gone"]

    async def test_what_ran_while_its_group_was_deleted_may_still_fail(
        self, any_ports: Ports, any_redis: Server
    ) -> None:
        transport = any_ports.events(consumption_restart_delay=0.05)
        consumer = await any_ports.listen(transport)
        await any_ports.fire(transport, "running")
        (running,) = await take(consumer)
        any_redis.execute("XGROUP", "DESTROY", STREAM, GROUP)
        await any_ports.fire(transport, "b")
        assert await names(consumer, 1) == ["b"]
        await running.retry(0, ValueError("no"))
        (again,) = await take(consumer)
        assert (again.message.kwargs["username"], again.attempt) == ("running", 2)
        again.ack()

    async def test_a_deleted_stream_is_made_again(self, any_ports: Ports, any_redis: Server) -> None:
        transport = any_ports.events(consumption_restart_delay=0.05)
        consumer = await any_ports.listen(transport)
        await any_ports.fire(transport, "a")
        assert await names(consumer, 1) == ["a"]
        await all_acknowledged(any_redis)
        waiting = any_ports.run(names(consumer, 1))
        await asyncio.sleep(0.05)
        any_redis.execute("DEL", STREAM)
        await any_ports.fire(transport, "b")
        assert await waiting == ["b"]

    async def test_redis_that_comes_back_empty_is_used_again(
        self, redis_ports: Ports, redis_server: Server
    ) -> None:
        transport = redis_ports.events(consumption_restart_delay=0.2)
        consumer = await redis_ports.listen(transport)
        await redis_ports.fire(transport, "a")
        assert await names(consumer, 1) == ["a"]
        redis_server.restart()
        waiting = redis_ports.run(names(consumer, 1))
        await redis_ports.fire(transport, "b")
        assert await waiting == ["b"]


class TestFiringWhileRedisIsAway:
    async def test_what_was_stored_before_the_reply_was_lost_is_found(
        self, redis_ports: Ports, proxy: Proxy, redis_server: Server
    ) -> None:
        redis_ports.url = proxy.url
        transport = redis_ports.events()
        await transport.open()
        proxy.set("drop_replies")
        firing = redis_ports.run(redis_ports.fire(transport, "a", "b"))

        async def stored() -> bool:
            return bool(redis_server.execute("XLEN", STREAM) == 2)

        await settled(stored)
        proxy.set("pass")
        await firing
        assert redis_server.execute("XLEN", STREAM) == 2

    async def test_what_was_not_stored_is_sent_again(
        self, redis_ports: Ports, proxy: Proxy, redis_server: Server
    ) -> None:
        redis_ports.url = proxy.url
        transport = redis_ports.events()
        await transport.open()
        proxy.set("blackhole")
        firing = redis_ports.run(redis_ports.fire(transport, "a"))
        await asyncio.sleep(0.05)
        proxy.set("refuse")
        await asyncio.sleep(0.05)
        proxy.set("pass")
        await firing
        assert redis_server.execute("XLEN", STREAM) == 1

    async def test_an_outcome_that_stays_unknown_is_said_so(self, redis_ports: Ports, proxy: Proxy) -> None:
        redis_ports.url = proxy.url
        transport = redis_ports.events()
        await transport.open()
        proxy.set("drop_replies")
        message = EventMessage("auth", "user_registered", {"username": "a"})
        with pytest.raises(PublishNotConfirmed, match="may or may not be stored") as raised:
            await transport.publish([message], 0.2)
        assert raised.value.event_id == message.id
        assert message.native_id is None
        proxy.set("pass")

    async def test_what_was_not_fired_in_time_never_goes_out(
        self, redis_ports: Ports, proxy: Proxy, redis_server: Server
    ) -> None:
        redis_ports.url = proxy.url
        transport = redis_ports.events()
        await transport.open()
        proxy.set("refuse")

        async def away() -> bool:
            return transport.pipe.failure is not None  # type: ignore[attr-defined]

        await settled(away)
        with pytest.raises(TransportUnavailable, match=r"auth\.user_registered was not fired"):
            await transport.publish(
                [EventMessage("auth", "user_registered", {"username": n}) for n in "abc"], 0.1
            )
        proxy.set("pass")
        await transport.open()
        assert redis_server.execute("EXISTS", STREAM) == 0

    async def test_a_full_redis_fires_nothing(self, redis_ports: Ports, redis_server: Server) -> None:
        transport = redis_ports.events()
        await transport.open()
        redis_server.execute("CONFIG", "SET", "maxmemory", 1)
        try:
            with pytest.raises(TransportUnavailable, match=r"was not fired.*OOM"):
                await redis_ports.fire(transport, "a")
        finally:
            redis_server.execute("CONFIG", "SET", "maxmemory", 0)

    async def test_a_redis_that_never_answered_is_said_at_once(
        self, redis_ports: Ports, proxy: Proxy
    ) -> None:
        proxy.set("refuse")
        redis_ports.url = proxy.url
        with pytest.raises(TransportUnavailable, match="can't be reached"):
            await redis_ports.fire(redis_ports.events(), "a")


@pytest.mark.parametrize("away", ["refuse", "blackhole"])
async def test_a_listener_stops_while_redis_is_away(redis_ports: Ports, proxy: Proxy, away: str) -> None:
    transport = redis_ports.events()
    redis_ports.url = proxy.url
    consumer = await redis_ports.listen(redis_ports.events(batch_size=2))
    await redis_ports.fire(transport, "a", "b")
    (delivery, _) = await take(consumer, 2)
    proxy.set("refuse" if away == "refuse" else "blackhole")
    async with asyncio.timeout(8):
        await delivery.release()
        await consumer.stop()
    proxy.set("pass")


async def test_acknowledgements_arrive_although_the_link_broke(
    redis_ports: Ports, proxy: Proxy, redis_server: Server
) -> None:
    transport = redis_ports.events()
    redis_ports.url = proxy.url
    consumer = await redis_ports.listen(redis_ports.events())
    await redis_ports.fire(transport, "a", "b")
    deliveries = await take(consumer, 2)
    proxy.set("refuse")
    deliveries[0].ack()
    await asyncio.sleep(0.05)
    proxy.set("pass")
    await deliveries[1].dead_letter("failed", None)
    await all_acknowledged(redis_server)
