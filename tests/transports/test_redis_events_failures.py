"""Events over Redis while groups and streams vanish, links break and Redis is away."""

from __future__ import annotations

import asyncio

import pytest

from lightbus.exceptions import PublishNotConfirmed, TransportUnavailable
from lightbus.messages import EventMessage
from lightbus.transports.events import Delivery, EventConsumer, EventTransport
from lightbus.transports.redis.events.reading import reader as event_reader
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.timers import HOUR, an_hour_passes

from .conftest import LEASES, Ports, settled, take
from .test_redis_events import GROUP, STREAM, all_acknowledged, names, pending


async def meets(delivery: Delivery, fate: str, ports: Ports, consumer: EventConsumer) -> bool:
    """Whether an event meets its fate, although its group was destroyed."""
    if fate == "dead_letter":
        await delivery.dead_letter("failed", ValueError("no"))
        return [dead.reason for dead in await ports.dead()] == ["failed"]
    await (delivery.retry(0, ValueError("no")) if fate == "retry" else delivery.release())
    (again,) = await take(consumer)
    again.ack()
    attempt = 2 if fate == "retry" else 1
    return (again.message.kwargs["username"], again.attempt) == ("running", attempt)


async def is_written(transport: EventTransport) -> bool:
    """Whether an event was sent whose reply has not come."""
    return any(b"XADD" in batch.packed for batch in transport.pipe._written)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("long_farewells")
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

    @pytest.mark.parametrize(
        "destroy", [("XGROUP", "DESTROY", STREAM, GROUP), ("DEL", STREAM), ("FLUSHALL",)]
    )
    @pytest.mark.parametrize("fate", ["retry", "dead_letter", "release"])
    async def test_what_runs_while_its_group_is_gone_is_kept(
        self, any_ports: Ports, any_redis: Server, destroy: tuple[str, ...], fate: str
    ) -> None:
        transport = any_ports.events()
        consumer = await any_ports.listen(transport)
        await any_ports.fire(transport, "running")
        (running,) = await take(consumer)
        any_redis.execute(*destroy)
        assert await meets(running, fate, any_ports, consumer)

    @pytest.mark.parametrize("fate", ["retry", "dead_letter", "release"])
    async def test_what_runs_while_another_process_makes_its_group_again_is_kept(
        self, any_ports: Ports, any_redis: Server, fate: str
    ) -> None:
        transport = any_ports.events()
        busy = await any_ports.listen(transport)
        await any_ports.fire(transport, "running")
        (running,) = await take(busy)
        await busy.membership.note_progress()  # type: ignore[attr-defined]
        any_redis.execute("XGROUP", "DESTROY", STREAM, GROUP)
        peer = await any_ports.listen(transport)
        assert await meets(running, fate, any_ports, peer)

    async def test_what_runs_is_held_again_by_a_group_that_another_process_made_again(
        self, any_ports: Ports, any_redis: Server
    ) -> None:
        transport = any_ports.events(**LEASES)
        busy = await any_ports.listen(transport)
        await any_ports.fire(transport, "running", "retried")
        running, retried = await take(busy, 2)
        await retried.retry(0, ValueError("no"))
        (again,) = await take(busy)
        await busy.membership.note_progress()  # type: ignore[attr-defined]
        retry = f"{{{STREAM}}}:retry:{GROUP}"
        for source in (STREAM, retry):
            any_redis.execute("XGROUP", "DESTROY", source, GROUP)
        peer = await any_ports.listen(transport)

        async def held() -> bool:
            return pending(any_redis) == pending(any_redis, retry) == 1

        await settled(held)
        await any_ports.abandon(busy)
        found: set[str] = set()
        # What the peer had read before they were held again comes twice.
        while found != {"retried", "running"}:
            found.update(await names(peer, 1))
        assert (running.attempt, again.attempt) == (1, 2)

    async def test_what_is_acknowledged_is_not_held_again(self, any_ports: Ports, any_redis: Server) -> None:
        transport = any_ports.events()
        consumer = await any_ports.listen(transport)
        await any_ports.fire(transport, *"abc")
        deliveries = await take(consumer, 3)
        await consumer.membership.note_progress()  # type: ignore[attr-defined]
        any_redis.execute("XGROUP", "DESTROY", STREAM, GROUP)
        await any_ports.listen(transport)
        for delivery in deliveries[:2]:
            delivery.ack()
        await consumer.notice_remade()  # type: ignore[attr-defined]
        assert pending(any_redis) == 1

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
        transport = await redis_ports.events_by(proxy)
        proxy.set("drop_replies")
        firing = redis_ports.run(redis_ports.fire(transport, "a", "b"))

        async def stored() -> bool:
            return bool(redis_server.execute("XLEN", STREAM) == 2 and proxy.has_lost_replies)

        await settled(stored)
        proxy.set("pass")
        await firing
        assert redis_server.execute("XLEN", STREAM) == 2

    async def test_what_was_not_stored_is_sent_again(
        self, redis_ports: Ports, proxy: Proxy, redis_server: Server
    ) -> None:
        transport = await redis_ports.events_by(proxy)
        proxy.set("blackhole")
        firing = redis_ports.run(redis_ports.fire(transport, "a"))
        await settled(lambda: is_written(transport))
        proxy.set("refuse")
        await asyncio.sleep(0.05)
        proxy.set("pass")
        await firing
        assert redis_server.execute("XLEN", STREAM) == 1

    async def test_an_outcome_that_stays_unknown_is_said_so(self, redis_ports: Ports, proxy: Proxy) -> None:
        transport = await redis_ports.events_by(proxy)
        proxy.set("drop_replies")
        message = EventMessage("auth", "user_registered", {"username": "a"})
        publishing = redis_ports.run(transport.publish([message], HOUR))
        await settled(lambda: is_written(transport))
        an_hour_passes()
        with pytest.raises(PublishNotConfirmed, match="may or may not be stored") as raised:
            await publishing
        assert raised.value.event_id == message.id
        assert message.native_id is None
        proxy.set("pass")

    async def test_what_a_broken_link_may_still_bring_is_never_called_not_fired(
        self, redis_ports: Ports, proxy: Proxy, redis_server: Server
    ) -> None:
        transport = await redis_ports.events_by(proxy)
        proxy.set("blackhole")
        firing = redis_ports.run(redis_ports.fire(transport, "a"))
        await settled(lambda: is_written(transport))
        redis_server.execute("CONFIG", "SET", "maxmemory", 1)
        try:
            proxy.set("refuse")
            proxy.set("pass")
            with pytest.raises(PublishNotConfirmed, match="may or may not be stored"):
                await firing
        finally:
            redis_server.execute("CONFIG", "SET", "maxmemory", 0)

    async def test_what_was_not_fired_in_time_never_goes_out(
        self, redis_ports: Ports, proxy: Proxy, redis_server: Server
    ) -> None:
        transport = await redis_ports.events_by(proxy)
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


