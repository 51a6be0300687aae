"""Leases on events: kept while handlers run, and taken over from processes that died."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lightbus.runtime.tasks import Kept
from lightbus.transports.events import SILENT
from lightbus.transports.redis.link.connection import FAILURES, LinkBroken
from lightbus.transports.redis.scripts import ADOPT, CLAIM, EXCUSE, FORGET, RENEW, RESTAMP, Script

from .suspects import Suspects

if TYPE_CHECKING:
    from .consumer import RedisEventConsumer

logger = logging.getLogger(__name__)

_RENEWED_AT_ONCE = 200
#: Seconds after which a process shows again that it lives; less than what it counts as gone after.
_SHOWN_EVERY = SILENT / 4
#: After which nothing comes. The very last id would do harm: what follows it is the first.
_LAST_ID = f"{2**64 - 1}-0"
#: How many entries are looked at in each sweep for leases from the future.
_RESTAMPED_AT_ONCE = 1_000
#: What can't be done where it is refused.
_RENEWING = "renew the leases of what runs, which others take over then"
_SWEEPING = "take over the events of processes that died"


class Leases:
    """What one consumer holds, and what others have left.

    Args:
        consumer: Whose leases they are.
        suspects: What this process runs of events that dead ones have left.
    """

    def __init__(self, consumer: RedisEventConsumer, suspects: Suspects) -> None:
        self._consumer = consumer
        self._suspects = suspects
        self._held: dict[str, set[str]] = {}
        self._cursors: dict[str, str] = {}
        #: Where to look next for leases from the future.
        self._restamped: dict[str, str] = {}
        self._kept: list[Kept] = []

    def hold(self, source: str, entry_id: str) -> None:
        """Renew an entry's lease from now on."""
        held = self._held.get(source)
        if held is None:
            held = self._held[source] = set()
        held.add(entry_id)

    def holds(self, source: str, entry_id: str) -> bool:
        """Tell whether this process knows of an entry that it is not done with."""
        return entry_id in self._held.get(source, ())

    def drop(self, source: str, ids: Iterable[str]) -> None:
        """Renew these no more."""
        self._held.get(source, set()).difference_update(ids)

    async def adopt(self, source: str) -> None:
        """Make a group that was made again hold what is held here, save what is done with."""
        await self._run_on_held(ADOPT, source)

    async def excuse(self) -> None:
        """Let the death of this process, which was told to end, not be counted against what it still runs."""
        try:
            for source in list(self._held):
                await self._run_on_held(EXCUSE, source)
        except FAILURES as e:
            logger.debug("excusing what runs as %s: %s", self._consumer.group, e)

    async def _run_on_held(self, script: Script, source: str) -> None:
        consumer = self._consumer
        ids = list(self._held.get(source, set()) - consumer.settling.finishing(source))
        for i in range(0, len(ids), _RENEWED_AT_ONCE):
            arguments = [consumer.group, consumer.name, *ids[i : i + _RENEWED_AT_ONCE]]
            await consumer.pipe.run(script, [source], arguments)

    def start(self) -> None:
        """Begin to renew, to look for retries that are due, and to sweep."""
        group, obstacles = self._consumer.group, self._consumer.obstacles
        self._kept = [
            Kept(work, f"lightbus {name} {group}", f"as {group}, {lost}", obstacles).start()
            for work, name, lost in (
                (self._renew_regularly, "leases", "the leases of events that run are not renewed"),
                (self._promote_regularly, "retries", "retries that others have postponed are not looked for"),
                (self._sweep_regularly, "sweep", "events of processes that died are not taken over"),
                (self._show_regularly, "presence", "it is not shown that this process lives"),
            )
        ]

    async def stop(self) -> None:
        """Stop all that."""
        for kept in self._kept:
            kept.end()
        for kept in self._kept:
            await kept.ended()

    async def _renew_regularly(self) -> None:
        consumer = self._consumer
        while True:
            await asyncio.sleep(consumer.options.acknowledgement_timeout / 3)
            for source, held in list(self._held.items()):
                ids = list(held)
                for i in range(0, len(ids), _RENEWED_AT_ONCE):
                    arguments = [consumer.group, consumer.name, *ids[i : i + _RENEWED_AT_ONCE]]
                    try:
                        await consumer.pipe.run(RENEW, [source], arguments)
                        consumer.refusals.clear(_RENEWING)
                    except FAILURES as e:
                        # Anything but a lacking permission, reading meets as well, and tells of it.
                        consumer.refusals.meet(_RENEWING, e, only="NOPERM")

    async def _show_regularly(self) -> None:
        """Let Redis before 7.2 know that this process lives: it counts as idle what reads and finds nothing.

        To read what the process itself holds after the last possible id brings nothing, but is counted.
        """
        consumer = self._consumer
        read = ("XREADGROUP", "GROUP", consumer.group, consumer.name, "COUNT", 1, "STREAMS")
        while True:
            try:
                await consumer.pipe.send_many([(*read, source, _LAST_ID) for source in consumer.sources])
            except FAILURES as e:
                logger.debug("showing that %s is read: %s", consumer.group, e)
            await asyncio.sleep(_SHOWN_EVERY)

    async def _promote_regularly(self) -> None:
        """Move retries that are due, also those that dead processes have postponed."""
        consumer = self._consumer
        while True:
            try:
                for stream in consumer.settling.keys:
                    await consumer.settling.promote(stream)
                await consumer.note_progress()
                await consumer.notice_remade()
                await consumer.notice_gone()
            except FAILURES as e:
                logger.debug("noting the progress of %s: %s", consumer.group, e)
            await self._pause()

    async def _sweep_regularly(self) -> None:
        consumer = self._consumer
        while True:
            try:
                for source in consumer.sources:
                    await self._sweep(source)
                consumer.refusals.clear(_SWEEPING)
            except FAILURES as e:
                if isinstance(e, LinkBroken):
                    # What was claimed just now may be held here without a delivery.
                    consumer.note_lost_reply()
                consumer.refusals.meet(_SWEEPING, e, only="NOPERM")
            await self._pause()

    async def _pause(self) -> None:
        options = self._consumer.options
        interval = options.reclaim_interval or options.acknowledgement_timeout / 4
        await asyncio.sleep(interval * random.uniform(0.75, 1.0))  # noqa: S311 - no secret

    async def _sweep(self, source: str) -> None:
        """Take over, one after another, what dead processes held; go on where the last sweep ended."""
        consumer = self._consumer
        lease_ms = int(consumer.options.acknowledgement_timeout * 1000)
        most = consumer.options.reclaim_batch_size or consumer.options.batch_size * 10
        for _ in range(most):
            if not consumer.has_room:
                consumer.refusals.clear(_SWEEPING)  # It is not tried for a while.
            await consumer.wait_for_room()
            async with self._suspects.turn:
                if consumer.stopping:
                    return  # It would only be handed back, and the count of its deaths forgotten.
                cursor, most_deliveries = self._cursors.get(source, "-"), self._suspects.most_deliveries
                arguments = [
                    consumer.group,
                    consumer.name,
                    lease_ms,
                    cursor,
                    most_deliveries,
                    consumer.max_deaths,
                ]
                reply = await consumer.pipe.run(CLAIM, [source], arguments)
                self._cursors[source] = reply[0].decode()
                if len(reply) > 1 and not self.holds(source, reply[1].decode()):
                    await self._run_suspect(source, reply[1].decode(), reply[2], reply[3])
            if self._cursors[source] == "-":
                break
        arguments = [consumer.group, _RESTAMPED_AT_ONCE, self._restamped.get(source, "-"), 0]
        self._restamped[source] = (await consumer.pipe.run(RESTAMP, [source], arguments)).decode()
        ttl = int(consumer.options.consumer_ttl * 1000)
        await consumer.pipe.run(FORGET, [source], [consumer.group, ttl, "", ""])

    async def rerun(self, source: str, entry_id: str, fields: list[bytes], delivered: int) -> None:
        """Run a suspect that was claimed by a command whose reply was lost; that is no further death."""
        self.hold(source, entry_id)
        async with self._suspects.turn:
            await self._run_suspect(source, entry_id, fields, delivered)

    async def _run_suspect(self, source: str, entry_id: str, fields: list[bytes], delivered: int) -> None:
        consumer = self._consumer
        delivery = consumer.receive(source, entry_id, fields)
        if delivery is None:
            return
        name = delivery.message.canonical_name
        if delivered > consumer.max_deaths:
            logger.error(
                "%s (event %s) ended %d processes of %s and is put aside",
                name,
                delivery.message.id,
                delivered - 1,
                consumer.group,
                extra={"message_id": delivery.message.id},
            )
            await delivery.dead_letter("process_died", None)
            return
        what, message_id = "%s (event %s) was left by a process that died", delivery.message.id
        logger.warning(what, name, message_id, extra={"message_id": message_id})
        delivery.settled = asyncio.get_running_loop().create_future()
        consumer.offer(delivery)
        await self._suspects.run(delivery.settled, delivered)
