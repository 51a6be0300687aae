"""What a node of a cluster may say in place of an answer, in each place, and that nothing is done twice."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from lightbus.exceptions import BusAlreadyClosed, TransportUnavailable
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.transports.redis.link.cluster import redirects
from lightbus.transports.redis.link.cluster.pipe import ClusterPipe
from lightbus.transports.redis.link.cluster.slots import SLOTS, slot_of_key
from lightbus.transports.redis.link.connection import LinkBroken
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.rpc.replies import Waiting
from lightbus.transports.redis.scripts import ENLIST
from tests.support.eventually import eventually_async
from tests.support.sabotage import How, Sabotage

from .fake import FakeCluster, FakeView, on_fakes

SLOT = slot_of_key("key")
#: What a node says that has not done it, or will do it a little later.
LATER = {
    "TRYAGAIN": b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
    "CLUSTERDOWN": b"-CLUSTERDOWN Hash slot not served\r\n",
    "READONLY": b"-READONLY You can't write against a read only replica.\r\n",
    "MASTERDOWN": b"-MASTERDOWN Link with MASTER is down\r\n",
    "LOADING": b"-LOADING Redis is loading the dataset in memory\r\n",
}
KINDS = ("MOVED", "ASK", *LATER)
OK = b"+done by a\r\n"


def refusal(cluster: FakeCluster, kind: str) -> bytes:
    """What A says; after it, B has the slots where that is what it says."""
    if kind == "MOVED":
        cluster.view = FakeView(cluster.b, [cluster.a, cluster.b], 2)
        return cluster.moved(SLOT, cluster.b)
    return cluster.ask(SLOT, cluster.b) if kind == "ASK" else LATER[kind]


def call_that_tells(told: list[Any]) -> Waiting:
    """A call, which notes what it is told of the replies to what was sent for it."""
    answer: asyncio.Future[ResultMessage] = asyncio.get_running_loop().create_future()
    message = RpcMessage("auth", "login", {})
    return Waiting(message, b"", answer, 0.0, lambda _, replies, error: told.append(error or replies))


def done(cluster: FakeCluster) -> list[bytes]:
    """The last word of each command that was done, by whomever."""
    return [command[-1] for node in (cluster.a, cluster.b) for command in node.done]


@pytest.mark.parametrize("kind", KINDS)
class TestARefusal:
    @on_fakes
    async def test_of_a_single_command(self, cluster: FakeCluster, pipe: ClusterPipe, kind: str) -> None:
        await pipe.open()
        cluster.a.script.append(refusal(cluster, kind))
        async with asyncio.timeout(60):
            answer = await pipe.send("SET", "key", 1)
        assert answer == (b"done by b" if kind in ("MOVED", "ASK") else b"done by a")
        assert done(cluster) == [b"1"]
        assert ((b"ASKING",) in cluster.b.heard) is (kind == "ASK")

    @pytest.mark.parametrize("refused", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
    @on_fakes
    async def test_in_each_place_of_a_list(
        self, cluster: FakeCluster, pipe: ClusterPipe, kind: str, refused: tuple[int, ...]
    ) -> None:
        await pipe.open()
        said = refusal(cluster, kind)
        cluster.a.script.extend(said if place in refused else OK for place in range(3))
        async with asyncio.timeout(60):
            answers = await pipe.send_many([("SET", "key", n) for n in range(3)])
        elsewhere = b"done by b" if kind in ("MOVED", "ASK") else b"done by a"
        assert answers == [elsewhere if place in refused else b"done by a" for place in range(3)]
        # Each was done once, and what was sent again kept its order.
        assert sorted(done(cluster)) == [b"0", b"1", b"2"]
        again = done(cluster)[-len(refused) :]
        assert again == [str(place).encode() for place in refused]

    @on_fakes
    async def test_of_a_call(self, cluster: FakeCluster, pipe: ClusterPipe, kind: str) -> None:
        await pipe.open()
        cluster.a.script.append(refusal(cluster, kind))
        told: list[Any] = []
        pipe.send_for(call_that_tells(told), "key", ("RPUSH", "key", 1))
        await eventually_async(lambda: told)
        assert told == [[b"done by b" if kind in ("MOVED", "ASK") else b"done by a"]]
        # Done once, and whoever hears the bell of its slot then reads at a node that has it.
        await eventually_async(lambda: done(cluster).count(b"1") < len(done(cluster)))
        assert done(cluster).count(b"1") == 1
        assert pipe._redirects.substitutes == {}

    @on_fakes
    async def test_of_a_script(self, cluster: FakeCluster, pipe: ClusterPipe, kind: str) -> None:
        await pipe.open()
        cluster.a.script.append(refusal(cluster, kind))
        asked = cluster.b if kind in ("MOVED", "ASK") else cluster.a
        asked.script.append(b"-NOSCRIPT No matching script.\r\n")
        async with asyncio.timeout(60):
            await pipe.run(ENLIST(schemas="key", names=["x"]))
        assert done(cluster) == [b"x"]

    @on_fakes
    async def test_of_a_read_that_blocks(self, cluster: FakeCluster, pipe: ClusterPipe, kind: str) -> None:
        link = pipe.link("key", lambda refusal: None)
        await link.exchange([("PING",)], 5)
        cluster.a.script.extend([refusal(cluster, kind), OK])
        async with asyncio.timeout(60):
            answers = await link.exchange([("BRPOP", "key", "1"), ("RPOP", "key", "2")], 5)
        elsewhere = b"done by b" if kind in ("MOVED", "ASK") else b"done by a"
        assert answers == [elsewhere, b"done by a"]
        assert sorted(done(cluster)) == [b"1", b"2"]
        await link.close()


@pytest.mark.parametrize("kind", KINDS)
@on_fakes
async def test_replies_that_are_taken_as_they_come_have_no_refusal_among_them(
    cluster: FakeCluster, pipe: ClusterPipe, kind: str
) -> None:
    link, taken = pipe.link("key", lambda refusal: None), list[list[Any]]()
    await link.exchange([("PING",)], 5)
    commands = [("BRPOP", "key", "1"), ("RPOP", "key", "2")]
    assert [await link.exchange(commands, 5, taken.append)] == taken == [[b"done by a"] * 2]
    cluster.a.script.extend([OK, refusal(cluster, kind)])
    answers = await link.exchange(commands, 5, taken.append)
    assert (
        taken[1:] == [answers] == [[b"done by a", b"done by b" if kind in ("MOVED", "ASK") else b"done by a"]]
    )
    await link.close()


@pytest.mark.parametrize("said", ["UNBLOCKED the stream key no longer exists", "NOGROUP No such key"])
@on_fakes
async def test_a_blocked_reader_asks_the_new_owner_before_it_says_that_a_group_is_gone(
    cluster: FakeCluster, pipe: ClusterPipe, said: str
) -> None:
    read = ("XREADGROUP", "GROUP", "g", "c", "BLOCK", 10, "STREAMS", "key", ">")
    link = pipe.link("key", lambda refusal: None)
    await link.exchange([("PING",)], 5)
    cluster.a.script.append(f"-{said}\r\n".encode())
    cluster.view = FakeView(cluster.b, [cluster.a, cluster.b], 2)
    assert await link.exchange([read], 5) == [b"done by b"]
    # And where the owner says so, too, it is true.
    cluster.b.script.extend([b"-NOGROUP No such key\r\n"] * 2)
    (answer,) = await link.exchange([read], 5)
    assert isinstance(answer, ReplyError) and answer.code == "NOGROUP"
    await link.close()


@on_fakes
async def test_two_nodes_that_name_each_other_are_not_asked_in_circles(
    cluster: FakeCluster, pipe: ClusterPipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redirects, "PATIENCE", 0.5)
    await pipe.open()
    cluster.a.script.extend([cluster.moved(SLOT, cluster.b)] * 5000)
    cluster.b.script.extend([cluster.moved(SLOT, cluster.a)] * 5000)
    sent = pipe.send("SET", "key", 1)
    with pytest.raises(ReplyError, match="MOVED"):
        await sent
    heard = len(cluster.a.heard) + len(cluster.b.heard)
    assert heard < 400
    assert done(cluster) == []


@on_fakes
async def test_the_topology_is_asked_for_at_most_ten_times_a_second(
    cluster: FakeCluster, pipe: ClusterPipe
) -> None:
    await pipe.open()
    loop = asyncio.get_running_loop()
    begun, before = loop.time(), cluster.a.asked_who() + cluster.b.asked_who()
    while True:
        cluster.a.script.extend([LATER["CLUSTERDOWN"]] * 20)
        await asyncio.gather(*(pipe.send("SET", "key", n) for n in range(20)))
        if loop.time() >= begun + 0.5:
            break
    asked = cluster.a.asked_who() + cluster.b.asked_who() - before
    assert 1 <= asked <= (loop.time() - begun) * 10 + 2


@on_fakes
async def test_what_waits_to_be_sent_again_is_unsent_and_can_be_taken_back(
    cluster: FakeCluster, pipe: ClusterPipe
) -> None:
    await pipe.open()
    cluster.a.script.extend([LATER["CLUSTERDOWN"]] * 1000)
    sent = pipe.send("SET", "key", 1)
    await eventually_async(lambda: pipe.is_unsent(sent))
    assert sent in pipe.unsent()
    sent.cancel()
    cluster.a.script.clear()
    assert await pipe.send("SET", "key", 2) == b"done by a"
    assert done(cluster) == [b"2"]


@on_fakes
async def test_a_call_that_waits_for_the_node_its_slot_moves_to_can_be_taken_back(
    cluster: FakeCluster, pipe: ClusterPipe
) -> None:
    await pipe.open()
    cluster.b.is_silent = True  # So nobody is connected to it.
    cluster.a.script.append(cluster.ask(SLOT, cluster.b))
    told: list[Any] = []
    call = call_that_tells(told)
    pipe.send_for(call, "key", ("RPUSH", "key", 1))
    await eventually_async(lambda: pipe._redirects.substitutes)
    assert pipe.is_unsent(call) and call in pipe.unsent()
    assert call.cancel()
    assert not pipe.is_unsent(call) and pipe._redirects.substitutes == {}
    cluster.b.is_silent = False
    cluster.b.break_off()
    # Until it is connected to again, the other one may be asked more than once.
    cluster.a.script.extend([cluster.ask(SLOT, cluster.b)] * 1000)
    assert await pipe.send("RPUSH", "key", 2) == b"done by b"
    assert (told, done(cluster).count(b"1")) == ([], 0)


@on_fakes
async def test_a_list_of_several_slots_has_its_answers_in_order(pipe: ClusterPipe) -> None:
    commands = [("GET", f"key{n}") for n in range(5)]
    assert await pipe.send_many(commands) == [b"done by a"] * 5
    assert await pipe.send_many([]) == []


@on_fakes
async def test_a_command_without_a_key_goes_where_its_neighbour_goes(
    cluster: FakeCluster, pipe: ClusterPipe
) -> None:
    await pipe.open()
    nodes = pipe._nodes
    pipe._owners[SLOT] = nodes.at(cluster.b.address)
    assert await pipe.send_many([("TIME",), ("GET", "key"), ("TIME",)]) == [b"done by b"] * 3
    assert await pipe.send_many([("TIME",), ("GET", "key"), ("GET", "other"), ("TIME",)]) == [
        *(b"done by b", b"done by b", b"done by a", b"done by a")
    ]


@on_fakes
async def test_slots_that_nobody_has_are_named_and_their_commands_wait(
    cluster: FakeCluster, pipe: ClusterPipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.view = FakeView(cluster.a, [cluster.a, cluster.b], 1, last=SLOT - 1)
    await pipe.open()
    sent = pipe.send("SET", "key", 1)
    await eventually_async(lambda: pipe.is_unsent(sent))
    assert f"the slots {SLOT}-{SLOTS - 1} of the cluster" in str(pipe.failure)
    cluster.view = FakeView(cluster.a, [cluster.a, cluster.b], 1)
    assert await sent == b"done by a"
    assert pipe.failure is None
    # Those for which nobody waits with a deadline fail in the end.
    monkeypatch.setattr("lightbus.transports.redis.link.cluster.pipe.PATIENCE", 0.3)
    cluster.view = FakeView(cluster.a, [cluster.a, cluster.b], 1, last=SLOT - 1)
    await pipe._nodes.look()
    with pytest.raises(TransportUnavailable, match=f"the slots {SLOT}-{SLOTS - 1} of the cluster"):
        await pipe.send("SET", "key", 1)


@on_fakes
async def test_what_is_refused_while_the_bus_closes_ends_with_it(
    cluster: FakeCluster, pipe: ClusterPipe, caplog: pytest.LogCaptureFixture
) -> None:
    await pipe.open()
    cluster.a.script.extend([LATER["TRYAGAIN"]] * 1000)
    sent = [pipe.send("SET", "key", n) for n in range(5)]
    asked = pipe.send("GET", "key")
    await asyncio.sleep(0.02)
    await pipe.close()
    for future in (*sent, asked):
        with pytest.raises(BusAlreadyClosed):
            await future
    with pytest.raises(BusAlreadyClosed):
        pipe.send("GET", "key")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


class TestAPrimaryThatIsReplaced:
    @on_fakes
    async def test_is_found_by_its_silence_and_its_answers_count_no_more(
        self, cluster: FakeCluster, pipe: ClusterPipe
    ) -> None:
        await pipe.open()
        link = pipe.link("key", lambda refusal: None)
        await link.exchange([("GET", "key")], 5)
        began = asyncio.get_running_loop().time()
        cluster.a.is_silent = True
        written = pipe.send("SET", "key", 1)
        reading = asyncio.ensure_future(link.exchange([("BRPOP", "key", 2)], 30))
        await asyncio.sleep(0)
        cluster.view = FakeView(cluster.b, [cluster.a, cluster.b], 2)
        async with asyncio.timeout(60):
            # Its silence, which counts as a broken connection later, would be told in other words.
            with pytest.raises(LinkBroken, match="no primary of its cluster any more"):
                await written
            with pytest.raises(LinkBroken):
                await reading
        assert await pipe.send("SET", "key", 2) == b"done by b"
        assert await link.exchange([("BRPOP", "key", 2)], 5) == [b"done by b"]
        said = pipe.outage_since(began)
        assert re.match(f"Redis at {cluster.a.address} was away for [0-9.]+ s until", said)
        await link.close()
        # A second later that explains nothing any more, although its connection was closed meanwhile.
        assert pipe.outage_since(asyncio.get_running_loop().time() + 2) == ""

    @on_fakes
    async def test_is_not_believed_when_it_takes_itself_for_what_it_was(
        self, cluster: FakeCluster, pipe: ClusterPipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cluster.a.view = cluster.view
        cluster.view = FakeView(cluster.b, [cluster.a, cluster.b], 2)
        while pipe._nodes.topology is None or pipe._nodes.topology.primaries() != [cluster.b.address]:
            await pipe.primaries()
            await pipe._nodes.look()
        monkeypatch.setattr(pipe._nodes, "_candidates", lambda: [cluster.a.address, cluster.b.address])
        before = cluster.a.asked_who()
        for _ in range(3):
            await pipe._nodes.look()
            assert await pipe.send("SET", "key", 1) == b"done by b"
        assert cluster.a.asked_who() > before

    @on_fakes
    async def test_gives_what_was_not_yet_written_to_its_successor(
        self, cluster: FakeCluster, pipe: ClusterPipe
    ) -> None:
        await pipe.open()
        node = pipe._nodes.at(cluster.a.address)
        assert node is not None
        cluster.a.is_silent = True
        cluster.a.break_off()
        await eventually_async(lambda: not node.is_connected)
        unwritten = pipe.send("SET", "key", 1)
        assert pipe.is_unsent(unwritten)
        cluster.view = FakeView(cluster.b, [cluster.a, cluster.b], 2)
        assert await unwritten == b"done by b"


@on_fakes
async def test_a_cluster_that_never_answered_is_said_at_once(cluster: FakeCluster, pipe: ClusterPipe) -> None:
    for node in cluster:
        node.is_silent = True
    with pytest.raises(TransportUnavailable, match="Redis at 127"):
        await pipe.send("SET", "key", 1)
    with pytest.raises(TransportUnavailable, match="Redis at 127"):
        await pipe.open()


@pytest.mark.parametrize("how", ["cancel", "raise"])
@on_fakes
async def test_a_look_at_the_topology_that_ends_unasked_is_told_and_made_again(
    cluster: FakeCluster, pipe: ClusterPipe, how: How, caplog: pytest.LogCaptureFixture
) -> None:
    sabotage = Sabotage("lightbus redis topology", how)
    async with asyncio.timeout(60):
        assert await pipe.send("SET", "key", 1) == b"done by a"
    assert sabotage.is_done
    (told,) = (r.getMessage() for r in caplog.records if "ended unasked" in r.getMessage())
    assert told.startswith("the task 'lightbus redis topology' ended unasked: ")
