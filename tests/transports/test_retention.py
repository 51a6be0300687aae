"""What a stream keeps: never less than what some group has not acknowledged, and not much more."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

import pytest

from lightbus.declared.metrics import Metrics
from lightbus.exceptions import BusAlreadyClosed, PublishNotConfirmed, StreamFull, TransportUnavailable
from lightbus.messages import EventMessage
from lightbus.transports.events import EventConsumer, EventTransport
from lightbus.transports.redis.events import trimming
from lightbus.transports.redis.events.transport import RedisEventTransport
from tests.support.eventually import eventually_async
from tests.support.servers import Server

from .conftest import Ports, settled, take
from .test_redis_events import STREAM

#: Streams are trimmed by whole nodes, of so many entries.
NODE = 100


def length(server: Server) -> int:
    count: int = server.execute("XLEN", STREAM)
    return count


def scripts_run(server: Server) -> int:
    """How many scripts a server has run so far."""
    stats = server.execute("INFO", "commandstats").decode()
    calls = [line for line in stats.splitlines() if line.startswith("cmdstat_evalsha:")]
    return int(calls[0].split("calls=")[1].split(",")[0]) if calls else 0


async def fire(transport: EventTransport, count: int, timeout: float = 60) -> None:
    for start in range(0, count, 50):
        batch = range(start, min(count, start + 50))
        await transport.publish(
            [EventMessage("auth", "user_registered", {"username": n}) for n in batch], timeout
        )


async def nothing() -> None:
    """Do nothing."""


async def fill(transport: EventTransport, after_each: Callable[[], Awaitable[None]] = nothing) -> str:
    """Fire lists of 50 until the stream takes no more; returns what is said then."""
    while True:
        try:
            await fire(transport, 50, 0.3)
        except StreamFull as e:
            return str(e)
        except (TransportUnavailable, PublishNotConfirmed):
            continue  # The machine is busy, and Redis has no time for it.
        await after_each()


async def handle(consumer: EventConsumer, count: int) -> None:
    for delivery in await take(consumer, count, limit=100):
        delivery.ack()


def trimmer_of(transport: EventTransport) -> trimming.Trimmer:
    """What keeps the only stream of a transport near its length."""
    assert isinstance(transport, RedisEventTransport)
    (stream,) = transport._streams._used.values()
    assert stream.trimmer is not None
    return stream.trimmer


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trimming, "_TRIM_LEASE_MS", 5)


async def full(transport: EventTransport, after_each: Callable[[], Awaitable[None]] = nothing) -> str:
    """Fill a stream until it is known because of which group it is full; returns what is said then."""

    async def named() -> str:
        said = await fill(transport, after_each)
        # It may be full for a moment before it is known because of whom.
        return said if "some listener" not in said else ""

    return await eventually_async(named)


async def kept_near(most: int, fire_some: Callable[[], Awaitable[int]]) -> None:
    """Go on firing past the length, until the stream is kept near it: on a busy machine trimming may lag."""

    async def near() -> int:
        left = await fire_some()
        return left if left <= most + 2 * NODE else 0

    for _ in range(20):
        await fire_some()
    assert await eventually_async(near) >= most


async def test_a_stream_is_kept_near_its_length(any_ports: Ports, any_redis: Server, eager: None) -> None:
    transport = any_ports.events(max_stream_length=200)
    consumer = await any_ports.listen(transport)

    async def fire_and_handle() -> int:
        await fire(transport, 50)
        await handle(consumer, 50)
        await asyncio.sleep(0.006)
        return length(any_redis)

    await kept_near(200, fire_and_handle)


async def test_a_stream_without_listeners_is_kept_near_its_length(
    any_ports: Ports, any_redis: Server, eager: None
) -> None:
    transport = any_ports.events(max_stream_length=200)

    async def fire_some() -> int:
        await fire(transport, 50)
        await asyncio.sleep(0.006)
        return length(any_redis)

    await kept_near(200, fire_some)


async def test_a_stream_without_a_limit_is_never_trimmed(redis_ports: Ports, redis_server: Server) -> None:
    transport = redis_ports.events(max_stream_length=None)
    await fire(transport, 3_000)
    assert length(redis_server) == 3_000


async def test_what_one_group_has_not_acknowledged_stays(
    any_ports: Ports, any_redis: Server, eager: None
) -> None:
    transport = any_ports.events(max_stream_length=100)
    slow = await any_ports.listen(transport, name="slow")
    quick = await any_ports.listen(transport, name="quick")
    await fire(transport, 1)
    (first,) = await take(slow)
    await handle(quick, 1)
    await fill(transport, lambda: handle(quick, 50))
    first.ack()
    stored = length(any_redis)
    assert stored > 100
    assert len(await take(slow, stored - 1, limit=100)) == stored - 1


async def test_a_full_stream_names_the_group_that_is_furthest_behind_and_who_reads_it(
    any_ports: Ports, eager: None
) -> None:
    transport = any_ports.events(max_stream_length=100)
    await any_ports.listen(transport, name="slow", service="web-shop")
    quick = await any_ports.listen(transport, name="quick")

    said = await full(transport, lambda: handle(quick, 50))
    assert "that the group web-shop-slow of the service web-shop has not acknowledged" in said
    assert re.search(r"\d+ unread, 0 pending; p1 reads it\); start more processes", said)


async def test_a_full_stream_says_how_a_group_without_readers_is_removed(
    any_ports: Ports, any_redis: Server, eager: None
) -> None:
    any_redis.execute("XGROUP", "CREATE", STREAM, "shop-old", "0", "MKSTREAM")
    transport = any_ports.events(max_stream_length=100)
    said = await full(transport)
    assert "the group shop-old has not acknowledged" in said and "no process reads it" in said
    command = "lightbus group rm shop-old"
    assert said.endswith(f"remove the group if nobody needs its events: {command}")
    (status,) = await transport.group_status()
    await transport.remove_group(status)
    await fire(transport, 1)


async def test_a_look_that_redis_does_not_answer_says_nothing_of_the_stream(
    redis_ports: Ports, redis_server: Server, eager: None
) -> None:
    transport = redis_ports.events(max_stream_length=100)
    await fire(transport, 1)
    redis_server.pause()
    try:
        # Longer than what goes on without a look, so it waits for one.
        with pytest.raises((TransportUnavailable, PublishNotConfirmed)):
            await fire(transport, 50, 0.3)
    finally:
        redis_server.resume()


async def test_that_a_stream_is_full_is_said_once(
    redis_ports: Ports, eager: None, caplog: pytest.LogCaptureFixture
) -> None:
    transport = redis_ports.events(max_stream_length=100)
    await redis_ports.listen(transport)
    for _ in range(2):
        await fill(transport)
    assert [r.getMessage() for r in caplog.records if "is full" in r.getMessage()] == [
        f"auth.user_registered waits: {STREAM} is full of unacknowledged events"
    ]


async def test_firing_waits_for_room_and_goes_on(any_ports: Ports, any_redis: Server, eager: None) -> None:
    transport = any_ports.events(max_stream_length=50)
    consumer = await any_ports.listen(transport)
    assert re.search(r"auth\.user_registered was not fired.*max_stream_length", await fill(transport))
    waiting = any_ports.run(fire(transport, 10))
    await asyncio.sleep(0.05)
    assert not waiting.done()

    async def work() -> None:
        while True:
            for delivery in await consumer.take(100):
                delivery.ack()

    any_ports.run(work())
    await waiting


async def test_many_that_wait_look_for_room_once_for_all_and_do_not_overfill_the_stream(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events(max_stream_length=100)
    consumer = await any_ports.listen(transport)
    await fill(transport)
    before, scripts, began = length(any_redis), scripts_run(any_redis), time.monotonic()
    waiting = [any_ports.run(fire(transport, 1)) for _ in range(1_000)]
    await asyncio.sleep(1)
    run = scripts_run(any_redis) - scripts
    # Five looks of the publisher each second; the listener looks after its retries and leases.
    assert run < 50 * (time.monotonic() - began)
    await handle(consumer, before)
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert length(any_redis) <= before + 2 * NODE
    for task in waiting:
        task.cancel()


async def test_whoever_waits_for_room_is_told_when_the_bus_closes(redis_ports: Ports) -> None:
    transport = redis_ports.events(max_stream_length=100)
    await redis_ports.listen(transport)
    await fill(transport)
    waiting = asyncio.ensure_future(fire(transport, 1))
    await eventually_async(lambda: trimmer_of(transport)._looking is not None)
    await transport.close()
    with pytest.raises(BusAlreadyClosed, match="waited for room"):
        await waiting


async def test_so_is_one_whose_look_has_just_ended_when_the_bus_closes(
    redis_ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = redis_ports.events(max_stream_length=100)
    await redis_ports.listen(transport)
    await fill(transport)
    look, closing = trimming.Trimmer._look, list[asyncio.Task[None]]()

    async def and_close(self: trimming.Trimmer) -> None:
        await look(self)
        if not closing:  # It begins before whoever waits for this look goes on.
            closing.append(asyncio.create_task(transport.close()))

    monkeypatch.setattr(trimming.Trimmer, "_look", and_close)
    with pytest.raises(BusAlreadyClosed, match="waited for room"):
        await fire(transport, 1)
    await asyncio.wait(closing)


async def test_the_oldest_are_dropped_and_counted_where_that_is_wanted(
    any_ports: Ports, any_redis: Server, eager: None, caplog: pytest.LogCaptureFixture
) -> None:
    transport = any_ports.events(max_stream_length=200, when_full="drop_oldest")
    transport.metrics = Metrics()
    consumer = await any_ports.listen(transport)
    await fire(transport, 20)
    await handle(consumer, 20)
    fired = 0

    async def fire_some() -> int:
        nonlocal fired
        await fire(transport, 50)
        fired += 50
        await asyncio.sleep(0.006)
        return length(any_redis)

    await kept_near(200, fire_some)
    # The trimmer may still be at work, and counts a moment after it has dropped them.
    await eventually_async(lambda: trimmer_of(transport)._running is None)
    left = length(any_redis)
    assert transport.metrics.events_dropped.total(STREAM) == fired - left
    (said,) = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert said.startswith(f"{STREAM} is full: ") and "when_full: drop_oldest" in said
    # The listener goes on with those that are left.
    assert len(await take(consumer, left, limit=100)) == left


async def test_what_runs_may_be_settled_although_its_entry_was_dropped(
    any_ports: Ports, any_redis: Server, eager: None
) -> None:
    transport = any_ports.events(max_stream_length=100, when_full="drop_oldest")
    consumer = await any_ports.listen(transport)
    await fire(transport, 2)
    done, failed = await take(consumer, 2)

    async def is_dropped() -> bool:
        await fire(transport, 50)
        return not any_redis.execute("XRANGE", STREAM, "-", failed.message.native_id or "")

    await eventually_async(is_dropped)
    done.ack()
    await failed.retry(0, ValueError("no"))
    again: list[str] = []
    while not again:
        again = [each.message.id for each in await take(consumer) if each.attempt == 2]
    assert again == [failed.message.id]


async def test_a_few_acknowledged_entries_do_not_hide_that_a_stream_is_full(
    any_ports: Ports, any_redis: Server, eager: None
) -> None:
    transport = any_ports.events(max_stream_length=100)
    consumer = await any_ports.listen(transport)
    await fire(transport, 10)
    await handle(consumer, 10)  # Fewer than a node: they stay, in front of what is not acknowledged.
    await fill(transport, lambda: asyncio.sleep(0.006))
    assert length(any_redis) <= 100 + 4 * NODE


async def test_another_transport_notices_that_a_stream_is_full(
    redis_ports: Ports, redis_server: Server, eager: None
) -> None:
    transport = redis_ports.events(max_stream_length=100)
    await redis_ports.listen(transport)
    await fill(transport)
    other = redis_ports.events(max_stream_length=100, connect_timeout=6)

    async def full() -> bool:
        try:
            await fire(other, 1, 0.2)
        except StreamFull:
            return True
        except (TransportUnavailable, PublishNotConfirmed):
            return False  # The machine is busy.
        return False

    await settled(full)
