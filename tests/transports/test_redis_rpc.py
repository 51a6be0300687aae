"""Calls over Redis: what lies on the queues, and what hostile or dying processes leave there."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from typing import Any

import pytest

from lightbus.exceptions import (
    LightbusTimeout,
    NoWorker,
)
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.transports.redis.link.channel import Batch
from lightbus.transports.redis.link.pipe import Pipe
from lightbus.transports.redis.rpc import transport as redis_rpc
from lightbus.transports.redis.rpc.transport import RedisRpcTransport
from lightbus.transports.rpc import RpcConsumer
from tests.support.eventually import eventually
from tests.support.servers import Server
from tests.support.timers import HOUR, an_hour_passes

from .conftest import Ports, expiry_key, queued, settled, take_call

REPLY_LIST = "lightbus:reply:" + "x" * 43


def push(server: Server, return_path: str, *, call_id: str = "", **changes: object) -> str:
    """Push a call by hand, as anybody who reaches Redis can."""
    call_id = call_id or str(uuid.uuid4())
    metadata = {"id": call_id, "api_name": "auth", "procedure_name": "check", "return_path": return_path}
    server.execute("SET", expiry_key(server, call_id), 1, "EX", int(HOUR))
    server.execute("RPUSH", "auth:rpc_queue", json.dumps({"metadata": {**metadata, **changes}, "kwargs": {}}))
    return call_id


def keys(server: Server, pattern: str = "*") -> list[str]:
    return sorted(key.decode() for key in server.execute("KEYS", pattern))


async def nothing_taken(server: Server) -> None:
    """Wait until no process holds a call."""

    async def condition() -> bool:
        return not keys(server, "*:taken:*")

    await settled(condition)


async def take_one(consumer: RpcConsumer, server: Server) -> None:
    """Push a call, take it and answer it."""
    push(server, f"redis+key://{REPLY_LIST}")
    (call,) = await consumer.take(50)
    consumer.answer(call, ResultMessage(None, call.id))


def calls_of(server: Server, command: str) -> int:
    """How often a command was run since the counters were set back."""
    found = re.search(rf"cmdstat_{command}:calls=(\d+)", server.execute("INFO", "commandstats").decode())
    return int(found[1]) if found else 0


async def test_an_answered_call_leaves_nothing_behind(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.rpc(result_ttl=7)
    consumer = await any_ports.answer(transport)
    await transport.call(RpcMessage("auth", "check"), 30)
    await nothing_taken(any_redis)
    assert keys(any_redis, expiry_key(any_redis, "*")) == []
    assert any_redis.execute("LLEN", "auth:rpc_queue") == 0
    await consumer.stop()


async def test_an_answer_that_nobody_fetches_is_kept_for_its_ttl(any_ports: Ports, any_redis: Server) -> None:
    consumer = await any_ports.serve(any_ports.rpc(result_ttl=HOUR))
    push(any_redis, f"redis+key://{REPLY_LIST}")
    call = await take_call(consumer)
    consumer.answer(call, ResultMessage(1, call.id))
    await nothing_taken(any_redis)
    assert HOUR / 2 < any_redis.execute("TTL", REPLY_LIST) <= HOUR
    (blob,) = any_redis.execute("LRANGE", REPLY_LIST, 0, -1)
    answer = json.loads(blob)
    assert answer["kwargs"] == {"result": 1}
    assert (answer["metadata"]["rpc_message_id"], answer["metadata"]["error"]) == (call.id, False)


async def test_a_call_by_lightbus_1_is_answered_at_its_own_key(any_ports: Ports, any_redis: Server) -> None:
    await any_ports.answer(any_ports.rpc())
    call_id = str(uuid.uuid1())
    key = f"auth.check:result:{call_id}"
    push(any_redis, f"redis+key://{key}", call_id=call_id)

    async def answered() -> bool:
        return bool(any_redis.execute("LLEN", key))

    await settled(answered)


HOSTILE_PATHS = [
    "redis+key://auth.*:stream",
    "redis+key://billing:rpc_queue",
    "redis+key://victim",
    "redis+key://lightbus:reply:short",
    f"redis+key://{REPLY_LIST}\nredis+key://victim",
    "redis+key://auth.check:result:not-a-uuid",
    "redis+key://{auth:rpc_queue}:processes",
    "http://example.com/",
    "",
]


@pytest.mark.parametrize("path", HOSTILE_PATHS)
async def test_an_answer_never_goes_where_no_caller_waits(
    redis_ports: Ports, redis_server: Server, path: str
) -> None:
    consumer = await redis_ports.answer(redis_ports.rpc())
    redis_server.execute("XADD", "auth.*:stream", "1-1", "a", "b")
    redis_server.execute("RPUSH", "billing:rpc_queue", "call")
    before = keys(redis_server)
    push(redis_server, path)
    push(redis_server, f"redis+key://{REPLY_LIST}")  # Once this is answered, the one before is done with.

    async def answered() -> bool:
        return bool(redis_server.execute("LLEN", REPLY_LIST))

    await settled(answered)
    await nothing_taken(redis_server)
    assert keys(redis_server) == sorted([*before, REPLY_LIST])
    assert redis_server.execute("XLEN", "auth.*:stream") == 1
    assert redis_server.execute("LRANGE", "billing:rpc_queue", 0, -1) == [b"call"]
    await consumer.stop()


async def test_an_answer_never_changes_a_key_that_is_not_a_list(
    any_ports: Ports, any_redis: Server, caplog: pytest.LogCaptureFixture
) -> None:
    await any_ports.answer(any_ports.rpc())
    any_redis.execute("XADD", REPLY_LIST, "1-1", "a", "b")
    push(any_redis, f"redis+key://{REPLY_LIST}")

    async def refused() -> bool:
        return "not a list" in caplog.text

    await settled(refused)
    await nothing_taken(any_redis)
    assert any_redis.execute("XLEN", REPLY_LIST) == 1


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b'{"metadata": {}, "kwargs": {}}',
        b'{"metadata": {"id": "1", "api_name": "auth", "procedure_name": "x"}, "kwargs": {}}',
        b"[" * 100_000,
        b'{"a":"' + b"," * 10_001 + b'\\"' * 300_000,
        b'"' + b"x" * 1_100_000 + b'"',
    ],
    ids=["empty", "text", "binary", "list", "no id", "bad id", "deep", "unterminated", "large"],
)
async def test_what_is_not_a_call_is_dropped_and_the_next_one_runs(
    redis_ports: Ports, redis_server: Server, blob: bytes
) -> None:
    transport = redis_ports.rpc()
    redis_server.execute("RPUSH", "auth:rpc_queue", blob)
    await redis_ports.answer(transport)
    assert (await transport.call(RpcMessage("auth", "check", {"a": 1}), 30)).result == {"a": 1}
    await nothing_taken(redis_server)


async def test_a_call_of_another_api_is_answered_with_an_error(any_ports: Ports, any_redis: Server) -> None:
    await any_ports.answer(any_ports.rpc())
    push(any_redis, f"redis+key://{REPLY_LIST}", api_name="billing")

    async def answered() -> bool:
        return bool(any_redis.execute("LLEN", REPLY_LIST))

    await settled(answered)
    answer = json.loads(any_redis.execute("LPOP", REPLY_LIST))
    assert answer["metadata"]["error"]
    assert "InvalidMessage" in answer["kwargs"]["result"]


async def test_a_call_that_passes_a_limit_is_answered_with_an_error(redis_ports: Ports) -> None:
    transport = redis_ports.rpc()
    await redis_ports.answer(transport)
    nested: object = 1
    for _ in range(70):
        nested = [nested]
    result = await transport.call(RpcMessage("auth", "check", {"a": nested}), 60)
    assert result.error
    assert "levels" in result.result


async def test_a_call_whose_time_is_over_is_not_run(any_ports: Ports, any_redis: Server) -> None:
    call_id = push(any_redis, f"redis+key://{REPLY_LIST}")
    any_redis.execute("DEL", expiry_key(any_redis, call_id))
    transport = any_ports.rpc()
    consumer = await any_ports.serve(transport)
    calling = any_ports.run(transport.call(RpcMessage("auth", "next"), 30))
    call = await take_call(consumer)
    assert call.procedure_name == "next"
    consumer.answer(call, ResultMessage(None, call.id))
    await calling
    await nothing_taken(any_redis)


async def test_a_withdrawn_call_does_not_stay_on_the_queue(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.rpc()

    async def empty() -> bool:
        return bool(any_redis.execute("LLEN", "auth:rpc_queue") == 0)

    with pytest.raises(NoWorker):
        await transport.call(RpcMessage("auth", "check"), 60)
    await settled(empty)
    await any_ports.serve(transport)
    calling = any_ports.run(transport.call(RpcMessage("auth", "check"), HOUR))
    await queued(transport, 1)
    an_hour_passes()
    with pytest.raises(LightbusTimeout):
        await calling
    await settled(empty)


async def test_a_call_is_known_to_be_withdrawn_although_the_loop_was_held_up_meanwhile(
    redis_ports: Ports, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport, message = redis_ports.rpc(), RpcMessage("auth", "check")
    await redis_ports.serve(transport)

    def hold_up() -> None:
        time.sleep(0.1)
        eventually(lambda: redis_server.execute("EXISTS", expiry_key(redis_server, message.id)) == 0)

    def withdraw(self: RedisRpcTransport, *args: Any) -> asyncio.Future[int]:
        asyncio.get_running_loop().call_soon(hold_up)
        return really_withdraw(self, *args)

    really_withdraw = RedisRpcTransport._withdraw
    monkeypatch.setattr(RedisRpcTransport, "_withdraw", withdraw)
    monkeypatch.setattr(redis_rpc, "WITHDRAWAL", 0.05)
    calling = redis_ports.run(transport.call(message, HOUR))
    await queued(transport, 1)
    an_hour_passes()
    with pytest.raises(LightbusTimeout) as raised:
        await calling
    assert raised.value.executed == "no"


async def test_one_that_joins_while_the_last_one_leaves_is_seen(any_ports: Ports, any_redis: Server) -> None:
    one, other = any_ports.rpc(), any_ports.rpc()
    leaving = await any_ports.serve(one)

    async def join(turn: int) -> RpcConsumer:
        for _ in range(turn):
            await asyncio.sleep(0)
        return await any_ports.serve((other, one)[turn % 2])

    for turn in range(60):
        _, leaving = await asyncio.gather(leaving.close(), join(turn))
        assert any_redis.execute("EXISTS", "{auth:rpc_queue}:served") == 1, turn
    await leaving.close()
    assert keys(any_redis) == []


async def test_a_refused_message_leaves_no_caller_waiting(redis_ports: Ports) -> None:
    transport = redis_ports.rpc()
    with pytest.raises(Exception, match=r"too|bytes"):
        await transport.call(RpcMessage("auth", "check", {"a": "x" * 1_100_000}), 5)
    assert transport._replies.expected == {}  # type: ignore[attr-defined]


@pytest.mark.parametrize("batch_size", [1, 2, 100])
async def test_no_more_is_fetched_at_once_than_batch_size(
    redis_ports: Ports, redis_server: Server, caplog: pytest.LogCaptureFixture, batch_size: int
) -> None:
    for _ in range(10):
        push(redis_server, f"redis+key://{REPLY_LIST}")
    consumer = await redis_ports.serve(redis_ports.rpc(batch_size=batch_size))
    left = 10
    while left:
        calls = await consumer.take(5)
        assert len(calls) <= min(5, batch_size)
        left -= len(calls)
        for call in calls:
            consumer.answer(call, ResultMessage(None, call.id))
    assert "taking calls" not in caplog.text


async def test_thousands_of_calls_are_taken_by_a_worker_with_as_many_slots(
    any_ports: Ports, any_redis: Server, caplog: pytest.LogCaptureFixture
) -> None:
    # They have no expiry keys: nobody waits for them any more, so that nothing is said of each.
    id, path = str(uuid.uuid4()), f"redis+key://{REPLY_LIST}"
    metadata = {"id": id, "api_name": "auth", "procedure_name": "x", "return_path": path}
    blob = json.dumps({"metadata": metadata, "kwargs": {}})
    for _ in range(9):
        any_redis.execute("RPUSH", "auth:rpc_queue", *([blob] * 1_000))
    consumer = await any_ports.serve(any_ports.rpc(batch_size=10_000))

    async def drained() -> bool:
        await consumer.take(10_000)
        return bool(any_redis.execute("LLEN", "auth:rpc_queue") == 0)

    await settled(drained)
    # A script that is to pass on too many is refused; that a busy machine made a take late is no matter.
    assert "unpack" not in caplog.text


async def test_others_are_seldom_looked_for_behind_calls_that_come_alone_and_a_burst_is_taken_all_the_same(
    redis_ports: Ports, redis_server: Server
) -> None:
    consumer = await redis_ports.serve(redis_ports.rpc())
    await take_one(consumer, redis_server)  # Redis learns the script.
    redis_server.execute("CONFIG", "RESETSTAT")
    for _ in range(40):
        await take_one(consumer, redis_server)
    looks = calls_of(redis_server, "evalsha")
    assert 5 <= looks <= 13, "with each fourth"
    for _ in range(30):
        push(redis_server, f"redis+key://{REPLY_LIST}")
    taken = [len(await consumer.take(50)) for _ in range(5)]
    assert sum(taken) == 30, "the first, three more at most, and the rest"
    for _ in range(2):
        push(redis_server, f"redis+key://{REPLY_LIST}")
    assert len(await consumer.take(50)) == 2, "calls that come together are looked for again"


async def test_calls_that_come_together_are_begun_and_answered_by_few_commands(
    redis_ports: Ports, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def put(pipe: Pipe, batch: Batch) -> None:
        sent.extend(re.findall(r"(?m)^(GETDEL|LPUSH|EXPIRE)\r$", batch.packed.decode()))
        really_put(pipe, batch)

    really_put = Pipe.put
    monkeypatch.setattr(Pipe, "put", put)
    others = REPLY_LIST[:-1] + "y"
    ids = [push(redis_server, f"redis+key://{key}") for key in [REPLY_LIST] * 40 + [others] * 3]
    consumer = await redis_ports.serve(redis_ports.rpc())
    calls = await consumer.take(50)
    while len(calls) < 43:
        calls = [*calls, *await consumer.take(50)]
    assert [call.id for call in calls] == ids
    assert sent.count("GETDEL") <= 1  # Perhaps for one that came alone.
    for call in calls:
        consumer.answer(call, ResultMessage(call.id, call.id))
    await nothing_taken(redis_server)
    # 32 at a time while more are made, and the rest at the end of the turn: to each caller its own.
    assert sent.count("LPUSH") == sent.count("EXPIRE") == 3
    for key, expected in ((REPLY_LIST, ids[:40]), (others, ids[40:])):
        answers = [json.loads(blob) for blob in redis_server.execute("LRANGE", key, 0, -1)[::-1]]
        assert [answer["kwargs"]["result"] for answer in answers] == expected


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_of_calls_that_come_together_only_those_with_their_keys_run(
    place: int, redis_ports: Ports, redis_server: Server
) -> None:
    ids = [push(redis_server, f"redis+key://{REPLY_LIST}") for _ in range(4)]
    gone, wrong = ids[place], ids[place + 1]
    redis_server.execute("DEL", expiry_key(redis_server, gone))
    redis_server.execute("DEL", expiry_key(redis_server, wrong))
    redis_server.execute("RPUSH", expiry_key(redis_server, wrong), "not a key of ours")
    consumer = await redis_ports.serve(redis_ports.rpc())
    taken = {call.id: call for call in await consumer.take(10)}
    while len(taken) < 2:
        taken |= {call.id: call for call in await consumer.take(10)}
    assert set(taken) == set(ids) - {gone, wrong}
    assert all(HOUR / 2 < (call.deadline or 0) - time.monotonic() < HOUR for call in taken.values())
    for call in taken.values():
        consumer.answer(call, ResultMessage("done", call.id))
    await nothing_taken(redis_server)
    answers = [json.loads(blob) for blob in redis_server.execute("LRANGE", REPLY_LIST, 0, -1)]
    outcomes = {answer["metadata"]["rpc_message_id"]: answer["metadata"]["error"] for answer in answers}
    assert outcomes == {wrong: True, **dict.fromkeys(taken, False)}


async def test_nothing_warns_about_a_worker_that_works(
    redis_ports: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    transport = redis_ports.rpc()
    await redis_ports.answer(transport)
    await asyncio.gather(*(transport.call(RpcMessage("auth", "check"), 30) for _ in range(50)))
    assert [record.getMessage() for record in caplog.records if record.name.startswith("lightbus")] == []
