"""A channel to a real cluster whose primaries die, freeze and hand over, and whose slots move."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lightbus.exceptions import TransportUnavailable
from lightbus.options import SecretUrl
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.redis.link.cluster.pipe import ClusterPipe
from lightbus.transports.redis.link.connection import FAILURES, LinkBroken
from lightbus.transports.redis.link.promise import Promise
from lightbus.transports.redis.link.reaching.outages import Hearers
from lightbus.transports.redis.options import RedisOptions
from lightbus.transports.redis.scripts import ENLIST
from tests.conftest import StartCluster
from tests.support.cluster import RedisCluster
from tests.support.eventually import eventually_async
from tests.support.node import slot_of

KEYS = [f"key{n}" for n in range(12)]
READ = ("XREADGROUP", "GROUP", "g", "c", "BLOCK", 30_000, "STREAMS", "key", ">")
#: Keeps a replica from taking over, however long the machine takes until it is said that it may.
NO_FAILOVER = "cluster-replica-no-failover"


async def piped(cluster: RedisCluster, work: Callable[[ClusterPipe], Awaitable[None]], **given: Any) -> None:
    """Use a channel and close it."""
    pipe = ClusterPipe(RedisOptions(url=SecretUrl(cluster.url)), **given)
    try:
        async with asyncio.timeout(60):
            await work(pipe)
    finally:
        await pipe.close()


async def test_each_command_reaches_the_primary_that_has_its_key(redis_cluster: RedisCluster) -> None:
    async def work(pipe: ClusterPipe) -> None:
        await pipe.open()
        assert await asyncio.gather(*(pipe.send("SET", key, key) for key in KEYS)) == [b"OK"] * len(KEYS)
        assert await pipe.send_many([("GET", key) for key in KEYS]) == [key.encode() for key in KEYS]
        assert await pipe.run(ENLIST(schemas="names", names=["x"])) is not None
        sizes = await pipe.send_to_all("DBSIZE")
        assert len(sizes) == 3 and sum(sizes) == len(KEYS) + 1 and all(sizes)
        assert [await each.send("DBSIZE") for each in await pipe.primaries()] == sizes
        assert {each.address for each in await pipe.primaries()} == {
            each.address for each in redis_cluster.primaries()
        }

    await piped(redis_cluster, work)


async def test_commands_and_blocked_readers_follow_a_slot_that_moves(redis_cluster: RedisCluster) -> None:
    slot, loop = slot_of("key"), asyncio.get_running_loop()
    source = redis_cluster.owner(slot)
    target = redis_cluster.others(source)[0]

    async def work(pipe: ClusterPipe) -> None:
        await pipe.send("XGROUP", "CREATE", "key", "g", "$", "MKSTREAM")
        link = pipe.link("key", lambda refusal: None)
        await link.exchange([("PING",)], 60)
        reading = asyncio.ensure_future(link.exchange([READ], 90))
        stored = [await pipe.send("XADD", "key", "*", "n", 0)]
        with redis_cluster.moving(slot, target):
            # What is not there any more, or not yet, is asked of the other one.
            assert await pipe.send("SET", "{key}:new", 1) == b"OK"
            stored += [await pipe.send("XADD", "key", "*", "n", 1)]
            while redis_cluster.carry(slot, source, target):
                pass
            stored += [await pipe.send("XADD", "key", "*", "n", 2)]
        stored += [await pipe.send("XADD", "key", "*", "n", 3)]
        assert [entry[0] for entry in await pipe.send("XRANGE", "key", "-", "+")] == stored
        assert await pipe.send("GET", "{key}:new") == b"1"
        read: list[bytes] = []
        while len(read) < len(stored):
            (reply,) = await reading
            read += [entry[0] for _, entries in reply or () for entry in entries]
            reading = asyncio.ensure_future(link.exchange([READ], 90))
        assert read == stored
        # Now it blocks at the new owner, and the slot goes back.
        await eventually_async(lambda: link.client_id is not None)
        await loop.run_in_executor(None, redis_cluster.move, slot, source)
        stored = [await pipe.send("XADD", "key", "*", "n", 4)]
        (reply,) = await reading
        assert [entry[0] for entry in reply[0][1]] == stored
        assert await pipe.send("XADD", "key", "*", "n", 5)
        pipe.unblock(link)
        await link.close()

    await piped(redis_cluster, work)


async def test_a_failover_in_good_order_fails_no_command(redis_cluster: RedisCluster) -> None:
    loop = asyncio.get_running_loop()
    counted = 0

    async def work(pipe: ClusterPipe) -> None:
        nonlocal counted
        await pipe.open()
        failing = loop.run_in_executor(None, redis_cluster.fail_over, redis_cluster.owner("key"))
        doubtful = 0
        while not failing.done():
            outcomes = await asyncio.gather(
                *(pipe.send("INCR", "key") for _ in range(5)), return_exceptions=True
            )
            counted += sum(isinstance(each, int) for each in outcomes)
            doubtful += sum(isinstance(each, LinkBroken) for each in outcomes)
            assert all(isinstance(each, int | LinkBroken) for each in outcomes)
        await failing
        assert counted <= int(redis_cluster.execute("key", "GET", "key")) <= counted + doubtful

    await piped(redis_cluster, work)
    assert counted


async def is_refused_without_the_password(cluster: RedisCluster) -> None:
    pipe = ClusterPipe(RedisOptions(url=SecretUrl(cluster.url.replace("s3cret-word", "s3cret-wrong"))))
    with pytest.raises(TransportUnavailable, match="refused the password or user") as raised:
        await pipe.open()
    assert "s3cret" not in str(raised.value)
    await pipe.close()


async def test_a_primary_that_dies_or_freezes_is_replaced_while_commands_wait(
    start_cluster: StartCluster,
) -> None:
    cluster, told, loop = start_cluster(password="s3cret-word"), Obstacles(), asyncio.get_running_loop()

    async def work(pipe: ClusterPipe) -> None:
        await is_refused_without_the_password(cluster)
        await asyncio.gather(*(pipe.send("SET", key, 0) for key in KEYS))
        link = pipe.link("key1", lambda refusal: None)
        await link.exchange([("PING",)], 60)
        # Dies: what is sent from then on waits for its successor, and is answered.
        dead = cluster.owner("key1")
        (successor,) = cluster.replicas(dead)
        successor.execute("CONFIG", "SET", NO_FAILOVER, "yes")
        await loop.run_in_executor(None, cluster.kill, dead)
        with pytest.raises(FAILURES):
            await link.exchange([("BRPOP", "{key1}:list", 2)], 60)
        await eventually_async(lambda: any(dead.address in sentence for sentence in told))
        late = [pipe.send("INCR", "key1") for _ in range(5)]
        assert pipe.outage_since(loop.time()) != ""
        assert pipe.failure is not None
        successor.execute("CONFIG", "SET", NO_FAILOVER, "no")
        values = await asyncio.gather(*late, return_exceptions=True)
        assert all(isinstance(each, int | LinkBroken) for each in values)
        assert [each for each in values if isinstance(each, int)]
        assert await link.exchange([("RPOP", "{key1}:list")], 60) == [None]
        assert list(told) == [] and pipe.failure is None
        await loop.run_in_executor(None, cluster.revive, dead)
        # Freezes: that nobody hears of it does not keep commands from its successor.
        frozen = cluster.owner("key1")
        with cluster.frozen(frozen):
            with pytest.raises(LinkBroken):
                await pipe.send("INCR", "key1")
            assert isinstance(await pipe.send("INCR", "key1"), int)
        # Back again, it takes itself for the primary for a moment: nobody listens to it.
        before = int(await pipe.send("GET", "key1"))
        assert [await pipe.send("INCR", "key1") for _ in range(3)] == [before + n for n in (1, 2, 3)]
        await link.close()

    await piped(cluster, work, told=Hearers([told]))


async def test_what_is_stored_is_answered_once_replicas_have_it(redis_cluster: RedisCluster) -> None:
    async def work(pipe: ClusterPipe) -> None:
        stored = await asyncio.gather(*(pipe.store("INCR", key) for key in KEYS))
        assert stored == [1] * len(KEYS)

    await piped(redis_cluster, work, promise=Promise(replicas=1, timeout=30.0))
