"""Events that dead processes have left, and that may have killed them: taken over, and run apart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from lightbus.exceptions import TransportUnavailable
from lightbus.transports.redis.link.connection import FAILURES, LinkBroken
from lightbus.transports.redis.link.rounds import Rounds
from lightbus.transports.redis.link.session import Session
from lightbus.transports.redis.scripts import CLAIM, FORGET, RESTAMP

from .delivery import Deliveries
from .entry import Fields

logger = logging.getLogger(__name__)

#: Seconds for which an event has no other suspect beside it after its first delivery ended in a death.
HEAD_START = 1.0
#: The most seconds between two looks for consumers that are long gone.
_FORGOTTEN_EVERY = 3_600.0
#: More deliveries than any entry has.
_ANY = 1 << 53
#: How many entries are looked at in each sweep for leases from the future.
_RESTAMPED_AT_ONCE = 1_000
#: The work that can't be done if Redis refuses it.
_SWEEPING = "take over the events of processes that died"

_shared: WeakKeyDictionary[Session, Suspects] = WeakKeyDictionary()


class Unanswered(TransportUnavailable):
    """A node of a cluster does not say in time what it has given to this process."""


class Suspects:
    """The events of dead processes that run in this one.

    One that was delivered once may be a neighbour of the killer, so others follow after a head start: a slow
    handler must not keep everything else from being taken over. One that was delivered more often runs
    strictly alone, so that no event dies three times beside the same killer.
    """

    def __init__(self) -> None:
        #: Held by whoever claims the next one.
        self.turn = asyncio.Lock()
        self._running = 0

    @classmethod
    def of(cls, session: Session) -> Suspects:
        """Return those of a session, which all of its listeners share, since they die together."""
        return _shared.setdefault(session, cls())

    @property
    def most_deliveries(self) -> int:
        """How often an entry may have been delivered to be claimed now."""
        return 1 if self._running else _ANY

    async def run(self, settled: asyncio.Future[None], delivered: int) -> None:
        """Wait until another suspect may be claimed.

        Args:
            settled: Done when the event is settled.
            delivered: How often it was delivered, this time included.
        """
        self._running += 1
        settled.add_done_callback(self._note_settled)
        await asyncio.wait([settled], timeout=HEAD_START if delivered <= 2 else None)

    def _note_settled(self, _: asyncio.Future[None]) -> None:
        self._running -= 1


class Takeover:
    """Takes over the entries that dead processes of a group held, one after another.

    Args:
        deliveries: Has the events that wait for a free slot.
        suspects: The events of dead processes that run here.
        max_deaths: Returns after how many deaths an event is put aside.
        on_lost_reply: Is called if the reply may be lost that gave an event to this process.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        suspects: Suspects,
        max_deaths: Callable[[], int],
        on_lost_reply: Callable[[], None],
    ) -> None:
        self._deliveries = deliveries
        self._membership = deliveries.settling.membership
        self._leases = deliveries.settling.leases
        self._suspects = suspects
        self._max_deaths = max_deaths
        self._on_lost_reply = on_lost_reply
        self._cursors: dict[str, str] = {}
        #: The ids from which on to look next for leases from the future.
        self._restamped: dict[str, str] = {}
        self._asking: Rounds[str] = Rounds(self._membership.pipe)
        self._claiming: Rounds[str] = Rounds(self._membership.pipe)
        #: When to look next for consumers that are long gone, by the event loop's clock.
        self._forget_at = 0.0

    async def sweep_regularly(self) -> None:
        """Look in every stream, again and again."""
        membership = self._membership
        while True:
            is_more = is_cut_short = False
            held, errors = await self._holding()
            for source in held:
                if self._claiming.is_asked(source):
                    continue  # Its node has yet to answer.
                # Each by itself: where a node of a cluster is away, the others are looked at all the same.
                try:
                    is_more = await self._sweep(source) or is_more
                except FAILURES as e:
                    errors.append(e)
                    if isinstance(e, LinkBroken):
                        # An entry that was claimed just now may be held here without a delivery.
                        self._on_lost_reply()
                    elif isinstance(e, Unanswered):
                        # Each other stream of that node would cost as much time; asked anew, it names none.
                        is_cut_short = True
                        break
            if is_cut_short:
                continue
            await self._restamp(held, errors)
            await self._forget(errors)
            if not errors:
                membership.refusals.clear(_SWEEPING)
            else:
                is_more = False
                membership.refusals.meet_any(_SWEEPING, errors, only="NOPERM")
            # What a process with thousands of slots has held is not to wait for many leases.
            if not is_more or membership.options.reclaim_batch_size is not None:
                await membership.pause()

    async def rerun(self, source: str, entry_id: str, fields: Fields, delivered: int) -> None:
        """Run a suspect that was claimed by a command without a reply; that is no further death."""
        # At once, and not when its turn comes: until then, it must not be found and run a second time.
        self._leases.hold(source, entry_id)
        async with self._suspects.turn:
            await self._run(source, entry_id, fields, delivered)

    async def _sweep(self, source: str) -> bool:
        """Take over entries of one stream, going on after the last sweep; returns whether more may follow."""
        membership, options = self._membership, self._membership.options
        for _ in range(options.reclaim_batch_size or options.batch_size * 10):
            room = self._deliveries.room
            if not room.is_set():
                membership.refusals.clear(_SWEEPING)  # It is not tried for a while.
            await room.wait()
            # Room comes before the turn: a listener that has the turn must claim, or it keeps others waiting.
            async with self._suspects.turn:
                if membership.is_leaving:
                    return False  # It would only be handed back, and the count of its deaths forgotten.
                reply = await self._claim(source)
                self._cursors[source] = reply[0].decode()
                if len(reply) > 1 and not self._is_own(source, reply[1].decode()):
                    await self._run(source, reply[1].decode(), reply[2], reply[3])
            if self._cursors[source] == "-":
                break
        return self._cursors[source] != "-"

    async def _claim(self, source: str) -> Any:
        """Claim the next entry of a stream, and return what Redis says.

        The turn is not kept for a node that is away, nor the events of all other nodes.

        Raises:
            Unanswered: It says nothing for a second. What it gives later on is run then.
            LinkBroken, ReplyError: As those of a command.
        """
        membership, options = self._membership, self._membership.options
        claim = CLAIM(
            source=source, group=membership.group, consumer=membership.consumer,
            lease=int(options.acknowledgement_timeout * 1000), cursor=self._cursors.get(source, "-"),
            most_deliveries=self._suspects.most_deliveries, max_deaths=self._max_deaths(),
        )  # fmt: skip
        replies, is_late = list[Any](), False

        def take(_: str, reply: Any) -> None:
            if is_late:
                self._take_late(source, reply)
            else:
                replies.append(reply)

        await self._claiming.run({source: claim}, take)
        is_late = True
        if not replies:
            raise Unanswered(f"Redis at {membership.pipe.address} says nothing of {source}")
        if isinstance(replies[0], Exception):
            raise replies[0]
        return replies[0]

    def _take_late(self, source: str, reply: Any) -> None:
        """Run what a node has given after its time; other events have had the turn meanwhile."""
        if isinstance(reply, LinkBroken):
            self._on_lost_reply()
        if isinstance(reply, Exception):
            return
        self._cursors[source] = reply[0].decode()
        if len(reply) > 1 and not self._membership.is_leaving:
            entry_id = reply[1].decode()
            if not self._is_own(source, entry_id):
                rerun = partial(self.rerun, source, entry_id, reply[2], reply[3])
                self._deliveries.settling.spawn(rerun, "what a dead process has left does not run")

    def _is_own(self, source: str, entry_id: str) -> bool:
        """Tell whether this process has claimed an entry from itself, as its lease could not be renewed."""
        if not self._leases.holds(source, entry_id):
            return False
        # Not awaited: who claims has the turn, and must not wait for a node that is away.
        forgive = partial(self._leases.forgive, source, entry_id)
        self._deliveries.settling.spawn(forgive, "a lease that ran out counts as a death")
        return True

    async def _holding(self) -> tuple[list[str], list[Exception]]:
        """Return the streams of which somebody holds entries, and what went wrong; most hold none at rest."""
        membership, numbers, errors = self._membership, dict[str, int](), list[Exception]()

        def take(source: str, reply: Any) -> None:
            if isinstance(reply, Exception):
                errors.append(reply)
            else:
                numbers[source] = reply[0]
                if not reply[0]:
                    self._cursors.pop(source, None)

        asked = {source: ("XPENDING", source, membership.group) for source in membership.sources}
        await self._asking.ask(asked, take)
        if not numbers and not errors:
            errors.append(TransportUnavailable(f"Redis at {membership.pipe.address} is silent"))
        # In the order of the streams: retried events come first.
        return [source for source in asked if numbers.get(source)], list(errors)

    async def _restamp(self, sources: Sequence[str], errors: list[Exception]) -> None:
        """Let leases from the future begin now."""

        def take(source: str, reply: Any) -> None:
            if isinstance(reply, Exception):
                errors.append(reply)
            else:
                self._restamped[source] = reply.decode()

        await self._asking.run(
            {
                source: RESTAMP(
                    source=source, group=self._membership.group, most=_RESTAMPED_AT_ONCE,
                    first=self._restamped.get(source, "-"), idle=0,
                )
                for source in sources
            },
            take,
        )  # fmt: skip

    async def _forget(self, errors: list[Exception]) -> None:
        """Forget consumers that are long gone, if it is time to look for them."""
        loop, membership = asyncio.get_running_loop(), self._membership
        if loop.time() < self._forget_at:
            return
        ttl, before = membership.options.consumer_ttl, len(errors)

        def take(_: str, reply: Any) -> None:
            if isinstance(reply, Exception):
                errors.append(reply)

        runs = {
            source: FORGET(source=source, group=membership.group, idle=int(ttl * 1000), only="", stays="")
            for source in membership.sources
        }
        await self._asking.run(runs, take)
        # What was refused is tried again, so that it is told for as long.
        if len(errors) == before:
            self._forget_at = loop.time() + min(ttl / 10, _FORGOTTEN_EVERY)

    async def _run(self, source: str, entry_id: str, fields: Fields, delivered: int) -> None:
        delivery = self._deliveries.receive(source, entry_id, fields)
        if delivery is None:
            return
        name, message_id = delivery.message.canonical_name, delivery.message.id
        extra = {"message_id": message_id}
        if delivered > self._max_deaths():
            what = "%s (event %s) ended %d processes of %s and becomes a dead letter"
            logger.error(what, name, message_id, delivered - 1, self._membership.group, extra=extra)
            await delivery.dead_letter("process_died", None)
            return
        logger.warning("%s (event %s) was left by a process that died", name, message_id, extra=extra)
        # Before it is offered: the worker may take it within this tick, and must see that it is a suspect.
        delivery.settled = asyncio.get_running_loop().create_future()
        self._deliveries.offer(delivery)
        await self._suspects.run(delivery.settled, delivered)
