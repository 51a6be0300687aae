"""Calls over a cluster, each by a script: at nodes that do not know it, while its slot moves, and alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from lightbus.messages import RpcMessage
from lightbus.options import SecretUrl
from lightbus.transports.redis.keys import bell_key, queue_key
from lightbus.transports.redis.link.cluster.pipe import ClusterPipe
from lightbus.transports.redis.link.connection import Wire
from lightbus.transports.redis.options import RedisRpcOptions
from lightbus.transports.redis.rpc.transport import RedisRpcTransport
from lightbus.transports.redis.scripts import Run
from lightbus.transports.rpc import RpcTransport
from tests.support.cluster import RedisCluster
from tests.support.node import slot_of
from tests.transports.conftest import WAITING, Ports

from .fake import FakeCluster, on_fakes

APIS = [f"api{number}" for number in range(6)]


class Calls:
    """Calls to some APIs, and how often each was run.

    Args:
        transport: Sends them.
    """

    def __init__(self, transport: RpcTransport) -> None:
        self._transport = transport
        self.ran: Counter[int] = Counter()
        self._number = 0

    def run(self, call: RpcMessage) -> int:
        number: int = call.kwargs["number"]
        self.ran[number] += 1
        return number

    async def one(self, api: str) -> None:
        self._number = number = self._number + 1
        result = await self._transport.call(RpcMessage(api, "count", {"number": number}), 30)
        assert (result.result, self.ran[number]) == (number, 1), result

    async def many(self, count: int, apis: Iterable[str] = APIS) -> None:
        names = list(apis)
        await asyncio.gather(*(self.one(names[number % len(names)]) for number in range(count)))


@pytest.fixture
def ports() -> Ports:
    """Closes what a test has opened."""
    return Ports(None)


async def calls_on(cluster: RedisCluster, ports: Ports) -> Calls:
    """Serve all APIs, and return what calls them."""
    options = RedisRpcOptions(url=SecretUrl(cluster.url), waiting=WAITING)
    serving, calling = ports._keep(RedisRpcTransport(options)), ports._keep(RedisRpcTransport(options))
    calls = Calls(calling)
    for api in APIS:
        await ports.answer(serving, calls.run, api)
    return calls


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each script was sent by its text."""
    counts: Counter[str] = Counter()
    by_text = Run.by_text

    def counted(self: Run) -> tuple[Any, ...]:
        counts[self.script.name] += 1
        return by_text(self)

    monkeypatch.setattr(Run, "by_text", counted)
    return counts


async def test_nodes_that_have_forgotten_their_scripts_get_them_once_and_run_each_call_once(
    redis_cluster: RedisCluster, ports: Ports, texts: Counter[str]
) -> None:
    calls = await calls_on(redis_cluster, ports)
    for _ in range(2):
        forget(redis_cluster)
        texts.clear()
        for api in APIS:
            await calls.one(api)
        assert texts["call"] == len({redis_cluster.owner(queue_key(api)) for api in APIS})
        await calls.many(60)
        assert texts["call"] == len({redis_cluster.owner(queue_key(api)) for api in APIS})
    # Forgotten while calls are under way.
    under_way = asyncio.ensure_future(calls.many(200))
    while not under_way.done():
        forget(redis_cluster)
        await asyncio.sleep(0.01)
    await under_way


def forget(cluster: RedisCluster) -> None:
    for node in cluster.primaries():
        node.execute("SCRIPT", "FLUSH")


async def test_calls_follow_their_slot_to_a_node_that_does_not_know_the_script(
    redis_cluster: RedisCluster, ports: Ports, texts: Counter[str]
) -> None:
    calls = await calls_on(redis_cluster, ports)
    await calls.many(len(APIS))
    api, slot = APIS[0], slot_of(queue_key(APIS[0]))
    for _ in range(2):
        to = redis_cluster.others(redis_cluster.owner(slot))[0]
        to.execute("SCRIPT", "FLUSH")
        heard = texts["call"]
        with redis_cluster.moving(slot, to):
            # Neither node does them now: keys that are new to a slot on its way, they refuse together.
            waiting = [asyncio.ensure_future(calls.one(api)) for _ in range(20)]
            await calls.many(20, APIS[1:])
        await asyncio.gather(*waiting)
        await calls.many(20)
        assert redis_cluster.owner(slot) is to and texts["call"] > heard


@on_fakes
async def test_what_goes_one_at_a_time_is_written_at_once_with_its_bell(
    pipe: ClusterPipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pipe.open()
    written, write = list[bytes](), Wire.write

    def noted(self: Wire, packed: bytes) -> None:
        written.append(packed)
        write(self, packed)

    monkeypatch.setattr(Wire, "write", noted)
    for number in range(3):
        posted = pipe.post("XADD", "key", "*", "n", number)
        await posted
    alone = pipe.post("XADD", "key", "*", "n", 4)
    assert len(written) == 4, "nothing was awaited"
    assert all(packed.count(b"SPUBLISH") == 1 for packed in written)
    await asyncio.gather(alone, pipe.post("XADD", "key", "*", "n", 5), pipe.post("XADD", "key", "*", "n", 6))
    assert len(written) == 5
    # After several at a time, others may come with the next ones, until two in a row have come alone.
    for number in range(2):
        late = pipe.post("XADD", "key", "*", "n", number)
        assert len(written) == 5 + number
        await late
    at_once = pipe.post("XADD", "key", "*", "n", 7)
    assert len(written) == 8
    await at_once


@pytest.mark.parametrize("command", ["EVAL", "EVALSHA"])
@on_fakes
async def test_a_script_goes_to_the_slot_of_its_first_key_and_rings_there(
    cluster: FakeCluster, pipe: ClusterPipe, command: str
) -> None:
    await pipe.open()
    await asyncio.gather(
        pipe.store(command, "text or digest", 1, "key", 5), pipe.post(command, "text or digest", 1, "key", 5)
    )
    rung = {heard[1] for heard in cluster.a.heard if heard[0] == b"SPUBLISH"}
    assert rung == {bell_key("key").encode()}
