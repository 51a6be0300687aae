"""The relay: what it does where something fails, and what each of its options changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from lightbus.bus.path import BusPath
from lightbus.exceptions import StreamFull
from lightbus.manifest.model import Manifest
from lightbus.messages import MAX_BYTES
from lightbus.outbox import relay as relay_module
from lightbus.outbox.database import InThread, Outcome
from lightbus.outbox.relays import Relays
from lightbus.outbox.rows import BUCKETS, FAILED, HELD, SENT, bucket_of
from lightbus.transports.redis.events.transport import RedisEventTransport
from tests.support.eventually import eventually_async
from tests.support.sabotage import How, Sabotage
from tests.support.servers import Server
from tests.support.timers import HOUR

from .conftest import EVENTS, Outbox, arguments, fired, relaying
from .test_django import atomic, opened, place


async def count(outbox: Outbox, **filters: Any) -> int:
    number: int = await sync_to_async(outbox.rows.filter(**filters).count)()
    return number


async def until_count(outbox: Outbox, number: int, **filters: Any) -> None:
    for _ in range(2_000):
        if await count(outbox, **filters) == number:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{await count(outbox, **filters)} rows, not {number}")


async def test_an_event_that_can_not_be_sent_keeps_back_its_key_until_somebody_decides(
    bus: BusPath, outbox: Outbox, redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    def prepare() -> None:
        place(bus, outbox, 1, key="a")
        place(bus, outbox, 2, key="b")
        place(bus, outbox, 3, key="a")
        outbox.rows.filter(kwargs__contains="1").update(kwargs="no JSON")

    await sync_to_async(prepare)()
    async with relaying(bus, outbox) as (relay,):
        await until_count(outbox, 1, state=FAILED)
        await until_count(outbox, 1, state=HELD)
        await sync_to_async(place)(bus, outbox, 4, key="a")
        await sync_to_async(place)(bus, outbox, 5)
        await until_count(outbox, 2, state=HELD)
        await eventually_async(lambda: arguments(redis_server, "number") == [2, 5])
        assert "events of the key 'a' wait for it" in caplog.text
        database = InThread(outbox.tables())
        waiting = await database.waiting()
        assert (waiting.rows, waiting.failed) == (2, 1) and waiting.oldest >= 0
        await database.close()
        tables = outbox.tables()
        (stuck,) = await sync_to_async(tables.stuck)(10)
        assert (stuck.row.key, stuck.held, stuck.attempts) == ("a", 2, 1)
        assert "Expecting value" in stuck.error
        assert await sync_to_async(tables.retry)([stuck.row.seq + 1000]) == 0
        await sync_to_async(outbox.rows.filter(state=FAILED).update)(kwargs='{"number":1,"note":""}')
        assert await sync_to_async(tables.retry)(None) == 1
        await eventually_async(lambda: arguments(redis_server, "number") == [2, 5, 1, 3, 4])
        counted = bus.client.parts.metrics.outbox_relayed.values
        await eventually_async(lambda: counted[relay.name, "sent"] == 5)
        assert counted[relay.name, "failed"] == 1


async def test_what_waits_for_a_dropped_event_goes_on(
    bus: BusPath, sqlite: Outbox, redis_server: Server
) -> None:
    await sync_to_async(place)(bus, sqlite, 1, 2, key="a")
    await sync_to_async(sqlite.rows.filter(kwargs__contains="1").update)(kwargs="no JSON")
    async with relaying(bus, sqlite):
        await until_count(sqlite, 1, state=HELD)
        assert await sync_to_async(sqlite.tables().drop)(None) == 1
        await eventually_async(lambda: arguments(redis_server, "number") == [2])
    assert await count(sqlite) == 0


async def test_a_hook_that_raises_is_asked_again_and_then_its_event_alone_is_put_aside(
    bus: BusPath, sqlite: Outbox, redis_server: Server
) -> None:
    asked = 0

    async def refuse(event_message: Any, client: Any) -> None:
        nonlocal asked
        if event_message.kwargs["number"] == 2:
            asked += 1
            raise RuntimeError("not this one")

    bus.client.before_event_sent(refuse)
    await sync_to_async(place)(bus, sqlite, 1, 2, 3)
    async with relaying(bus, sqlite):
        await eventually_async(lambda: arguments(redis_server, "number") == [1, 3])
        await until_count(sqlite, 1, state=FAILED, error__contains="not this one")
    assert asked >= 8


async def test_the_text_of_an_error_of_a_hook_is_in_the_log_alone(
    bus: BusPath, sqlite: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may quote the event, and everybody on the bus can read what is in the way of a relay."""
    monkeypatch.setattr(relay_module, "_ATTEMPTS", 1_000_000)

    async def refuse(event_message: Any, client: Any) -> None:
        raise RuntimeError(f"canary-{event_message.kwargs['number']}")

    bus.client.before_event_sent(refuse)
    await sync_to_async(place)(bus, sqlite, 4711)
    async with relaying(bus, sqlite) as (relay,):
        await eventually_async(lambda: relay.trouble.startswith("RuntimeError came up"))
        told = [relay.trouble, *bus.client.parts.obstacles]
        assert len(told) == 2 and "canary" not in str(told)
    assert caplog.text.count("canary-4711") == 1


