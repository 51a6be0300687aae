"""Events over Redis: what lies in the streams, and what others leave there."""

from __future__ import annotations

import pytest

from lightbus.exceptions import TransportUnavailable
from lightbus.messages import EventMessage
from lightbus.transports.events import EventConsumer
from tests.support.servers import Server

from .conftest import Ports, fields_of, is_cluster, settled, take

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
    await transport.publish([message], 30)
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


async def test_of_many_streams_no_more_is_fetched_than_is_asked_for_and_each_has_its_turn(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events()
    events = [(api, "happened") for api in ("a", "b", "c")]
    consumer = await any_ports.listen(transport, events)
    for _ in range(2):
        await transport.publish([EventMessage(*names, {}) for names in events], 30)
    taken = []
    for n in range(6):
        (delivery,) = await take(consumer)
        held = [any_redis.execute("XPENDING", f"{api}.*:stream", GROUP)[0] for api, _ in events]
        assert sum(held) == n + 1
        taken.append(delivery.message.api_name)
    # At a cluster, the first turns go to those readers that are connected first.
    assert sorted(taken) == [*"aabbcc"]
    assert is_cluster(any_redis) or taken == [*"abc"] * 2


@pytest.mark.usefixtures("long_farewells")
async def test_a_consumer_that_leaves_holding_nothing_is_removed_but_for_the_last(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events()
    counts = []
    consumers = [await any_ports.listen(transport) for _ in range(2)]
    for consumer in consumers:
        await any_ports.fire(transport, "a")
        assert await names(consumer, 1) == ["a"]
    for consumer in consumers:
        await consumer.stop()
        await consumer.close()
        counts.append(len(any_redis.execute("XINFO", "CONSUMERS", STREAM, GROUP)))
    assert counts == [1, 1]


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
    consumer = await any_ports.listen(transport)
    any_ports.run(consumer.take(1))

    async def removed() -> bool:
        consumers = any_redis.execute("XINFO", "CONSUMERS", STREAM, GROUP)
        found = {info[info.index(b"name") + 1] for info in consumers}
        return b"holds nothing" not in found and b"holds one" in found

    await settled(removed)
