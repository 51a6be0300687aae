"""A Redis out of memory: whatever takes messages out of it, or keeps a host alive meanwhile, goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from lightbus.exceptions import QueueFull, TransportUnavailable
from lightbus.messages import EventMessage, ResultMessage, RpcMessage
from lightbus.transports.redis.keys import GroupKeys
from lightbus.transports.redis.rpc import presence
from tests.support.servers import Server
from tests.support.timers import HOUR, an_hour_passes, until_an_hour_is_waited_for

from .conftest import LEASES, Ports, settled, take, take_call

STREAM, GROUP = "auth.*:stream", "shop-on_user"
KEYS = GroupKeys(STREAM, GROUP)


@contextlib.contextmanager
def full(server: Server) -> Iterator[None]:
    server.execute("CONFIG", "SET", "maxmemory", 1)
    try:
        yield
    finally:
        server.execute("CONFIG", "SET", "maxmemory", 0)


async def test_a_listener_that_was_away_starts_and_works_off_what_fills_redis(
    any_ports: Ports, any_redis: Server
) -> None:
    first = await any_ports.listen(any_ports.events())
    await first.stop()
    await first.close()
    await any_ports.fire(any_ports.events(), "a", "b", "c")
    with full(any_redis):
        consumer = await any_ports.listen(any_ports.events(**LEASES), dedupe=60)
        one, two, three = await take(consumer, 3)
        one.ack()
        await two.retry(0.01, ValueError("no"))
        await three.dead_letter("exhausted", ValueError("no"))
        (again,) = await take(consumer)
        assert (again.message.kwargs, again.attempt) == (two.message.kwargs, 2)
        again.ack()

        async def is_empty() -> bool:
            pending = [any_redis.execute("XPENDING", key, GROUP)[0] for key in (STREAM, KEYS.retry)]
            return not any(pending) and not any_redis.execute("XLEN", KEYS.retry)

        await settled(is_empty)
        assert len(await any_ports.dead()) == 1


async def test_a_new_listener_starts_and_what_a_dead_process_held_is_taken_over(
    any_ports: Ports, any_redis: Server
) -> None:
    await any_ports.fire(any_ports.events(), "a")
    with full(any_redis):
        transport = any_ports.events(**LEASES)
        first = await any_ports.listen(transport, since="earliest")
        assert len(await take(first)) == 1
        await any_ports.abandon(first)
        second = await any_ports.listen(transport)
        (delivery,) = await take(second)
        assert delivery.message.kwargs == {"username": "a"}


async def test_joining_a_group_that_is_there_writes_nothing(any_ports: Ports, any_redis: Server) -> None:
    await any_ports.listen(any_ports.events())
    before = any_redis.execute("DUMP", KEYS.notes), any_redis.execute("XINFO", "GROUPS", STREAM)[0][:2]
    await any_ports.listen(any_ports.events())
    after = any_redis.execute("DUMP", KEYS.notes), any_redis.execute("XINFO", "GROUPS", STREAM)[0][:2]
    assert after == before


async def test_what_all_have_acknowledged_is_trimmed_and_whoever_fires_next_finds_room(
    any_ports: Ports, any_redis: Server
) -> None:
    long, short = any_ports.events(), any_ports.events(max_stream_length=10)
    await long.publish([EventMessage("auth", "user_registered", {"n": n}) for n in range(1_000)], 30)

    async def is_trimmed() -> bool:
        with pytest.raises(TransportUnavailable, match="its memory is full"):
            await short.publish([EventMessage("auth", "user_registered")], 5)
        return bool(any_redis.execute("XLEN", STREAM) < 500)

    with full(any_redis):
        await settled(is_trimmed)
    await short.publish([EventMessage("auth", "user_registered")], 30)


async def test_calls_that_wait_are_taken_and_answered_and_their_worker_counts_as_alive(
    any_ports: Ports, any_redis: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "PRESENCE", 3 * HOUR)
    transport = any_ports.rpc()
    consumer = await any_ports.serve(transport)
    calls = [RpcMessage("auth", "check", {"n": n}) for n in range(3)]
    waiting = [any_ports.run(any_ports.rpc().call(call, 60)) for call in calls]

    async def are_queued() -> bool:
        return bool(any_redis.execute("LLEN", "auth:rpc_queue") == 3)

    await settled(are_queued)
    with full(any_redis):
        for _ in calls:  # One by one: with a single free slot, the read that waits is the only one.
            call = await take_call(consumer)
            consumer.answer(call, ResultMessage(call.kwargs, call.id))
        assert [(await answer).result for answer in waiting] == [{"n": 0}, {"n": 1}, {"n": 2}]
        await until_an_hour_is_waited_for("lightbus presence")
        any_redis.execute("DEL", "{auth:rpc_queue}:served")
        an_hour_passes()  # It is shown after each third of its time.

        async def is_served() -> bool:
            return bool(any_redis.execute("EXISTS", "{auth:rpc_queue}:served"))

        await settled(is_served)
        with pytest.raises(QueueFull):
            await transport.call(RpcMessage("auth", "check"), 60)


async def test_contracts_owners_and_schedules_go_on(any_ports: Ports, any_redis: Server) -> None:
    schema, me = any_ports.schema(), any_ports.identity()
    with full(any_redis):
        await schema.store({"auth": {"rpcs": {}, "events": {}}}, 60)
        assert list(await schema.load()) == ["auth"]
        assert await schema.own(["auth"], me, 60) == {"auth": "shop"}
        assert await schema.claim("nightly", 100.0, "me", 60) == "ours"
        assert await schema.hold("nightly", "me", 60)
        await schema.disown(["auth"], me)
        await schema.withdraw(["auth"])
        assert await schema.load() == {}