async def test_while_redis_is_away_nothing_is_lost_and_no_transaction_is_held(
    bus: BusPath, outbox: Outbox, redis_server: Server
) -> None:
    async with relaying(bus, outbox, batch=50) as (relay,):
        await sync_to_async(place)(bus, outbox, 0)
        await eventually_async(lambda: len(fired(redis_server)) == 1)
        redis_server.pause()
        try:
            for number in range(1, 121):
                # In SQLite, too: a batch keeps the lock only for as long as Redis may answer.
                await asyncio.wait_for(sync_to_async(place)(bus, outbox, number), 60)
            await eventually_async(lambda: bool(relay.trouble))
        finally:
            redis_server.resume()
        await eventually_async(lambda: len(fired(redis_server)) == 121)
        await eventually_async(lambda: not relay.trouble)
    assert arguments(redis_server, "number") == list(range(121))
    assert await count(outbox) == 0


async def test_an_id_is_stored_once_for_as_long_as_dedupe_says(
    bus: BusPath, sqlite: Outbox, redis_server: Server
) -> None:
    def again() -> None:
        with atomic(sqlite):
            opened(bus, sqlite).shop.placed.fire(number=1, bus_options={"id": "the same"})

    async with relaying(bus, sqlite, dedupe=HOUR):
        for _ in range(2):
            await sync_to_async(again)()
            await until_count(sqlite, 0)
        assert fired(redis_server) == [b"the same"]
        (mark,) = redis_server.execute("KEYS", "*fired*")
        assert HOUR - 600 < redis_server.execute("TTL", mark) <= HOUR
        # As when the hour is over.
        redis_server.execute("DEL", mark)
        await sync_to_async(again)()
        await eventually_async(lambda: len(fired(redis_server)) == 2)


@pytest.mark.parametrize(("keep", "left"), [(3600.0, 1), (0.0, 0)])
async def test_rows_stay_as_long_as_keep_says(
    bus: BusPath, outbox: Outbox, redis_server: Server, keep: float, left: int
) -> None:
    await sync_to_async(place)(bus, outbox, 1)
    async with relaying(bus, outbox, keep=keep):
        await eventually_async(lambda: len(fired(redis_server)) == 1)
        await until_count(outbox, left)
    if keep:
        assert await count(outbox, state=SENT) == 1
        await sync_to_async(outbox.tables().prune)(keep)
        assert await count(outbox) == 1
        await sync_to_async(outbox.tables().prune)(0)
        assert await count(outbox) == 0


