"""Waiting by bells: few connections, nothing missed, and no later than by reads that block."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from lightbus.exceptions import NoWorker
from lightbus.messages import EventMessage, ResultMessage, RpcMessage
from lightbus.options import Secret, SecretUrl
from lightbus.transports.events import Delivery
from lightbus.transports.port import Use
from lightbus.transports.redis.events.transport import RedisEventTransport
from lightbus.transports.redis.link.cluster import bells
from lightbus.transports.redis.link.cluster.node import NodePipe
from lightbus.transports.redis.link.cluster.pipe import ClusterPipe
from lightbus.transports.redis.options import RedisEventOptions, RedisRpcOptions
from lightbus.transports.redis.rpc.transport import RedisRpcTransport
from tests.conftest import StartCluster, StartServer
from tests.support.cluster import RedisCluster
from tests.support.eventually import eventually_async
from tests.support.node import Node, slot_of
from tests.support.sabotage import How, Sabotage
from tests.support.spread import Spread
from tests.support.timers import HOUR
from tests.transports.conftest import Ports, take, take_call

APIS = ("auth", "shop", "mail", "bill")
ALL = tuple((api, "happened") for api in APIS)
#: More than anything that a bell announces takes, on a busy machine.
SOON = 60.0


@pytest.fixture(scope="session")
def whole_cluster(shared_cluster: RedisCluster) -> RedisCluster:
    """Three primaries, over which the slots are spread."""
    return shared_cluster


@pytest.fixture(autouse=True)
def rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found by a look in place of a bell."""
    monkeypatch.setattr(bells, "LOOK", HOUR)


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Returns what lets nobody ring from then on."""

    def mute() -> None:
        monkeypatch.setattr(NodePipe, "has_bells", property(lambda _: False, lambda *_: None), raising=False)
        monkeypatch.setattr(ClusterPipe, "ring", lambda *_: None)

    return mute


def connections(server: Spread) -> int:
    """How many there are at all primaries, but for those that ask."""
    listed = server.execute("CLIENT", "LIST", "TYPE", "normal") + server.execute(
        "CLIENT", "LIST", "TYPE", "pubsub"
    )
    return sum(b"cmd=client|list" not in line for line in listed.splitlines())


def heard(server: Spread) -> int:
    """How many bells are heard at all primaries."""
    return len(server.execute("PUBSUB", "SHARDCHANNELS"))


def hears(node: Node, key: str) -> bool:
    """Whether somebody hears the bell of a key at a node."""
    return f"{{{key}}}:bell".encode() in node.execute("PUBSUB", "SHARDCHANNELS")


async def until_heard(server: Spread, number: int = len(APIS)) -> None:
    await eventually_async(lambda: heard(server) == number)


async def fire(transport: Any, *names: str) -> None:
    """Fire events, each named by its API and a number, such as "auth 1"."""
    messages = [EventMessage(name.partition(" ")[0], "happened", {"name": name}) for name in names]
    await transport.publish(messages, 30)


def names_of(deliveries: list[Delivery]) -> list[str]:
    return sorted(delivery.message.kwargs["name"] for delivery in deliveries)


async def soon(consumer: Any, wanted: int, limit: int = 100) -> list[Delivery]:
    async with asyncio.timeout(SOON):
        return await take(consumer, wanted, limit)


@pytest.mark.parametrize(
    ("waiting", "number", "least", "most"),
    [("blocking", 12, 24, 40), ("auto", 12, 24, 40), ("bell", 12, 4, 12), ("auto", 60, 4, 12)],
)
async def test_a_process_has_a_connection_for_each_slot_or_one_for_each_node(
    cluster_ports: Ports, cluster: Spread, waiting: str, number: int, least: int, most: int
) -> None:
    apis = [f"api{each}" for each in range(number)]
    rpc, events = cluster_ports.rpc(waiting=waiting), cluster_ports.events(waiting=waiting)
    await rpc.expect([Use("serves", api) for api in apis])
    await asyncio.gather(*(cluster_ports.answer(rpc, lambda call: call.api_name, api) for api in apis))
    consumer = await cluster_ports.listen(events, [(api, "happened") for api in apis])
    taking = cluster_ports.run(take(consumer, number, 100))
    for api in apis:
        await fire(events, f"{api} 1")
        assert (await rpc.call(RpcMessage(api, "x"), SOON)).result == api
    assert names_of(await taking) == sorted(f"{api} 1" for api in apis)
    cluster_ports.run(consumer.take(1))
    await eventually_async(lambda: least <= connections(cluster) <= most)


async def test_events_and_calls_are_there_at_once_whoever_waits_how(
    cluster_ports: Ports, cluster: Spread
) -> None:
    rung, blocked = cluster_ports.rpc(waiting="bell"), cluster_ports.rpc(waiting="blocking")
    events = cluster_ports.events(waiting="bell")
    one = await cluster_ports.listen(events, ALL)
    other = await cluster_ports.listen(cluster_ports.events(waiting="blocking"), ALL, name="other")
    answering = await cluster_ports.answer(rung, lambda call: "rung")
    await cluster_ports.answer(blocked, lambda call: "blocked")
    await until_heard(cluster, len(APIS) + 1)
    for number in range(3):
        wanted = sorted(f"{api} {number}" for api in APIS)
        taking = [cluster_ports.run(soon(each, len(APIS))) for each in (one, other)]
        await fire(cluster_ports.events(), *wanted)
        for each in taking:
            deliveries = await each
            assert names_of(deliveries) == wanted
            for delivery in deliveries:
                delivery.ack()
    seen: set[str] = {(await blocked.call(RpcMessage("auth", "x"), SOON)).result for _ in range(20)}
    assert seen <= {"rung", "blocked"}
    await answering.stop()


async def test_no_more_events_are_read_than_there_are_free_slots(
    cluster_ports: Ports, cluster: Spread
) -> None:
    transport = cluster_ports.events(waiting="bell")
    consumer = await cluster_ports.listen(transport, ALL)
    wanted = [f"{api} {number}" for number in range(4) for api in APIS]
    await fire(transport, *wanted)
    seen: list[Delivery] = []
    while len(seen) < len(wanted):
        taken = await soon(consumer, 1, 2)
        held = [cluster.execute("XPENDING", f"{api}.*:stream", "shop-on_user")[0] for api in APIS]
        assert sum(held) <= 2
        seen += taken
        for delivery in taken:
            delivery.ack()
        await eventually_async(
            lambda: not any(cluster.execute("XPENDING", f"{a}.*:stream", "shop-on_user")[0] for a in APIS)
        )
    assert names_of(seen) == sorted(wanted)


async def test_a_ring_that_is_lost_loses_nothing(
    cluster_ports: Ports, cluster: Spread, deaf: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bells, "LOOK", 0.3)
    events, rpc = cluster_ports.events(waiting="bell"), cluster_ports.rpc(waiting="bell")
    consumer = await cluster_ports.listen(events, ALL)
    await cluster_ports.answer(rpc)
    await until_heard(cluster, len(APIS) + 1)
    deaf()
    taking = cluster_ports.run(soon(consumer, len(APIS)))
    await fire(events, *(f"{api} 1" for api in APIS))
    assert len(await taking) == len(APIS)
    assert (await rpc.call(RpcMessage("auth", "x", {"a": 1}), SOON)).result == {"a": 1}


async def test_what_came_while_no_bell_was_heard_is_found_when_it_is_heard_again(
    cluster_ports: Ports, cluster: Spread, deaf: Callable[[], None]
) -> None:
    events, rpc = cluster_ports.events(waiting="bell"), cluster_ports.rpc(waiting="bell")
    consumer = await cluster_ports.listen(events, ALL)
    serving = await cluster_ports.serve(rpc)
    taking, calls = cluster_ports.run(soon(consumer, len(APIS))), cluster_ports.run(take_call(serving))
    await until_heard(cluster, len(APIS) + 1)
    deaf()
    await fire(events, *(f"{api} 1" for api in APIS))
    calling = cluster_ports.run(rpc.call(RpcMessage("auth", "x"), SOON))
    await eventually_async(lambda: cluster.execute("LLEN", "auth:rpc_queue") == 1)
    assert not taking.done() and not calls.done()
    cluster.execute("CLIENT", "KILL", "TYPE", "pubsub")
    assert names_of(await taking) == sorted(f"{api} 1" for api in APIS)
    call = await calls
    serving.answer(call, ResultMessage("yes", call.id))
    assert (await calling).result == "yes"


@pytest.mark.parametrize("how", ["at once", "key by key"])
async def test_a_bell_is_heard_where_its_slot_has_moved(
    cluster_ports: Ports, cluster: Spread, shared_cluster: RedisCluster, how: str
) -> None:
    events, rpc = cluster_ports.events(waiting="bell"), cluster_ports.rpc(waiting="bell")
    consumer = await cluster_ports.listen(events, ALL)
    await cluster_ports.answer(rpc)
    await until_heard(cluster, len(APIS) + 1)
    homes = {key: shared_cluster.owner(key) for key in ("auth.*:stream", "auth:rpc_queue")}
    move = shared_cluster.move_atomically if how == "at once" else shared_cluster.move
    taking = cluster_ports.run(soon(consumer, 3))
    try:
        for number, key in enumerate(homes):
            to = shared_cluster.others(homes[key])[0]
            await fire(events, f"auth {number}")
            await asyncio.to_thread(move, slot_of(key), to)
            await eventually_async(partial(hears, to, key))
        await fire(events, "auth 2")
        assert names_of(await taking) == ["auth 0", "auth 1", "auth 2"]
        assert (await rpc.call(RpcMessage("auth", "x", {"a": 1}), SOON)).result == {"a": 1}
    finally:
        for key, home in homes.items():
            if shared_cluster.owner(key) is not home:
                await asyncio.to_thread(shared_cluster.move, slot_of(key), home)


async def test_a_bell_is_heard_at_the_primary_that_takes_over(start_cluster: StartCluster) -> None:
    cluster = start_cluster()
    url = SecretUrl(cluster.url)
    events = RedisEventTransport(RedisEventOptions(url=url, waiting="bell"))
    rpc = RedisRpcTransport(RedisRpcOptions(url=url, waiting="bell"))
    ports = Ports(None)
    consumer, serving = await ports.listen(events, ALL), await ports.serve(rpc)
    spread = Spread(cluster)
    try:
        taking = ports.run(soon(consumer, 1))
        calls = ports.run(take_call(serving))
        await until_heard(spread, len(APIS) + 1)
        for key in ("auth.*:stream", "auth:rpc_queue"):
            await asyncio.to_thread(cluster.fail_over, cluster.owner(key))
        await until_heard(spread, len(APIS) + 1)
        await fire(events, "auth 1")
        assert names_of(await taking) == ["auth 1"]
        calling = ports.run(rpc.call(RpcMessage("auth", "x"), SOON))
        call = await calls
        serving.answer(call, ResultMessage("yes", call.id))
        assert (await calling).result == "yes"
    finally:
        await ports.close()
        await events.close()
        await rpc.close()


async def test_what_is_to_be_tried_again_or_handed_back_is_heard_of_by_others(
    cluster_ports: Ports, cluster: Spread
) -> None:
    transport = cluster_ports.events(waiting="bell")
    first = await cluster_ports.listen(transport, ALL)
    await fire(transport, "auth 1", "shop 1", "mail 1")
    deliveries = {each.message.api_name: each for each in await soon(first, 3)}
    other = await cluster_ports.listen(transport, ALL)
    await deliveries["auth"].retry(0.05, ValueError("no"))
    (again,) = await soon(other, 1)
    assert again.attempt == 2 and again.message.api_name == "auth"
    await deliveries["shop"].release()
    assert names_of(await soon(other, 1)) == ["shop 1"]
    await deliveries["mail"].dead_letter("given_up", ValueError("no"))
    (letter,) = [each async for each in transport.list_dead()]
    taking = cluster_ports.run(soon(other, 1))
    assert await transport.replay(letter)
    assert names_of(await taking) == ["mail 1"]


async def test_a_call_that_a_dead_process_has_not_begun_is_heard_of_by_another_one(
    cluster_ports: Ports, cluster: Spread
) -> None:
    transport = cluster_ports.rpc(waiting="bell")
    dead = await cluster_ports.serve(transport)
    calling = cluster_ports.run(transport.call(RpcMessage("auth", "x", {"a": 1}), SOON))
    await eventually_async(lambda: cluster.execute("LLEN", "auth:rpc_queue") == 1)
    mine = dead._mine  # type: ignore[attr-defined]
    cluster.execute("LMOVE", "auth:rpc_queue", mine, "LEFT", "RIGHT")
    await cluster_ports.abandon(dead)
    await cluster_ports.answer(transport)
    assert (await calling).result == {"a": 1}


async def test_a_group_that_is_gone_is_made_again(
    cluster_ports: Ports, cluster: Spread, caplog: pytest.LogCaptureFixture
) -> None:
    transport = cluster_ports.events(waiting="bell", consumption_restart_delay=0.05)
    consumer = await cluster_ports.listen(transport, ALL)
    await fire(transport, "auth 1", "shop 1")
    for delivery in await soon(consumer, 2):
        delivery.ack()
    cluster.execute("XGROUP", "DESTROY", "shop.*:stream", "shop-on_user")
    taking = cluster_ports.run(soon(consumer, 2))
    await fire(transport, "auth 2", "shop 2")
    assert names_of(await taking) == ["auth 2", "shop 2"]
    assert sum("is gone from Redis" in record.getMessage() for record in caplog.records) == 1


async def test_a_stream_that_can_not_be_read_keeps_no_other_from_being_read(
    cluster_ports: Ports, cluster: Spread
) -> None:
    transport = cluster_ports.events(waiting="bell", consumption_restart_delay=0.05)
    consumer = await cluster_ports.listen(transport, ALL)
    cluster.execute("DEL", "shop.*:stream")
    cluster.execute("SET", "shop.*:stream", "no stream")
    cluster.execute("SPUBLISH", "{shop.*:stream}:bell", "")
    taking = cluster_ports.run(soon(consumer, 1))
    await eventually_async(lambda: "WRONGTYPE" in consumer.trouble)
    await fire(transport, "auth 1")
    assert names_of(await taking) == ["auth 1"]
    cluster.execute("DEL", "shop.*:stream")
    taking = cluster_ports.run(soon(consumer, 1))
    await fire(transport, "shop 1")
    assert names_of(await taking) == ["shop 1"]
    assert consumer.trouble == ""


async def test_stopping_ends_a_wait_at_once_and_closing_leaves_no_bell(
    cluster_ports: Ports, cluster: Spread
) -> None:
    events, rpc = cluster_ports.events(waiting="bell"), cluster_ports.rpc(waiting="bell")
    consumer, serving = await cluster_ports.listen(events, ALL), await cluster_ports.serve(rpc)
    waits = [cluster_ports.run(consumer.take(10)), cluster_ports.run(serving.take(10))]
    await until_heard(cluster, len(APIS) + 1)
    async with asyncio.timeout(SOON):
        for each in (consumer, serving):
            await each.stop()
        assert [list(await each) for each in waits] == [[], []]
        for closing in (consumer, serving):
            await closing.close()
    await until_heard(cluster, 0)
    await fire(events, "auth 1")
    assert cluster.execute("XPENDING", "auth.*:stream", "shop-on_user")[0] == 0


async def test_one_who_follows_all_streams_sees_what_is_rung_for(
    cluster_ports: Ports, cluster: Spread
) -> None:
    transport = cluster_ports.events(waiting="bell")
    await fire(transport, *(f"{api} 0" for api in APIS))
    seen: list[str] = []

    async def follow() -> None:
        async for message in transport.follow(since=0.0):
            seen.append(message.kwargs["name"])

    cluster_ports.run(follow())
    await eventually_async(lambda: len(seen) == len(APIS))
    await until_heard(cluster)
    await fire(transport, *(f"{api} 1" for api in APIS))
    await eventually_async(lambda: len(seen) == 2 * len(APIS))
    assert sorted(seen) == sorted(f"{api} {number}" for api in APIS for number in range(2))


@pytest.mark.parametrize("how", ["cancel", "raise"])
async def test_bells_are_heard_again_after_their_task_has_ended_unasked(
    cluster_ports: Ports, cluster: Spread, how: How, caplog: pytest.LogCaptureFixture
) -> None:
    sabotage = Sabotage("lightbus redis bells", how)
    transport = cluster_ports.events(waiting="bell")
    consumer = await cluster_ports.listen(transport, ALL)
    await eventually_async(lambda: sabotage.is_done)
    taking = cluster_ports.run(soon(consumer, len(APIS)))
    await until_heard(cluster)
    await fire(transport, *(f"{api} 1" for api in APIS))
    assert len(await taking) == len(APIS)
    assert "the task 'lightbus redis bells' ended unasked" in caplog.text


@pytest.fixture
def without_bells(start_server: StartServer) -> Iterator[Ports]:
    """A cluster of one node that has no bells, as before version 7."""
    renamed = [
        word for name in ("SSUBSCRIBE", "SPUBLISH") for word in ("--rename-command", name, f"NO-{name}")
    ]
    server = start_server(args=("--cluster-enabled", "yes", *renamed))
    server.execute("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
    ports = Ports(server)
    ports.url = f"redis+cluster://127.0.0.1:{server.port}"
    yield ports


async def test_where_a_node_has_no_bells_each_slot_has_its_connection(
    without_bells: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    ports = without_bells
    rpc, events = ports.rpc(waiting="bell"), ports.events(waiting="bell")
    await ports.answer(rpc)
    consumer = await ports.listen(events, ALL)
    taking = ports.run(take(consumer, len(APIS), 100))
    for _ in range(2):
        assert (await rpc.call(RpcMessage("auth", "x", {"a": 1}), SOON)).result == {"a": 1}
    await fire(events, *(f"{api} 1" for api in APIS))
    assert len(await taking) == len(APIS)
    told = [record for record in caplog.records if "has no SSUBSCRIBE" in record.getMessage()]
    assert [record.levelno for record in told] == [logging.WARNING]
    with pytest.raises(NoWorker):
        await rpc.call(RpcMessage("nobody", "x"), SOON)


async def test_a_user_who_may_not_hear_bells_is_asked_for_that_and_looks_as_often_as_it_would_wait(
    cluster_ports: Ports, cluster: Spread
) -> None:
    cluster.execute("ACL", "SETUSER", "mute", "on", "nopass", "~*", "+@all", "resetchannels")
    try:
        transport = cluster_ports.events(waiting="bell", username="mute", password=Secret("any"))
        consumer = await cluster_ports.listen(transport, ALL)
        taking = cluster_ports.run(soon(consumer, len(APIS)))
        await fire(transport, *(f"{api} 1" for api in APIS))
        assert len(await taking) == len(APIS)
        await eventually_async(lambda: "may not use SPUBLISH" in " ".join(transport.obstacles))
        cluster.execute("ACL", "SETUSER", "mute", "allchannels")
        await until_heard(cluster)
    finally:
        cluster.execute("ACL", "DELUSER", "mute")
