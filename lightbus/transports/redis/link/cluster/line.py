"""The connection to one node of a cluster on which bells are heard."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol

import hiredis

from lightbus.exceptions import TransportUnavailable
from lightbus.runtime.cancellation import end
from lightbus.runtime.retrying import backoff
from lightbus.runtime.tasks import begin
from lightbus.transports.redis.link.connection import BLOCK, LinkBroken, Wire
from lightbus.transports.redis.link.refusals import ReplyError

from .node import NodePipe

logger = logging.getLogger(__name__)

_PING = hiredis.pack_command(("PING",))
#: The most seconds between two attempts to connect.
_LONGEST = 1.0
#: Seconds until it is heard again after the task was ended from outside.
_PAUSE = 0.05


class Hearer(Protocol):
    """Whoever is told what is heard on a line."""

    def heard(self, channel: bytes, message: bytes) -> None:
        """A bell was rung."""

    def subscribed(self, channel: bytes) -> None:
        """A bell is heard from now on."""

    def lost(self, line: Line, channels: Iterable[bytes], refusal: ReplyError | None = None) -> None:
        """Bells are heard no more: the line broke, or the node has their slots no more, or refuses them."""


class Line:
    """One connection to a primary, by which the bells of its slots are heard; opened again if it breaks.

    Args:
        node: The primary.
        hearer: Is told what is heard.
    """

    def __init__(self, node: NodePipe, hearer: Hearer) -> None:
        self.node = node
        #: The bells that are wanted of this node.
        self.channels: dict[bytes, None] = {}
        self._hearer = hearer
        self._loop = asyncio.get_running_loop()
        self._wire: Wire | None = None
        # The bells whose subscription is not answered yet, in the order of the answers.
        self._asked: deque[bytes] = deque()
        self._unsent: list[bytes] = []
        self._failures = 0
        self._is_closed = False
        self._begin()

    def add(self, channel: bytes) -> None:
        """Hear one more bell; told once it is heard."""
        self.channels[channel] = None
        if self._wire is not None:
            self._ask_for(channel)

    def remove(self, channel: bytes) -> None:
        """Take no notice of a bell any more; a user may lack the permission to unsubscribe."""
        self.channels.pop(channel, None)

    async def close(self) -> None:
        """Close the connection."""
        self._is_closed = True
        self.channels.clear()
        end(self._task)
        await asyncio.wait([self._task])

    def _begin(self) -> None:
        if not self._is_closed:
            self._task = begin(self._keep(), "lightbus redis bells")
            self._task.add_done_callback(self._after)

    def _after(self, _: asyncio.Task[None]) -> None:
        """Nobody but :meth:`close` ends the task: it is begun again."""
        if not self._is_closed:
            self._loop.call_later(_PAUSE, self._begin)

    async def _keep(self) -> None:
        while True:
            try:
                wire = await self.node.connector.connect()
            except TransportUnavailable as e:
                logger.debug("bells are not heard: %s", e)
                self._failures += 1
                self._hearer.lost(self, ())
            else:
                await self._use(wire)
            await asyncio.sleep(backoff(self._failures, _LONGEST))

    async def _use(self, wire: Wire) -> None:
        """Hear until the connection breaks."""
        self._wire = wire
        for channel in self.channels:
            self._ask_for(channel)
        try:
            await self._hear(wire)
        except LinkBroken as e:
            # The connection of commands tells of it, if the node is away.
            logger.debug("bells are not heard: %s", e)
            self._failures += 1
        finally:
            self._wire = None
            self._asked.clear()
            self._unsent = []
            self._hearer.lost(self, self.channels)
            await wire.close()

    async def _hear(self, wire: Wire) -> None:
        is_doubtful = False
        while True:
            try:
                replies = await wire.read(1, BLOCK)
            except TimeoutError:
                if is_doubtful:
                    raise wire.broken(f"no reply within {BLOCK:g} s") from None
                # A half-open connection tells nothing by itself.
                is_doubtful = True
                wire.write(_PING)
                continue
            is_doubtful = False
            for reply in replies:
                self._take(reply)

    def _take(self, reply: Any) -> None:
        if isinstance(reply, ReplyError):
            if self._asked:
                self._forget(self._asked.popleft(), reply)
        elif isinstance(reply, list):
            kind, channel, *more = reply
            if kind == b"smessage":
                self._hearer.heard(channel, more[0])
            elif kind == b"ssubscribe":
                self._asked.popleft()
                self._failures = 0
                if channel in self.channels:
                    self._hearer.subscribed(channel)
            elif kind == b"sunsubscribe":
                # The slot has moved to another node.
                self._forget(channel, None)

    def _forget(self, channel: bytes, refusal: ReplyError | None) -> None:
        if channel in self.channels:
            del self.channels[channel]
            self._hearer.lost(self, (channel,), refusal)

    def _ask_for(self, channel: bytes) -> None:
        """Subscribe to a bell, together with all others of this tick."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(channel)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._wire is not None and unsent:
            self._asked.extend(unsent)
            commands: list[tuple[Any, ...]] = [("SSUBSCRIBE", channel) for channel in unsent]
            self._wire.write(b"".join(map(hiredis.pack_command, commands)))
