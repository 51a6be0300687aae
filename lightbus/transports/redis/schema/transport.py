"""Contracts in Redis: ``schema:{api}`` holds one with a TTL, ``schemas`` is the set of all names.

``lightbus:owner:{api}`` is a sorted set of the processes that own an API. The hash
``lightbus:schedule:{service}:{name}`` has the last tick of a schedule and the process that runs it, and
``lightbus:declared:{service}`` what a service declared when it was started last.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import msgspec

from lightbus.declared.settings import Identity
from lightbus.exceptions import InvalidMessage, TransportError
from lightbus.messages import check_limits
from lightbus.runtime.complaints import Complaints
from lightbus.transports.audit import Act
from lightbus.transports.cards import AllPauses, Card, Pause
from lightbus.transports.port import Use
from lightbus.transports.redis.acl import needs
from lightbus.transports.redis.base import RedisTransport
from lightbus.transports.redis.codec import decode_json, encode_json
from lightbus.transports.redis.foreign import is_foreign
from lightbus.transports.redis.keys import (
    SCHEMAS,
    contract_digest,
    declared_key,
    owner_key,
    publishers_key,
    schedule_key,
    schema_key,
)
from lightbus.transports.redis.link.connection import unavailable
from lightbus.transports.redis.link.permissions import Need
from lightbus.transports.redis.link.refusals import Reaction, ReplyError
from lightbus.transports.redis.options import RedisSchemaOptions
from lightbus.transports.redis.scripts import ENLIST, HOLD, OWN, PUBLISH, TICK, WITHDRAW, Run
from lightbus.transports.schema import SchemaTransport

from . import audit, cards, errands

logger = logging.getLogger(__name__)

#: The most contracts that are read.
_MOST_APIS = 10_000
#: How many are asked for at a time.
_PAGE = 500
#: The most names without a contract that stay in the set of all names; owners that are gone leave them.
_MOST_STALE = 1_000
#: Seconds for which the last tick of a schedule is remembered: longer than the year between two of some.
_TICKS_KEPT = 400 * 86_400
#: Seconds for which it is remembered what a service declared: as long as the ticks of its schedules.
_DECLARED_KEPT = _TICKS_KEPT
_CLAIMS: Mapping[bytes, Literal["ours", "had", "busy", "early"]] = {
    b"ours": "ours",
    b"had": "had",
    b"busy": "busy",
    b"early": "early",
}


@contextmanager
def _refusals() -> Iterator[None]:
    """Say in the words of the port that Redis refused a command, as it does under OOM or READONLY."""
    try:
        yield
    except ReplyError as e:
        raise TransportError(f"Redis refused it: {e}") from e


class RedisSchemaTransport(RedisTransport, SchemaTransport):
    """Publishes contracts where Lightbus 1.x does, and reads them.

    Args:
        options: The address of Redis.
    """

    options: ClassVar[type | None] = RedisSchemaOptions

    def __init__(self, options: RedisSchemaOptions | None = None) -> None:
        super().__init__(options or RedisSchemaOptions())
        self._publisher = secrets.token_hex(8)
        self._stored: dict[str, bytes] = {}
        self._has_told_of_unread = False
        self._complaints = Complaints(logger)
        self._may_not_unlist = False
        #: The contracts that were read last, each with its bytes: most are the same at the next look.
        self._known: dict[str, tuple[bytes, Mapping[str, Any]]] = {}

    async def store(
        self, contracts: Mapping[str, Mapping[str, Any]], ttl: float, *, human_readable: bool = True
    ) -> None:
        """Publish contracts for ``ttl`` seconds; the process that started last has the last word."""
        if not contracts:
            return
        self._expect_to("publishes", contracts)
        seconds = max(1, math.ceil(ttl))
        blobs = {name: encode_json(contract) for name, contract in contracts.items()}
        if human_readable:
            blobs = {name: msgspec.json.format(blob, indent=2) for name, blob in blobs.items()}
        published = [
            PUBLISH(
                contract=schema_key(name), publishers=publishers_key(name), blob=blob, seconds=seconds,
                publisher=self._member(blob), is_renewal=int(name in self._stored),
            )
            for name, blob in blobs.items()
        ]  # fmt: skip
        replies = await self._run_all(published)
        # After the contracts: who finds a name without a contract takes it out of the set.
        await self.pipe.run(ENLIST(schemas=SCHEMAS, names=contracts))
        for (name, blob), shared in zip(blobs.items(), replies, strict=True):
            # Empty: a Lightbus 1.x publishes it too, so that it is not ours to remove.
            self._stored[name] = b"" if shared or self._stored.get(name) == b"" else blob

    async def withdraw(self, api_names: Sequence[str]) -> None:
        """Remove those for which nobody else stands; their names stay in the set, as with Lightbus 1.x."""
        blobs = {name: self._stored.pop(name) for name in api_names if name in self._stored}
        withdrawn = [
            WITHDRAW(
                contract=schema_key(name), publishers=publishers_key(name), blob=blob,
                publisher=self._member(blob), digest=contract_digest(blob),
            )
            for name, blob in blobs.items()
        ]  # fmt: skip
        await self._run_all(withdrawn)

    async def load(self, first: Collection[str] = ()) -> Mapping[str, Mapping[str, Any]]:
        """Return every contract on the bus that can be read, up to a number; names that have none may go."""
        contracts, stale = await self._read(first)
        if len(stale) > _MOST_STALE:
            await self._unlist(stale)
        return contracts

    async def look(self, first: Collection[str] = ()) -> Mapping[str, Mapping[str, Any]]:
        """Return every contract on the bus that can be read, up to a number."""
        contracts, _ = await self._read(first)
        return contracts

    async def _read(self, first: Collection[str]) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
        """Return the contracts, and the names that have none."""
        listed = {name.decode("utf-8", "replace") for name in await self.pipe.send("SMEMBERS", SCHEMAS)}
        names = [*sorted(first), *sorted(listed.difference(first))]
        contracts: dict[str, Mapping[str, Any]] = {}
        stale: list[str] = []
        read = 0
        while read < len(names) and len(contracts) < _MOST_APIS:
            page = names[read : read + _PAGE]
            read += len(page)
            blobs = await self._blobs(page)
            stale += [name for name, blob in zip(page, blobs, strict=True) if blob is None]
            for name, blob in zip(page, blobs, strict=True):
                contract = self._contract(name, blob) if blob is not None else None
                if contract is not None:
                    contracts[name] = contract
        for name in self._known.keys() - contracts.keys():
            del self._known[name]
        self._tell_of_unread(len(names) - read)
        return contracts, stale

    async def _blobs(self, api_names: Sequence[str]) -> list[bytes | None]:
        """Return stored contracts, None where there is none. Each may lie on another node of a cluster."""
        blobs = await self.pipe.send_many([("GET", schema_key(name)) for name in api_names])
        for blob in blobs:
            # A key that holds something else has no contract.
            if isinstance(blob, ReplyError) and blob.reaction is not Reaction.GIVE_UP:
                raise blob
        return [blob if isinstance(blob, bytes) else None for blob in blobs]

    def _contract(self, name: str, blob: bytes) -> Mapping[str, Any] | None:
        """Read a stored contract; None if it is none."""
        before = self._known.get(name)
        if before is not None and before[0] == blob:
            return before[1]
        try:
            check_limits(blob)
            contract = decode_json(blob)
        except InvalidMessage as e:
            what = "the contract of the API %.80r is unreadable and ignored: %s"
            self._complaints.tell("schemas", what, name, e)
            return None
        if not isinstance(contract, dict):
            return None
        self._known[name] = blob, contract
        return contract

    def _tell_of_unread(self, unread: int) -> None:
        """Say once that there are more contracts than are read."""
        if unread and not self._has_told_of_unread:
            logger.warning(
                "Redis at %s names %d more APIs than the %d whose contracts are read: those that manifest or "
                "code name come first, others may be missing; remove names that mean nothing from its set "
                "schemas",
                self.address,
                unread,
                _MOST_APIS,
            )
        self._has_told_of_unread = unread > 0

    async def _unlist(self, names: Sequence[str]) -> None:
        """Take names that have no contract out of the set of all names; their owners put them back."""
        if self._may_not_unlist:
            return
        try:
            for start in range(0, len(names), _PAGE):
                page = names[start : start + _PAGE]
                await self.pipe.send("SREM", SCHEMAS, *page)
                # An owner publishes a contract first, and enlists its name then. So if it has enlisted it
                # before it was taken out just now, the contract is found here.
                blobs = await self._blobs(page)
                back = [name for name, blob in zip(page, blobs, strict=True) if blob is not None]
                if back:
                    await self.pipe.run(ENLIST(schemas=SCHEMAS, names=back))
        except ReplyError as e:
            self._may_not_unlist = True
            logger.info("%d names without a contract stay in the set schemas: %s", len(names), e)

    async def own(self, api_names: Sequence[str], identity: Identity, ttl: float) -> Mapping[str, str]:
        """Become, or stay, an owner of APIs; returns the service that owns each."""
        self._expect_to("owns", api_names)
        service, process, lease = identity.service_name, identity.process_name, math.ceil(ttl * 1000)
        owning = [
            OWN(owners=owner_key(name), service=service, process=process, lease=lease) for name in api_names
        ]
        with _refusals():
            replies = await self._run_all(owning)
        return {name: reply.decode() for name, reply in zip(api_names, replies, strict=True)}

    async def _run_all(self, runs: Sequence[Run]) -> list[Any]:
        """Run scripts; returns their replies.

        Raises:
            ReplyError: Redis refused one of them.
        """
        replies = await self.pipe.run_many(runs)
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise reply
        return replies

    async def disown(self, api_names: Sequence[str], identity: Identity) -> None:
        """Own APIs no more."""
        member = f"{identity.service_name}\n{identity.process_name}"
        # With the time of the last look, so that nothing is left where it was the last.
        await self.pipe.send_many([("ZREM", owner_key(name), member, "") for name in api_names])

    async def owners(self, api_names: Sequence[str]) -> Mapping[str, Sequence[Identity]]:
        """Return the processes whose lease on an API has not run out."""
        with _refusals():
            owners = await asyncio.gather(*map(self._owners, api_names))
        return dict(zip(api_names, owners, strict=True))

    async def _owners(self, api_name: str) -> Sequence[Identity]:
        # The time and the owners are asked of the same server: nodes of a cluster have clocks of their own.
        asked = ("ZRANGEBYSCORE", owner_key(api_name), "-inf", "+inf", "WITHSCORES")
        owners, time = await self.pipe.send_many([asked, ("TIME",)])
        refusal = next((reply for reply in (owners, time) if isinstance(reply, ReplyError)), None)
        if refusal is not None:
            raise refusal
        now = int(time[0]) * 1000 + int(time[1]) // 1000
        until = zip(owners[::2], owners[1::2], strict=True)
        names = (member.decode("utf-8", "replace") for member, end in until if member and float(end) >= now)
        return tuple(Identity(service, process) for service, _, process in (n.partition("\n") for n in names))

    async def foreign(self, api_names: Sequence[str]) -> Collection[str]:
        """Return the APIs whose contract nobody of this version stands for."""
        with unavailable("the publishers of contracts can't be read"):
            asked = (is_foreign(self.pipe, name) for name in api_names)
            return {name for name, it in zip(api_names, await asyncio.gather(*asked), strict=True) if it}

    async def note_declared(self, service: str, record: bytes) -> None:
        """Keep what a service declares."""
        written = ("SET", declared_key(service), record, "EX", _DECLARED_KEPT)
        with unavailable("what the service declares is not noted"):
            (reply,) = await self.pipe.send_many([written])
            if isinstance(reply, ReplyError):
                # A missing permission is no obstacle: all else works.
                self.session.permissions.excuse([reply])
                raise reply

    async def declared(self, services: Sequence[str]) -> Mapping[str, bytes]:
        """Return what services declared when they were started last."""
        with unavailable("what services declared can't be read"):
            asked = [("GET", declared_key(name)) for name in services]
            records = await self.pipe.send_many(asked) if asked else []
        return {name: it for name, it in zip(services, records, strict=True) if isinstance(it, bytes)}

    async def claim(
        self, schedule: str, tick: float, holder: str, lease: float, *, catch_up: bool = False
    ) -> Literal["ours", "had", "busy", "early"]:
        """Take one tick of a schedule."""
        self._expect_to("runs", [schedule])
        claim = TICK(
            schedule=schedule_key(schedule), holder=holder, tick=round(tick * 1000),
            lease=math.ceil(lease * 1000), kept=_TICKS_KEPT * 1000, catches_up=int(catch_up),
        )  # fmt: skip
        with _refusals():
            reply: bytes = await self.pipe.run(claim)
        return _CLAIMS[reply]

    async def hold(self, schedule: str, holder: str, lease: float) -> bool:
        """Renew or end the lease of a tick."""
        key, left = schedule_key(schedule), math.ceil(lease * 1000)
        with _refusals():
            hold = HOLD(schedule=key, holder=holder, lease=left, kept=_TICKS_KEPT * 1000)
            return bool(await self.pipe.run(hold))

    async def show_card(self, identity: Identity, card: bytes, seconds: float) -> None:
        """Let everybody who looks at the bus see the card of this process."""
        await cards.show(self.session, identity, card, seconds)

    async def take_card_down(self, identity: Identity) -> None:
        """Let nobody see the card of this process any more."""
        await cards.take_down(self.session, identity)

    async def cards(self) -> Sequence[Card]:
        """Return the cards of all processes."""
        return await cards.read(self.pipe)

    async def had_cards(self) -> Collection[Identity]:
        """Return the processes that have a card, or had one not long ago and did not take it down."""
        return await cards.names(self.pipe)

    async def pause(self, service: str, listener: str, pause: Pause) -> None:
        """Pause a listener of a service, or change its pause."""
        await cards.pause(self.pipe, service, listener, pause)

    async def resume(self, service: str, listener: str) -> bool:
        """End the pause of a listener; tell whether there was one."""
        return await cards.resume(self.pipe, service, listener)

    async def change_pauses(
        self, service: str, changes: Mapping[str, tuple[Pause | None, Pause | None]]
    ) -> bool:
        """Change pauses of listeners of a service in one step, if all of them are as they were seen."""
        return await cards.change_pauses(self.session, service, changes)

    async def pause_schedule(self, service: str, schedule: str, pause: Pause) -> None:
        """Pause a schedule of a service, or change its pause."""
        await cards.pause_schedule(self.pipe, service, schedule, pause)

    async def all_pauses(self, services: Collection[str]) -> AllPauses:
        """Return the pauses of listeners and of schedules."""
        return await cards.all_pauses(self.session, services)

    async def note_act(self, act: Act) -> bool:
        """Keep an entry of the audit."""
        await audit.note(self.pipe, act)
        return True

    async def past_acts(self, before: str = "", count: int = 1_000) -> Sequence[Act]:
        """Return entries of the audit, the newest first."""
        return await audit.past(self.pipe, before, count)

    async def acts_after(self, after: str, count: int = 1_000) -> Sequence[Act]:
        """Return entries of the audit, the oldest first."""
        return await audit.after(self.pipe, after, count)

    async def note_errand(self, errand_id: str, errand: bytes) -> None:
        """Keep what somebody wants to be done."""
        await errands.note(self.pipe, errand_id, errand)

    async def errands(self) -> Mapping[str, bytes]:
        """Return what is still to be done."""
        return await errands.read(self.pipe)

    async def end_errand(self, errand_id: str) -> bool:
        """Forget what is done."""
        return await errands.end(self.pipe, errand_id)

    def _expect_to(self, role: Literal["publishes", "owns", "runs"], names: Iterable[str]) -> None:
        for name in names:
            use = Use(role, name)
            self.know(str(use), self._needs(use))

    def _needs(self, use: Use) -> Iterable[Need]:
        if use.role == "hosts":
            return needs.hosts(use.name, renames=bool(use.renamed_from))
        tables = {"shows": needs.shows, "publishes": needs.publishes, "owns": needs.owns, "runs": needs.runs}
        return tables[use.role](use.name) if use.role in tables else ()

    def _member(self, blob: bytes) -> str:
        return f"{self._publisher}:{contract_digest(blob)}"
