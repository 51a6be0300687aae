"""Settling an entry that was read: it is acknowledged, kept for later, handed back or put aside.

An entry leaves the group by one command or one script, so that it is never in two places or in none. Until
Redis has confirmed that, its lease is renewed. A command that fails is sent again: twice does no harm.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from lightbus.exceptions import text_of
from lightbus.messages import EventMessage
from lightbus.runtime.cancellation import is_ending
from lightbus.runtime.retrying import Retrying
from lightbus.runtime.tasks import Kept, Work
from lightbus.transports.redis.link.connection import FAILURES
from lightbus.transports.redis.link.deadlines import failure_of
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.link.rounds import Rounds
from lightbus.transports.redis.scripts import FINISH, MOVE, PROMOTE, RETRY, Run

from .entry import Entry, Fields
from .leases import Leases
from .membership import Membership

logger = logging.getLogger(__name__)

_DUE_AT_ONCE = 100
#: Seconds that stand for no limit: ten years.
_LONGEST_DELAY = 315_360_000
_MAX_TRACE = 8_000
#: The most field names and values that a dead letter keeps: all of an event, and no more than fits a script.
_MOST_VALUES = 4_000
#: The most entries that are settled in the background before others are read.
_MOST_AT_ONCE = 1_000
#: Seconds after which an event that was not started is left to the end of its lease.
_HAND_BACK = 2.0

#: The work that can't be done if a script is refused.
_SETTLING = {
    RETRY: "keep events for their next attempt",
    MOVE: "move events to its dead letters or back to others",
}
_PROMOTING = "take up events again that are due"
_ACKNOWLEDGING = "acknowledge events"


class Settling:
    """Settles the entries of one consumer; commands that Redis has not confirmed are sent again.

    Args:
        membership: The process that holds the entries.
        leases: Drops an entry once it is settled.
        dedupe: Seconds for which acknowledged events are remembered; None for not at all.
        longest_delay: Returns the most seconds for which an event ever waits for another attempt.
    """

    def __init__(
        self,
        membership: Membership,
        leases: Leases,
        dedupe: float | None,
        longest_delay: Callable[[], float],
    ) -> None:
        self.membership = membership
        self.leases = leases
        self._keys = membership.keys
        self._pipe = membership.pipe
        self._group = membership.group
        self._refusals = membership.refusals
        self._dedupe = dedupe
        self._longest_delay = longest_delay
        self._finished: dict[str, list[str]] = {}
        #: With dedupe, the keys of events that are acknowledged as soon as Redis confirms it.
        self._handled: dict[str, set[str]] = {}
        self._flushing = False
        self._confirming = Retrying(logger, f"acknowledging events as {self._group}")
        self._closing = False
        self._acknowledging: dict[asyncio.Future[Any], tuple[str, list[str]]] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._promoting: Rounds[str] = Rounds(membership.pipe)
        self._spawned: set[Kept] = set()

    def acknowledge(self, entry: Entry) -> None:
        """Acknowledge an entry together with all others of this loop tick."""
        if self._dedupe is not None:
            self._handled.setdefault(entry.source, set()).add(self._handled_key(entry))
        self.acknowledge_unread(entry.source, entry.id)

    def acknowledge_unread(self, source: str, entry_id: str) -> None:
        """Acknowledge an entry likewise that is not handled, and so is not remembered."""
        finished = self._finished.get(source)
        if finished is None:
            finished = self._finished[source] = []
        finished.append(entry_id)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    async def was_handled(self, entry: Entry) -> bool:
        """Tell whether the group has acknowledged an event of the same id; asks until Redis answers."""
        if self._dedupe is None:
            return False
        key = self._handled_key(entry)
        looking: Retrying | None = None
        # Redis may not know yet of an event that this process has acknowledged, and its twin may be the next.
        while not any(key in keys for keys in self._handled.values()):
            try:
                return bool(await self._pipe.send("EXISTS", key))
            except FAILURES as e:
                looking = looking or _retrying("looking for", entry)
                await looking.wait(e)
        return True

    def finishing(self, source: str) -> set[str]:
        """Return the ids of entries that are acknowledged, though Redis has not confirmed it yet."""
        sent = (ids for of, ids in self._acknowledging.values() if of == source)
        return set().union(self._finished.get(source, ()), *sent)

    async def postpone(self, entry: Entry, delay: float) -> None:
        """Keep an entry in Redis until it is due, and move it to the retry stream then."""
        keys = self._keys[entry.stream]
        await self._settle(
            entry,
            RETRY(
                source=entry.source, delayed=keys.delayed, bodies=keys.bodies, notes=keys.notes,
                groups=keys.groups, group=self._group, entry=entry.id, origin=entry.origin,
                delay=max(1, int(delay * 1000)), is_retry=int(entry.is_retry), made=keys.made,
                fields=entry.after(entry.attempt),
            ),
        )  # fmt: skip
        # Only now: a timer that found nothing due would leave it to the next regular look.
        self.promote_later(entry.stream, delay)

    async def bury(
        self, entry: Entry, message: EventMessage, reason: str, error: BaseException | None
    ) -> None:
        """Move an entry to the group's dead letters."""
        trace = "".join(traceback.format_exception(error)) if error is not None else ""
        text = text_of(error) if error is not None else ""
        fields = [
            *entry.fields[:_MOST_VALUES],
            *(b"reason", reason.encode()),
            *(b"error", text.encode(errors="backslashreplace")[:_MAX_TRACE]),
            *(b"trace", trace.encode(errors="backslashreplace")[-_MAX_TRACE:]),
            *(b"attempts", str(entry.attempt).encode()),
            *(b"origin", entry.origin.encode()),
        ]
        await self._move(entry, self._keys[entry.stream].dead, fields)
        self.membership.count_dead(message, reason)

    async def hand_back(self, entry: Entry) -> None:
        """Move an entry to the retry stream; if that can't be done soon, its lease runs out instead."""
        try:
            async with asyncio.timeout(_HAND_BACK):
                await self._move(entry, self._keys[entry.stream].retry, entry.after(entry.attempt - 1))
            self._pipe.ring(entry.stream, self._group)
        except TimeoutError:
            what, extra = "event %s is not handed back; its lease runs out", {"message_id": entry.message_id}
            logger.warning(what, entry.message_id, extra=extra)
            self.leases.drop(entry.source, [entry.id])

    async def _move(self, entry: Entry, target: str, fields: Fields) -> None:
        """Take an entry out of the group and append it to another stream, at once or not at all."""
        keys = self._keys[entry.stream]
        await self._settle(
            entry,
            MOVE(
                source=entry.source, target=target, notes=keys.notes, groups=keys.groups, group=self._group,
                entry=entry.id, is_retry=int(entry.is_retry), made=keys.made, fields=fields,
            ),
        )  # fmt: skip

    def _handled_key(self, entry: Entry) -> str:
        """Return the key that remembers an event once it is acknowledged."""
        return self._keys[entry.stream].handled + entry.message_id

    def promote_later(self, stream: str, delay: float) -> None:
        """Move retries that are due to the retry stream, ``delay`` seconds from now."""
        loop = asyncio.get_running_loop()

        def begin() -> None:
            self._timers.discard(timer)
            self.spawn(partial(self.promote, stream), "retries that are due are not moved")

        timer = loop.call_later(delay + 0.002, begin)
        self._timers.add(timer)

    async def promote(self, stream: str) -> None:
        """Move retries that are due to the retry stream, on which peers are blocked."""
        try:
            reply = await self._pipe.run(self._promotion(stream))
        except FAILURES as e:
            self._refusals.meet(_PROMOTING, e)
        else:
            self._refusals.clear(_PROMOTING)
            self._note_promoted(stream, *reply)

    async def promote_all(self) -> Collection[str]:
        """Move the retries of all streams that are due; return the streams for which that worked.

        A stream whose slot has nobody keeps no other waiting.
        """
        promoted: list[str] = []
        errors: list[Exception] = []

        def take(stream: str, reply: Any) -> None:
            if isinstance(reply, Exception):
                errors.append(reply)
            else:
                promoted.append(stream)
                self._note_promoted(stream, *reply)

        await self._promoting.run({stream: self._promotion(stream) for stream in self._keys}, take)
        if errors:
            self._refusals.meet_any(_PROMOTING, errors)
        elif promoted:
            self._refusals.clear(_PROMOTING)
        return tuple(promoted)

    def _promotion(self, stream: str) -> Run:
        keys = self._keys[stream]
        longest = int(1000 * min(self._longest_delay(), _LONGEST_DELAY))
        return PROMOTE(
            delayed=keys.delayed, bodies=keys.bodies, retry=keys.retry, dead=keys.dead,
            most=_DUE_AT_ONCE, longest=longest,
        )  # fmt: skip

    def _note_promoted(self, stream: str, left: int, refused: int, moved: int) -> None:
        if moved:
            self._pipe.ring(stream, self._group)
        for _ in range(refused):
            self.membership.refuse(self._keys[stream].bodies, "not an event")
        if 0 <= left < 1_000 and not self._closing:
            self.promote_later(stream, left / 1_000)

    def _flush(self) -> None:
        """Acknowledge everything that was finished during this tick, with one command per stream."""
        # Before anything is sent: an entry that is finished meanwhile begins the next list.
        self._flushing = False
        finished, self._finished = self._finished, {}
        for source, ids in finished.items():
            is_retry = source not in self._keys
            handled = list(self._handled.get(source, ()))
            future: asyncio.Future[list[Any]]
            if handled or is_retry:
                finish = FINISH(
                    source=source, handled=handled, group=self._group, is_retry=int(is_retry), ids=ids,
                    milliseconds=max(1, int((self._dedupe or 0) * 1000)),
                )  # fmt: skip
                finishing = self._pipe.run(finish)
                future = asyncio.get_running_loop().create_task(finishing, name="lightbus acknowledging")
            else:
                future = self._pipe.send_many([("XACK", source, self._group, *ids)])
            self._acknowledging[future] = source, ids
            future.add_done_callback(partial(self._confirm, source, ids, handled))

    def _confirm(
        self, source: str, ids: list[str], handled: list[str], future: asyncio.Future[list[Any]]
    ) -> None:
        self._acknowledging.pop(future, None)
        # At the end nobody is left to send it again: the leases run out, and another process handles it.
        if future.cancelled() and (self._closing or _is_at_end(future)):
            return
        what = "something cancelled it"
        error = failure_of(future) if not future.cancelled() else asyncio.CancelledError(what)
        if error is None:
            self._confirming.clear()
            self._refusals.clear(_ACKNOWLEDGING)
            # From now on Redis remembers it, and may forget it after its time.
            if handled:
                self._handled[source].difference_update(handled)
            self.leases.drop(source, ids)
            return
        self._refusals.meet(_ACKNOWLEDGING, error)
        wait = self._confirming.failed(error, is_told=isinstance(error, ReplyError))
        self._finished.setdefault(source, []).extend(ids)
        if not self._flushing and not self._pipe.is_closed:
            self._flushing = True
            asyncio.get_running_loop().call_later(wait, self._flush)

    async def _settle(self, entry: Entry, run: Run) -> None:
        """Run a script that settles an entry, until Redis has done it.

        Doing it twice changes nothing, unless the group is destroyed in between: better twice than never.
        """
        settling: Retrying | None = None
        while True:
            try:
                await self._pipe.run(run)
                break
            except FAILURES as e:
                # A refusal meets all events alike: one line tells of it.
                self._refusals.meet(_SETTLING[run.script], e)
                settling = settling or _retrying("settling", entry)
                await settling.wait(e, is_told=isinstance(e, ReplyError))
        # Held until here: while it is tried again, nobody else must take the entry over.
        self._refusals.clear(_SETTLING[run.script])
        self.leases.drop(entry.source, [entry.id])

    async def close(self) -> None:
        """Wait a little for commands that are on their way."""
        # In this order: the timers begin nothing more, then the last acknowledgements go out, and then all
        # that was begun is waited for.
        self._closing = True
        for timer in self._timers:
            timer.cancel()
        self._flush()
        waiting = {*self._acknowledging, *(kept.over for kept in self._spawned)}
        if waiting:
            await asyncio.wait(waiting, timeout=5)
        for kept in list(self._spawned):
            kept.end()

    async def keep_up(self) -> None:
        """Wait while too much is settled in the background, as it is if Redis refuses it."""
        while len(self._spawned) > _MOST_AT_ONCE and not self.membership.is_leaving:
            over = [kept.over for kept in self._spawned]
            await asyncio.wait(over, timeout=1, return_when=asyncio.FIRST_COMPLETED)

    def spawn(self, work: Work, what: str) -> None:
        """Do something in the background until it is done; closing waits for it.

        Args:
            work: Makes the coroutine; to run it again changes nothing.
            what: The loss without it, such as "an event is not put aside".
        """
        kept = Kept(work, f"lightbus settling {self._group}", what, self.membership.obstacles)
        self._spawned.add(kept)
        kept.over.add_done_callback(lambda _: self._spawned.discard(kept))
        kept.start()


def _is_at_end(future: asyncio.Future[Any]) -> bool:
    return isinstance(future, asyncio.Task) and is_ending(future)


def _retrying(doing: str, entry: Entry) -> Retrying:
    return Retrying(logger, f"{doing} event {entry.message_id}", message_id=entry.message_id)
