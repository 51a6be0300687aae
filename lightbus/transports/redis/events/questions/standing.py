"""Where one event is for each group of its stream: looked for wherever a group may keep it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lightbus.exceptions import InvalidMessage
from lightbus.messages import EventMessage
from lightbus.transports.groups import Standing
from lightbus.transports.merging import NATIVE_ID
from lightbus.transports.redis.custom_codec import Decode
from lightbus.transports.redis.events.entry import is_of_retry, read_count
from lightbus.transports.redis.keys import GroupKeys, stream_key
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.connection import unavailable
from lightbus.transports.redis.link.refusals import ReplyError

from .consumers import NOBODY
from .notes import asks_notes, notes_of
from .status import PACKED_ATTEMPTS

#: The most entries of a retry stream or of dead letters that are looked at, and how many at a time.
_MOST, _PAGE = 5_000, 250


async def standings(pipe: Channel, decode: Decode, message: EventMessage) -> list[Standing]:
    """Tell where an event is; see :meth:`EventQuestions.standings`."""
    native_id = message.native_id or ""
    if not NATIVE_ID.fullmatch(native_id):
        return []
    names = [stream_key(message.api_name, message.event_name, use) for use in ("per_api", "per_event")]
    with unavailable("where the event is can't be told"):
        asked = [
            q for name in names for q in (("XRANGE", name, native_id, native_id), ("XINFO", "GROUPS", name))
        ]
        replies = await pipe.send_many(asked)
        looks = [
            _Look(pipe, stream, _text(facts[b"name"]), native_id, message.id).ask(facts[b"last-delivered-id"])
            for stream, entries, groups in zip(names, replies[::2], replies[1::2], strict=True)
            if _has(decode, entries, message) and not isinstance(groups, ReplyError)
            for facts in map(_facts, groups)
        ]
        return sorted(await asyncio.gather(*looks), key=lambda each: (each.group, each.stream))


@dataclass(frozen=True, slots=True)
class _Look:
    """Looks for an event in one group."""

    pipe: Channel
    stream: str
    group: str
    native_id: str
    message_id: str

    async def ask(self, read: bytes) -> Standing:
        """Look where it is, in the order in which it may be in several places: it moves on meanwhile.

        Args:
            read: The id up to which the group has read.
        """
        keys, native_id = GroupKeys(self.stream, self.group), self.native_id
        replies = await self.pipe.send_many(
            [
                *asks_notes(self.stream, self.group),
                ("XPENDING", self.stream, self.group, native_id, native_id, 1),
                ("HGET", keys.bodies, native_id),
                ("ZSCORE", keys.delayed, native_id),
                ("EXISTS", keys.handled + self.message_id),
            ]
        )
        notes, (pending, body, due, is_handled) = notes_of(replies[:2]), replies[2:]
        at = Standing(self.group, self.stream, "passed", service=_text(notes.service))
        if _number(native_id.encode()) > _number(read):
            return replace(at, state="unread")
        if isinstance(pending, list) and pending:
            return _held(at, pending[0], 0)
        if isinstance(body, bytes):
            packed = PACKED_ATTEMPTS.search(body)
            tried = int(packed[1]) if packed is not None else 0
            seconds = float(due) / 1000 if isinstance(due, bytes) else None
            return replace(at, state="waiting", attempts=tried, due=seconds)
        again = await self._retried(keys, at)
        if again is not None:
            return again
        if is_handled == 1:
            return at
        letter = await self._dead(keys, at)
        if letter.state == "passed" and notes.began and _number(native_id.encode()) <= _number(notes.began):
            return replace(letter, state="before")
        return letter

    async def _retried(self, keys: GroupKeys, at: Standing) -> Standing | None:
        """Look among what is due for another attempt, or was handed back."""
        async for entry_id, fields in self._entries(keys.retry, b"-"):
            if is_of_retry(fields) and fields[-1] == self.native_id.encode():
                tried = read_count(_text(fields[-3]))
                held = await self.pipe.send("XPENDING", keys.retry, self.group, entry_id, entry_id, 1)
                if isinstance(held, list) and held:
                    return _held(at, held[0], tried)
                return replace(at, state="due", attempts=tried)
        return None

    async def _dead(self, keys: GroupKeys, at: Standing) -> Standing:
        """Look among the dead letters, none of which is older than the event."""
        count = 0
        async for entry_id, fields in self._entries(keys.dead, self.native_id.partition("-")[0].encode()):
            count += 1
            about = dict(zip(fields[-10::2], fields[-9::2], strict=False))
            if about.get(b"origin") == self.native_id.encode():
                tried, reason = (_text(about.get(name, b"")) for name in (b"attempts", b"reason"))
                letter = _text(entry_id)
                return replace(at, state="dead", attempts=read_count(tried), letter=letter, reason=reason)
        return replace(at, state="unknown") if count >= _MOST else at

    async def _entries(self, key: str, first: bytes) -> AsyncIterator[tuple[bytes, Sequence[bytes]]]:
        """Go through the entries of a stream, up to so many."""
        for _ in range(_MOST // _PAGE):
            entries = await self.pipe.send("XRANGE", key, first, "+", "COUNT", _PAGE)
            for entry_id, fields in entries:
                yield entry_id, fields
            if len(entries) < _PAGE:
                return
            first = b"(" + entries[-1][0]


def _held(at: Standing, pending: Sequence[Any], before: int) -> Standing:
    """Return where an event is that a group has read and not settled.

    Args:
        at: What is known besides.
        pending: The entry, the consumer, the milliseconds since it was heard of, and the deliveries.
        before: How many attempts were made before it was put into this stream.
    """
    _, consumer, idle, delivered = pending
    process = _text(consumer)
    if process == NOBODY:
        return replace(at, state="due", attempts=before)
    return replace(at, state="held", process=process, idle=idle / 1000, attempts=before + delivered)


def _has(decode: Decode, entries: Any, message: EventMessage) -> bool:
    """Tell whether a stream has this event, and not another one at the same id."""
    if not isinstance(entries, list) or not entries:
        return False
    try:
        found = decode(entries[0][1], _text(entries[0][0]))[0]
    except InvalidMessage:
        return False
    return found is not None and found.id == message.id


def _facts(reply: Sequence[Any]) -> dict[bytes, Any]:
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _number(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number or 0)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