async def test_a_listener_that_is_stopped_before_its_first_read_does_not_wait(
    any_ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_reader, "BLOCK", 60.0)
    consumer = await any_ports.listen(any_ports.events())
    reading = any_ports.run(consumer.take(1))
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await consumer.stop()
        assert await reading == []


async def test_a_listener_is_woken_although_the_wake_up_came_before_its_read(
    any_ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_reader, "BLOCK", 60.0)
    transport = any_ports.events()
    consumer = await any_ports.listen(transport)
    await any_ports.fire(transport, "a")
    assert await names(consumer, 1) == ["a"]
    reading = any_ports.run(consumer.take(1))
    async with asyncio.timeout(60):
        await asyncio.sleep(0)  # The read is written in this tick, and may be slower than what wakes it.
        await consumer.stop()
        assert await reading == []


@pytest.mark.parametrize("away", ["refuse", "blackhole"])
async def test_a_listener_stops_while_redis_is_away(redis_ports: Ports, proxy: Proxy, away: str) -> None:
    transport = redis_ports.events()
    redis_ports.url = proxy.url
    consumer = await redis_ports.listen(redis_ports.events(batch_size=2))
    await redis_ports.fire(transport, "a", "b")
    (delivery, _) = await take(consumer, 2)
    proxy.set("refuse" if away == "refuse" else "blackhole")
    async with asyncio.timeout(60):
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