@pytest.mark.parametrize("batch", [2, 500])
async def test_a_batch_has_so_many_events(bus: BusPath, sqlite: Outbox, batch: int) -> None:
    sizes: list[int] = []
    send = bus.client.firer.send

    async def counted(messages: Any, *rest: Any) -> None:
        sizes.append(len(messages))
        await send(messages, *rest)

    bus.client.firer.send = counted  # type: ignore[method-assign,assignment]
    await sync_to_async(place)(bus, sqlite, *range(5))
    async with relaying(bus, sqlite, batch=batch):
        await until_count(sqlite, 0)
    assert sizes == ([2, 2, 1] if batch == 2 else [5])


def test_a_backlog_takes_few_statements_a_batch(bus: BusPath, outbox: Outbox) -> None:
    from django.db import connections
    from django.test.utils import CaptureQueriesContext

    place(bus, outbox, 1, 2, 3)
    tables, statements = outbox.tables(), []
    used = set()
    for _ in range(2):
        with CaptureQueriesContext(connections[outbox.alias]) as queries:
            batch = tables.begin(range(BUCKETS), 1)
            assert batch is not None and len(batch.rows) == 1
            tables.finish(Outcome(sent=[row.seq for row in batch.rows]))
        statements = [each["sql"].split()[0] for each in queries.captured_queries]
        used.add(connections[outbox.alias].connection)
    assert len(used) == 1, "it has connected again"
    # The lock, the rows, and their end; SQLite has its lock by an UPDATE.
    lock = "UPDATE" if outbox.kind == "sqlite" else "SELECT"
    assert [each for each in statements if each not in ("BEGIN", "COMMIT")] == [lock, "SELECT", "DELETE"]


@pytest.mark.parametrize("poll", [0.05, 0.6])
async def test_the_relay_looks_as_often_as_poll_says(bus: BusPath, sqlite: Outbox, poll: float) -> None:
    async with relaying(bus, sqlite, poll=poll) as (relay,):
        begun: list[float] = []
        begin: Callable[..., Any] = relay._database.begin

        async def noted(*about: Any) -> Any:
            begun.append(asyncio.get_running_loop().time())
            return await begin(*about)

        relay._database.begin = noted  # type: ignore[method-assign,assignment]
        await eventually_async(lambda: len(begun) >= 3)
    assert begun[2] - begun[1] >= poll


@pytest.mark.parametrize("partitions", [1, 3])
async def test_each_partition_has_a_leader_of_its_own(
    bus: BusPath, outbox: Outbox, redis_server: Server, partitions: int
) -> None:
    if outbox.kind == "sqlite":
        return  # One transaction at a time writes there.
    keys = [next(f"{b}-{n}" for n in range(1000) if bucket_of(f"{b}-{n}") == b) for b in range(BUCKETS)]
    for number, key in enumerate(keys):
        await sync_to_async(place)(bus, outbox, number, key=key)
    both = outbox.tables(), outbox.tables()
    ours = tuple(range(0, BUCKETS, partitions))

    led = await sync_to_async(both[0].begin)(ours, 500)
    assert led is not None
    assert [row.key for row in led.rows] == keys[::partitions]
    # Another thread has another connection: it leads what this one does not.
    other = InThread(both[1])
    assert await other.begin(ours, 500) is None
    rest = await other.begin(tuple(range(1, BUCKETS, 3)), 500)
    assert (rest is None) is (partitions == 1)
    await other.rollback()
    await other.close()
    await sync_to_async(both[0].rollback)()
    async with relaying(bus, outbox, partitions=partitions) as relays:
        await eventually_async(lambda: len(fired(redis_server)) == BUCKETS)
        assert len(relays) == partitions


