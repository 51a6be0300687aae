"""Cards and pauses in Redis.

``lightbus:card:{service}:{process}`` holds the card of a process. The sorted set ``lightbus:cards`` has each
process as "service\\0process" by the time when its card ends, so that nobody scans for them. The hash
``lightbus:paused:{service}`` has the pause of each listener,
and that of each schedule as ``schedule:{name}``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lightbus.declared.settings import Identity
from lightbus.transports.cards import (
    AllPauses,
    Card,
    Pause,
    kept_as,
    read_card,
    read_pause,
    sorted_out,
    write_pause,
)
from lightbus.transports.redis.keys import CARDS, card_key, paused_key
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.link.session import Session
from lightbus.transports.redis.scripts import CHANGE_PAUSES

from .refused import either

#: Seconds for which a card that has ended stays in the set of all cards: so long it is known that its process
#: was killed, although what else it has left on the bus may look alive for a while.
_LEFT_BEHIND = 600.0
_BETWEEN = "\0"


async def show(session: Session, identity: Identity, card: bytes, seconds: float) -> None:
    """Write the card of a process, and take those that have ended long ago out of the set."""
    lasts = max(1, math.ceil(seconds))
    key, member = card_key(identity.service_name, identity.process_name), _member(identity)
    with either("the card of this process is not written"):
        now, _ = await session.pipe.send("TIME")
        until = int(now) + lasts
        # One after the other: in a cluster, they may lie on two nodes.
        await _exchange(session, [("SET", key, card, "EX", lasts)])
        ended = ("ZREMRANGEBYSCORE", CARDS, "-inf", until - lasts - _LEFT_BEHIND)
        await _exchange(session, [("ZADD", CARDS, until, member), ended])


async def take_down(session: Session, identity: Identity) -> None:
    """Remove the card of a process."""
    key = card_key(identity.service_name, identity.process_name)
    with either("the card of this process is not removed"):
        await _exchange(session, [("DEL", key)])
        await _exchange(session, [("ZREM", CARDS, _member(identity))])


async def names(pipe: Channel) -> list[Identity]:
    """Return the processes that have a card, or had one not long ago and did not take it down."""
    with either("the cards of processes can't be read"):
        return [_identity(member) for member in await pipe.send("ZRANGE", CARDS, 0, -1)]


async def read(pipe: Channel) -> list[Card]:
    """Return all cards: one question which there are, and another one for all of them at once."""
    whose = sorted(await names(pipe), key=lambda who: (who.service_name, who.process_name))
    keys = [card_key(who.service_name, who.process_name) for who in whose]
    with either("the cards of processes can't be read"):
        blobs = await pipe.send_many([("GET", key) for key in keys]) if keys else []
        for blob in blobs:
            if isinstance(blob, ReplyError) and blob.code != "WRONGTYPE":
                raise blob
    cards = [read_card(blob) if isinstance(blob, bytes) else None for blob in blobs]
    return [
        card
        for who, card in zip(whose, cards, strict=True)
        # A colon in a name may make one key of two: the card itself says whose it is.
        if card is not None and (card.service, card.process) == (who.service_name, who.process_name)
    ]


async def pause(pipe: Channel, service: str, listener: str, it: Pause) -> None:
    """Write the pause of a listener."""
    with either(f"the listener {listener} of {service} is not paused"):
        await pipe.send("HSET", paused_key(service), listener, write_pause(it))


async def pause_schedule(pipe: Channel, service: str, schedule: str, it: Pause) -> None:
    """Write the pause of a schedule, or its end."""
    with either(f"the pause of the schedule {schedule} of {service} is not changed"):
        await pipe.send("HSET", paused_key(service), kept_as(schedule), write_pause(it))


async def resume(pipe: Channel, service: str, listener: str) -> bool:
    """Remove the pause of a listener; tell whether there was one."""
    with either(f"the listener {listener} of {service} is not resumed"):
        return bool(await pipe.send("HDEL", paused_key(service), listener))


async def change_pauses(
    session: Session, service: str, changes: Mapping[str, tuple[Pause | None, Pause | None]]
) -> bool:
    """Change pauses of a service in one step, if all of them are as they were seen."""
    kept, now = await _kept_pauses(session, [service])
    arguments: list[str | bytes] = []
    for listener, (seen, new) in changes.items():
        blob, it = kept.get((service, listener), (b"", None))
        if (it if it is not None and it.holds(now) else None) != seen:
            return False
        arguments += [listener, blob, b"" if new is None else write_pause(new)]
    with either(f"the pauses of listeners of {service} are not changed"):
        change = CHANGE_PAUSES(pauses=paused_key(service), changes=arguments)
        return bool(await session.pipe.run(change))


async def all_pauses(session: Session, services: Collection[str]) -> AllPauses:
    """Return the pauses of listeners and schedules, and which of them hold now by Redis's clock."""
    kept, now = await _kept_pauses(session, services)
    return sorted_out(((names, it) for names, (_, it) in kept.items()), now)


async def _kept_pauses(
    session: Session, services: Collection[str]
) -> tuple[dict[tuple[str, str], tuple[bytes, Pause]], float]:
    """Return what is kept of pauses, each as it is written and as it is read; and the time of Redis."""
    names = sorted(services)
    asked = [("TIME",), *(("HGETALL", paused_key(name)) for name in names)]
    with either("the pauses of listeners can't be read"):
        (seconds, micros), *hashes = await _exchange(session, asked)
    found: dict[tuple[str, str], tuple[bytes, Pause]] = {}
    for service, flat in zip(names, hashes, strict=True):
        for name, blob in zip(flat[::2], flat[1::2], strict=True):
            found[service, name.decode("utf-8", "replace")] = blob, read_pause(blob)
    return found, int(seconds) + int(micros) / 1e6


async def _exchange(session: Session, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Return the replies, of which none is a refusal. A missing permission is no obstacle: all else works."""
    replies = await session.pipe.send_many(commands)
    refusals = [reply for reply in replies if isinstance(reply, ReplyError)]
    if refusals:
        session.permissions.excuse(refusals)
        raise refusals[0]
    return replies


def _member(identity: Identity) -> str:
    return f"{identity.service_name}{_BETWEEN}{identity.process_name}"


def _identity(member: bytes) -> Identity:
    service, _, process = member.decode("utf-8", "replace").partition(_BETWEEN)
    return Identity(service, process)
