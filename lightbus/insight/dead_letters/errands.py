"""Many dead letters are replayed or dropped as an errand, which outlives the process that was asked.

An errand is kept at the broker of contracts until it is done. Whoever looks there may carry it out, one
process at a time, by a lease. It names the letters by a filter and by the oldest and the newest id in each
place, as they were counted when somebody confirmed the number: letters that are put aside later are not among
them, so neither are those that fail once more. Each letter is moved or deleted by one atomic step, so that it
happens once, wherever the process before was killed.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from lightbus.bus.client import BusClient
from lightbus.exceptions import InvalidParameters
from lightbus.insight.audit import Actor, Doing, acting
from lightbus.transports.events import LetterId
from lightbus.transports.schema import SchemaTransport

from .filters import Filter
from .pages import Found, Walk

logger = logging.getLogger(__name__)

#: Seconds for which nobody else carries out an errand, unless it is renewed, and how often that is done.
LEASE, _RENEWED = 15.0, 3.0
#: By this lease: one errand is carried out after the other.
_LEASE_OF = "errands"
#: Added to the id of an errand, it names how many letters are left: that is written again and again.
_LEFT = " left"
#: How many letters are on their way at a time.
_AT_ONCE = 50
#: Seconds for counting what is meant; what was not met by then is left for another time.
_PATIENCE = 10.0

Verb = Literal["replay", "drop"]


@dataclass(frozen=True, slots=True)
class Counted:
    """The dead letters that an errand is to be about.

    Args:
        count: How many.
        bounds: The ids of the oldest and the newest in each place.
        is_all: Whether no more are meant than were counted.
    """

    count: int
    bounds: Mapping[str, tuple[str, str]]
    is_all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What somebody wants to be done to many dead letters.

    Args:
        id: Its id.
        verb: What is to be done.
        chosen: Which letters are meant.
        bounds: The ids of the oldest and the newest in each place.
        count: How many it are.
        left: How many are left to be done, as far as was noted.
        words: The filter in words.
        at: When it was given, in Unix time.
        user: Who has given it.
        role: In which role.
        address: From where.
        reason: Why.
    """

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    verb: Verb
    chosen: Filter
    bounds: Mapping[str, tuple[str, str]]
    count: int
    left: int
    words: Mapping[str, str] = field(default_factory=dict)
    at: float = field(default_factory=time.time)
    user: str = ""
    role: str = ""
    address: str = ""
    reason: str = ""


async def count(
    client: BusClient, api_names: Sequence[str], chosen: Filter, limit: int, patience: float = _PATIENCE
) -> Counted:
    """Count the letters that are meant, the newest first.

    Args:
        client: The bus.
        api_names: APIs whose brokers are asked.
        chosen: Chooses the letters.
        limit: How many are enough.
        patience: Seconds for it.

    Raises:
        TransportUnavailable: Not all brokers can be asked.
    """
    found = 0
    bounds: dict[str, tuple[str, str]] = {}
    loop = asyncio.get_running_loop()
    ends = loop.time() + patience
    walk = Walk(client, api_names, chosen)
    async for each, is_meant in walk.all():
        if found >= limit or loop.time() > ends:
            return Counted(found, bounds, False)
        if is_meant:
            place, its = each.letter.place, each.letter.id
            bounds[place] = (its, bounds.get(place, (its, its))[1])
            found += 1
    walk.see_that_all_were_asked()
    return Counted(found, bounds, True)


async def give(client: BusClient, verb: Verb, chosen: Filter, counted: Counted, by: Actor) -> Errand:
    """Have something done to the letters that were counted, whatever becomes of this process.

    Raises:
        TransportError: The broker of contracts does not keep it.
    """
    errand = Errand(
        verb=verb,
        # The bounds say how old they are: ages go on.
        chosen=replace(chosen, seen=None, until=None, older_than=None, newer_than=None),
        words=chosen.in_words(),
        bounds=counted.bounds,
        count=counted.count,
        left=counted.count,
        **{name: getattr(by, name) for name in ("user", "role", "address", "reason")},
    )
    await client.transports().schema().note_errand(errand.id, msgspec.json.encode(errand))
    return errand


async def read(client: BusClient) -> list[Errand]:
    """Return what is still to be done, the oldest first."""
    found = []
    kept = await client.transports().schema().errands()
    for errand_id, blob in kept.items():
        if errand_id.endswith(_LEFT):
            continue
        try:
            errand = msgspec.json.decode(blob, type=Errand)
        except (msgspec.DecodeError, RecursionError) as e:
            logger.debug("the errand %s can't be read: %s", errand_id, e)
            continue
        left = kept.get(errand_id + _LEFT, b"")
        found.append(replace(errand, id=errand_id, left=int(left) if left.isdigit() else errand.left))
    return sorted(found, key=lambda errand: errand.at)


