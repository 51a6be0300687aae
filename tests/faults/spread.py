"""The campaign on a cluster: primaries die or freeze, replicas take over, slots move, hosts are killed."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from tests.support.node import Node, slot_of
from tests.support.servers import Kind

from .backing import Spread
from .bound import bound_of
from .campaign import await_first, finish, with_users
from .cluster import Cluster, Host, pause
from .driver import Driver, Fault
from .ledger import Line
from .report import Result
from .settings import KINDS, SPREAD, manifest
from .users import Users
from .watcher import Watcher, groups_of

#: Seconds for which a replica hears nothing before its primary dies; longer, and it would count as failed.
_LAG = 0.7
#: What a host says of a group that is gone; none is.
_GONE = "is gone from Redis, and with it"
#: Seconds for which a slot is between two nodes.
_BETWEEN = 0.3


#: How processes wait for messages, by turns.
WAITING = ("bell", "blocking")


def run_spread(
    kind: Kind = "valkey",
    seed: int = 1,
    seconds: float = 20,
    faults: tuple[str, ...] = (),
    plant: str = "",
    kinds: str = KINDS,
    *,
    replicas: int = 1,
    is_in_step: bool = False,
    waiting: str = "",
    acl: bool = False,
) -> Result:
    """Run one campaign on a cluster.

    Args:
        kind: Which servers.
        seed: Of the faults and of what is fired and called.
        seconds: How long things go wrong.
        faults: Only these; all where none is named.
        plant: The name of a bug to plant.
        kinds: Of a hundred events, how many are of which kind.
        replicas: How many replicas must have an event before it counts as fired. With none, what a promoted
            replica had not heard of is lost; it is counted, and is nobody's fault.
        waiting: How processes wait for messages; left out, by the seed.
        acl: Whether each process is a user of its own, with the rules that ``lightbus acl`` writes.
        is_in_step: Whether these faults leave each replica in step, so that nothing may be lost anyway.
    """
    env = {"CAMPAIGN_PLANT": plant, "CAMPAIGN_KINDS": kinds, "CAMPAIGN_APIS": ",".join(SPREAD)}
    waiting = waiting or WAITING[seed % len(WAITING)]
    configured = partial(manifest, apis=SPREAD, replicas=replicas, waiting=waiting)
    users = Users(configured, {"cluster": {"nodes": ["redis:6379"]}}) if acl else None
    backing = Spread(kind, users.args if users is not None else ())
    with (
        Cluster(backing, env, configured, users=users) as cluster,
        Watcher(backing, groups_of(*SPREAD)) as watcher,
    ):
        cluster.start_clients(seed)
        driver = Driver(cluster, watcher, random.Random(seed), FAULTS)
        await_first(cluster)
        driver.run(seconds, faults or _faults_of(kind))
        end = finish(
            cluster,
            watcher,
            lambda lines: bound_of(lines, driver.struck) + _unheard(lines),
            "confirmed" if replicas or is_in_step else "replicated",
        )
        said = [line for text in cluster.outputs() for line in text.splitlines()]
    verdict = end.verdict
    verdict.wrong["false alarm"] = [line for line in said if _GONE in line]
    verdict.wrong["no call"] = [] if verdict.outcomes["result"] else [str(dict(verdict.outcomes))]
    notes = [f"calls run again: {verdict.rerun}"]
    if not replicas and not is_in_step:
        notes.append(f"confirmed, and lost since no replica had them: {verdict.unreplicated}")
    return Result(
        f"cluster, {replicas} waited for, {waiting}{with_users(users)}",
        kind,
        seed,
        seconds,
        verdict,
        end.drained_in,
        driver.done,
        end.outputs,
        notes,
    )


def _unheard(lines: Sequence[Line]) -> int:
    """How many events were begun while a replica was behind: promoted, it may not know of that."""
    times = [(float(line.words[0]), float(line.words[1])) for line in lines if line.verb == "behind"]
    return sum(
        line.verb == "started" and any(begin < line.time < end for begin, end in times) for line in lines
    )


@contextlib.contextmanager
def _promotion(driver: Driver) -> Iterator[tuple[Spread, Callable[[Node], None]]]:
    """A primary is replaced within; gives the cluster, and what waits until that is done."""

    def promoted() -> None:
        driver.cluster.ledger.write("behind", f"{began:.6f}", f"{time.monotonic():.6f}")

    backing = _backing_of(driver)
    driver.expect(driver.cluster.hosts)
    began = time.monotonic()
    with backing.promotion(promoted) as wait:
        yield backing, wait
    driver.cluster.ledger.write("promotion", f"{began:.6f}", f"{time.monotonic():.6f}")


def kill_lagging(driver: Driver, _: Host) -> None:
    """A primary dies whose replica is behind, and comes back as the replica of that."""
    with _promotion(driver) as (backing, wait):
        old = driver.chance.choice(backing.nodes.primaries())
        (replica,) = backing.nodes.replicas(old)
        with backing.nodes.lagging(replica):
            pause(_LAG)
            backing.nodes.kill(old)
        wait(old)
        pause(driver.chance.choice([0, 0.5]))
        backing.nodes.revive(old)


def kill_unread(driver: Driver, _: Host) -> None:
    """The same, before a host has read what the replica lacks: what ran already would not be missed."""
    with _promotion(driver) as (backing, wait):
        old = driver.chance.choice(backing.nodes.primaries())
        (replica,) = backing.nodes.replicas(old)
        with contextlib.ExitStack() as frozen, backing.nodes.lagging(replica):
            for host in driver.cluster.hosts:
                frozen.enter_context(host.ended)
                host.process.pause()
                frozen.callback(host.process.resume)
            pause(_LAG)
            backing.nodes.kill(old)
        wait(old)
        backing.nodes.revive(old)


def freeze_primary(driver: Driver, _: Host) -> None:
    """A primary is stopped until its replica is promoted; then it goes on with what was sent to it."""
    with _promotion(driver) as (backing, wait):
        old = driver.chance.choice(backing.nodes.primaries())
        with backing.nodes.frozen(old):
            wait(old)
            pause(driver.chance.choice([0, 0.5]))


def take_over(driver: Driver, _: Host) -> None:
    """A replica is told to take over."""
    with _promotion(driver) as (backing, wait):
        old = driver.chance.choice(backing.nodes.primaries())
        backing.nodes.ask_to_take_over(old)
        wait(old)


def move_slot(driver: Driver, _: Host) -> None:
    """A stream or a queue moves to another primary, and is for a while at two."""
    nodes, slot, to = _backing_of(driver).nodes, *_another_home(driver)
    with nodes.moving(slot, to) as source:
        nodes.carry(slot, source, to, most=1)
        pause(_BETWEEN)


def move_slot_atomically(driver: Driver, _: Host) -> None:
    """A stream or a queue moves to another primary at once."""
    slot, to = _another_home(driver)
    _backing_of(driver).nodes.move_atomically(slot, to)


def _another_home(driver: Driver) -> tuple[int, Node]:
    nodes = _backing_of(driver).nodes
    name = driver.chance.choice(SPREAD)
    key = driver.chance.choice([f"{name}.*:stream", f"{name}:rpc_queue"])
    return slot_of(key), driver.chance.choice(nodes.others(nodes.owner(key)))


def _backing_of(driver: Driver) -> Spread:
    backing: Any = driver.cluster.backing
    assert isinstance(backing, Spread)
    return backing


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (kill_lagging, kill_unread, freeze_primary, take_over, move_slot, move_slot_atomically)
}
#: What may also happen to hosts meanwhile.
_OF_HOSTS = ("kill", "freeze", "roll")


def _faults_of(kind: Kind) -> tuple[str, ...]:
    """All that servers of a kind can do."""
    names = [name for name in FAULTS if kind == "valkey" or name != move_slot_atomically.__name__]
    return (*names, *_OF_HOSTS)
