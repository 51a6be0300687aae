"""Nodes that are not of the cluster: they get neither the password nor what belongs to it."""

from __future__ import annotations

import asyncio

from lightbus.transports.redis.link.cluster.pipe import ClusterPipe
from lightbus.transports.redis.link.connection import LinkBroken
from tests.support.eventually import eventually_async

from .fake import FakeCluster, FakeNode, FakeView, on_fakes
from .test_redirects import SLOT, done

DOWN = b"-CLUSTERDOWN The cluster is down\r\n"


async def done_by(pipe: ClusterPipe, n: int) -> object:
    """Send a command that nodes refuse until somebody does it."""
    while True:
        try:
            return await pipe.send("SET", "key", n)
        except LinkBroken:
            pass  # It was on its way to a node when that turned out to be replaced, and refused there.


@on_fakes
async def test_a_node_that_the_cluster_does_not_name_is_not_even_connected_to(
    cluster: FakeCluster, pipe: ClusterPipe
) -> None:
    await pipe.open()
    cluster.a.script.append(cluster.moved(SLOT, cluster.c))
    assert await pipe.send("SET", "key", 1) == b"done by a"
    cluster.a.script.append(cluster.ask(SLOT, cluster.c))
    link = pipe.link("key", lambda refusal: None)
    assert await link.exchange([("GET", "key")], 5) == [b"done by a"]
    await link.close()
    assert cluster.c.connections == 0
    # As soon as it does, it is.
    cluster.a.script.extend([cluster.moved(SLOT, cluster.c)] * 1000)
    cluster.view = FakeView(cluster.c, list(cluster), 2)

    async def is_done_by_c() -> bool:
        try:
            return bool(await pipe.send("SET", "key", 1) == b"done by c")
        except LinkBroken:  # It was on its way to A when A turned out to be replaced.
            return False

    await eventually_async(is_done_by_c)


@on_fakes
async def test_a_node_that_has_gone_over_to_another_cluster_is_not_followed_there(
    cluster: FakeCluster, pipe: ClusterPipe
) -> None:
    cluster.view = FakeView(cluster.c, list(cluster), 1)
    assert await pipe.send("SET", "key", 1) == b"done by c"
    stranger = FakeNode("x", cluster)
    stranger.port = cluster.b.port
    cluster.c.script.extend([DOWN] * 5000)
    cluster.c.view = FakeView(stranger, [stranger], 9)
    cluster.view = FakeView(cluster.a, [cluster.a, cluster.b], 2)
    async with asyncio.timeout(60):
        assert await done_by(pipe, 2) == b"done by a"
    # The nodes in the options say which cluster is meant.
    cluster.a.script.extend([DOWN] * 5000)
    cluster.view = cluster.c.view
    async with asyncio.timeout(60):
        assert await done_by(pipe, 3) == b"done by b"
    assert done(cluster) == [b"2", b"3"] and cluster.c.done[-1][-1] == b"1"