async def stop(client: BusClient, errand_id: str, by: Actor) -> Errand:
    """Have no more done of an errand.

    Raises:
        InvalidParameters: There is none of this id, or no more.
    """
    it = next((each for each in await read(client) if each.id == errand_id), None)
    if it is None:
        raise InvalidParameters("it is done already, or somebody else has stopped it")
    async with acting(client, by, "dlq.stop", it.chosen.target(), {"errand": it.id, **it.words}):
        await _end(client.transports().schema(), it.id)
    return it


async def carry_out(client: BusClient, api_names: Sequence[str], errand: Errand, holder: str) -> bool:
    """Do what is left of an errand, unless another process does it now.

    Args:
        client: The bus.
        api_names: APIs whose brokers are asked.
        errand: The errand.
        holder: This process.

    Returns:
        Whether it was done to its end.

    Raises:
        LightbusException: It can't be done now, or not be noted in the audit; it stays to be done.
    """
    schema = client.transports().schema()
    if await schema.claim(_LEASE_OF, await schema.now(), holder, LEASE) != "ours":
        return False
    try:
        return await _Run(client, schema, errand, holder).to_the_end(api_names)
    finally:
        await schema.hold(_LEASE_OF, holder, 0)


async def _end(schema: SchemaTransport, errand_id: str) -> None:
    await schema.end_errand(errand_id)
    await schema.end_errand(errand_id + _LEFT)


class _Run:
    """One process at work on an errand."""

    def __init__(self, client: BusClient, schema: SchemaTransport, errand: Errand, holder: str) -> None:
        self._client = client
        self._schema = schema
        self._errand = errand
        self._holder = holder
        self._renewed = 0.0

    async def to_the_end(self, api_names: Sequence[str]) -> bool:
        """Do what is left; false if somebody has stopped it, or another process does it."""
        it = self._errand
        by = Actor(user=it.user, role=it.role, origin="console", address=it.address, reason=it.reason)
        chosen = {"errand": it.id, **it.words}
        async with acting(self._client, by, f"dlq.{it.verb}", it.chosen.target(), chosen) as doing:
            doing.count = 0
            left = await self._left(api_names)
            if left is None:
                return False
            while left:
                if not await self._may_go_on(len(left)):
                    return False
                some, left = left[:_AT_ONCE], left[_AT_ONCE:]
                await self._do(some, doing)
        await _end(self._schema, it.id)
        return True

    async def _left(self, api_names: Sequence[str]) -> list[Found] | None:
        """Return the letters that are still there, the oldest first; None if it may not go on."""
        it = self._errand
        bounds = {place: (LetterId.read(old), LetterId.read(new)) for place, (old, new) in it.bounds.items()}
        oldest = min((old for old, _ in bounds.values()), default=LetterId(0))
        newest = max((new for _, new in bounds.values()), default=LetterId(0))
        chosen = replace(it.chosen, until=newest.milliseconds / 1000)
        found: list[Found] = []
        walk = Walk(self._client, api_names, chosen, within=bounds)
        async for each, is_meant in walk.all():
            its = LetterId.read(each.letter.id)
            if its < oldest:
                break
            within = bounds.get(each.letter.place)
            if is_meant and within is not None and within[0] <= its <= within[1]:
                # Only what it takes to find it again: there may be thousands.
                found.append(Found(each.transport, replace(each.letter, error="", trace="")))
            if len(found) % 500 == 0 and not await self._may_go_on(None):
                return None
        walk.see_that_all_were_asked()  # Else what they have would count as done.
        return found[: it.count][::-1]

    async def _do(self, some: Sequence[Found], doing: Doing) -> None:
        replays = self._errand.verb == "replay"
        steps = ((each.transport.replay if replays else each.transport.drop)(each.letter) for each in some)
        outcomes = await asyncio.gather(*steps, return_exceptions=True)
        for each, outcome in zip(some, outcomes, strict=True):
            if outcome is True:
                doing.did(each.letter.id)
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if errors:
            raise errors[0]

    async def _may_go_on(self, left: int | None) -> bool:
        """Renew the lease now and then, and note how many are left; false if it is not wanted any more."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._renewed < _RENEWED:
            return True
        self._renewed = loop.time()
        if self._errand.id not in await self._schema.errands():
            return False
        if not await self._schema.hold(_LEASE_OF, self._holder, LEASE):
            return False
        if left is not None:
            await self._schema.note_errand(self._errand.id + _LEFT, str(left).encode())
        return True
