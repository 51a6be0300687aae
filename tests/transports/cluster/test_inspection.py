"""What `check` and `doctor` say of a cluster: of each primary, and of all together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from lightbus.options import Duration
from lightbus.transports.port import Finding
from lightbus.transports.redis.inspection.asking import inspect
from lightbus.transports.redis.inspection.server import describe
from lightbus.transports.redis.link.permissions import Key, Need
from lightbus.transports.redis.options import ClusterOptions, HostPort, RedisOptions
from tests.conftest import StartCluster
from tests.support.cluster import RedisCluster
from tests.support.servers import Server

#: Seconds for each node to answer, of which none here is silent.
PATIENCE = 30.0


def findings(
    *nodes: str,
    keys: Mapping[str, str] | None = None,
    needs: Sequence[Need] = (),
    replicas: int = 0,
) -> list[Finding]:
    options = RedisOptions(
        cluster=ClusterOptions(nodes=tuple(map(HostPort, nodes))), connect_timeout=Duration(PATIENCE)
    )
    return asyncio.run(inspect(options, keys or {}, needs, replicas))


def sentences(*nodes: str, replicas: int = 0) -> list[str]:
    return [finding.what for finding in findings(*nodes, replicas=replicas)]


def test_what_each_primary_lacks_is_said_once_with_the_names_of_all(redis_cluster: RedisCluster) -> None:
    (told,) = sentences(redis_cluster.nodes[0].address)
    named = [primary.address for primary in redis_cluster.primaries()]
    assert told.startswith("each primary of the cluster (") and all(name in told for name in named)
    assert "writes nothing to disk: if it restarts before a replica is promoted, it comes back empty" in told


def test_what_one_primary_lacks_is_said_of_that_one(redis_cluster: RedisCluster) -> None:
    odd = redis_cluster.primaries()[1]
    odd.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        (told,) = [each for each in sentences(odd.address) if "maxmemory-policy" in each]
    finally:
        odd.execute("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert told.startswith(f"Redis at {odd.address} has maxmemory-policy allkeys-lru")


def test_more_replicas_waited_for_than_there_are_is_an_error_of_each_primary(
    redis_cluster: RedisCluster,
) -> None:
    def lacking(replicas: int) -> list[Finding]:
        found = findings(redis_cluster.nodes[0].address, replicas=replicas)
        return [each for each in found if "replicas_before_confirmed" in each.what]

    assert lacking(1) == []
    told = lacking(2)
    assert len(told) == 3 and {each.severity for each in told} == {"error"}
    assert "has 1 of the 2 replicas that events wait for" in told[0].what


def test_a_key_of_another_type_is_found_wherever_it_lies(redis_cluster: RedisCluster) -> None:
    for name in ("a", "b", "c", "d"):
        redis_cluster.execute(f"{name}:rpc_queue", "SET", f"{name}:rpc_queue", "x")
    keys = {f"{name}:rpc_queue": "list" for name in ("a", "b", "c", "d", "e")}
    found = findings(redis_cluster.nodes[0].address, keys=keys)
    told = [each.what for each in found if "holds a string at" in each.what]
    assert sorted(what.split(" at ")[2][:1] for what in told) == ["a", "b", "c", "d"]


def test_a_permission_that_one_node_lacks_is_told(redis_cluster: RedisCluster) -> None:
    odd = redis_cluster.primaries()[2]
    odd.execute("ACL", "SETUSER", "default", "-xadd")
    try:
        need = Need(("XADD", Key("a.*:stream"), "*", "x", "y"), "fire events of a")
        found = findings(odd.address, needs=[need])
    finally:
        odd.execute("ACL", "SETUSER", "default", "+xadd")
    (told,) = [each.what for each in found if each.topic == "permission"]
    assert "XADD" in told and odd.address in told


def test_what_is_missing_in_a_cluster_is_told_and_the_rest_is_looked_at(start_cluster: StartCluster) -> None:
    cluster = start_cluster(primaries=2, replicas=0, aof=True)
    first, second = cluster.nodes
    (alone,) = findings(first.address)
    assert "has no replica in step with it" in alone.what and alone.severity == "warning"
    first.execute("CLUSTER", "DELSLOTSRANGE", 100, 199, 300, 300)
    uncovered, *_ = findings(first.address)
    assert uncovered.what.startswith("no primary of the cluster has the slots 100-199, 300 (101 of 16,384)")
    assert (uncovered.severity, uncovered.topic) == ("error", "away")
    cluster.kill(
        second
    )  # One that refuses: whatever is silent needs a patience that is short for the other, too.
    away, *others = findings(first.address)
    assert (away.severity, away.topic) == ("error", "away") and second.address in away.what
    assert any(first.address in each.what and "no replica" in each.what for each in others)


def test_a_server_that_belongs_to_no_cluster_says_so(redis_server: Server) -> None:
    (told,) = findings(f"127.0.0.1:{redis_server.port}")
    assert "is no cluster; give its URL, redis://..., as bus.redis.url" in told.what and told.fatal


def test_a_cluster_is_described_by_its_primaries(redis_cluster: RedisCluster) -> None:
    answers = [(node.address, node.execute("INFO")) for node in redis_cluster.primaries()]
    told = describe(answers)
    assert told.startswith(f"a cluster of 3 primaries: {answers[0][0]}: Valkey 9.")
    assert told.count("of memory used") == 3
    assert describe(answers[:1]).startswith(f"{answers[0][0]}: Valkey")
