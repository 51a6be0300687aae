"""Calls that nobody will answer, and what a worker knows of its caller's patience."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

import pytest

from lightbus.exceptions import LightbusTimeout, NoWorker, WorkerLost
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.transports.redis.keys import served_key
from lightbus.transports.rpc import RpcConsumer
from tests.support.eventually import eventually_async
from tests.support.servers import Server

from .conftest import Ports, expiry_key, settled, take_call


async def test_right_after_the_last_server_has_gone_there_is_none(any_ports: Ports) -> None:
    transport = any_ports.rpc()
    serving = any_ports.rpc()
    consumer = await any_ports.serve(serving)
    calling = any_ports.run(transport.call(RpcMessage("auth", "check"), 30))
    call = await take_call(consumer)
    consumer.answer(call, ResultMessage("done", call.id))
    assert (await calling).result == "done"
    await consumer.stop()
    await consumer.close()
    with pytest.raises(NoWorker, match="nobody serves the API 'auth'"):
        await transport.call(RpcMessage("auth", "check"), 30)


async def test_a_process_that_publishes_a_contract_serves_nothing_by_that(
    any_ports: Ports, any_redis: Server
) -> None:
    await any_ports.schema().store({"auth": {"rpcs": {}, "events": {}}}, 60)
    refused = RpcMessage("auth", "check")
    with pytest.raises(NoWorker):
        await any_ports.rpc().call(refused, 30)
    assert any_redis.execute("EXISTS", expiry_key(any_redis, refused.id)) == 0


async def test_the_contract_of_a_lightbus_1x_means_that_it_serves(
    any_ports: Ports, any_redis: Server
) -> None:
    await any_ports.schema().store({"auth": {"rpcs": {}, "events": {}}}, 60)
    any_redis.execute("SET", "schema:auth", json.dumps({"rpcs": {}, "events": {}}))
    transport = any_ports.rpc()
    await transport.open()
    with pytest.raises(LightbusTimeout):
        await transport.call(RpcMessage("auth", "check"), 0.3)


class TestWhenTheOnlyServerDies:
    async def die(self, ports: Ports, server: Server, consumer: RpcConsumer) -> None:
        """Die as long ago as it takes until the last sign of life is gone."""
        await ports.abandon(consumer)
        server.execute("DEL", served_key("auth"))

    async def test_the_caller_of_a_started_call_is_told(self, any_ports: Ports, any_redis: Server) -> None:
        dying = await any_ports.serve(any_ports.rpc())
        caller: Any = any_ports.rpc()
        calling = any_ports.run(caller.call(RpcMessage("auth", "check"), 60))
        await take_call(dying)
        # Its caller has seen that it was served.
        await eventually_async(
            lambda: [each.was_served for each in caller._replies.expected.values()] == [True]
        )
        await self.die(any_ports, any_redis, dying)
        with pytest.raises(WorkerLost, match=r"auth\.check: the process that ran it died"):
            await calling

    async def test_the_caller_of_one_that_was_not_started_is_told_that_nobody_serves(
        self, any_ports: Ports, any_redis: Server
    ) -> None:
        dying = await any_ports.serve(any_ports.rpc())
        calling = any_ports.run(any_ports.rpc().call(RpcMessage("auth", "check"), 30))
        await asyncio.sleep(0.1)
        await self.die(any_ports, any_redis, dying)
        with pytest.raises(NoWorker):
            await calling


@pytest.mark.parametrize("timeout", [8.4, 20, 29.5])
async def test_a_worker_knows_how_long_its_caller_waits(ports: Ports, timeout: float) -> None:
    transport = ports.rpc()
    consumer = await ports.serve(transport)
    before = time.monotonic()
    calling = ports.run(transport.call(RpcMessage("auth", "check"), timeout))
    call = await take_call(consumer)
    assert call.deadline is not None
    # The call was made, and its rest of time read, somewhere between these two.
    assert before - 0.05 < call.deadline - timeout < time.monotonic() + 0.05
    calling.cancel()


async def test_however_long_calls_are_kept_a_worker_knows_it(redis_ports: Ports) -> None:
    transport = redis_ports.rpc(rpc_timeout=2)
    consumer = await redis_ports.serve(transport)
    before = time.monotonic()
    calling = redis_ports.run(transport.call(RpcMessage("auth", "check"), 20))
    call = await take_call(consumer)
    assert call.deadline is not None
    assert before - 0.05 < call.deadline - 20 < time.monotonic() + 0.05
    calling.cancel()


@pytest.mark.parametrize(("value", "is_number"), [("1", True), ("x", False), ("nan", False), ("-inf", False)])
@pytest.mark.parametrize("path", ["auth.check:result:{id}", "lightbus:reply:" + "x" * 43])
async def test_what_others_write_into_an_expiry_key_is_taken_as_it_may_be(
    any_ports: Ports, any_redis: Server, value: str, is_number: bool, path: str
) -> None:
    consumer = await any_ports.serve(any_ports.rpc())
    id = str(uuid.uuid4())
    names = {"id": id, "api_name": "auth", "procedure_name": "check"}
    blob = {"metadata": {**names, "return_path": "redis+key://" + path.format(id=id)}, "kwargs": {}}
    any_redis.execute("SET", expiry_key(any_redis, id), value, "EX", 30)
    any_redis.execute("RPUSH", "auth:rpc_queue", json.dumps(blob))
    call = await take_call(consumer)
    if path.startswith("lightbus") and not is_number:
        assert call.deadline is None
    else:
        assert call.deadline is not None
        assert 20 < call.deadline - time.monotonic() <= 30


async def test_an_expiry_key_of_another_kind_keeps_nobody_busy(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.rpc()
    await any_ports.answer(transport)
    id = str(uuid.uuid4())
    any_redis.execute("LPUSH", expiry_key(any_redis, id), "x")
    any_redis.execute(
        "RPUSH",
        "auth:rpc_queue",
        json.dumps({"metadata": {"id": id, "api_name": "auth", "procedure_name": "check"}, "kwargs": {}}),
    )
    assert (await transport.call(RpcMessage("auth", "check", {"a": 1}), 30)).result == {"a": 1}

    async def nothing_is_left() -> bool:
        return not any_redis.execute("KEYS", "*taken*")

    await settled(nothing_is_left)
