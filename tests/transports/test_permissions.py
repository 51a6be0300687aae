"""A user who lacks a command: nothing is lost, it is told once and shown, and goes on when it is allowed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from lightbus.options import Secret
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.events import Delivery, EventTransport
from lightbus.transports.redis.keys import GroupKeys
from lightbus.transports.redis.link.refusals import ReplyError
from tests.support.eventually import eventually_async
from tests.support.sabotage import How, Sabotage
from tests.support.servers import Server, ServerPool
from tests.support.timers import HOUR

from .conftest import Ports, settled, take

STREAM, GROUP = "auth.*:stream", "shop-on_user"
KEYS = GroupKeys(STREAM, GROUP)

Settle = Callable[[Delivery], Awaitable[None]]


async def fail(delivery: Delivery) -> None:
    await delivery.retry(0.01, ValueError("no"))


async def fail_for_good(delivery: Delivery) -> None:
    await delivery.dead_letter("exhausted", ValueError("no"))


async def succeed(delivery: Delivery) -> None:
    delivery.ack()


@pytest.fixture(autouse=True)
def without_user(servers: ServerPool) -> Iterator[None]:
    """The servers are those of all tests."""
    yield
    for server in servers:
        server.execute("ACL", "DELUSER", "mailer")


def user_of(server: Server, ports: Ports, **options: Any) -> EventTransport:
    """A transport of a user whose permissions may change."""
    may(server)
    options = {"acknowledgement_timeout": HOUR, "reclaim_interval": 0.5, **options}
    transport = ports.events(username="mailer", password=Secret("secret"), **options)
    transport.obstacles = Obstacles()
    return transport


def may(server: Server, *rules: str) -> None:
    server.execute("ACL", "SETUSER", "mailer", "on", ">secret", "~*", "&*", "+@all", *rules)


def held(server: Server) -> list[list[bytes | int]]:
    return [each[:2] + each[3:] for each in server.execute("XPENDING", STREAM, GROUP, "-", "+", 10)]


CASES: dict[str, tuple[str, Settle, str]] = {
    "a retry without ZADD": ("zadd", fail, "next attempt"),
    "a retry without HSET": ("hset", fail, "next attempt"),
    "a retry without XACK": ("xack", fail, "next attempt"),
    "a dead letter without XADD": ("xadd", fail_for_good, "dead letters"),
    "a dead letter without XACK": ("xack", fail_for_good, "dead letters"),
    "an acknowledgement without XACK": ("xack", succeed, "acknowledge events"),
}


@pytest.mark.parametrize("case", CASES)
async def test_events_that_can_not_be_settled_stay_held_and_are_settled_once_it_is_allowed(
    any_redis: Server, any_ports: Ports, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    command, settle, what = CASES[case]
    transport = user_of(any_redis, any_ports)
    consumer = await any_ports.listen(transport)
    await any_ports.fire(any_ports.events(), "a", "b", "c")
    deliveries = await take(consumer, 3)
    before = held(any_redis)
    assert len(before) == 3

    may(any_redis, f"-{command}")
    caplog.set_level(logging.WARNING)
    settling = [any_ports.run(settle(delivery)) for delivery in deliveries]
    await settled(lambda: _has(transport, GROUP, what, command))
    assert held(any_redis) == before, "by the same process, delivered as often"
    told = [line for line in caplog.messages if what in line]
    assert len(told) == 1, told
    assert command in told[0].lower() and "ACL SETUSER" in told[0]

    may(any_redis)
    for each in settling:
        await each
    await settled(lambda: _is_empty(transport))
    await settled(lambda: _are_gone(any_redis))
    assert len(await any_ports.dead()) == (3 if settle is fail_for_good else 0)
    if settle is fail:
        again = await take(consumer, 3)
        assert [delivery.attempt for delivery in again] == [2, 2, 2]
        for delivery in again:
            delivery.ack()
    await settled(lambda: _is_clean(any_redis))


@pytest.mark.parametrize("how", ["cancel", "raise"])
async def test_what_is_missing_is_shown_until_it_is_granted_though_the_look_for_it_ends_unasked(
    any_redis: Server, any_ports: Ports, how: How, caplog: pytest.LogCaptureFixture
) -> None:
    sabotage = Sabotage("lightbus permissions", how)
    transport = user_of(any_redis, any_ports)
    consumer = await any_ports.listen(transport)
    await any_ports.fire(any_ports.events(), "a")
    (delivery,) = await take(consumer, 1)
    may(any_redis, "-zadd")
    settling = any_ports.run(fail(delivery))
    told = "the task 'lightbus permissions' ended unasked"
    await eventually_async(lambda: sabotage.is_done and told in caplog.text)
    # The next refusal begins it again, and it finds which key the command is for.
    await settled(lambda: _has(transport, "which it needs", "ZADD", "+zadd"))
    may(any_redis)
    await settling
    await settled(lambda: _is_empty(transport))


async def test_a_refusal_is_excused_however_long_the_event_loop_was_held_up_meanwhile(
    redis_server: Server, redis_ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport: Any = user_of(redis_server, redis_ports)
    await transport.open()
    permissions = transport.session.permissions
    permissions.know("nothing", [], transport.obstacles)
    refusal, loop = ReplyError("NOPERM this user may not do that"), asyncio.get_running_loop()

    async def look(*_: Any) -> list[Any]:
        permissions.note(refusal)
        time.sleep(0.05)  # noqa: ASYNC251 - what holds up the loop
        loop.call_soon(loop.call_soon, permissions.excuse, [refusal])
        return []

    monkeypatch.setattr("lightbus.transports.redis.link.permissions.look", look)
    await permissions._look()
    assert list(transport.obstacles) == []


async def test_what_runs_again_is_not_acknowledged_where_it_may_not_be_deleted(
    any_redis: Server, any_ports: Ports
) -> None:
    transport = user_of(any_redis, any_ports)
    consumer = await any_ports.listen(transport)
    await any_ports.fire(any_ports.events(), "a")
    (delivery,) = await take(consumer)
    await fail(delivery)
    (delivery,) = await take(consumer)
    may(any_redis, "-xdel")
    delivery.ack()
    await settled(lambda: _has(transport, "acknowledge events", "xdel"))
    assert any_redis.execute("XLEN", KEYS.retry) == any_redis.execute("XPENDING", KEYS.retry, GROUP)[0] == 1
    may(any_redis)
    await settled(lambda: _is_clean(any_redis))
    await settled(lambda: _is_empty(transport))


@pytest.mark.parametrize(
    ("command", "what"),
    [("zrangebyscore", "due"), ("xclaim", "renew the leases"), ("xinfo", "take over"), ("hset", "how far")],
)
async def test_what_is_done_beside_reading_is_told_where_it_is_refused(
    redis_server: Server, redis_ports: Ports, command: str, what: str
) -> None:
    # Absent consumers are looked for ten times within that.
    transport = user_of(redis_server, redis_ports, consumer_ttl=1.0, acknowledgement_timeout=2)
    consumer = await redis_ports.listen(transport)
    await redis_ports.fire(redis_ports.events(), "a")
    (delivery,) = await take(consumer)
    redis_ports.run(take(consumer))
    may(redis_server, f"-{command}")
    await settled(lambda: _has(transport, what, command))
    may(redis_server)
    await settled(lambda: _is_empty(transport))
    delivery.ack()


async def test_whoever_fires_and_may_not_trim_is_told_once_and_fires_all_the_same(
    redis_server: Server, redis_ports: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    transport = user_of(redis_server, redis_ports, max_stream_length=10)
    may(redis_server, "-xtrim")

    async def is_told() -> bool:
        await redis_ports.fire(transport, "a")
        return await _has(transport, "trim", "xtrim")

    await settled(is_told)
    for _ in range(20):
        await redis_ports.fire(transport, "a")
    assert len([line for line in caplog.messages if line.startswith("this process can't trim")]) == 1
    may(redis_server)

    async def is_trimmed() -> bool:
        await redis_ports.fire(transport, "a")
        return await _is_empty(transport)

    await settled(is_trimmed)


async def test_who_stops_listening_leaves_no_obstacle(redis_server: Server, redis_ports: Ports) -> None:
    transport = user_of(redis_server, redis_ports)
    consumer = await redis_ports.listen(transport)
    await redis_ports.fire(redis_ports.events(), "a")
    (delivery,) = await take(consumer)
    may(redis_server, "-xack")
    delivery.ack()
    await settled(lambda: _has(transport, "acknowledge", "xack"))
    await consumer.stop()
    await consumer.close()
    assert not list(transport.obstacles)


async def _has(transport: EventTransport, *words: str) -> bool:
    return any(all(word in said or word.upper() in said for word in words) for said in transport.obstacles)


async def _is_empty(transport: EventTransport) -> bool:
    return not list(transport.obstacles)


async def _are_gone(server: Server) -> bool:
    return not held(server)


async def _is_clean(server: Server) -> bool:
    """Nothing is pending, delayed or waiting for its next attempt."""
    retried = server.execute("XLEN", KEYS.retry) + server.execute("ZCARD", KEYS.delayed)
    return not held(server) and not retried and not server.execute("HLEN", KEYS.bodies)
