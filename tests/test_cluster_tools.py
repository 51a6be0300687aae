"""The tests' own Redis Cluster: what it starts as, what goes wrong in it, and that it says so truly."""

from __future__ import annotations

import pytest

from tests.conftest import StartCluster
from tests.support.cluster import RedisCluster
from tests.support.eventually import eventually
from tests.support.node import Node, slot_of


def refusal(node: Node, *command: str | int) -> str:
    with pytest.raises(Exception) as raised:
        node.execute(*command)
    return str(raised.value)


def test_each_primary_has_a_third_of_the_slots_and_a_replica_in_step(redis_cluster: RedisCluster) -> None:
    primaries = redis_cluster.primaries()
    assert len(primaries) == 3
    for primary in primaries:
        (replica,) = redis_cluster.replicas(primary)
        assert replica.told("replication")["master_link_status"] == "up"
    assert {redis_cluster.owner(slot).id for slot in (0, 8_000, 16_383)} == {each.id for each in primaries}


def test_a_key_goes_to_its_owner_and_the_others_say_who_that_is(redis_cluster: RedisCluster) -> None:
    redis_cluster.execute("auth.*:stream", "SET", "auth.*:stream", "x")
    owner = redis_cluster.owner("auth.*:stream")
    assert owner.execute("GET", "auth.*:stream") == b"x"
    other, *_ = redis_cluster.others(owner)
    assert refusal(other, "GET", "auth.*:stream") == f"MOVED {slot_of('auth.*:stream')} {owner.address}"


def test_it_is_empty_whatever_the_last_test_did(redis_cluster: RedisCluster) -> None:
    redis_cluster.execute("left", "SET", "left", "over")
    redis_cluster.clean()
    assert redis_cluster.execute("left", "EXISTS", "left") == 0


def test_a_replica_takes_over_when_it_is_asked(redis_cluster: RedisCluster) -> None:
    primary = redis_cluster.owner("key")
    (replica,) = redis_cluster.replicas(primary)
    redis_cluster.fail_over(primary)
    assert redis_cluster.owner("key") is replica
    redis_cluster.wait_until_whole()
    assert redis_cluster.replicas(replica) == [primary]


def test_a_slot_on_its_way_has_two_homes_until_it_has_arrived(redis_cluster: RedisCluster) -> None:
    source, slot = redis_cluster.owner("{tag}1"), slot_of("{tag}1")
    target, other = redis_cluster.others(source)
    source.execute("SET", "{tag}1", "x")
    with redis_cluster.moving(slot, target) as left:
        assert left is source
        assert source.execute("GET", "{tag}1") == b"x"
        assert refusal(source, "GET", "{tag}2") == f"ASK {slot} {target.address}"
        assert refusal(source, "EVAL", "return 1", 2, "{tag}1", "{tag}2").startswith("TRYAGAIN")
        assert refusal(target, "GET", "{tag}1") == f"MOVED {slot} {source.address}"
    assert target.execute("GET", "{tag}1") == b"x"
    assert (
        refusal(source, "GET", "{tag}1")
        == refusal(other, "GET", "{tag}1")
        == f"MOVED {slot} {target.address}"
    )


def test_a_slot_moves_at_once_with_all_its_keys(redis_cluster: RedisCluster) -> None:
    source, slot = redis_cluster.owner("{tag}1"), slot_of("{tag}1")
    target, *_ = redis_cluster.others(source)
    for number in range(200):
        source.execute("SET", f"{{tag}}{number}", number)
    redis_cluster.move_atomically(slot, target)
    assert redis_cluster.owner(slot) is target
    assert target.execute("CLUSTER", "COUNTKEYSINSLOT", slot) == 200


def test_what_goes_wrong_with_a_primary_goes_wrong_truly(start_cluster: StartCluster) -> None:
    cluster = start_cluster("redis7", password="secret")
    old = cluster.owner("key")
    (replica,) = cluster.replicas(old)
    old.execute("SET", "key", "heard")
    eventually(lambda: replica.execute("DBSIZE") == 1)
    # What a lagging replica does not hear dies with its primary.
    with cluster.lagging(replica):
        old.execute("SET", "key", "unheard")
        cluster.kill(old)
        with pytest.raises(AssertionError, match="nobody was promoted yet"):
            cluster.revive(old)
    cluster.wait_for_promotion(old)
    assert cluster.owner("key") is replica
    assert replica.execute("GET", "key") == b"heard"
    cluster.revive(old)
    assert cluster.replicas(replica) == [old]
    # What is sent to a frozen one reaches nobody, and it comes back as a replica.
    with cluster.frozen(replica):
        assert replica not in cluster.alive
        cluster.wait_for_promotion(replica)
        assert cluster.owner("key") is old
    cluster.wait_until_whole()
    assert replica.told("replication")["role"] == "slave"
