"""A Redis that is more than one server: a cluster, or one behind a Sentinel."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cluster import RedisCluster
from .eventually import eventually
from .servers import Server, find_binary, free_port
from .spread import Spread


@dataclass
class Several:
    """A Redis of several servers.

    Args:
        redis: Its options in a manifest.
        server: Does a command where its key is.
        primaries: The servers that take writes.
        cluster: The cluster; None for a Sentinel.
    """

    redis: dict[str, Any]
    server: Any
    primaries: list[Server]
    cluster: RedisCluster | None = None

    def everything(self) -> dict[bytes, bytes]:
        """All that it has."""
        return {
            key: server.execute("DUMP", key)
            for server in self.primaries
            for key in server.execute("KEYS", "*")
        }

    def spreads(self, keys: Iterable[str]) -> bool:
        """Tell whether each primary has one of these keys."""
        return self.cluster is None or len({self.cluster.owner(key) for key in keys}) == len(self.primaries)


def as_cluster(cluster: RedisCluster) -> Several:
    """A cluster."""
    redis = {"cluster": {"nodes": cluster.addresses[:1]}}
    return Several(redis, Spread(cluster), list(cluster.primaries()), cluster)


@contextlib.contextmanager
def behind_sentinel(server: Server, folder: Path) -> Iterator[Several]:
    """A server that a Sentinel names, which has its configuration in a folder."""
    port, config = free_port(), folder / "sentinel.conf"
    config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {server.port} 1\n")
    command = [str(find_binary("valkey")), str(config), "--sentinel"]
    with contextlib.ExitStack() as closing:
        sentinel = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        closing.callback(sentinel.wait)
        closing.callback(sentinel.kill)
        eventually(lambda: _answers(port))
        asks: dict[str, Any] = {"service": "main", "nodes": [f"127.0.0.1:{port}"]}
        yield Several({"sentinel": asks}, server, [server])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
