"""Many keys are asked about with few writes, and none of them waits for a node or a slot of another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from lightbus.messages import EventMessage
from lightbus.options import Duration, SecretUrl
from lightbus.transports.redis.events.transport import RedisEventTransport
from lightbus.transports.redis.link.channel import Batch
from lightbus.transports.redis.link.cluster.mixed import Mixed
from lightbus.transports.redis.link.cluster.node import NodePipe
from lightbus.transports.redis.link.cluster.pipe import ClusterPipe
from lightbus.transports.redis.link.cluster.slots import slot_of_key
from lightbus.transports.redis.link.connection import LinkBroken
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.link.rounds import Rounds
from lightbus.transports.redis.options import RedisEventOptions, RedisRpcOptions
from lightbus.transports.redis.rpc import presence
from lightbus.transports.redis.rpc.transport import RedisRpcTransport
from lightbus.transports.redis.scripts import ENLIST
from tests.conftest import StartCluster
from tests.support.cluster import RedisCluster
from tests.support.eventually import eventually_async
from tests.support.node import Node
from tests.support.timers import HOUR, an_hour_passes, outlast_leases, until_an_hour_is_waited_for
from tests.transports.conftest import Ports, take

from .fake import FakeCluster, FakeView, on_fakes
from .test_redirects import KINDS, OK, done, refusal

SLOT = slot_of_key("key")
#: Three keys of three slots, of which the second is that of :data:`SLOT`; all others are below it.
KEYS = ["a1", "key", "a2"]
#: Less than an uncovered slot is waited for, and more than anything else takes on a busy machine.
SOON = 15.0


def commands(*keys: str) -> dict[str, tuple[Any, ...]]:
    return {key: ("SET", key, key) for key in keys}


def node(pipe: ClusterPipe, cluster: FakeCluster) -> NodePipe:
    found = pipe._nodes.at(cluster.a.address)
    assert found is not None
    return found


@pytest.mark.parametrize("refused", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("kind", KINDS)
@on_fakes
async def test_a_refusal_in_each_place_of_a_list_of_several_slots(
    cluster: FakeCluster, pipe: ClusterPipe, kind: str, refused: tuple[int, ...]
) -> None:
    await pipe.open()
    said = refusal(cluster, kind)
    cluster.a.script.extend(said if place in refused else OK for place in range(3))
    async with asyncio.timeout(60):
        answers = await pipe.send_many([("SET", key, n) for n, key in enumerate(KEYS)])
    elsewhere = b"done by b" if kind in ("MOVED", "ASK") else b"done by a"
    assert answers == [elsewhere if place in refused else b"done by a" for place in range(3)]
    assert sorted(done(cluster)) == [b"0", b"1", b"2"], "each was done once"


@on_fakes
async def test_commands_of_several_slots_of_one_node_are_one_batch(
    cluster: FakeCluster, pipe: ClusterPipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pipe.open()
    put, real = list[type](), NodePipe.put

    def spy(self: NodePipe, batch: Batch) -> None:
        put.append(type(batch))
        real(self, batch)

    monkeypatch.setattr(NodePipe, "put", spy)
    await pipe.send_many([("GET", key) for key in KEYS])
    assert put == [Mixed]


@pytest.mark.parametrize("how", ["list", "each"])
@on_fakes
async def test_commands_that_wait_are_cut_up_by_slots_that_have_moved(
    cluster: FakeCluster, pipe: ClusterPipe, how: str
) -> None:
    await pipe.open()
    held = node(pipe, cluster)
    held._leaving = ReplyError("LOADING")
    found: dict[int, Any] = {}
    if how == "list":
        sent = pipe.send_many([("GET", key) for key in KEYS])
        assert pipe.is_unsent(sent) and sent in pipe.unsent()
        sent.add_done_callback(lambda sent: found.update(enumerate(sent.result())))
    else:
        pipe.send_each([("GET", key) for key in KEYS], found.__setitem__)
    cluster.view = FakeView(cluster.b, [cluster.a, cluster.b], 2)
    await pipe._nodes.look()
    await eventually_async(lambda: found == dict(enumerate([b"done by b"] * 3)))


@on_fakes
async def test_taking_back_a_list_takes_back_all_of_it(cluster: FakeCluster, pipe: ClusterPipe) -> None:
    await pipe.open()
    cluster.a.script.extend([b"-TRYAGAIN not yet\r\n"] * 1000)
    sent = pipe.send_many([("SET", key, key) for key in KEYS])
    await eventually_async(lambda: pipe.is_unsent(sent))
    sent.cancel()
    await asyncio.sleep(0.1)
    cluster.a.script.clear()
    assert await pipe.send("SET", "key", 2) == b"done by a"
    assert done(cluster) == [b"2"]


@on_fakes
async def test_a_slot_that_nobody_has_keeps_no_other_key_waiting_and_is_not_asked_about_twice(
    cluster: FakeCluster, pipe: ClusterPipe
) -> None:
    cluster.view = FakeView(cluster.a, [cluster.a, cluster.b], 1, last=SLOT - 1)
    await pipe.open()
    rounds, found = Rounds[str](pipe, HOUR), dict[str, Any]()
    others = {"a2": b"done by a", "a1": b"done by a"}
    asking = asyncio.ensure_future(rounds.ask(commands(*KEYS), found.__setitem__))
    await eventually_async(lambda: found == others)
    an_hour_passes()  # For so long it waits for the third.
    await asking
    for _ in range(2):
        found.clear()
        await rounds.ask(commands(*KEYS), found.__setitem__)
        assert found == others
    waiting = asyncio.ensure_future(rounds.answered("key"))
    await rounds.answered("a1")
    cluster.view = FakeView(cluster.a, [cluster.a, cluster.b], 1)
    async with asyncio.timeout(SOON):
        await waiting
    assert found["key"] == b"done by a"
    assert done(cluster).count(b"key") == 1


@pytest.mark.parametrize("kind", KINDS)
@on_fakes
async def test_a_key_that_is_elsewhere_keeps_no_other_waiting(
    cluster: FakeCluster, pipe: ClusterPipe, kind: str
) -> None:
    await pipe.open()
    said = refusal(cluster, kind)
    cluster.a.script.extend([OK, said, OK, *([said] * 5 if kind not in ("MOVED", "ASK") else [])])
    rounds, found = Rounds[str](pipe, 60), dict[str, Any]()
    await rounds.ask(commands(*KEYS), found.__setitem__)
    assert found.keys() >= {"a2", "a1"}
    await eventually_async(lambda: "key" in found)
    assert found["key"] == (b"done by b" if kind in ("MOVED", "ASK") else b"done by a")


@on_fakes
async def test_a_script_that_a_node_does_not_know_is_sent_by_its_text(
    cluster: FakeCluster, pipe: ClusterPipe
) -> None:
    await pipe.open()
    cluster.a.script.extend([OK, b"-NOSCRIPT No matching script.\r\n", b"-OOM not allowed\r\n"])
    rounds, found = Rounds[str](pipe, 60), dict[str, Any]()
    await rounds.run({key: ENLIST(schemas=key, names=[key]) for key in KEYS}, found.__setitem__)
    assert (found["a1"], found["key"], found["a2"].code) == (b"done by a", b"done by a", "OOM")
    assert [command[0] for command in cluster.a.done if command[0].startswith(b"EVAL")] == [
        b"EVALSHA",
        b"EVAL",
    ]


@on_fakes
async def test_what_a_broken_connection_has_lost_is_told_for_each_key(
    cluster: FakeCluster, pipe: ClusterPipe
) -> None:
    await pipe.open()
    rounds, found = Rounds[str](pipe, 60), dict[str, Any]()
    cluster.a.is_silent = True
    asking = asyncio.ensure_future(rounds.ask(commands(*KEYS), found.__setitem__))
    await eventually_async(lambda: sum(command[0] == b"SET" for command in cluster.a.heard) == 3)
    cluster.a.break_off()
    await asking
    assert [type(found[key]) for key in KEYS] == [LinkBroken] * 3


@pytest.fixture
def uncovered(start_cluster: StartCluster) -> Iterator[RedisCluster]:
    """A cluster that serves the slots which somebody has, where others have nobody."""
    yield start_cluster(replicas=0, args=("--cluster-require-full-coverage", "no"))


def idle_times(node: Node, stream: str, group: str) -> list[int]:
    """For how many milliseconds each event is held that was not acknowledged."""
    return [idle for _, _, idle, _ in node.execute("XPENDING", stream, group, "-", "+", 10)]


async def test_retries_leases_and_signs_of_life_do_not_wait_for_a_slot_that_nobody_has(
    uncovered: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "PRESENCE", 3 * HOUR)
    url = SecretUrl(uncovered.url)
    events = RedisEventTransport(
        RedisEventOptions(
            url=url, acknowledgement_timeout=Duration(3 * HOUR), reclaim_interval=Duration(0.05)
        )
    )
    rpc = RedisRpcTransport(RedisRpcOptions(url=url))
    ports = Ports(None)
    try:
        both = [("auth", "user_registered"), ("shop", "sold")]
        dead, other = await ports.listen(events, both), await ports.listen(events, both)
        for api in ("auth", "shop"):
            await ports.serve(rpc, api)
        await ports.fire(events, "held", "postponed")
        held, postponed = await take(dead, 2)
        homes = {slot_of_key(key): uncovered.owner(key) for key in ("shop.*:stream", "shop:rpc_queue")}
        for each in uncovered.nodes:
            each.execute("CLUSTER", "DELSLOTS", *homes)
        await postponed.retry(0.5, ValueError("no"))
        for timer in list(dead._settling._timers):  # type: ignore[attr-defined]
            timer.cancel()  # Only a regular look finds it now.
        async with asyncio.timeout(SOON):
            (again,) = await take(other, 1)
        assert (again.message.kwargs, again.attempt) == (postponed.message.kwargs, 2)
        # Both are renewed after each third of their time.
        stream, group, served = "auth.*:stream", "shop-on_user", "{auth:rpc_queue}:served"
        node = uncovered.owner(stream)
        await until_an_hour_is_waited_for("lightbus leases", by=2)
        await until_an_hour_is_waited_for("lightbus presence")
        outlast_leases(node, stream, group, dead.membership.consumer)  # type: ignore[attr-defined]
        uncovered.execute(served, "DEL", served)
        assert idle_times(node, stream, group)[0] > 60_000
        an_hour_passes()
        await eventually_async(lambda: idle_times(node, stream, group)[0] < 60_000)
        await eventually_async(lambda: uncovered.execute(served, "EXISTS", served) == 1)
        (entry,) = node.execute("XPENDING", stream, group, "-", "+", 10)
        assert entry[0].decode() == held.message.native_id and entry[3] == 1
        for slot, home in homes.items():
            home.execute("CLUSTER", "ADDSLOTS", slot)
    finally:
        await ports.close()
        await events.close()
        await rpc.close()


async def test_events_of_dead_processes_do_not_wait_for_a_slot_that_nobody_has(
    uncovered: RedisCluster,
) -> None:
    url = SecretUrl(uncovered.url)
    events = RedisEventTransport(RedisEventOptions(url=url, acknowledgement_timeout=Duration(0.3)))
    ports = Ports(None)
    slot = slot_of_key("shop.*:stream")
    try:
        # That of the shop comes first.
        both = [("shop", "sold"), ("auth", "user_registered")]
        dead = await ports.listen(events, both)
        await events.publish([EventMessage("shop", "sold", {"n": 1})], 30)
        await ports.fire(events, "mary")
        assert len(await take(dead, 2)) == 2
        await ports.abandon(dead)
        other = await ports.listen(events, both)
        takeover: Any = other._takeover  # type: ignore[attr-defined]
        # It knows of both, and waits for a free slot.
        await eventually_async(lambda: takeover._deliveries.room._waiters)
        home = uncovered.owner(slot)
        for each in uncovered.nodes:
            each.execute("CLUSTER", "DELSLOTS", slot)
        async with asyncio.timeout(SOON):
            (taken,) = await take(other, 1)
        assert taken.message.api_name == "auth" and taken.is_suspect
        taken.ack()
        home.execute("CLUSTER", "ADDSLOTS", slot)
        # The answer comes after its time, and the event that it brings is run.
        async with asyncio.timeout(SOON):
            (late,) = await take(other, 1)
        assert late.message.api_name == "shop" and late.is_suspect
        late.ack()
        await eventually_async(lambda: home.execute("XPENDING", "shop.*:stream", "shop-on_user")[0] == 0)
        assert not takeover._claiming.is_asked("shop.*:stream")
    finally:
        await ports.close()
        await events.close()


async def test_events_of_lost_replies_do_not_wait_for_a_slot_that_nobody_has(
    uncovered: RedisCluster,
) -> None:
    options = RedisEventOptions(
        url=SecretUrl(uncovered.url), acknowledgement_timeout=Duration(60), waiting="bell"
    )
    events = RedisEventTransport(options)
    ports = Ports(None)
    slot = slot_of_key("shop.*:stream")
    try:
        both = [("shop", "sold"), ("auth", "user_registered")]
        consumer = await ports.listen(events, both)
        await ports.fire(events, "mary")
        name: str = consumer.membership.consumer  # type: ignore[attr-defined]
        read = ("XREADGROUP", "GROUP", "shop-on_user", name, "STREAMS", "auth.*:stream", ">")
        assert uncovered.owner("auth.*:stream").execute(*read)
        home = uncovered.owner(slot)
        for each in uncovered.nodes:
            each.execute("CLUSTER", "DELSLOTS", slot)
        consumer.note_lost_reply()  # type: ignore[attr-defined]
        async with asyncio.timeout(SOON):
            (taken,) = await take(consumer, 1)
        assert taken.message.kwargs == {"username": "mary"} and not taken.is_suspect
        taken.ack()
        home.execute("CLUSTER", "ADDSLOTS", slot)
        readers: Any = consumer._readers  # type: ignore[attr-defined]
        await eventually_async(lambda: not readers._lost)
    finally:
        await ports.close()
        await events.close()
