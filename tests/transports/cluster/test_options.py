"""How a cluster is named, by options or by a URL, and what is told where it is not there."""

from __future__ import annotations

from typing import Any

import pytest

from lightbus.exceptions import ConfigurationError, TransportUnavailable
from lightbus.options import SecretUrl
from lightbus.transports.redis.link.cluster.primaries import connectors
from lightbus.transports.redis.link.connection import Connector
from lightbus.transports.redis.options import (
    BusRedisOptions,
    ClusterOptions,
    HostPort,
    RedisOptions,
    SentinelOptions,
)
from lightbus.transports.redis.url import at_node, nodes_of, place_of, url_problem
from tests.support.servers import Server, free_port


def cluster(*nodes: str) -> ClusterOptions:
    return ClusterOptions(nodes=tuple(map(HostPort, nodes)))


@pytest.mark.parametrize(
    ("url", "nodes"),
    [
        ("redis+cluster://c1:7000,c2:7001", ("c1:7000", "c2:7001")),
        ("redis+cluster://c1,c2:7001/", ("c1:6379", "c2:7001")),
        (
            "rediss+cluster://user:a,b@c1:1,[::1]:2,[::1]/0?ssl_cert_reqs=none",
            ("c1:1", "[::1]:2", "[::1]:6379"),
        ),
    ],
)
def test_the_url_of_a_cluster_names_nodes(url: str, nodes: tuple[str, ...]) -> None:
    assert url_problem(url) is None
    assert nodes_of(url) == nodes
    options = RedisOptions(url=SecretUrl(url))
    assert options.is_cluster
    assert options.seeds == nodes
    assert place_of(url) == options.address == f"cluster ({', '.join(nodes)})"


def test_each_node_gets_the_credentials_and_options_of_the_url() -> None:
    url = "rediss+cluster://user:a%40b@c1,c2/0?ssl_cert_reqs=none"
    assert at_node(url, "c3:7000") == "rediss://user:a%40b@c3:7000/0?ssl_cert_reqs=none"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis+cluster://c1/3", "a cluster has no database but 0"),
        ("redis+cluster://c1,,c2", "names no host"),
        ("redis+cluster://", "names no host"),
        ("redis+cluster://c1,c2:http", "the port after 'c2' is no number"),
        ("redis+cluster://c1?timeout=5", "no options after a ? but db"),
        ("redis+cluster://:s3cret/x@c1", "an @ after a / or ?"),
        ("unix+cluster:///r.sock", "but with unix+cluster://"),
    ],
)
def test_a_url_of_a_cluster_that_can_not_be_read_is_refused(url: str, told: str) -> None:
    problem = url_problem(url)
    assert problem is not None and told in problem
    assert "s3cret" not in problem


@pytest.mark.parametrize(
    "options",
    [
        {"cluster": cluster("a:1"), "url": SecretUrl("redis://b:1/0")},
        {"cluster": cluster("a:1"), "sentinel": SentinelOptions(service="m", nodes=(HostPort("b:1"),))},
        {"cluster": cluster()},
    ],
)
def test_code_that_contradicts_itself_is_refused_too(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="of Redis can't be used"):
        Connector(RedisOptions(**options))


def test_options_know_whether_they_mean_a_cluster() -> None:
    assert not BusRedisOptions().is_cluster
    assert BusRedisOptions(cluster=cluster("a:1", "b:2")).seeds == ("a:1", "b:2")
    assert RedisOptions(cluster=cluster("a:1", "b:2")).address == "cluster (a:1, b:2)"


async def test_the_nodes_are_asked_one_after_the_other_for_the_primaries(cluster_node: Server) -> None:
    place = f"127.0.0.1:{cluster_node.port}"
    for options in (
        RedisOptions(cluster=cluster(f"127.0.0.1:{free_port()}", place)),
        RedisOptions(url=SecretUrl(f"redis+cluster://127.0.0.1:{free_port()},{place}")),
    ):
        assert [each.address for each in await connectors(options)] == [place]
        wire = await Connector(options).connect()
        await wire.close()


async def test_a_cluster_of_which_no_node_answers_is_said_with_the_key_to_look_at() -> None:
    node = f"127.0.0.1:{free_port()}"
    for options, key in (
        (RedisOptions(cluster=cluster(node)), "bus.redis.cluster.nodes"),
        (RedisOptions(url=SecretUrl(f"redis+cluster://{node}")), "bus.redis.url"),
    ):
        with pytest.raises(TransportUnavailable, match=f"Redis at {node} can't be reached.*{key}"):
            await connectors(options)


async def test_a_redis_that_is_no_cluster_is_said_with_the_remedy(redis_server: Server) -> None:
    options = RedisOptions(cluster=cluster(f"127.0.0.1:{redis_server.port}"))
    with pytest.raises(
        TransportUnavailable, match=r"is no cluster; give its URL, redis://\.\.\., as bus\.redis\.url"
    ):
        await connectors(options)
