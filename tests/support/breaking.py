"""A proxy that breaks a connection at a step: at the n-th command of a name, or at the reply to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from lightbus.transports.redis import scripts
from lightbus.transports.redis.scripts import Script
from tests.support.proxy import CHUNK, Link, Proxy

Step = Literal["before", "torn", "after", "within"]
STEPS: tuple[Step, ...] = get_args(Step)

#: The names of scripts, by the hashes under which Redis knows them.
_NAMES = {script.sha: script.name for script in vars(scripts).values() if isinstance(script, Script)}


@dataclass
class Break:
    """Where the connection breaks.

    Args:
        command: The name of a command, such as ``XADD``, or of a script, such as ``begin``.
        nth: Which of them, counted over all connections.
        step: ``before`` it goes on, ``torn`` in its middle, ``after`` Redis has done it and before its reply
            goes on, or ``within`` the reply.
    """

    command: str
    nth: int
    step: Step
    done: bool = False


class BreakingProxy(Proxy):
    """Passes all, but breaks one connection where it is told to; what went on before it, Redis does."""

    plan: Break | None = None

    def link_to(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Link:
        """What carries and counts the commands of a new connection."""
        return _CountingLink(self, reader, writer)

    def is_due(self, command: bytes) -> bool:
        """Count a command; tell whether it is the one at which a connection breaks."""
        plan = self.plan
        if plan is None or plan.done or _name_of(command) != plan.command:
            return False
        plan.nth -= 1
        plan.done = plan.nth == 0
        return plan.done


class _CountingLink(Link):
    proxy: BreakingProxy

    def __init__(
        self, proxy: BreakingProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        super().__init__(proxy, reader, writer)
        self._sent = self._answered = 0
        self._doomed = -1
        self._step: Step = "before"

    async def carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, replies: bool) -> None:
        """Pass messages on, one way, until the one at which the connection breaks."""
        pass_on = self._pass_reply if replies else self._pass_command
        left = b""
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                await self.proxy.gate()
                left += data
                start = 0
                for end in _ends(left):
                    if not pass_on(left[start:end], sink):
                        await sink.drain()
                        self._cut()
                        return
                    start = end
                left = left[start:]
                await sink.drain()

    def _pass_command(self, command: bytes, sink: asyncio.StreamWriter) -> bool:
        self._sent += 1
        if self.proxy.is_due(command):
            assert self.proxy.plan is not None
            self._doomed, self._step = self._sent, self.proxy.plan.step
            if self._step in ("before", "torn"):
                sink.write(command[: len(command) // 2] if self._step == "torn" else b"")
                return False
        sink.write(command)
        return True

    def _pass_reply(self, reply: bytes, sink: asyncio.StreamWriter) -> bool:
        self._answered += 1
        if self._answered == self._doomed:
            sink.write(reply[: len(reply) // 2] if self._step == "within" else b"")
            return False
        if not sink.is_closing():
            sink.write(reply)
        return True

    def _cut(self) -> None:
        """Reset the client's side; the other ends in peace, so that Redis reads what was passed on."""
        client = self.writers[0]
        link: socket.socket | None = client.get_extra_info("socket")
        if link is not None and link.fileno() != -1:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self._step != "within":
            client.transport.abort()  # Else what there is of the reply would not arrive.


def _name_of(command: bytes) -> str:
    """The name of a command as it is on the wire: ``*2``, ``$4``, ``XADD``; of a script, its own."""
    name = command.split(b"\r\n", 3)[2].decode().upper()
    return _NAMES.get(command.split(b"\r\n", 5)[4].decode(), name) if name == "EVALSHA" else name


def _ends(data: bytes) -> Iterator[int]:
    """Where each complete message ends that bytes begin with."""
    at = 0
    while at < len(data):
        end = _end_of_message(data, at)
        if end is None:
            return
        yield end
        at = end


def _end_of_message(data: bytes, at: int) -> int | None:
    wanted = 1
    while wanted:
        line = data.find(b"\r\n", at)
        if line < 0:
            return None
        kind, rest = data[at : at + 1], data[at + 1 : line]
        at = line + 2
        wanted -= 1
        if kind == b"$" and rest != b"-1":
            at += int(rest) + 2
            if at > len(data):
                return None
        elif kind == b"*" and rest != b"-1":
            wanted += int(rest)
    return at
