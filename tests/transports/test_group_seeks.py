"""A group that reads on from another place: what it reads again runs once, and what it skips is told."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from lightbus.exceptions import GroupRefused, TransportUnavailable
from lightbus.transports.events import EventConsumer, EventTransport
from lightbus.transports.groups import Seek
from lightbus.transports.redis.link.connection import LinkBroken
from lightbus.transports.redis.link.pipe import Pipe
from lightbus.transports.redis.scripts import Run
from tests.support.servers import Server
from tests.support.timers import outlast_leases

from .conftest import LEASES, Ports, take
from .test_group_changes import STREAM, status_of

NAMES = ("handled", "later", "dead", "held", "unread")


async def leave_every_fate(ports: Ports, transport: EventTransport, server: Server) -> list[str]:
    """Leave a group that nobody reads with an event of each fate; returns their ids in Redis."""
    consumer = await ports.listen(transport, name="old", dedupe=60)
    await ports.fire(transport, *NAMES)
    handled, later, dead = await take(consumer, 3)
    handled.ack()
    await later.retry(3600, ValueError("no"))
    await dead.dead_letter("failed", ValueError("no"))
    await consumer.stop()
    await consumer.close()
    nobody = ("GROUP", "shop-old", "lightbus:nobody", "COUNT", 1)
    server.execute("XREADGROUP", *nobody, "STREAMS", STREAM, ">")
    return [entry[0].decode() for entry in server.execute("XRANGE", STREAM, "-", "+")]


async def seek(transport: EventTransport, to: str) -> Seek:
    status = await status_of(transport, "shop-old")
    assert status is not None
    plan = await transport.plan_seek(status, to)
    after = await status_of(transport, "shop-old")
    assert after is not None
    assert replace(after, consumers=()) == replace(status, consumers=()), "to plan changes nothing"
    await transport.seek_group(plan)
    return plan


async def handle(consumer: EventConsumer, wanted: int) -> dict[str, bool]:
    """Take so many events; returns the name of each, and whether it is remembered."""
    found = {}
    for delivery in await take(consumer, wanted):
        name = delivery.message.kwargs["username"]
        assert name not in found, f"{name} came twice"
        found[name] = await delivery.was_handled()
        delivery.ack()
    return found


@pytest.mark.parametrize("to", ["start", "id", "time"])
async def test_what_is_read_again_runs_once_whatever_became_of_it(
    any_ports: Ports, any_redis: Server, to: str
) -> None:
    transport = any_ports.events(**LEASES)
    began = time.time() - 1
    first, *_ = await leave_every_fate(any_ports, transport, any_redis)
    outlast_leases(any_redis, STREAM, "shop-old", "lightbus:nobody")
    plan = await seek(transport, {"start": "start", "id": first, "time": str(began)}[to])
    assert (plan.again, plan.skipped, plan.first, plan.is_oldest) == (4, 0, first, True)
    status = await status_of(transport, "shop-old")
    assert status is not None and (status.lag, status.pending, status.retrying, status.dead) == (5, 0, 0, 1)
    consumer = await any_ports.listen(transport, name="old", dedupe=60)
    assert await handle(consumer, 5) == dict.fromkeys(NAMES, False), "not taken for handled"


async def test_what_is_read_again_from_the_start_or_skipped_is_told_without_a_look_at_each_event(
    redis_ports: Ports, redis_server: Server
) -> None:
    transport = redis_ports.events()
    await leave_every_fate(redis_ports, transport, redis_server)
    status = await status_of(transport, "shop-old")
    assert status is not None
    redis_server.execute("CONFIG", "RESETSTAT")
    plans = [await transport.plan_seek(status, to) for to in ("start", "end")]
    assert [(plan.again, plan.skipped) for plan in plans] == [(4, 0), (0, 1)]
    assert b"cmdstat_eval" not in redis_server.execute("INFO", "commandstats")
    await redis_ports.fire(transport, "late")
    late = await transport.plan_seek(status, "end")
    assert late.skipped == 2, "it is counted, since the status is older than the event"


async def test_what_lies_before_the_place_stays_as_it_is(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    _, _, third, *_ = await leave_every_fate(any_ports, transport, any_redis)
    plan = await seek(transport, third)
    assert (plan.again, plan.first, plan.is_oldest) == (2, third, False)
    status = await status_of(transport, "shop-old")
    assert status is not None and (status.lag, status.pending, status.retrying) == (3, 0, 1)


async def test_what_is_in_the_stream_no_more_still_gets_its_next_attempt(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events()
    ids = await leave_every_fate(any_ports, transport, any_redis)
    any_redis.execute("XDEL", STREAM, *ids[:2])
    plan = await seek(transport, "start")
    assert (plan.again, plan.first, plan.is_oldest) == (2, ids[2], True)
    status = await status_of(transport, "shop-old")
    assert status is not None and (status.lag, status.retrying) == (3, 1)


async def test_at_the_end_the_unread_are_skipped_and_what_was_begun_is_finished(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events(**LEASES)
    await leave_every_fate(any_ports, transport, any_redis)
    outlast_leases(any_redis, STREAM, "shop-old", "lightbus:nobody")
    plan = await seek(transport, "end")
    assert (plan.again, plan.skipped, plan.first) == (0, 1, "")
    status = await status_of(transport, "shop-old")
    assert status is not None and (status.lag, status.pending, status.retrying, status.dead) == (0, 1, 1, 1)
    consumer = await any_ports.listen(transport, name="old", dedupe=60)
    await any_ports.fire(transport, "new")
    assert await handle(consumer, 2) == {"held": False, "new": False}


async def test_the_place_is_kept_where_the_group_is_lost(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    await leave_every_fate(any_ports, transport, any_redis)
    await seek(transport, "start")
    any_redis.execute("XGROUP", "DESTROY", STREAM, "shop-old")
    consumer = await any_ports.listen(transport, name="old")
    assert len(await handle(consumer, 5)) == 5


async def test_a_group_that_a_process_reads_is_not_moved(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport, name="old", dedupe=60)
    await any_ports.fire(transport, "a")
    (delivery,) = await take(consumer)
    with pytest.raises(GroupRefused, match=r"^p1 reads .*stop it first"):
        await seek(transport, "start")
    status = await status_of(transport, "shop-old")
    assert status is not None and status.pending == 1
    delivery.ack()


async def test_what_was_cut_short_is_finished_by_the_next_one(
    redis_ports: Ports, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = redis_ports.events()
    await leave_every_fate(redis_ports, transport, redis_server)
    run = Pipe.run

    async def run_once(self: Pipe, script: Run) -> Any:
        if script.script.name == "seek" and b"begin" not in script.arguments:
            raise LinkBroken("the process was killed")
        return await run(self, script)

    with monkeypatch.context() as patched:
        patched.setattr(Pipe, "run", run_once)
        with pytest.raises(TransportUnavailable):
            await seek(transport, "start")
    status = await status_of(transport, "shop-old")
    assert status is not None and (status.lag, status.pending, status.retrying) == (5, 1, 1), (
        "nothing is lost"
    )
    await seek(transport, "start")
    status = await status_of(transport, "shop-old")
    assert status is not None and (status.lag, status.pending, status.retrying) == (5, 0, 0)
