"""A TCP proxy between client and Redis that can be told to misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Literal, Self, get_args

Mode = Literal["pass", "blackhole", "reset", "refuse", "delay", "drop_replies"]
MODES: tuple[Mode, ...] = get_args(Mode)

CHUNK = 65536


class Proxy:
    """Listens on `url` and forwards to `target_port`, in a thread and event loop of its own.

    ``pass``          bytes go through
    ``blackhole``     nothing goes through either way, and nobody is told; back in ``pass`` what was held
                      arrives, as after a network partition
    ``reset``         every connection is reset (RST), a new one as soon as it is made
    ``refuse``        every connection is reset, and new ones are refused
    ``delay``         each piece of data is held for `delay` seconds, each way
    ``drop_replies``  commands arrive, their replies do not; a connection that lost some is reset at the
                      next change of mode, since its replies no longer match its commands
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        # Bound for as long as the proxy is there, and never listening: while it refuses connections, nobody
        # else is given its port.
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))
        self.port: int = self._kept.getsockname()[1]
        self.mode: Mode = "pass"
        self.delay = 0.0
        self._links: set[Link] = set()
        self._is_closed = False
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._run(self._listen())
        self.set("pass")

    @property
    def url(self) -> str:
        """Where to connect instead of to the server."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def has_lost_replies(self) -> bool:
        """Whether a connection waits for replies that will not come."""
        return any(link.lost_replies for link in self._links)

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._links)

    def set(self, mode: Mode, *, delay: float = 0.0) -> None:
        """Behave like this from now on, towards old and new connections."""
        self._run(self._change(mode, delay))

    def cut(self) -> None:
        """Reset every connection once; new ones are welcome."""
        self._run(self._reset_all())

    def hold(self) -> None:
        """Keep what the connections of now send, until `let_go`; those that are made later pass."""
        self._run(self._let(go=False))

    def let_go(self) -> None:
        """Pass on what was held, though its sender may be gone."""
        self._run(self._let(go=True))

    def close(self) -> None:
        """Cut what is left and end the thread."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._kept.close()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30.0)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port, reuse_address=True)

    async def _change(self, mode: Mode, delay: float) -> None:
        self.mode, self.delay = mode, delay
        if mode in ("reset", "refuse"):
            await self._reset_all()
        else:
            for link in [link for link in self._links if link.lost_replies]:
                link.reset()
        if mode == "refuse" and self._listener is not None:
            self._listener.close()
            self._listener = None
        elif mode != "refuse" and self._listener is None:
            await self._listen()
        if mode == "blackhole":
            self._open.clear()
        else:
            self._open.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # No coroutine: one that is cancelled before its first step would leave the connection open.
        link = self.link_to(reader, writer)
        if self._is_closed or self.mode in ("reset", "refuse"):
            link.reset()
            return
        self._links.add(link)
        link.running = self._loop.create_task(link.run())
        link.running.add_done_callback(lambda _: self._links.discard(link))

    def link_to(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Link:
        """What carries the bytes of a new connection."""
        return Link(self, reader, writer)

    async def _reset_all(self) -> None:
        for link in list(self._links):
            link.reset()

    async def _let(self, *, go: bool) -> None:
        for link in self._links:
            if go:
                link.open.set()
            else:
                link.open.clear()

    async def _close(self) -> None:
        self._is_closed = True
        if self._listener is not None:
            self._listener.close()
        await self._reset_all()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if tasks:
            await asyncio.wait(tasks, timeout=0.2)  # Those whose connection was reset end by themselves.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def gate(self) -> None:
        """Wait until bytes may go on."""
        await self._open.wait()
        if self.delay:
            await asyncio.sleep(self.delay)
            await self._open.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Link:
    """One client's connection and the one that the proxy made for it."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.lost_replies = False
        self.open = asyncio.Event()
        self.open.set()
        self.reader = reader
        self.writers = [writer]
        self.running: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Carry bytes until one side closes or the link is reset."""
        await self.proxy.gate()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.target_port)
        except OSError:
            self.reset()
            return
        self.writers.append(writer)
        commands = asyncio.ensure_future(self.carry(self.reader, writer, replies=False))
        answers = asyncio.ensure_future(self.carry(reader, self.writers[0], replies=True))
        try:
            await asyncio.wait((commands, answers), return_when=asyncio.FIRST_COMPLETED)
        finally:
            commands.cancel()
            answers.cancel()
            for each in self.writers:
                each.close()

    async def carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, replies: bool) -> None:
        """Pass bytes on, one way."""
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                await self.proxy.gate()
                if not replies:
                    await self.open.wait()
                if replies and self.proxy.mode == "drop_replies":
                    self.lost_replies = True
                    continue
                sink.write(data)
                await sink.drain()
            await self.proxy.gate()

    def reset(self) -> None:
        """Close both sides with RST, dropping what was under way."""
        for writer in self.writers:
            link: socket.socket | None = writer.get_extra_info("socket")
            if link is not None and link.fileno() != -1:
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
