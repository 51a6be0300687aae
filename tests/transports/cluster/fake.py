"""Nodes of a cluster that say what a test wants them to say."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import hiredis

from lightbus.transports.redis.link.cluster.pipe import ClusterPipe
from lightbus.transports.redis.link.cluster.slots import SLOTS
from lightbus.transports.redis.options import ClusterOptions, HostPort, RedisOptions

Command = tuple[bytes, ...]
#: More turns of the event loop than it takes to accept a connection.
_TURNS = 5


class FakeNode:
    """One node: it answers ``+done by NAME`` to commands, or what is in ``script``, one for each.

    Args:
        name: Its name, a letter.
        cluster: The cluster that it tells of.
    """

    def __init__(self, name: str, cluster: FakeCluster) -> None:
        self.name, self._cluster = name, cluster
        self.port = 0
        #: The answers to come; then "done". An empty one is none at all.
        self.script: deque[bytes] = deque()
        #: The commands that it has done, and all that it has heard.
        self.done: list[Command] = []
        self.heard: list[Command] = []
        self.connections = 0
        self.is_silent = False
        #: The view of another time, if it has one of its own.
        self.view: FakeView | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Future[None]] = set()

    @property
    def address(self) -> HostPort:
        return HostPort(f"127.0.0.1:{self.port}")

    def asked_who(self) -> int:
        return sum(command[:2] == (b"CLUSTER", b"SLOTS") for command in self.heard)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # No coroutine: one that is cancelled before its first step would leave the connection open.
        self.connections += 1
        self._writers.add(writer)
        serving = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def end(self) -> None:
        """Close all connections, and wait until nobody is served any more."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)  # So that nothing is left half accepted.
        self.break_off()
        while self._serving:
            await asyncio.wait(self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader()
        try:
            while data := await reader.read(65_536):
                parser.feed(data)
                while (command := parser.gets()) is not False:
                    writer.write(self._answer(tuple(command)))
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def break_off(self) -> None:
        """Close all connections."""
        for writer in self._writers:
            writer.transport.abort()

    def _answer(self, command: Command) -> bytes:
        self.heard.append(command)
        if self.is_silent:
            return b""
        if command[0] == b"CLUSTER":
            view = self.view or self._cluster.view
            return view.slots() if command[1] == b"SLOTS" else view.nodes()
        if command[0] in (b"CLIENT", b"PING", b"ASKING"):
            return b":7\r\n" if command[1:2] == (b"ID",) else b"+OK\r\n"
        answer = self.script.popleft() if self.script else f"+done by {self.name}\r\n".encode()
        if not answer.startswith(b"-"):
            self.done.append(command)
        return answer


class FakeView:
    """Who has all the slots, who is known besides, and how new that is."""

    def __init__(self, owner: FakeNode, nodes: Sequence[FakeNode], epoch: int, last: int = SLOTS - 1) -> None:
        self.owner, self.known, self.epoch, self.last = owner, list(nodes), epoch, last

    def slots(self) -> bytes:
        node = f"*3\r\n$9\r\n127.0.0.1\r\n:{self.owner.port}\r\n$1\r\n{self.owner.name}\r\n"
        return f"*1\r\n*3\r\n:0\r\n:{self.last}\r\n{node}".encode()

    def nodes(self) -> bytes:
        text = "".join(
            f"{node.name} 127.0.0.1:{node.port}@1 {'master' if node is self.owner else 'slave'} - 0 0 "
            f"{self.epoch} connected\n"
            for node in self.known
        )
        return f"${len(text)}\r\n{text}\r\n".encode()


class FakeCluster:
    """Three nodes, of which A has all slots and is named in the options; the cluster knows of A and B."""

    def __init__(self) -> None:
        self.a, self.b, self.c = (FakeNode(name, self) for name in "abc")
        self.view = FakeView(self.a, [self.a, self.b], 1)

    def __iter__(self) -> Iterator[FakeNode]:
        return iter((self.a, self.b, self.c))

    @property
    def options(self) -> RedisOptions:
        return RedisOptions(cluster=ClusterOptions(nodes=(self.a.address, self.b.address)))

    def moved(self, slot: int, to: FakeNode) -> bytes:
        return f"-MOVED {slot} {to.address}\r\n".encode()

    def ask(self, slot: int, to: FakeNode) -> bytes:
        return f"-ASK {slot} {to.address}\r\n".encode()


def on_fakes(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Give a test a cluster of fakes as ``cluster``, and as ``pipe`` the channel to it."""
    asked = inspect.signature(test)
    wanted = asked.parameters.keys()

    async def run(*args: Any, **given: Any) -> None:
        cluster = FakeCluster()
        async with AsyncExitStack() as stack:
            for node in cluster:
                server = await asyncio.start_server(node.accept, "127.0.0.1", 0)
                stack.push_async_callback(node.end)
                stack.callback(server.close)
                node.port = server.sockets[0].getsockname()[1]
            pipe = ClusterPipe(cluster.options)
            stack.push_async_callback(pipe.close)
            offered = {"cluster": cluster, "pipe": pipe}
            await test(*args, **{name: each for name, each in offered.items() if name in wanted}, **given)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    kept = [each for name, each in asked.parameters.items() if name not in ("cluster", "pipe")]
    run.__signature__ = asked.replace(parameters=kept)  # type: ignore[attr-defined]
    return run
