"""The progress of the groups of this Redis, asked without reading anything for them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice
from operator import attrgetter
from shlex import quote
from typing import Any

from lightbus.runtime.tasks import make_way
from lightbus.transports.events import GroupStatus, Held, StreamStatus
from lightbus.transports.redis.events.entry import is_of_retry
from lightbus.transports.redis.keys import GroupKeys
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.connection import unavailable
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.scripts import COUNT

from .consumers import NOBODY, consumers_of
from .history import stream_keys
from .notes import QUESTIONS, Notes, all_notes_of, asks_notes, notes_of

#: Redis before 7.0, and any Redis for a group that began in the middle, does not know the lag. Up to so many
#: entries are counted then; beyond, it is estimated by their times.
_COUNTED = 1_000
#: Without a script, up to so many are counted: they have to be read.
_READ = 100
#: The number of attempts at the end of the fields of an event, as retry.lua packs them.
PACKED_ATTEMPTS = re.compile(rb"\xa8attempts[\xa1-\xbf](\d{1,20})\xa6origin[\xa1-\xbf][\d-]+\Z")

#: So many groups are asked about with one write, and so many writes wait for replies: a bus may have
#: thousands of groups, and others use the connection, too.
_AT_ONCE, _ON_THEIR_WAY = 50, 2

_Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Group:
    """A group of a stream.

    Args:
        stream: The stream.
        name: The group.
        about: What Redis says of the stream.
        facts: What it says of the group.
    """

    stream: str
    name: str
    about: _Facts
    facts: _Facts

    @property
    def questions(self) -> list[tuple[Any, ...]]:
        """The questions about it whose answers a status is made of."""
        keys = GroupKeys(self.stream, self.name)
        asked: list[tuple[Any, ...]] = [
            ("XINFO", "CONSUMERS", self.stream, self.name),
            ("XINFO", "CONSUMERS", keys.retry, self.name),
            *(("XLEN", keys.retry), ("ZCARD", keys.delayed), ("XLEN", keys.dead)),
        ]
        held: list[tuple[Any, ...]] = [("XPENDING", self.stream, self.name, "-", "+", 1)]
        return asked + held if self.facts["pending"] else asked


async def group_status(
    pipe: Channel, streams: Sequence[str] | None = None, group: str | None = None, limit: int | None = None
) -> list[GroupStatus]:
    """Return how far groups are.

    Args:
        pipe: The Redis.
        streams: The streams to ask; if not given, all that there are, which have to be searched for.
        group: The only group to tell about.
        limit: How many events a stream takes that a group has not acknowledged.

    Raises:
        TransportUnavailable: Redis does not answer, or refuses.
    """
    with unavailable("the groups can't be read"):
        if streams is None:
            streams = [key.decode("utf-8", "replace") for key in await stream_keys(pipe)]
        return await _statuses(pipe, await _groups(pipe, streams, group), limit)


async def look_at(
    pipe: Channel, streams: Mapping[str, Sequence[tuple[str, str]]], limit: int | None
) -> list[StreamStatus]:
    """Return how long streams are, and how far their groups; no script is run for that.

    Args:
        pipe: The Redis.
        streams: The events that travel in each stream.
        limit: How many events a stream takes that a group has not acknowledged.

    Raises:
        TransportUnavailable: Redis does not answer, or refuses.
    """
    with unavailable("the streams can't be read"):
        lengths = await pipe.send_many([("XLEN", stream) for stream in streams]) if streams else []
        groups = await _statuses(pipe, await _groups(pipe, list(streams), None), limit, only_reads=True)
    return [
        StreamStatus(
            stream,
            tuple(events),
            length if isinstance(length, int) else 0,
            tuple(group for group in groups if group.stream == stream),
        )
        for (stream, events), length in zip(streams.items(), lengths, strict=True)
    ]


async def attempts(pipe: Channel, status: GroupStatus, most: int) -> list[int]:
    """Return how often each event was tried that waits for another attempt, of up to so many.

    Raises:
        TransportUnavailable: Redis does not answer, or refuses.
    """
    keys = GroupKeys(status.stream, status.group)
    with unavailable("events that wait for another attempt can't be read"):
        origins, due = await pipe.send_many(
            [("HKEYS", keys.bodies), ("XRANGE", keys.retry, "-", "+", "COUNT", most)]
        )
        asked = [("HGET", keys.bodies, o) for o in origins[:most]] if isinstance(origins, list) else []
        bodies = await pipe.send_many(asked) if asked else []
    found = [PACKED_ATTEMPTS.search(body) for body in bodies if isinstance(body, bytes)]
    numbers = [match[1] for match in found if match is not None]
    numbers += [fields[-3] for _, fields in due if is_of_retry(fields)] if isinstance(due, list) else []
    return [int(number) for number in numbers[:most]]


async def most_behind(pipe: Channel, stream: str, limit: int) -> GroupStatus | None:
    """Return the group because of which a stream keeps its oldest event; None if it has no group."""
    statuses = await group_status(pipe, [stream], limit=limit)
    return min(statuses, key=lambda status: _number(status.oldest.encode()), default=None)


@dataclass(frozen=True, slots=True)
class Gone:
    """The events that a stream has lost before a group had read them.

    Args:
        number: How many, all that are noted included.
        is_exact: Whether Redis has counted them. Else it is the number that came in the same time later.
        noted: How many of them Redis will always count as unread, although the group is beyond them.
        is_over: Whether the group has read all there is.
        place: The id after which the group reads on.
    """

    number: int
    is_exact: bool
    noted: int
    is_over: bool
    place: bytes


async def events_gone(pipe: Channel, streams: Sequence[str], group: str) -> tuple[dict[str, Gone], int]:
    """Return what each stream has lost that the group had not read, as far as that can be told now.

    Returns:
        That, and the most groups that one of the streams has: so many were read to find this one.
    """
    read = await _read(pipe, streams)
    most = max((len(groups) for _, _, groups in read), default=0)
    known = _only(read, group)
    asked = [question for it in known for question in asks_notes(it.stream, group)]
    replies = await pipe.send_many(asked) if asked else []
    found = {}
    for i, it in enumerate(known):
        gone = _gone(it.about, it.facts, notes_of(replies[QUESTIONS * i : QUESTIONS * (i + 1)]))
        if gone is not None:
            found[it.stream] = gone
    return found, most


def note_surplus(pipe: Channel, stream: str, group: str, made: str, surplus: int) -> Awaitable[Any]:
    """Note how many events Redis will always count as unread, although the group is beyond them."""
    return pipe.send("HSET", GroupKeys(stream, group).notes, "surplus", f"{made} {surplus}")


async def _groups(pipe: Channel, streams: Sequence[str], group: str | None) -> list[_Group]:
    """Return the groups of streams, or one of them."""
    return _only(await _read(pipe, streams), group)


async def _read(pipe: Channel, streams: Sequence[str]) -> list[tuple[str, Sequence[Any], Sequence[Any]]]:
    """Return the streams that there are, with what Redis says of each and of its groups."""
    asked = [("XINFO", what, stream) for stream in streams for what in ("STREAM", "GROUPS")]
    replies = await pipe.send_many(asked) if asked else []
    told = zip(streams, replies[::2], replies[1::2], strict=True)
    # One that is an error was deleted meanwhile.
    return [each for each in told if not any(isinstance(reply, ReplyError) for reply in each[1:])]


def _only(read: Iterable[tuple[str, Sequence[Any], Sequence[Any]]], group: str | None) -> list[_Group]:
    """Return one group, or all."""
    wanted = None if group is None else group.encode()
    found = []
    for stream, told, groups in read:
        about = _facts(told)
        for reply in groups:
            # Its name comes first. A stream may have very many groups, of which one is wanted.
            if wanted is None or reply[1] == wanted:
                found.append(_Group(stream, reply[1].decode("utf-8", "replace"), about, _facts(reply)))
    return found


async def _statuses(
    pipe: Channel, groups: Sequence[_Group], limit: int | None, *, only_reads: bool = False
) -> list[GroupStatus]:
    """Ask what else there is to know of groups, of many at a time: a bus may have thousands."""
    turns = asyncio.Semaphore(_ON_THEIR_WAY)

    async def ask(part: Sequence[_Group]) -> list[GroupStatus]:
        async with turns:
            await make_way()
            return await _some(pipe, part, limit, only_reads=only_reads)

    parts = [groups[start : start + _AT_ONCE] for start in range(0, len(groups), _AT_ONCE)]
    found = await asyncio.gather(*map(ask, parts))
    return [status for part in found for status in part]


async def _some(
    pipe: Channel, groups: Sequence[_Group], limit: int | None, *, only_reads: bool
) -> list[GroupStatus]:
    by_stream = [list(those) for _, those in groupby(groups, key=attrgetter("stream"))]
    replies = iter(await pipe.send_many([question for those in by_stream for question in _asks(those)]))
    found: list[tuple[_Group, list[Any], Notes]] = []
    for those in by_stream:
        answers = [list(islice(replies, len(it.questions))) for it in those]
        found += zip(those, answers, all_notes_of(list(islice(replies, len(those) + 1))), strict=True)
    lags = [_known_lag(it, is_off=_surplus(notes) > 0) for it, _, notes in found]
    unknown = [i for i, lag in enumerate(lags) if lag is None]
    counting = (_count(pipe, found[i][0], only_reads=only_reads) for i in unknown)
    for i, lag in zip(unknown, await asyncio.gather(*counting), strict=True):
        lags[i] = lag
    return [
        _status(it, answers, notes, lag or (0, True), limit)
        for (it, answers, notes), lag in zip(found, lags, strict=True)
    ]


def _asks(groups: Sequence[_Group]) -> list[tuple[Any, ...]]:
    """Return the questions about groups of one stream: those about each, and those about their notes."""
    own = [question for it in groups for question in it.questions]
    return [*own, *asks_notes(groups[0].stream, *(it.name for it in groups))]


def _status(
    it: _Group, replies: Sequence[Any], notes: Notes, lag: tuple[int, bool], limit: int | None
) -> GroupStatus:
    consumers, held_again = consumers_of(*replies[:2])
    retry_length, delayed, dead = (count if isinstance(count, int) else 0 for count in replies[2:5])
    held = _held(replies[5]) if len(replies) > 5 else None
    about, group = it.about, it.facts
    gone = _gone(about, group, notes)
    return GroupStatus(
        it.name,
        it.stream,
        *lag,
        group["pending"] + held_again,
        delayed + max(0, retry_length - held_again),
        dead,
        consumers,
        notes.service.decode("utf-8", "replace"),
        held.native_id if held is not None else group["last-delivered-id"].decode(),
        limit,
        0 if gone is None or gone.is_over else gone.number - gone.noted,
        f"lightbus group rm {quote(it.name)}",
        about.get("entries-added"),
        group.get("entries-read"),
        gone is None or gone.is_exact,
        held if held is not None and held.process != NOBODY else None,
    )


def _held(reply: Any) -> Held | None:
    """Read the first of a group's pending entries; None if there is none, or the group is gone."""
    if not isinstance(reply, list) or not reply:
        return None
    native_id, process, idle, _ = reply[0]
    return Held(native_id.decode(), process.decode("utf-8", "replace"), idle / 1000)


