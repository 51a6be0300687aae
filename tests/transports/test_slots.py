"""What has to be done together lies in one slot of a cluster, and what lies apart is done in a safe order."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import pytest

from lightbus.exceptions import QueueFull
from lightbus.messages import RpcMessage
from lightbus.transports.redis.link.cluster.slots import slot_of_key
from lightbus.transports.redis.link.connection import LinkBroken
from lightbus.transports.redis.rpc.consumer import RedisRpcConsumer
from lightbus.transports.redis.schema import RedisSchemaTransport
from lightbus.transports.redis.schema import transport as redis_schema
from tests.support.cluster import RedisCluster
from tests.support.eventually import eventually_async
from tests.support.guard import SpansSlots, look_at
from tests.support.spread import Spread
from tests.support.timers import HOUR

from .conftest import Ports, expiry_key, take_call

CONTRACT: dict[str, dict[str, object]] = {"events": {}, "rpcs": {}}


@pytest.fixture(scope="session")
def whole_cluster(shared_cluster: RedisCluster) -> RedisCluster:
    """Keys that lie apart lie at several nodes here."""
    return shared_cluster


async def test_a_call_lies_in_the_slot_of_the_right_to_run_it(cluster_ports: Ports, cluster: Spread) -> None:
    transport = cluster_ports.rpc(rpc_timeout=HOUR)
    consumer = await cluster_ports.serve(transport)
    message = RpcMessage("auth", "check")
    calling = cluster_ports.run(transport.call(message, HOUR))
    key = expiry_key(cluster, message.id)  # type: ignore[arg-type]
    await eventually_async(lambda: cluster.execute("EXISTS", key))
    assert slot_of_key(key) == slot_of_key("auth:rpc_queue")
    assert cluster.execute("KEYS", "rpc_expiry_key:*") == []
    assert HOUR / 2 < cluster.execute("TTL", key) <= HOUR + 1
    call = await take_call(consumer)
    assert cluster.execute("EXISTS", key) == 0
    assert call.deadline is not None
    calling.cancel()


async def test_a_call_and_the_right_to_run_it_are_stored_in_one_step(
    cluster_ports: Ports, cluster: Spread
) -> None:
    """Commands that follow each other may be done by two nodes, while their slot moves."""
    transport = cluster_ports.rpc()
    await cluster_ports.answer(transport)
    cluster.execute("CONFIG", "RESETSTAT")
    for number in range(3):
        await transport.call(RpcMessage("auth", "check", {"n": number}), 60)
    # The script itself sets the key and pushes the call.
    calls = {name: stats_of(cluster, name) for name in ("evalsha", "rpush")}
    assert calls["evalsha"] >= calls["rpush"] == 3
    cluster.execute("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(QueueFull):
            await transport.call(RpcMessage("auth", "check"), 10)
        assert cluster.execute("KEYS", "*:expiry:*") == []
    finally:
        cluster.execute("CONFIG", "SET", "maxmemory", 0)


def stats_of(cluster: Spread, command: str) -> int:
    """How often a command was done, by itself or within a script."""
    text: bytes = cluster.execute("INFO", "commandstats")
    return sum(map(int, re.findall(rb"cmdstat_%s:calls=(\d+)" % command.encode(), text)))


async def test_a_call_that_is_given_up_is_withdrawn(cluster_ports: Ports, cluster: Spread) -> None:
    transport = cluster_ports.rpc()
    await cluster_ports.serve(transport)
    calling = cluster_ports.run(transport.call(RpcMessage("auth", "check"), 60))
    await eventually_async(lambda: cluster.execute("LLEN", "auth:rpc_queue"))
    calling.cancel()
    await eventually_async(lambda: cluster.execute("LLEN", "auth:rpc_queue") == 0)
    assert cluster.execute("KEYS", "*:expiry:*") == []


async def test_a_call_is_struck_off_only_once_its_answer_is_there(
    cluster_ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = cluster_ports.rpc(rpc_retry_delay=0.05)
    consumer = await cluster_ports.answer(transport)
    assert isinstance(consumer, RedisRpcConsumer)
    sent: list[str] = []
    real = consumer._pipe.send_many

    def send_many(commands: list[tuple[str, ...]]) -> asyncio.Future[list[object]]:
        commands = list(commands)
        sent.extend(command[0] for command in commands)
        if commands[0][0] == "LPUSH" and sent.count("LPUSH") == 1:
            lost = asyncio.get_running_loop().create_future()
            lost.set_exception(LinkBroken("the node of the caller's list went away"))
            return lost
        return real(commands)

    monkeypatch.setattr(consumer._pipe, "send_many", send_many)
    answer = await transport.call(RpcMessage("auth", "check", {"a": 1}), 60)
    assert answer.result == {"a": 1}
    await eventually_async(lambda: "LREM" in sent)
    # The first answer was lost, and took nothing along.
    assert [name for name in sent if name in ("LPUSH", "LREM")] == ["LPUSH", "LPUSH", "LREM"]


async def test_a_contract_that_appears_while_its_name_is_taken_off_stays_listed(
    any_ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_schema, "_MOST_STALE", 0)
    schema, owner = any_ports.schema(), any_ports.schema()
    assert isinstance(schema, RedisSchemaTransport)
    await owner.store({"shop": CONTRACT, "gone": CONTRACT}, 60)
    await owner.withdraw(["shop", "gone"])
    real = schema._unlist

    async def unlist(names: Sequence[str]) -> None:
        await owner.store({"shop": CONTRACT}, 60)
        await real(names)

    monkeypatch.setattr(schema, "_unlist", unlist)
    await schema.load()
    assert list(await owner.look()) == ["shop"]
    assert any_ports.server is not None
    assert any_ports.server.execute("SMEMBERS", "schemas") == [b"shop"]


@pytest.mark.parametrize(
    "commands",
    [
        [("MGET", "schema:a", "schema:b")],
        [("EVALSHA", "x", 2, "a:rpc_queue", "rpc_expiry_key:1", 1)],
        [("XREADGROUP", "GROUP", "g", "me", "STREAMS", "a.*:stream", "b.*:stream", ">", ">")],
        [("SET", "rpc_expiry_key:1", 1), ("RPUSH", "a:rpc_queue", "x")],
        [("LPUSH", "lightbus:reply:x", "x"), ("LREM", "{a:rpc_queue}:taken:p", 1, "x")],
    ],
    ids=lambda commands: " ".join(command[0] for command in commands),
)
def test_the_guard_refuses_what_one_redis_would_do_together(commands: list[tuple[object, ...]]) -> None:
    with pytest.raises(SpansSlots):
        look_at(commands)


@pytest.mark.parametrize(
    "commands",
    [
        [("GET", "schema:a"), ("GET", "schema:b"), ("TIME",)],
        [("XINFO", "STREAM", "a.*:stream"), ("XINFO", "GROUPS", "b.*:stream")],
        [("HSET", "{a.*:stream}:groups", "g", 1), ("HSET", "{b.*:stream}:groups", "g", 1)],
        [("PTTL", "{a:rpc_queue}:expiry:1"), ("GETDEL", "{a:rpc_queue}:expiry:1")],
        [("SADD", "lightbus:streams", "a.*:stream", "b.*:stream")],
    ],
    ids=lambda commands: " ".join(command[0] for command in commands),
)
def test_the_guard_lets_pass_what_may_be_done_apart(commands: list[tuple[object, ...]]) -> None:
    look_at(commands)
