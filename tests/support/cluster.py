"""A real Redis Cluster for tests: nodes that are killed, frozen, cut off, failovers, slots that move."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hiredis

from .eventually import eventually
from .node import Node, Seen, slot_of
from .servers import Kind

SLOTS = 16_384
#: Seconds of silence after which a node counts as failed. On a busy machine, less would be met by chance.
NODE_TIMEOUT = 1.5
#: The same for a cluster of which no node is to fail: nothing that the machine does takes so long.
PATIENT = 30.0
#: Seconds for what a cluster does by itself: a promotion, a replica that comes into step.
_PATIENCE = 60.0
#: Seconds after which a server has given up a failover by hand; its own limit is five.
_BY_HAND = 6.0
#: What a node may say or not say while its cluster changes.
_NOT_NOW = (OSError, hiredis.ReplyError)


class RedisCluster:
    """Primaries with their replicas, ready when made; use it as a context.

    Args:
        kind: Which server.
        primaries: How many primaries.
        replicas: How many replicas each of them has.
        aof: Whether each node writes everything to disk.
        password: Of the default user at each node.
        node_timeout: Seconds of silence after which a node counts as failed.
        args: Further options for the command line of each node.
        tls: A folder with the certificate of all nodes, ``server.pem`` and ``server.key``.
    """

    def __init__(
        self,
        kind: Kind = "valkey",
        *,
        primaries: int = 3,
        replicas: int = 1,
        aof: bool = False,
        password: str | None = None,
        node_timeout: float = NODE_TIMEOUT,
        args: tuple[str, ...] = (),
        tls: Path | None = None,
    ) -> None:
        self._closing = contextlib.ExitStack()
        self.kind = kind
        self.password = password
        self._frozen: set[Node] = set()
        own = (
            *("--cluster-node-timeout", str(round(node_timeout * 1000))),
            *("--cluster-announce-ip", "127.0.0.1", "--repl-diskless-sync-delay", "0"),
        )
        try:
            #: All nodes; the first ones begin as primaries.
            self.nodes = self._start_nodes(primaries * (1 + replicas), aof, (*own, *args), tls)
            self._join(primaries)
        except BaseException:
            self._closing.close()
            raise

    def _start_nodes(self, count: int, aof: bool, args: tuple[str, ...], tls: Path | None) -> list[Node]:
        def start(_: int) -> Node:
            node = Node(self.kind, aof=aof, password=self.password, args=args, tls=tls)
            self._closing.callback(node.close)
            return node

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(start, range(count)))

    def _join(self, primaries: int) -> None:
        first, *others = self.nodes
        for number, node in enumerate(self.nodes, 1):
            node.execute("CLUSTER", "SET-CONFIG-EPOCH", number)
        for number, node in enumerate(self.nodes[:primaries]):
            begin, end = (SLOTS * each // primaries for each in (number, number + 1))
            node.execute("CLUSTER", "ADDSLOTSRANGE", begin, end - 1)
        for node in others:
            node.execute("CLUSTER", "MEET", "127.0.0.1", first.port, first.bus_port)
        eventually(self._all_have_met, _PATIENCE, "nodes that know each other")
        for number, node in enumerate(self.nodes[primaries:]):
            node.execute("CLUSTER", "REPLICATE", self.nodes[number % primaries].id)
        self.wait_until_whole()

    # Where it is.

    @property
    def addresses(self) -> list[str]:
        """The host and port of each node."""
        return [node.address for node in self.nodes]

    @property
    def url(self) -> str:
        """One URL that names all nodes, with the password if there is one."""
        login = f":{self.password}@" if self.password else ""
        return f"redis+cluster://{login}{','.join(self.addresses)}"

    # Who is who.

    @property
    def alive(self) -> list[Node]:
        """Those that run and are not frozen."""
        return [node for node in self.nodes if node.is_alive and node not in self._frozen]

    def sees(self) -> list[Seen]:
        """All nodes, as one that is alive sees them."""
        return self.alive[0].sees()

    def primaries(self) -> list[Node]:
        """Those that have slots."""
        return [self._named(seen.id) for seen in self.sees() if seen.slots]

    def owner(self, what: str | int) -> Node:
        """The primary that has a key, or a slot."""
        slot = slot_of(what) if isinstance(what, str) else what
        owners = [seen for seen in self.sees() if any(slot in each for each in seen.slots)]
        assert owners, f"nobody has slot {slot}"
        return self._named(owners[0].id)

    def others(self, primary: Node) -> list[Node]:
        """The other primaries."""
        return [node for node in self.primaries() if node is not primary]

    def replicas(self, primary: Node) -> list[Node]:
        """Those that follow a primary."""
        return [self._named(seen.id) for seen in self.sees() if seen.primary == primary.id]

    def execute(self, key: str, *command: str | bytes | int | float) -> Any:
        """Send one command to the primary that has a key."""
        return self.owner(key).execute(*command)

    # What goes wrong.

    def kill(self, node: Node) -> None:
        """SIGKILL; :meth:`wait_for_promotion` before it is brought back by :meth:`revive`."""
        node.kill()

    def revive(self, node: Node) -> None:
        """Start a node again that was killed, and wait until it is in step.

        A primary whose slots nobody has taken over yet would have them again at once. Without persistence
        it is empty, and its replica would copy that.
        """
        assert node.id not in {seen.id for seen in self.sees() if seen.slots}, "nobody was promoted yet"
        node.start()
        self.wait_until_whole()

    @contextlib.contextmanager
    def frozen(self, node: Node) -> Iterator[None]:
        """SIGSTOP, and in the end SIGCONT: connections stay open meanwhile, and nothing is answered."""
        self._frozen.add(node)
        node.pause()
        try:
            yield
        finally:
            node.resume()
            self._frozen.discard(node)

    @contextlib.contextmanager
    def lagging(self, replica: Node) -> Iterator[None]:
        """Let a replica hear nothing more of its primary.

        It is stopped, and its connection ended from the other side: else the kernel would keep for it what
        the primary sends, and hand it over even after that one has died.
        """
        (follows,) = [seen.primary for seen in self.sees() if seen.id == replica.id]
        with self.frozen(replica):
            assert self._named(follows).execute("CLIENT", "KILL", "TYPE", "replica") >= 1
            yield

    def fail_over(self, primary: Node) -> None:
        """Have a replica take over in good order."""
        self.ask_to_take_over(primary)
        self.wait_for_promotion(primary)

    def ask_to_take_over(self, primary: Node) -> None:
        """Have a replica begin to, and ask it again where it gave up.

        A server ends a failover by hand after five seconds if the replica did not come into step, or got
        no votes; https://redis.io/docs/latest/commands/cluster-failover/ leaves asking again to whoever
        asked. So does this, until the replica answers that it is a primary.
        """
        (replica, *_) = self.replicas(primary)

        def has_begun() -> bool:
            with contextlib.suppress(hiredis.ReplyError):  # "You should send CLUSTER FAILOVER to a replica"
                replica.execute("CLUSTER", "FAILOVER")
            return self._becomes_primary(replica)

        eventually(has_begun, _PATIENCE, f"{replica} as a primary in the place of {primary}")

    def _becomes_primary(self, replica: Node) -> bool:
        until = time.monotonic() + _BY_HAND
        while time.monotonic() < until:
            if replica.execute("ROLE")[0] == b"master":
                return True
            time.sleep(0.01)
        return False

    def wait_for_promotion(self, old: Node) -> None:
        """Wait until all others see the slots of a primary with another one.

        That they count it as failed, which comes first, does not mean that anybody has its slots.
        """
        others = [node for node in self.alive if node is not old]

        def is_replaced() -> bool:
            return self._agree(others) and old.id not in {seen.id for seen in others[0].sees() if seen.slots}

        eventually(is_replaced, _PATIENCE, f"another primary in the place of {old}")

    # Slots that move.

    def move(self, slot: int, to: Node) -> None:
        """Move a slot with its keys, key by key: the classic way."""
        with self.moving(slot, to):
            pass

    @contextlib.contextmanager
    def moving(self, slot: int, to: Node) -> Iterator[Node]:
        """Let a slot be on its way, and in the end carry over what is in it; gives the node that it leaves.

        Meanwhile that one says ASK of keys that it does not have, and TRYAGAIN where it has only some.
        """
        source = self.owner(slot)
        assert source is not to, f"{to} has slot {slot} already"
        to.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
        try:
            yield source
        finally:
            while self.carry(slot, source, to):
                pass
            # First the new one: else, for a moment, each of the two would send everybody to the other.
            for node in (to, source):
                node.execute("CLUSTER", "SETSLOT", slot, "NODE", to.id)
            self._wait_for_owner(slot, to)

    def carry(self, slot: int, source: Node, to: Node, most: int = 100) -> int:
        """Carry over some keys of a slot that is on its way; returns how many."""
        keys = source.execute("CLUSTER", "GETKEYSINSLOT", slot, most)
        if keys:
            login = ("AUTH", self.password) if self.password else ()
            port = to.tls_port or to.port
            source.execute("MIGRATE", "127.0.0.1", port, "", 0, 15_000, *login, "KEYS", *keys, timeout=30)
        return len(keys)

    def move_atomically(self, slot: int, to: Node) -> None:
        """Move a slot with all its keys at once, as Valkey does from version 9 on."""
        source = self.owner(slot)
        assert source is not to, f"{to} has slot {slot} already"
        source.execute("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", to.id)
        self._wait_for_owner(slot, to)

    def _wait_for_owner(self, slot: int, owner: Node) -> None:
        def is_known() -> bool:
            return self._agree(self.alive) and self.owner(slot) is owner

        eventually(is_known, _PATIENCE, f"slot {slot} at {owner}")

    # How it is.

    def wait_until_whole(self) -> None:
        """Wait until all nodes are alive and agree, and each replica is in step."""
        eventually(self._is_whole, _PATIENCE, "a whole cluster")

    def clean(self) -> None:
        """Make it whole and empty, with nobody connected to it."""
        self.wait_until_whole()
        for node in self.nodes:
            node.execute("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        for node in self.primaries():
            node.execute("FLUSHALL")

    def _is_whole(self) -> bool:
        with contextlib.suppress(*_NOT_NOW):
            return self._agree(self.nodes) and all(map(self._is_in_step, self.nodes))
        return False

    def _is_in_step(self, node: Node) -> bool:
        told = node.told("replication")
        if told["role"] == "slave":
            return told["master_link_status"] == "up"
        return int(told["connected_slaves"]) == len(self.replicas(node))

    def _agree(self, nodes: list[Node]) -> bool:
        """Whether these see every slot at the same primary, and that all is well."""
        with contextlib.suppress(*_NOT_NOW):
            views = [frozenset((seen.id, seen.slots) for seen in node.sees() if seen.slots) for node in nodes]
            covered = sum(len(each) for _, slots in views[0] for each in slots)
            return len(set(views)) == 1 and covered == SLOTS and all(map(_is_well, nodes))
        return False

    def _all_have_met(self) -> bool:
        views = [node.sees() for node in self.nodes]
        return all(len(view) == len(self.nodes) for view in views) and not any(
            "handshake" in seen.flags for view in views for seen in view
        )

    def _named(self, own: str) -> Node:
        (node,) = [node for node in self.nodes if node.id == own]
        return node

    def close(self) -> None:
        """End all nodes and remove their folders."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<RedisCluster {self.kind} on ports {', '.join(str(node.port) for node in self.nodes)}>"


def _is_well(node: Node) -> bool:
    return "cluster_state:ok" in node.ask("CLUSTER", "INFO").splitlines()