def _gone(about: _Facts, group: _Facts, notes: Notes) -> Gone | None:
    """Return what a group has lost; None where nothing tells of a loss.

    Redis from 7.0 on counts what was added and what was read. Before, and for a group that began in the
    middle, it is estimated where the entry that was read last is gone, which Lightbus never trims. As many
    are missing as come in such a time, but for the one that follows in any case.
    """
    added, read, first = about.get("entries-added"), group.get("entries-read"), about["first-entry"]
    place, noted = group["last-delivered-id"], _surplus(notes)
    is_over = _number(place) >= _number(about["last-generated-id"])
    if not is_over and first is not None and _number(place) >= _number(first[0]):
        return None
    if isinstance(added, int) and isinstance(read, int):
        number = added - read - (0 if is_over else int(about["length"]))
        return Gone(max(noted, number) if not is_over else max(0, number), True, noted, is_over, place)
    if is_over or first is None or place in (b"0-0", notes.placed):
        return None
    (last, _), (begin, _), (newest, _) = map(_number, (place, first[0], about["last-generated-id"]))
    number = round((begin - last) * (int(about["length"]) - 1) / max(1, newest - begin)) - 1
    return Gone(number, False, 0, False, place) if number > 0 else None


def _surplus(notes: Notes) -> int:
    """Return what :func:`note_surplus` has noted of the group as it is now."""
    made, _, number = notes.surplus.partition(b" ")
    return int(number) if made and made == notes.made else 0


