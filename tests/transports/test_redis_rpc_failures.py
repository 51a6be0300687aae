"""Calls over Redis while workers die, links break and Redis is away."""

from __future__ import annotations

import asyncio

import pytest

from lightbus.exceptions import (
    BusAlreadyClosed,
    LightbusTimeout,
    NoWorker,
    QueueFull,
    TransportUnavailable,
    WorkerLost,
)
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.transports.redis.rpc import consumer as rpc_consumer
from lightbus.transports.redis.rpc import presence
from lightbus.transports.rpc import RpcConsumer
from tests.support.proxy import Proxy
from tests.support.servers import Server

from .conftest import Ports, settled, take_call
from .test_redis_rpc import keys


class TestWhenAWorkerDies:
    @pytest.fixture(autouse=True)
    def lively(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A dead one is soon found, but those that are held up for a moment do not count as dead."""
        monkeypatch.setattr(presence, "PRESENCE", 60.0)
        monkeypatch.setattr(presence, "SHOWS", 120)
        monkeypatch.setattr(presence, "LOOKS", 120)

    async def test_the_caller_of_a_started_call_is_told(self, any_ports: Ports) -> None:
        transport = any_ports.rpc()
        dying, _ = await any_ports.serve(transport), await any_ports.serve(transport)
        calling = any_ports.run(transport.call(RpcMessage("auth", "check"), 30))
        await take_call(dying)
        await any_ports.abandon(dying)
        result = await calling
        assert result.error
        assert result.result.startswith(WorkerLost.__name__)
        assert result.trace == "", "its form, which no error of a procedure has"

    async def test_a_call_that_was_not_started_goes_to_another_worker(
        self, any_ports: Ports, any_redis: Server
    ) -> None:
        transport = any_ports.rpc()
        dying = await any_ports.serve(transport)
        assert isinstance(dying, rpc_consumer.RedisRpcConsumer)
        calling = any_ports.run(transport.call(RpcMessage("auth", "check"), 30))

        async def moved() -> bool:
            # Dead before it had the reply: the call is in its list, and it never said that it has begun.
            return bool(any_redis.execute("LMOVE", "auth:rpc_queue", dying._mine, "LEFT", "RIGHT"))

        await settled(moved)
        await any_ports.abandon(dying)
        await any_ports.answer(transport, lambda call: "from another")
        assert (await calling).result == "from another"

    async def test_a_dead_process_is_struck_off_the_register(
        self, any_ports: Ports, any_redis: Server
    ) -> None:
        transport = any_ports.rpc()
        dying, _ = await any_ports.serve(transport), await any_ports.serve(transport)
        await any_ports.abandon(dying)

        async def struck_off() -> bool:
            return bool(any_redis.execute("SCARD", "{auth:rpc_queue}:processes") == 1)

        await settled(struck_off)

    async def test_an_api_that_nobody_serves_any_more_is_known_as_such(
        self, redis_ports: Ports, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(presence, "PRESENCE", 1.5)
        transport = redis_ports.rpc()
        dying = await redis_ports.serve(transport)
        await redis_ports.abandon(dying)
        await asyncio.sleep(1.6)
        with pytest.raises(NoWorker):
            await transport.call(RpcMessage("auth", "check"), 30)


async def test_a_worker_that_signs_off_leaves_no_key(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.rpc()
    consumer = await any_ports.serve(transport)
    calling = any_ports.run(transport.call(RpcMessage("auth", "slow"), 60))
    await take_call(consumer)
    await consumer.stop()
    await consumer.close()
    await calling
    assert [key for key in keys(any_redis) if ":taken:" in key or ":present:" in key] == []
    assert any_redis.execute("EXISTS", "{auth:rpc_queue}:processes") == 0


async def test_an_answer_arrives_although_the_link_broke(
    redis_ports: Ports, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightbus.transports.redis.rpc.answering.backoff", lambda failures, most: most)
    caller = redis_ports.rpc()
    redis_ports.url = proxy.url
    consumer = await redis_ports.serve(redis_ports.rpc(rpc_retry_delay=0.8, consumption_restart_delay=0.01))
    calling = redis_ports.run(caller.call(RpcMessage("auth", "check"), 60))
    call = await take_call(consumer)
    taking = redis_ports.run(consumer.take(1))
    proxy.set("blackhole")
    consumer.answer(call, ResultMessage("done", call.id))
    await asyncio.sleep(0.02)
    proxy.set("refuse")
    proxy.set("pass")
    await taking
    await consumer.take(1)  # Finds the call in its own list, before the answer is sent again.
    result = await calling
    assert (result.result, result.error) == ("done", False)


async def test_a_worker_goes_on_after_a_restart_of_redis(redis_ports: Ports, redis_server: Server) -> None:
    transport = redis_ports.rpc(consumption_restart_delay=0.2)
    await redis_ports.answer(transport)
    await transport.call(RpcMessage("auth", "check"), 30)
    redis_server.restart()

    async def noticed() -> bool:
        return bool(transport.pipe.reconnects)  # type: ignore[attr-defined]

    await settled(noticed)
    assert (await transport.call(RpcMessage("auth", "check", {"a": 1}), 60)).result == {"a": 1}


async def test_a_link_that_breaks_leaves_a_call_in_doubt(
    redis_ports: Ports, proxy: Proxy, redis_server: Server
) -> None:
    redis_ports.url = proxy.url
    transport = redis_ports.rpc()
    await transport.open()
    proxy.set("drop_replies")
    calling = redis_ports.run(transport.call(RpcMessage("auth", "check"), 60))

    async def arrived() -> bool:
        return bool(redis_server.execute("LLEN", "auth:rpc_queue"))

    await settled(arrived)
    proxy.set("refuse")
    with pytest.raises(LightbusTimeout, match="may or may not have run") as raised:
        await calling
    assert raised.value.executed == "unknown"
    proxy.set("pass")


async def test_a_call_while_redis_is_away_was_not_sent(redis_ports: Ports, proxy: Proxy) -> None:
    redis_ports.url = proxy.url
    transport = redis_ports.rpc()
    await transport.open()
    proxy.set("refuse")

    async def away() -> bool:
        return transport.pipe.failure is not None  # type: ignore[attr-defined]

    await settled(away)
    with pytest.raises(TransportUnavailable, match=r"auth.check was not called"):
        await transport.call(RpcMessage("auth", "check"), 0.1)
    proxy.set("pass")


async def test_a_full_redis_is_said_to_be_full(redis_ports: Ports, redis_server: Server) -> None:
    transport = redis_ports.rpc()
    await transport.open()
    redis_server.execute("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(QueueFull, match=r"auth.check.*OOM"):
            await transport.call(RpcMessage("auth", "check"), 60)
    finally:
        redis_server.execute("CONFIG", "SET", "maxmemory", 0)


async def test_a_queue_that_is_something_else_does_not_end_its_worker(
    redis_ports: Ports, redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.execute("SET", "auth:rpc_queue", "hello")
    transport = redis_ports.rpc(consumption_restart_delay=0.05)
    await redis_ports.answer(transport)
    with pytest.raises(TransportUnavailable, match="WRONGTYPE"):
        await transport.call(RpcMessage("auth", "check"), 60)

    async def warned() -> bool:
        return "WRONGTYPE" in caplog.text

    await settled(warned)
    redis_server.execute("DEL", "auth:rpc_queue")
    assert (await transport.call(RpcMessage("auth", "check", {"a": 1}), 30)).result == {"a": 1}


async def test_calls_that_wait_when_the_bus_is_closed_hear_of_it(redis_ports: Ports) -> None:
    transport = redis_ports.rpc()
    consumer = await redis_ports.serve(transport)
    calling = redis_ports.run(transport.call(RpcMessage("auth", "slow"), 60))
    await take_call(consumer)
    other = redis_ports.rpc()
    await transport.close()
    with pytest.raises(BusAlreadyClosed):
        await calling
    await other.close()


@pytest.mark.parametrize("away", ["refuse", "blackhole"])
async def test_a_worker_stops_while_redis_is_away(redis_ports: Ports, proxy: Proxy, away: str) -> None:
    redis_ports.url = proxy.url
    consumer: RpcConsumer = await redis_ports.serve(redis_ports.rpc())
    taking = redis_ports.run(consumer.take(1))
    await asyncio.sleep(0.05)
    proxy.set("refuse" if away == "refuse" else "blackhole")
    async with asyncio.timeout(60):
        await consumer.stop()
    proxy.set("pass")
    await taking
