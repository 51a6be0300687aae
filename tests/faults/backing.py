"""The Redis of a campaign: one server behind proxies, one with a replica and Sentinels, or a cluster."""

from __future__ import annotations

import contextlib
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hiredis
import redis

from tests.support.cluster import RedisCluster
from tests.support.eventually import PATIENCE, eventually
from tests.support.node import Node
from tests.support.proxy import Proxy
from tests.support.servers import Kind, Server, free_port

#: How many Sentinels there are; the larger half of them must agree.
_SENTINELS = 3
_SERVICE = "main"
#: Seconds for which it is believed that a key is where it was.
_FRESH = 0.1


class Backing(ABC):
    """A Redis, in some form."""

    def __init__(self) -> None:
        self.closing = contextlib.ExitStack()
        self._clients: dict[int, redis.Redis] = {}
        #: How often a replica was promoted.
        self.promotions = 0
        #: Whether two may count as the primary just now.
        self.is_changing = False

    @abstractmethod
    def link(self) -> tuple[dict[str, Any], Proxy | None]:
        """How one more process reaches it: its options of Redis, and the proxy between."""

    def client(self, key: str) -> redis.Redis:
        """What asks the primary that has a key, past all proxies."""
        port = self.port_of(key)
        if port not in self._clients:
            client = redis.Redis(port=port, socket_timeout=2, decode_responses=True)
            self.closing.callback(client.close)
            self._clients[port] = client
        return self._clients[port]

    @abstractmethod
    def port_of(self, key: str) -> int:
        """Where that is now."""

    @abstractmethod
    def alive(self) -> Sequence[Server]:
        """The servers that run, and are not frozen."""


