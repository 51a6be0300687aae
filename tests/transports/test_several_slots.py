"""A listener whose streams lie in several slots of a cluster: one reader for each, and one worker for all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from lightbus.messages import EventMessage
from lightbus.transports.events import Delivery, EventTransport
from lightbus.transports.redis.events.consumer import RedisEventConsumer
from lightbus.transports.redis.events.reading.readers import Readers
from tests.support.cluster import RedisCluster
from tests.support.eventually import eventually_async
from tests.support.spread import Spread

from .conftest import LEASES, Ports, take

APIS = ("auth", "shop", "mail", "bill")
ALL = tuple((api, "happened") for api in APIS)


@pytest.fixture(scope="session")
def whole_cluster(shared_cluster: RedisCluster) -> RedisCluster:
    """Three primaries, over which the streams are spread."""
    return shared_cluster


def stream(api: str) -> str:
    return f"{api}.*:stream"


async def fire(transport: EventTransport, *names: str) -> None:
    """Fire events, each named by its API and a number, such as "auth 1"."""
    messages = [EventMessage(name.partition(" ")[0], "happened", {"name": name}) for name in names]
    await transport.publish(messages, 30)


def names_of(deliveries: list[Delivery]) -> list[str]:
    return sorted(delivery.message.kwargs["name"] for delivery in deliveries)


async def listen(ports: Ports, transport: EventTransport) -> RedisEventConsumer:
    consumer = await ports.listen(transport, ALL)
    assert isinstance(consumer, RedisEventConsumer)
    return consumer


def readers_of(consumer: RedisEventConsumer) -> Readers:
    assert isinstance(consumer._readers, Readers)
    return consumer._readers


async def until_all_wait(consumer: RedisEventConsumer, number: int = len(APIS)) -> None:
    """Wait until so many readers wait in Redis."""

    def all_wait() -> bool:
        return sum(reader.is_waiting for reader in readers_of(consumer).all) == number

    await eventually_async(all_wait)


def held(server: Spread, api: str) -> int:
    """How many events a group was given and has not acknowledged."""
    count: int = server.execute("XPENDING", stream(api), "shop-on_user")[0]
    return count


@pytest.mark.usefixtures("long_waits")
async def test_events_of_all_slots_come_although_each_reader_waits_for_its_own(
    cluster_ports: Ports,
) -> None:
    transport = cluster_ports.events()
    consumer = await listen(cluster_ports, transport)
    assert len(consumer.links) == len(APIS)
    for number in range(3):
        taking = cluster_ports.run(take(consumer, len(APIS), 100))
        await until_all_wait(consumer)
        wanted = [f"{api} {number}" for api in APIS]
        await fire(transport, *wanted)
        async with asyncio.timeout(60):
            deliveries = await taking
        assert names_of(deliveries) == sorted(wanted)
        for delivery in deliveries:
            delivery.ack()


@pytest.mark.usefixtures("long_waits")
async def test_the_first_event_does_not_wait_for_the_other_slots(cluster_ports: Ports) -> None:
    transport = cluster_ports.events()
    consumer = await listen(cluster_ports, transport)
    for api in APIS:
        taking = cluster_ports.run(take(consumer, 1, 100))
        await eventually_async(lambda: any(reader.is_waiting for reader in readers_of(consumer).all))
        await fire(transport, f"{api} 1")
        async with asyncio.timeout(60):
            assert names_of(await taking) == [f"{api} 1"]


@pytest.mark.usefixtures("long_waits")
async def test_while_all_slots_of_a_process_are_busy_events_go_to_another_one(
    cluster_ports: Ports, cluster: Spread
) -> None:
    transport = cluster_ports.events()
    busy = await listen(cluster_ports, transport)
    taking = cluster_ports.run(take(busy, 1, 1))
    await until_all_wait(busy)
    await fire(transport, "auth 1")
    assert names_of(await taking) == ["auth 1"]
    await until_all_wait(busy, 0)
    await fire(transport, *(f"{api} 2" for api in APIS))
    free = await listen(cluster_ports, transport)
    assert names_of(await take(free, len(APIS), 100)) == sorted(f"{api} 2" for api in APIS)


async def test_no_more_events_are_read_than_there_are_free_slots(
    cluster_ports: Ports, cluster: Spread
) -> None:
    transport = cluster_ports.events()
    consumer = await listen(cluster_ports, transport)
    await fire(transport, *(f"{api} {number}" for api in APIS for number in range(5)))
    seen = []
    for _ in range(20):
        (delivery,) = await take(consumer, 1, 1)
        assert sum(held(cluster, api) for api in APIS) == 1
        seen.append(delivery)
        delivery.ack()
        await eventually_async(lambda: sum(held(cluster, api) for api in APIS) == 0)
    assert names_of(seen) == sorted(f"{api} {number}" for api in APIS for number in range(5))


async def test_where_events_wait_in_all_slots_each_has_its_turn(cluster_ports: Ports) -> None:
    transport = cluster_ports.events()
    consumer = await listen(cluster_ports, transport)
    await fire(transport, *(f"{api} {number}" for number in range(3) for api in APIS))
    taken = []
    for _ in range(3 * len(APIS)):
        (delivery,) = await take(consumer, 1, 1)
        taken.append(delivery.message.api_name)
        delivery.ack()
        # Until all readers wait to be asked: then none is ahead of the others by chance.
        await eventually_async(lambda: len(readers_of(consumer)._is_wanting._waiters) == len(APIS))
    first = taken[: len(APIS)]
    assert sorted(first) == sorted(APIS)
    assert taken == first * 3


@pytest.mark.usefixtures("long_waits", "long_farewells")
async def test_stopping_ends_all_reads_at_once_and_hands_back_what_they_brought(
    cluster_ports: Ports, cluster: Spread
) -> None:
    transport = cluster_ports.events()
    consumer = await listen(cluster_ports, transport)
    taking = cluster_ports.run(consumer.take(10))
    await until_all_wait(consumer)
    async with asyncio.timeout(60):
        await consumer.stop()
        assert list(await taking) == []
        await until_all_wait(consumer, 0)
    await fire(transport, *(f"{api} 1" for api in APIS))
    assert [held(cluster, api) for api in APIS] == [0] * len(APIS)
    other = await listen(cluster_ports, transport)
    assert len(await take(other, len(APIS), 100)) == len(APIS)


@pytest.mark.usefixtures("long_waits", "long_farewells")
async def test_an_event_that_arrives_after_the_stop_is_handed_back_at_once(
    cluster_ports: Ports, cluster: Spread, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = cluster_ports.events()
    consumer = await listen(cluster_ports, transport)
    (reader,) = [each for each in readers_of(consumer).all if stream("shop") in each.sources]
    exchange, came, may_come = reader.link.exchange, asyncio.Event(), asyncio.Event()

    async def late(commands: Sequence[tuple[Any, ...]], timeout: float) -> list[Any]:
        reply = await exchange(commands, timeout)
        if commands[0][0] == "XREADGROUP" and reply[0]:
            came.set()
            await may_come.wait()
        return reply

    monkeypatch.setattr(reader.link, "exchange", late)
    cluster_ports.run(consumer.take(10))
    await until_all_wait(consumer)
    await fire(transport, "shop 1")
    await came.wait()
    await consumer.stop()
    may_come.set()
    other = await listen(cluster_ports, transport)
    async with asyncio.timeout(60):
        assert names_of(await take(other, 1, 100)) == ["shop 1"]


async def test_a_slot_that_can_not_be_read_keeps_no_other_from_being_read(
    cluster_ports: Ports, cluster: Spread
) -> None:
    transport = cluster_ports.events(consumption_restart_delay=0.05)
    consumer = await listen(cluster_ports, transport)
    cluster.execute("DEL", stream("shop"))
    cluster.execute("SET", stream("shop"), "no stream")
    await fire(transport, "auth 1", "bill 1")
    assert names_of(await take(consumer, 2, 100)) == ["auth 1", "bill 1"]
    reading = cluster_ports.run(take(consumer, 1, 100))
    await eventually_async(lambda: "WRONGTYPE" in consumer.trouble)
    cluster.execute("DEL", stream("shop"))
    await fire(transport, "shop 1")
    assert names_of(await reading) == ["shop 1"]
    await eventually_async(lambda: consumer.trouble == "")


async def test_a_slot_that_can_not_be_looked_at_keeps_no_event_of_a_dead_process_in_another_one(
    cluster_ports: Ports, cluster: Spread
) -> None:
    transport = cluster_ports.events(**LEASES, consumption_restart_delay=0.05)
    dead = await listen(cluster_ports, transport)
    await fire(transport, f"{APIS[-1]} 1")
    await take(dead, 1, 1)
    await cluster_ports.abandon(dead)
    for api in APIS[:-1]:
        cluster.execute("DEL", stream(api))
    other = await listen(cluster_ports, transport)
    for api in APIS[:-1]:
        cluster.execute("DEL", stream(api))
        cluster.execute("SET", stream(api), "no stream")
    (delivery,) = await take(other, 1, 1)
    assert delivery.is_suspect and delivery.message.api_name == APIS[-1]


async def test_the_group_of_one_slot_is_made_again_where_it_was(
    cluster_ports: Ports, cluster: Spread, caplog: pytest.LogCaptureFixture
) -> None:
    transport = cluster_ports.events(consumption_restart_delay=0.05)
    consumer = await listen(cluster_ports, transport)
    await fire(transport, "auth 1", "shop 1")
    for delivery in await take(consumer, 2, 100):
        delivery.ack()
    await eventually_async(lambda: held(cluster, "auth") + held(cluster, "shop") == 0)
    cluster.execute("XGROUP", "DESTROY", stream("shop"), "shop-on_user")
    await fire(transport, "auth 2", "shop 2")
    assert names_of(await take(consumer, 2, 100)) == ["auth 2", "shop 2"]
    assert sum("is gone from Redis" in record.getMessage() for record in caplog.records) == 1


async def test_an_event_is_retried_in_whichever_slot_it_lies(cluster_ports: Ports) -> None:
    transport = cluster_ports.events()
    consumer = await listen(cluster_ports, transport)
    await fire(transport, *(f"{api} 1" for api in APIS))
    for delivery in await take(consumer, len(APIS), 100):
        await delivery.retry(0.05, ValueError("no"))
    again = await take(consumer, len(APIS), 100)
    assert names_of(again) == sorted(f"{api} 1" for api in APIS)
    assert {delivery.attempt for delivery in again} == {2}


@pytest.mark.usefixtures("long_waits")
async def test_an_event_whose_reply_was_lost_with_one_link_is_taken_up(
    cluster_ports: Ports, cluster: Spread
) -> None:
    transport = cluster_ports.events()
    consumer = await listen(cluster_ports, transport)
    taking = cluster_ports.run(take(consumer, 1, 100))
    await until_all_wait(consumer)
    name = consumer.membership.consumer
    # As a reply would do that was written to a broken connection.
    await fire(transport, "mail 1")
    (delivery,) = await taking
    cluster.execute("XREADGROUP", "GROUP", "shop-on_user", name, "STREAMS", stream("bill"), ">")
    await fire(transport, "bill 1")
    taken = cluster_ports.run(take(consumer, 1, 100))
    cluster.execute("XREADGROUP", "GROUP", "shop-on_user", name, "STREAMS", stream("bill"), ">")
    consumer.note_lost_reply()
    async with asyncio.timeout(60):
        assert names_of(await taken) == ["bill 1"]
    delivery.ack()


async def test_one_who_follows_all_streams_sees_the_events_of_each_slot(cluster_ports: Ports) -> None:
    transport = cluster_ports.events()
    await fire(transport, *(f"{api} 0" for api in APIS))
    seen: list[str] = []

    async def follow() -> None:
        async for message in transport.follow(since=0.0):
            seen.append(message.kwargs["name"])

    cluster_ports.run(follow())
    await eventually_async(lambda: len(seen) == len(APIS))
    for number in (1, 2):
        await fire(transport, *(f"{api} {number}" for api in APIS))
    await eventually_async(lambda: len(seen) == 3 * len(APIS))
    assert sorted(seen) == sorted(f"{api} {number}" for api in APIS for number in range(3))
