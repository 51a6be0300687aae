"""One process shows for all its APIs that it lives, in few writes, and looks for dead ones by turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from lightbus.messages import RpcMessage
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.connection import BLOCK, LinkBroken
from lightbus.transports.redis.rpc import presence
from lightbus.transports.redis.rpc.heartbeat import Heartbeat
from lightbus.transports.redis.rpc.presence import Presence
from lightbus.transports.redis.rpc.transport import RedisRpcTransport
from tests.support.eventually import eventually_async
from tests.support.sabotage import How, Sabotage
from tests.support.servers import Server
from tests.support.timers import HOUR, an_hour_passes, until_an_hour_is_waited_for

from .conftest import Ports

APIS = [f"api{number}" for number in range(60)]
SERVED = "{auth:rpc_queue}:served"


@pytest.fixture
def lively(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "PRESENCE", 1.5)


async def test_many_apis_are_shown_by_one_task_with_one_write(
    redis_ports: Ports, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "PRESENCE", 3 * HOUR)
    transport = redis_ports.rpc()
    assert isinstance(transport, RedisRpcTransport)
    for api in APIS:
        await redis_ports.serve(transport, api)
    writes: list[int] = []
    send_many = transport.pipe.send_many

    def spy(commands: Any) -> Any:
        given = list(commands)
        writes.extend([len(given)] if given[0][0] == "EVALSHA" else [])
        return send_many(given)

    monkeypatch.setattr(transport.pipe, "send_many", spy)
    await until_an_hour_is_waited_for("lightbus presence")
    redis_server.execute("FLUSHALL")
    an_hour_passes()  # They are shown after each third of their time.
    await eventually_async(lambda: len(redis_server.execute("KEYS", "*:served")) == len(APIS))
    assert writes == [len(APIS)]
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert len([name for name in names if "presence" in name]) == 1


def looks(server: Server) -> int:
    """How often the registers were read since the statistics were reset."""
    lines = server.execute("INFO", "commandstats").decode().splitlines()
    found = next((line for line in lines if line.startswith("cmdstat_smembers")), "calls=0,")
    return int(found.partition("calls=")[2].partition(",")[0])


@pytest.mark.usefixtures("lively")
async def test_of_many_processes_one_at_a_time_looks_for_dead_ones(
    redis_ports: Ports, redis_server: Server
) -> None:
    for _ in range(6):
        await redis_ports.serve(redis_ports.rpc())
    redis_server.execute("CONFIG", "RESETSTAT")
    started = time.monotonic()
    await eventually_async(lambda: looks(redis_server) >= 2)
    # Each shows itself every half second, and looks if nobody has for 0.375 s.
    assert looks(redis_server) <= (time.monotonic() - started) / 0.375 + 2


async def test_a_process_of_a_version_before_takes_no_turn_from_others(
    redis_ports: Ports, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "PRESENCE", 60.0)
    consumer: Any = await redis_ports.serve(redis_ports.rpc())
    await redis_ports.serve(redis_ports.rpc())
    pipe = consumer._pipe
    assert await pipe.run(consumer.presence.shown(may_look=True)) in (1, 2)
    assert await pipe.run(consumer.presence.shown(may_look=True)) == 1, "somebody has just looked"
    redis_server.execute("SET", SERVED, "1", "PX", 6000)
    assert await pipe.run(consumer.presence.shown()) == 1, "who has just come shows only itself"
    assert await pipe.run(consumer.presence.shown(may_look=True)) == presence.TURN
    ahead = int(redis_server.execute("GET", SERVED)) + 3_600_000
    redis_server.execute("SET", SERVED, ahead)
    assert await pipe.run(consumer.presence.shown(may_look=True)) == presence.TURN, "a clock was wrong"
    redis_server.execute("DEL", SERVED)
    redis_server.execute("RPUSH", SERVED, "no time")
    assert await pipe.run(consumer.presence.shown(may_look=True)) == presence.TURN
    assert 0 < redis_server.execute("PTTL", SERVED) <= 60_000


class Served:
    """An API that a fake process serves."""

    is_barred = False

    def __init__(self, pipe: Any) -> None:
        self.block = BLOCK
        self.presence = Presence(pipe, "auth", "p1")
        self.doubts = 0

    async def recover(self, members: Sequence[str]) -> None:
        raise AssertionError(members)

    def doubt(self) -> None:
        self.doubts += 1


class BrokenPipe:
    """A way to Redis that breaks."""

    send_each = Channel.send_each

    def send_many(self, commands: Any) -> asyncio.Future[list[Any]]:
        broken: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        broken.set_exception(LinkBroken("it broke"))
        return broken


async def beating(monkeypatch: pytest.MonkeyPatch, count: int) -> tuple[Heartbeat, list[Served]]:
    """A heartbeat of so many APIs on a broken connection, after its first beat."""
    monkeypatch.setattr(presence, "PRESENCE", 3 * HOUR)
    pipe: Any = BrokenPipe()
    heartbeat, served = Heartbeat(pipe, Obstacles()), [Served(pipe) for _ in range(count)]
    for each in served:
        heartbeat.add(each)
    await until_an_hour_is_waited_for("lightbus presence")
    return heartbeat, served


@pytest.mark.parametrize(("count", "seconds"), [(1, 2.0), (100, 2.0), (300, 6.0), (1_000, 10.0)])
async def test_connections_of_very_many_apis_wait_for_longer(
    count: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat, served = await beating(monkeypatch, count)
    assert {each.block for each in served} == {heartbeat.block} == {seconds}
    # A wait for so long would find a dead connection late, so that of the shared one counts for all.
    assert {each.doubts for each in served} == {1 if heartbeat.block > BLOCK else 0}
    for each in served:
        await heartbeat.remove(each)
    assert heartbeat.block == BLOCK


@pytest.mark.usefixtures("lively")
async def test_who_serves_an_api_alone_looks_for_nobody(redis_ports: Ports, redis_server: Server) -> None:
    consumer: Any = await redis_ports.serve(redis_ports.rpc())
    redis_server.execute("CONFIG", "RESETSTAT")
    redis_server.execute("DEL", SERVED)
    assert await consumer._pipe.run(consumer.presence.shown(may_look=True)) == 1
    await eventually_async(lambda: float(redis_server.execute("GET", SERVED) or 0) > 0)
    assert looks(redis_server) == 0
    redis_server.execute("SADD", "{auth:rpc_queue}:processes", "gone:1234")
    await eventually_async(lambda: looks(redis_server) > 0)
    await eventually_async(lambda: redis_server.execute("SCARD", "{auth:rpc_queue}:processes") == 1)


@pytest.mark.parametrize("how", ["cancel", "raise"])
async def test_dead_processes_are_looked_for_again_after_the_task_has_ended_unasked(
    redis_ports: Ports,
    redis_server: Server,
    how: How,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Its last sign of life must outlast a busy machine until the next one joins: else nobody serves the API.
    monkeypatch.setattr(presence, "PRESENCE", 4.0)
    sabotage = Sabotage("lightbus recovery", how)
    transport = redis_ports.rpc()
    dead: Any = await redis_ports.serve(transport)
    calling = redis_ports.run(transport.call(RpcMessage("auth", "x", {"a": 1}), 30))
    await eventually_async(lambda: redis_server.execute("LLEN", "auth:rpc_queue") == 1)
    redis_server.execute("LMOVE", "auth:rpc_queue", dead._mine, "LEFT", "RIGHT")
    await redis_ports.abandon(dead)
    await redis_ports.answer(transport)
    assert (await calling).result == {"a": 1}
    assert sabotage.is_done
    if how == "raise":
        assert "the task 'lightbus recovery' ended unasked" in caplog.text