def _known_lag(it: _Group, *, is_off: bool) -> tuple[int, bool] | None:
    """Return how many entries a group has not read, and that it is exact; None if that has to be counted.

    Args:
        it: The group.
        is_off: Whether Redis counts entries as unread that were gone before the group came there.
    """
    about, group = it.about, it.facts
    read, newest, first = group["last-delivered-id"], about["last-generated-id"], about["first-entry"]
    if first is None or _number(read) >= _number(newest):
        return 0, True
    if _number(read) < _number(first[0]):
        return about["length"], True  # Redis would count those that are gone before the first, too.
    if isinstance(group.get("lag"), int) and not is_off:
        return group["lag"], True
    return None


async def _count(pipe: Channel, it: _Group, *, only_reads: bool) -> tuple[int, bool]:
    """Count the entries that a group has not read; tell whether that is exact.

    Args:
        pipe: The Redis.
        it: The group.
        only_reads: Whether no script may be run.
    """
    about = it.about
    read, newest, first = it.facts["last-delivered-id"], about["last-generated-id"], about["first-entry"]
    most = _READ if only_reads else _COUNTED
    if only_reads:
        unread = len(await pipe.send("XRANGE", it.stream, b"(" + read, "+", "COUNT", most + 1))
    else:
        unread = await pipe.run(COUNT(stream=it.stream, after=read, most=most))
    if unread <= most:
        return unread, True
    span = _number(newest)[0] - _number(first[0])[0]
    share = (_number(newest)[0] - _number(read)[0]) / span if span else 1.0
    return max(most + 1, round(about["length"] * share)), False


def _number(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number or 0)


def _facts(reply: Sequence[Any]) -> _Facts:
    """Return names and values in turn as a dictionary."""
    return dict(zip(map(_name, reply[::2]), reply[1::2], strict=True))


@lru_cache
def _name(fact: bytes) -> str:
    """Return the name of a fact. There are few, and very many answers that have them."""
    return fact.decode()
