"""Bells: in place of a connection for each slot that a process waits at, one for each node.

Publishers ring behind what they add, by ``SPUBLISH`` in the slot of what they add to. Whoever hears it reads
without blocking. A ring may be lost, for instance while a node is replaced. That costs time and no message:
everything is looked at as soon as a bell is heard again, and every now and then.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lightbus.runtime.tasks import begin
from lightbus.transports.redis.keys import bell_key
from lightbus.transports.redis.link.connection import BLOCK
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.options import HostPort

from .line import Line
from .node import ELSEWHERE, NodePipe
from .nodes import Nodes
from .slots import slot_of_key
from .topology import address_in

#: The most seconds between two looks at everything; the least are three quarters of it.
LOOK = 30.0
#: Seconds after which a bell is asked for again that a node does not have, or not yet.
_PAUSE = 0.01, 0.03

#: Is told of a ring: the group that it is for, empty for all; None if anything may have come.
OnRing = Callable[[str | None], None]


@dataclass(slots=True, eq=False)
class _Bell:
    """A bell that somebody in this process wants to hear."""

    slot: int
    hearers: list[OnRing] = field(default_factory=list)
    #: The line on which it is heard, or soon will be.
    line: Line | None = None
    is_heard: bool = False
    #: Whether the node does not allow it, or has none.
    is_refused: bool = False


class Bells:
    """All bells that one event loop hears of one cluster.

    Args:
        nodes: The nodes.
        on_refusal: Is told if one does not allow it.
    """

    def __init__(self, nodes: Nodes, on_refusal: Callable[[ReplyError], None]) -> None:
        self._nodes = nodes
        self._on_refusal = on_refusal
        self._loop = asyncio.get_running_loop()
        self._bells: dict[bytes, _Bell] = {}
        self._lines: dict[NodePipe, Line] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._look: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def is_seeking(self) -> bool:
        """Whether some bell is not heard yet, or no more."""
        return any(not bell.is_heard and not bell.is_refused for bell in self._bells.values())

    def hear(self, key: str, on_ring: OnRing) -> None:
        """Be told of what comes to a key.

        Args:
            key: The key, or one in its slot by the same tag.
            on_ring: Is told; also once the bell is heard, since something may have come before.
        """
        channel = bell_key(key)
        bell = self._bells.setdefault(channel.encode(), _Bell(slot_of_key(channel)))
        bell.hearers.append(on_ring)
        if bell.is_heard:
            self._loop.call_soon(on_ring, None)
        elif bell.line is None:
            self._follow_soon(0)
        if self._look is None:
            self._look_later()

    def unhear(self, key: str, on_ring: OnRing) -> None:
        """Be told no more."""
        channel = bell_key(key).encode()
        bell = self._bells.get(channel)
        if bell is None or on_ring not in bell.hearers:
            return
        bell.hearers.remove(on_ring)
        if not bell.hearers:
            del self._bells[channel]
            if bell.line is not None:
                bell.line.remove(channel)
                self._follow_soon(0)

    def follow(self) -> None:
        """Hear each bell of the primary that has its slot, and close lines that nobody needs."""
        if self._is_closed:
            return
        if self._nodes.topology is None:
            if self._bells:
                self._nodes.refresh()
            return
        for channel, bell in self._bells.items():
            node, line = self._nodes.owners[bell.slot], bell.line
            if bell.is_refused or node is None or (line is not None and line.node is node):
                continue
            if line is not None:
                line.remove(channel)
            line = self._lines.get(node)
            if line is None:
                line = self._lines[node] = Line(node, self)
            bell.line, bell.is_heard = line, False
            line.add(channel)
        for node, line in list(self._lines.items()):
            if not line.channels:
                del self._lines[node]
                closing = begin(line.close(), "lightbus redis bells that close")
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all connections."""
        self._is_closed = True
        for timer in (self._look, self._again):
            if timer is not None:
                timer.cancel()
        self._bells.clear()
        await asyncio.gather(*(line.close() for line in self._lines.values()))
        if self._closing:
            await asyncio.wait(self._closing)

    # What the lines tell.

    def heard(self, channel: bytes, message: bytes) -> None:
        """A bell was rung."""
        bell = self._bells.get(channel)
        if bell is not None:
            group = message.decode("utf-8", "replace")
            for on_ring in list(bell.hearers):
                on_ring(group)

    def subscribed(self, channel: bytes) -> None:
        """A bell is heard from now on: what came before is looked for."""
        bell = self._bells.get(channel)
        if bell is not None:
            bell.is_heard = True
            for on_ring in list(bell.hearers):
                on_ring(None)

    def lost(self, line: Line, channels: Iterable[bytes], refusal: ReplyError | None = None) -> None:
        """Bells are heard no more: the line broke, or the node has their slots no more, or refuses them."""
        if self._is_closed:
            return
        for channel in channels:
            bell = self._bells.get(channel)
            if bell is None or bell.line is not line:
                continue
            bell.is_heard = False
            if channel not in line.channels:
                bell.line = None
            if refusal is not None and refusal.code not in ELSEWHERE:
                self._note_refused(bell, refusal)
            elif refusal is not None and refusal.code == "MOVED":
                owner = self._nodes.at(address_in(refusal, HostPort(line.node.node)))
                if owner is not None:
                    self._nodes.owners[bell.slot] = owner
        self._nodes.refresh()
        self._follow_soon(random.uniform(*_PAUSE))  # noqa: S311 - no secret

    def _note_refused(self, bell: _Bell, refusal: ReplyError) -> None:
        """Look now, and then as often as a read that blocks would: nobody says when something comes."""
        bell.is_refused = True
        self._on_refusal(refusal)
        for on_ring in list(bell.hearers):
            on_ring(None)
        if self._look is not None and self._look.when() > self._loop.time() + BLOCK:
            self._look.cancel()
            self._look_later()

    def _follow_soon(self, seconds: float) -> None:
        if self._again is None and not self._is_closed:
            self._again = self._loop.call_later(seconds, self._follow)

    def _follow(self) -> None:
        self._again = None
        self.follow()

    def _look_later(self) -> None:
        longest = BLOCK if any(bell.is_refused for bell in self._bells.values()) else LOOK
        seconds = longest * random.uniform(0.75, 1.0)  # noqa: S311 - no secret
        self._look = self._loop.call_later(seconds, self._look_at_all)

    def _look_at_all(self) -> None:
        """Have everything be looked at in one tick, so that each node gets its questions in few writes."""
        self._look_later()
        for bell in self._bells.values():
            for on_ring in list(bell.hearers):
                on_ring(None)
        if any(bell.is_refused for bell in self._bells.values()):
            for bell in self._bells.values():
                bell.is_refused = False  # It may be allowed by now.
            self._follow_soon(0)
