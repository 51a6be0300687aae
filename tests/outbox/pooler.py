"""Stands before a PostgreSQL as pgbouncer does: clients are told of a process that is not the server's."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from types import TracebackType


class Pooler:
    """Hands everything on, but for ``BackendKeyData``, in which a pooler puts what it has made up itself.

    Args:
        port: The port of the PostgreSQL.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._port)
        up = asyncio.create_task(_copied(reader, ours))
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await _retold(theirs, writer)
        finally:
            up.cancel()
            for end in (writer, ours):
                end.close()
                with contextlib.suppress(ConnectionError):
                    await end.wait_closed()


async def _retold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = await reader.readexactly(1)
        if head == b"N":  # the answer to the question for TLS, which has no length
            writer.write(head)
            continue
        size = await reader.readexactly(4)
        body = await reader.readexactly(struct.unpack("!I", size)[0] - 4)
        if head == b"K":
            body = struct.pack("!I", 4_000_000) + body[4:]
        writer.write(head + size + body)


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()
