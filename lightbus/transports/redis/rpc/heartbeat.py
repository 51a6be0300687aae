"""The signs of life of one process, for all APIs that it serves over one Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from lightbus.runtime.cancellation import end
from lightbus.runtime.obstacles import Obstacles
from lightbus.runtime.tasks import Kept, begin
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.connection import BLOCK, FAILURES, LinkBroken
from lightbus.transports.redis.link.rounds import Rounds

from . import presence
from .presence import TURN, Presence

logger = logging.getLogger(__name__)

#: So many connections wait for calls before each waits for longer, and how much longer at most.
_MANY, _LONGEST = 100, 5.0


class Serving(Protocol):
    """One API that this process serves."""

    presence: Presence
    #: How many seconds its connection waits for a call before it asks again.
    block: float

    @property
    def is_barred(self) -> bool:
        """Whether a call that is taken could not be finished."""

    async def recover(self, members: Sequence[str]) -> None:
        """Take over the calls of processes that show no sign of life."""

    def doubt(self) -> None:
        """Find out whether the connection that waits for calls is dead."""


class Heartbeat:
    """Shows with one write that this process lives, and looks for those that no longer do.

    Args:
        pipe: The Redis.
        obstacles: Shows that its task has ended, while that is so.
    """

    def __init__(self, pipe: Channel, obstacles: Obstacles) -> None:
        self._pipe = pipe
        self._obstacles = obstacles
        self._serving: list[Serving] = []
        self._kept: Kept | None = None
        self._showing = asyncio.Lock()
        # By rounds: while a node of a cluster is away, this process goes on being seen at the others.
        self._signs: Rounds[Serving] = Rounds(pipe)
        self._looking: asyncio.Task[None] | None = None

    @property
    def block(self) -> float:
        """How many seconds connections wait for a call.

        With very many APIs each asks less often, so that a process at rest does little. A connection that is
        dead is found later then. So the shared one, which is heard of every few seconds, tells.
        """
        return BLOCK * min(_LONGEST, max(1.0, len(self._serving) / _MANY))

    def add(self, serving: Serving) -> None:
        """Show from now on that this process serves an API."""
        self._serving.append(serving)
        if self._kept is None:
            lost = "callers don't see that this process serves its APIs"
            self._kept = Kept(self._beat, "lightbus presence", lost, self._obstacles).start()

    async def remove(self, serving: Serving) -> None:
        """Show it no more; what was shown before is done when this returns."""
        if serving in self._serving:
            self._serving.remove(serving)
        if not self._serving and self._kept is not None:
            kept, self._kept = self._kept, None
            await kept.stop()
            await self._end_look()
        async with self._showing:
            pass
        await self._signs.answered(serving)

    async def _beat(self) -> None:
        while True:
            for serving in self._serving:
                serving.block = self.block
            # First, since a process that counts as absent itself would lose its own calls meanwhile.
            turns = await self._show()
            # Beside it: whatever has to wait for a node that is away keeps this process from being seen.
            if turns and (self._looking is None or self._looking.done()):
                self._looking = begin(self._look(turns), "lightbus recovery")
            # Twice may fail before it counts as absent.
            await asyncio.sleep(presence.PRESENCE / presence.SHOWS)

    async def _show(self) -> list[Serving]:
        """Show that this process serves its APIs; return those of which it is to look after the others."""
        # All at once: where the loop is busy, as at the start, each wait for a reply may take long, and the
        # last of very many APIs would be shown too late.
        turns: list[Serving] = []

        def take(serving: Serving, reply: object) -> None:
            if reply == TURN:
                turns.append(serving)
            elif isinstance(reply, Exception):
                logger.debug("presence: %s", reply)
                if isinstance(reply, LinkBroken) and self.block > BLOCK:
                    serving.doubt()

        async with self._showing:
            shown = [serving for serving in self._serving if not serving.is_barred]
            await self._signs.run({each: each.presence.shown(may_look=True) for each in shown}, take)
        return list(turns)

    async def _look(self, turns: Sequence[Serving]) -> None:
        """Recover the calls of processes that are in the registers of these APIs, and absent."""
        try:
            for serving, absent in await self._absent(turns):
                await serving.recover(absent)
        except FAILURES as e:
            logger.debug("the processes that are absent: %s", e)

    async def _end_look(self) -> None:
        if self._looking is not None:
            end(self._looking)
            await asyncio.wait([self._looking])
            self._looking = None

    async def _absent(self, turns: Sequence[Serving]) -> Sequence[tuple[Serving, Sequence[str]]]:
        """Return the processes that are in the registers of these APIs, and show no sign of life."""
        registers = await self._pipe.send_many([each.presence.members() for each in turns])
        others = [each.presence.others(reply) for each, reply in zip(turns, registers, strict=True)]
        asked = [
            each.presence.is_present(member)
            for each, members in zip(turns, others, strict=True)
            for member in members
        ]
        answers = iter(await self._pipe.send_many(asked) if asked else ())
        absent = [[member for member in members if next(answers) == 0] for members in others]
        return [(each, members) for each, members in zip(turns, absent, strict=True) if members]