class Alone(Backing):
    """One server that writes everything to disk, reached through a proxy for each process.

    Args:
        kind: Which server.
        args: Further options for its command line.
    """

    def __init__(self, kind: Kind, args: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.server = self.closing.enter_context(Server(kind, aof=True, args=args))
        #: The server that takes writes now.
        self.port = self.server.port

    def link(self) -> tuple[dict[str, Any], Proxy | None]:
        """By a URL."""
        proxy = self.closing.enter_context(Proxy(self.server.port))
        return {"url": proxy.url}, proxy

    def port_of(self, key: str) -> int:
        """There is one."""
        return self.port

    def alive(self) -> Sequence[Server]:
        """There is one."""
        return [self.server]


class Replicated(Alone):
    """A primary, a replica, and Sentinels; everybody asks those where the primary is.

    Args:
        kind: Which servers.
        guarded: Whether a primary without a replica refuses to write. One that is not goes on for some ten
            seconds after Sentinel has promoted another, and what it takes meanwhile is lost.
    """

    def __init__(self, kind: Kind, guarded: bool) -> None:
        super().__init__(kind)
        try:
            replica = Server(kind, aof=True, args=_replica_of(self.server))
            self.servers = [self.server, self.closing.enter_context(replica)]
            eventually(self._is_in_sync, what="a replica in sync")
            self._guarded = guarded
            for server in self.servers:
                self._guard(server)
            self._sentinels = [self._start_sentinel(str(number)) for number in range(_SENTINELS)]
            eventually(self._know_each_other, what="Sentinels that know each other")
        except BaseException:
            self.closing.close()
            raise

    def link(self) -> tuple[dict[str, Any], Proxy | None]:
        """No proxy: Sentinel says where the primary is."""
        nodes = [f"127.0.0.1:{port}" for port in self._sentinels]
        return {"sentinel": {"service": _SERVICE, "nodes": nodes}}, None

    def fail_over(
        self,
        *,
        kill: bool,
        promoted: Callable[[], None],
        lag: float = 0.0,
        killed: Callable[[], None] = lambda: None,
    ) -> None:
        """Have the replica promoted, and wait until the old primary is the new one's replica.

        Args:
            kill: Whether the primary is killed; else Sentinel is told to make the change.
            promoted: Called as soon as the replica is the primary.
            lag: So many seconds before it is killed the replica hears of nothing any more.
            killed: Called when it was killed after that.
        """
        eventually(self._is_in_sync, what="a replica in sync")
        old, new = self.servers
        if kill and lag:
            # Stopped alone, it would find in its socket what the primary has sent before it was killed.
            new.pause()
            old.execute("CLIENT", "KILL", "TYPE", "replica")
            time.sleep(lag)
            old.kill()
            new.resume()
            killed()
        elif kill:
            old.kill()
        else:
            # Refused with NOGOODSLAVE while it has not yet heard from the replica.
            eventually(lambda: _ask(self._sentinels[0], "SENTINEL", "FAILOVER", _SERVICE), what="a failover")
        deadline = time.monotonic() + PATIENCE
        while _role(new) != "master":
            assert time.monotonic() < deadline, "the replica was not promoted"
            time.sleep(0.005)
        self.servers, self.port, self.promotions = [new, old], new.port, self.promotions + 1
        promoted()
        if kill:
            eventually(self._all_know_the_primary, what="Sentinels that know the new primary")
            old.args = _replica_of(new)
            old.start()
            self._guard(old)
        eventually(self._is_in_sync, what="the old primary as a replica")

    def _guard(self, server: Server) -> None:
        if self._guarded:
            server.execute("CONFIG", "SET", "min-replicas-max-lag", 2)
            server.execute("CONFIG", "SET", "min-replicas-to-write", 1)

    def _start_sentinel(self, name: str) -> int:
        port, folder = free_port(), Path(self.server.folder) / f"sentinel-{name}"
        folder.mkdir()
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\nlogfile {folder}/log\n"
            f"sentinel monitor {_SERVICE} 127.0.0.1 {self.port} {_SENTINELS // 2 + 1}\n"
            f"sentinel down-after-milliseconds {_SERVICE} 1500\n"
            f"sentinel failover-timeout {_SERVICE} 4000\n"
        )
        command = [str(self.server.binary), str(config), "--sentinel"]
        nowhere = subprocess.DEVNULL
        process = subprocess.Popen(
            command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
        self.closing.callback(process.wait)
        self.closing.callback(process.kill)
        return port

    def _know_each_other(self) -> bool:
        seen = [_ask(port, "SENTINEL", "MASTER", _SERVICE) for port in self._sentinels]
        wanted = ("1", str(_SENTINELS - 1))
        return all(state and (state["num-slaves"], state["num-other-sentinels"]) == wanted for state in seen)

    def _all_know_the_primary(self) -> bool:
        return all(
            _ask(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", _SERVICE) == ["127.0.0.1", str(self.port)]
            for port in self._sentinels
        )

    def _is_in_sync(self) -> bool:
        primary, replica = (_ask(server.port, "ROLE") for server in self.servers)
        return bool(
            primary
            and replica
            and primary[0] == "master"
            and len(primary[2]) == 1
            and replica[0] == "slave"
            and replica[3] == "connected"
        )


class Spread(Backing):
    """A cluster: three primaries with a replica each, which nobody but they themselves promotes.

    Args:
        kind: Which servers.
        args: Further options for the command line of each.
    """

    def __init__(self, kind: Kind, args: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.nodes = self.closing.enter_context(RedisCluster(kind, args=args))
        self._homes: dict[str, int] = {}
        self._looked_at = 0.0

    def link(self) -> tuple[dict[str, Any], Proxy | None]:
        """No proxy: each node says where the others are."""
        # Longer than a primary is frozen: its answer comes on the connection that it was asked on.
        return {"cluster": {"nodes": self.nodes.addresses}, "command_timeout": "10s"}, None

    def port_of(self, key: str) -> int:
        """The slot's primary, as the nodes said a moment ago."""
        now = time.monotonic()
        if now > self._looked_at + _FRESH:
            self._homes, self._looked_at = {}, now
        if key not in self._homes:
            try:
                self._homes[key] = self.nodes.owner(key).port
            except (OSError, hiredis.ReplyError) as e:  # the one that was asked was just killed, or starts
                raise redis.ConnectionError(str(e)) from e
        return self._homes[key]

    def alive(self) -> Sequence[Server]:
        """Those of its nodes that are."""
        return self.nodes.alive

    @contextlib.contextmanager
    def promotion(self, promoted: Callable[[], None]) -> Iterator[Callable[[Node], None]]:
        """While this lasts, a primary is replaced.

        Args:
            promoted: Called as soon as all nodes know the new one.

        Yields:
            Waits for that, given the primary that is replaced.
        """

        def wait(old: Node) -> None:
            self.nodes.wait_for_promotion(old)
            promoted()

        self.is_changing = True
        try:
            yield wait
            self.nodes.wait_until_whole()
        finally:
            self.promotions += 1
            self.is_changing = False


def _replica_of(server: Server) -> tuple[str, ...]:
    return ("--replicaof", "127.0.0.1", str(server.port))


def _role(server: Server) -> str:
    answer = _ask(server.port, "ROLE")
    return answer[0] if answer else ""


def _ask(port: int, *command: str) -> Any:
    """What a server answers, None where it does not."""
    with redis.Redis(port=port, socket_timeout=2, decode_responses=True) as client:
        try:
            return client.execute_command(*command)
        except redis.RedisError:
            return None