async def test_what_a_full_stream_does_not_take_is_sent_later_and_nothing_twice(
    bus: BusPath, sqlite: Outbox, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, publish = True, RedisEventTransport.publish_each

    async def publish_some(self: Any, events: Any, timeout: float) -> None:
        await publish(self, events[:3] if full else events, timeout)
        for event in events[3:] if full else ():
            event.error = StreamFull("the stream is full")

    monkeypatch.setattr(RedisEventTransport, "publish_each", publish_some)
    await sync_to_async(place)(bus, sqlite, *range(5))
    async with relaying(bus, sqlite) as (relay,):
        await eventually_async(lambda: "the stream is full" in relay.trouble)
        await until_count(sqlite, 2)
        full = False
        await until_count(sqlite, 0)
        assert bus.client.parts.metrics.outbox_relayed.values[relay.name, "again"] >= 2
    assert arguments(redis_server, "number") == [0, 1, 2, 3, 4]


async def test_where_redis_refuses_one_event_those_of_its_key_wait_and_all_others_go_on(
    bus: BusPath, sqlite: Outbox, redis_server: Server
) -> None:
    def write() -> str:
        with atomic(sqlite):
            shop = opened(bus, sqlite).shop
            events = [{"number": number} for number in range(6)]
            made = shop.placed.fire_many(events, bus_options={"keys": ["a", "a", "b", "a", "", "a"]})
        return made[1].id

    refused = f"{{{EVENTS}}}:fired:{await sync_to_async(write)()}"
    # Redis refuses to read this as the mark of an event that was fired.
    redis_server.execute("LPUSH", refused, "something else")
    async with relaying(bus, sqlite) as (relay,):
        await eventually_async(lambda: arguments(redis_server, "number") == [0, 2, 4])
        await eventually_async(lambda: "WRONGTYPE" in relay.trouble)
        await until_count(sqlite, 3)
        redis_server.execute("DEL", refused)
        await until_count(sqlite, 0)
    assert arguments(redis_server, "number") == [0, 2, 4, 1, 3, 5]


async def test_an_event_that_is_too_large_keeps_back_its_key_alone(
    bus: BusPath, sqlite: Outbox, redis_server: Server
) -> None:
    await sync_to_async(place)(bus, sqlite, 1, 2, key="a")
    await sync_to_async(place)(bus, sqlite, 3)
    large = f'{{"number": 1, "note": "{"x" * MAX_BYTES}"}}'
    await sync_to_async(sqlite.rows.filter(kwargs__contains="1").update)(kwargs=large)
    async with relaying(bus, sqlite):
        await until_count(sqlite, 1, state=FAILED, error__contains="bytes")
        await until_count(sqlite, 1, state=HELD)
        await eventually_async(lambda: arguments(redis_server, "number") == [3])


@pytest.mark.parametrize("how", ["cancel", "raise"])
async def test_a_relay_whose_task_ends_unasked_is_begun_again(
    bus: BusPath, sqlite: Outbox, redis_server: Server, caplog: pytest.LogCaptureFixture, how: How
) -> None:
    relays = Relays(Manifest(), bus.client, import_module)
    relays.outboxes = [lambda: InThread(sqlite.tables())]
    sabotage = Sabotage(f"lightbus outbox {sqlite.tables().name}", how)
    relays.start()
    await eventually_async(lambda: sabotage.is_done and "ended unasked" in caplog.text, 60)
    await sync_to_async(place)(bus, sqlite, 1)
    await eventually_async(lambda: arguments(redis_server, "number") == [1], 60)
    await relays.stop(5)
    await relays.close()


async def test_a_batch_that_is_left_behind_is_rolled_back_before_its_connection_is_closed(
    bus: BusPath, sqlite: Outbox, redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    relays = Relays(Manifest(), bus.client, import_module)
    relays.outboxes = [lambda: InThread(sqlite.tables())]
    is_sending, send = asyncio.Event(), bus.client.firer.send

    async def never(*_: Any) -> None:
        is_sending.set()
        try:
            await asyncio.Event().wait()
        finally:
            # As a hook that tidies up.
            await asyncio.sleep(0.1)

    bus.client.firer.send = never  # type: ignore[method-assign,assignment]
    await sync_to_async(place)(bus, sqlite, 1)
    relays.start()
    await is_sending.wait()
    await relays.stop(0.01)
    await relays.close()
    assert "a batch of an outbox is left behind" in caplog.text
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("lightbus outbox")] == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    bus.client.firer.send = send  # type: ignore[method-assign]
    async with relaying(bus, sqlite):
        await eventually_async(lambda: arguments(redis_server, "number") == [1])
