"""A primary with a replica that can be made to lag."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Self

import redis

from .eventually import eventually
from .proxy import Proxy
from .servers import Kind, Server

#: A replica need not wait for others that might come.
_AT_ONCE = ("--repl-diskless-sync-delay", "0")


class Pair:
    """A primary and its replica, which hears of it through a proxy.

    Args:
        kind: Which servers.
    """

    def __init__(self, kind: Kind = "valkey") -> None:
        with contextlib.ExitStack() as started:
            self.primary = started.enter_context(Server(kind, args=_AT_ONCE))
            self._between = started.enter_context(Proxy(self.primary.port))
            self.replica = started.enter_context(Server(kind, args=_AT_ONCE))
            self._closing = started.pop_all()

    @contextlib.contextmanager
    def lagging(self) -> Iterator[None]:
        """The replica hears nothing, and its connection stays."""
        self._between.set("blackhole")
        try:
            yield
        finally:
            self._between.set("pass")

    def promote(self) -> None:
        """Make the replica a primary, whatever it has heard of the other one."""
        self.replica.execute("REPLICAOF", "NO", "ONE")

    def reset(self) -> None:
        """Both empty and in step again."""
        self._between.set("pass")
        for server in (self.primary, self.replica):
            server.execute("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        follows = [b"slave", b"127.0.0.1", self._between.port]
        if self.primary.execute("ROLE")[0] != b"master" or self.replica.execute("ROLE")[:3] != follows:
            for server in (self.primary, self.replica):
                server.execute("REPLICAOF", "NO", "ONE")
                server.execute("FLUSHALL")
            self.replica.execute("REPLICAOF", "127.0.0.1", str(self._between.port))
        self.primary.execute("FLUSHALL")
        eventually(self._is_in_step, what="a replica in step")

    def _is_in_step(self) -> bool:
        with redis.Redis(port=self.primary.port) as client:
            client.set("in step", 1)
            client.delete("in step")
            return bool(client.execute_command("WAIT", 1, 1000))

    def close(self) -> None:
        """End both."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
