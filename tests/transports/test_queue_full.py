"""A queue that takes no further calls."""

from __future__ import annotations

import asyncio

import pytest

from lightbus.exceptions import LightbusTimeout, QueueFull
from lightbus.messages import RpcMessage
from lightbus.transports.memory import rpc as memory
from tests.support.servers import Server
from tests.support.timers import HOUR, an_hour_passes

from .conftest import Ports, expiry_key, queued, settled


async def test_a_call_beyond_the_most_that_may_wait_is_refused_at_once(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_MOST_WAITING", 2)
    transport = ports.rpc() if ports.server is None else ports.rpc(max_queue_length=2)
    await ports.serve(transport)  # Which takes nothing.
    waiting = [ports.run(transport.call(RpcMessage("auth", "check"), HOUR)) for _ in range(2)]
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        with pytest.raises(QueueFull, match=r"auth\.check was not called: 2 waiting.*rpc_concurrency"):
            await transport.call(RpcMessage("auth", "check"), HOUR)
    for call in waiting:
        call.cancel()
    await asyncio.wait(waiting)


async def test_what_was_refused_is_in_the_queue_no_more(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.rpc(max_queue_length=1)
    await any_ports.serve(transport)
    waiting = any_ports.run(transport.call(RpcMessage("auth", "check"), 30))
    await asyncio.sleep(0)
    refused = RpcMessage("auth", "check")
    with pytest.raises(QueueFull):
        await transport.call(refused, 30)
    assert any_redis.execute("EXISTS", expiry_key(any_redis, refused.id)) == 0

    async def withdrawn() -> bool:
        return bool(any_redis.execute("LLEN", "auth:rpc_queue") == 1)

    await settled(withdrawn)
    waiting.cancel()


async def test_as_soon_as_there_is_room_calls_go_through_again(redis_ports: Ports) -> None:
    transport = redis_ports.rpc(max_queue_length=1)
    waiting = redis_ports.run(transport.call(RpcMessage("auth", "check", {"a": 1}), 30))
    await asyncio.sleep(0)
    await redis_ports.answer(transport)
    assert (await waiting).result == {"a": 1}
    assert (await transport.call(RpcMessage("auth", "check", {"a": 2}), 30)).result == {"a": 2}


async def test_without_a_most_any_number_waits(redis_ports: Ports, redis_server: Server) -> None:
    redis_server.execute("RPUSH", "auth:rpc_queue", *(["x"] * 10_001))
    unbounded, bounded = redis_ports.rpc(max_queue_length=None), redis_ports.rpc()
    await redis_ports.serve(unbounded)
    calling = redis_ports.run(unbounded.call(RpcMessage("auth", "check"), HOUR))
    await queued(unbounded, 10_002)
    an_hour_passes()
    with pytest.raises(LightbusTimeout):
        await calling
    with pytest.raises(QueueFull, match="10,001 waiting"):
        await bounded.call(RpcMessage("auth", "check"), 60)
