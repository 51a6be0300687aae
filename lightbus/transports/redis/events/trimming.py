"""Keeping a stream near its length; publishers are told when it is full."""

from __future__ import annotations

import asyncio
import logging

from lightbus.exceptions import BusAlreadyClosed, LightbusException
from lightbus.messages import EventMessage
from lightbus.runtime.cancellation import end, is_ending
from lightbus.runtime.tasks import begin
from lightbus.transports.events import GroupStatus
from lightbus.transports.redis.base import RedisTransport
from lightbus.transports.redis.keys import trimming_key
from lightbus.transports.redis.link.connection import FAILURES
from lightbus.transports.redis.link.denials import Denials
from lightbus.transports.redis.scripts import TRIM

from .questions.status import most_behind

logger = logging.getLogger(__name__)

#: For so many milliseconds after a look at a stream no other process looks at it.
_TRIM_LEASE_MS = 200
#: How many of those that wait for room go on at a time, at least.
_LET_IN = 10
#: Seconds between log lines about dropped events of one stream.
_SAID_EVERY = 60
#: Seconds between two looks for the group because of which a stream is full.
_CAUSE_EVERY = 5.0
#: How far a list of events may go above a stream's length between two looks; a tenth of it if that is more.
_SLACK = 1_000


class Trimmer:
    """Keeps one stream near its length, from the side that makes it grow.

    Args:
        transport: Has the pipe.
        stream: The stream.
        most: The length to keep to.
        drops: Whether the oldest are dropped if listeners are too far behind.
    """

    def __init__(self, transport: RedisTransport, stream: str, most: int, *, drops: bool) -> None:
        self._transport = transport
        self._stream = stream
        self._trimming = f"trim {stream}"
        self._refusals = Denials(transport.obstacles, "this process")
        self.most = most
        self._drops = drops
        self._step = max(1, min(1_000, most // 10))
        self._added = self._step - 1
        self._running: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._let_in = 0
        #: Whether the stream holds its whole length in events that some group has not acknowledged.
        self.is_full = False
        # Whether a list found it well above its length, which no look has judged yet.
        self._is_overgrown = False
        #: Whether the last look was not left out, since somebody had looked just before.
        self._has_looked = False
        self._has_said_so = False
        #: The group for whose sake the stream is full, as it was found last, and when to look again.
        self.cause: GroupStatus | None = None
        self._cause_due = 0.0
        self._dropped = 0
        self._silent_until = 0.0
        self._is_closed = False

    def note_added(self) -> bool:
        """Count an event, look at the stream every now and then, and tell whether it is full."""
        self._added += 1
        if self._added >= self._step:
            self.look_soon()
        return self.is_full

    def look_soon(self) -> None:
        """Look at the stream now, unless that is under way."""
        if self._running is None and not self._is_closed:
            self._added = 0
            self._running = begin(self._trim(), f"lightbus trim {self._stream}")
            self._running.add_done_callback(self._note_trimmed)

    async def wait_for_room(self, message: EventMessage) -> None:
        """Wait until listeners have made room; the caller's deadline bounds the wait."""
        if not self._has_said_so:
            self._has_said_so = True
            logger.warning(
                "%s waits: %s is full of unacknowledged events", message.canonical_name, self._stream
            )
        # One looks for all that wait, and only some go on after each look: else many that wait would keep
        # Redis busy with nothing, and overfill the stream together.
        while self.is_full or self._is_crowded:
            await self._next_look(message)
        self._let_in += 1

    @property
    def has_no_room(self) -> bool:
        """Whether it is known that no more events should come: it is full, or others are let in first."""
        return self.is_full or self._is_overgrown or self._is_crowded

    @property
    def _is_crowded(self) -> bool:
        """Whether as many of those that waited for room went on as may before the next look."""
        return self._let_in >= max(_LET_IN, self._step)

    def must_look_before(self, count: int) -> bool:
        """Tell whether a list of so many events must not go on before it is known how full the stream is."""
        return count > self._step and self._running is not None

    async def catch_up(self, message: EventMessage) -> None:
        """Wait for a look that was begun, so that a long list of events does not overtake it.

        Somebody may have looked within the last moment: then it is known only after the next look, and worth
        waiting for if the stream has grown well above its length.
        """
        if self._running is not None:
            await asyncio.wait([self._running])
        most = self.most + max(_SLACK, self.most // 10)
        try:
            while not self._has_looked and await self._transport.pipe.send("XLEN", self._stream) > most:
                self._is_overgrown = True
                await self._next_look(message)
        except FAILURES as e:
            logger.debug("the length of %s: %s", self._stream, e)

    async def close(self) -> None:
        """Wait no longer for a trim that is on its way."""
        self._is_closed = True
        tasks = [task for task in (self._running, self._looking) if task is not None]
        for task in tasks:
            end(task)
        if tasks:
            await asyncio.wait(tasks)
        self._refusals.close()

    async def _next_look(self, message: EventMessage) -> None:
        is_over = self._is_closed
        if not is_over:
            if self._looking is None:
                self._looking = begin(self._look(), f"lightbus room {self._stream}")
                self._looking.add_done_callback(self._note_looked)
            looking = self._looking
            await asyncio.wait([looking])
            # If it has ended by accident, which is told already, the waiting one looks again. If it had just
            # ended by itself when the bus was closed, another look would open a connection.
            is_over = self._is_closed or (looking.cancelled() and is_ending(looking))
            if not looking.cancelled() and isinstance(error := looking.exception(), LightbusException):
                raise error
        if is_over:
            raise BusAlreadyClosed(f"the bus was closed while {message.canonical_name} waited for room")

    def _note_looked(self, _: asyncio.Task[None]) -> None:
        self._looking = None

    def _note_trimmed(self, _: asyncio.Task[None]) -> None:
        self._running = None

    async def _look(self) -> None:
        await asyncio.sleep(_TRIM_LEASE_MS / 1000)
        await self._trim()
        self._let_in = 0

    async def _trim(self) -> None:
        key, drops = trimming_key(self._stream), int(self._drops)
        trim = TRIM(stream=self._stream, trimming=key, most=self.most, lease=_TRIM_LEASE_MS, drops=drops)
        try:
            outcome, dropped = await self._transport.pipe.run(trim)
        except FAILURES as e:
            self._refusals.meet(self._trimming, e)
            return
        self._refusals.clear(self._trimming)
        self._has_looked = outcome >= 0
        if outcome >= 0:
            self.is_full = outcome == 1
            self._is_overgrown = False
            self._has_said_so &= self.is_full
            if dropped:
                self._note_dropped(dropped)
        if outcome == 1:
            await self._find_cause()

    async def _find_cause(self) -> None:
        """Find the group because of which the stream is full, every few seconds."""
        now = asyncio.get_running_loop().time()
        if now < self._cause_due:
            return
        self._cause_due = now + _CAUSE_EVERY
        try:
            self.cause = await most_behind(self._transport.pipe, self._stream, self.most)
        except FAILURES as e:
            logger.debug("why %s is full: %s", self._stream, e)

    def _note_dropped(self, dropped: int) -> None:
        self._transport.metrics.events_dropped.add(self._stream, by=dropped)
        self._dropped += dropped
        now = asyncio.get_running_loop().time()
        if now < self._silent_until:
            return
        logger.error(
            "%s is full: dropped %d events that a listener has not acknowledged (when_full: drop_oldest)",
            self._stream,
            self._dropped,
        )
        self._dropped, self._silent_until = 0, now + _SAID_EVERY
