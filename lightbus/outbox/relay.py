"""The relay: sends what an outbox has to the broker, in order, and deletes it then."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from lightbus.bus.client import BusClient
from lightbus.declared.settings import OutboxOptions
from lightbus.exceptions import (
    InvalidMessage,
    InvalidParameters,
    LightbusException,
    OutboxTableMissing,
    TransportError,
    ValidationError,
    text_of,
)
from lightbus.runtime.retrying import Retrying
from lightbus.transports.events import Outgoing

from .database import Batch, CannotListen, DatabaseFailed, Outcome, Remote
from .rows import MAX_ERROR, Row, Waiting, buckets_of

logger = logging.getLogger(__name__)

#: Seconds that a batch may take to be sent; less where nobody else can write meanwhile.
_TIMEOUT, _SHORT_TIMEOUT = 5.0, 1.0
#: The errors of an event that nothing but another event could mend.
_FINAL = (InvalidMessage, InvalidParameters, ValidationError)
#: Seconds of one wait for a sign, and so of the longest wait of the end for the thread of a database.
_LISTEN = 0.5
#: How often something is tried whose error may pass, such as that of a hook, before its row is put aside.
_ATTEMPTS = 8
#: Seconds between two looks at how full the outbox is, and between two removals of old rows.
_LOOK_EVERY, _PRUNE_EVERY = 5.0, 60.0


class Relay:
    """Sends the events of one partition of an outbox while it leads that.

    Args:
        client: The bus.
        database: The outbox.
        settings: How it works.
        part: Which partition, from 0.
    """

    def __init__(self, client: BusClient, database: Remote, settings: OutboxOptions, part: int = 0) -> None:
        self._client = client
        self._database = database
        self._settings = settings
        self._buckets = buckets_of(part, settings.partitions)
        #: Which partition, from 0.
        self.part = part
        self._ends = asyncio.Event()
        self._tries: dict[str, int] = {}
        self._limit = settings.batch
        self._pruned = self._looked = float("-inf")
        self._listens = database.listens
        what = f"the relay of the outbox {database.name} can't send"
        obstacles = client.parts.obstacles
        self._sending = Retrying(logger, what, obstacles=obstacles)
        what = f"the relay can't read the outbox {database.name}"
        self._reading = Retrying(logger, what, obstacles=obstacles)
        self._relayed = client.parts.metrics.outbox_relayed.add
        #: Whether it was the leader of its partition when it last looked.
        self.leads = False
        #: When it has sent events last, as a Unix time; None if it has not.
        self.sent: float | None = None
        #: How full its outbox was when it last looked.
        self.waiting = Waiting()

    @property
    def name(self) -> str:
        """The name of its database."""
        return self._database.name

    @property
    def trouble(self) -> str:
        """Why it sends nothing at present; empty where it does, or has nothing to send."""
        return self._reading.trouble or self._sending.trouble

    async def run(self) -> None:
        """Send until it is to end."""
        try:
            while not self._ends.is_set():
                await self._once()
        finally:
            self.leads = False
            self._sending.clear()
            self._reading.clear()

    def end(self) -> None:
        """End once the batch that is on its way is done."""
        self._ends.set()

    async def close(self) -> None:
        """Close its connection to the database."""
        try:
            await self._database.close()
        except DatabaseFailed as e:
            logger.debug("closing %s failed: %s", self.name, e)

    async def _once(self) -> None:
        """Send a batch, and wait where there is nothing more or something fails."""
        goes_on = False
        try:
            if self._sending.failures:
                # Before a transaction is begun: it would be held for as long as the broker does not answer.
                await self._ask_brokers()
            goes_on = await self._send_batch()
            await self._look()
        except TransportError as e:
            await self._pause(self._sending.failed(e))
            await self._look_away()
            return
        except (DatabaseFailed, OutboxTableMissing) as e:
            self.leads = False
            await self._pause(self._reading.failed(e))
            return
        self._reading.clear()
        if not goes_on:
            await self._wait(self._settings.poll)

    async def _send_batch(self) -> bool:
        """Send what waits, and delete it; tells whether there may be more."""
        database, settings = self._database, self._settings
        begun = await database.begin(self._buckets, self._limit)
        if begun is None:
            self.leads = False
            return False
        self.leads = True
        outcome = Outcome(kept=settings.keep > 0)
        failure: TransportError | None = None
        try:
            failure = await self._send(begun, outcome)
            await database.finish(outcome)
        except BaseException:
            await asyncio.shield(self._roll_back())
            raise
        if outcome.sent:
            self.sent = time.time()
        self._relayed(database.name, "sent", by=len(outcome.sent))
        self._relayed(database.name, "failed", by=len(outcome.failed))
        if failure is not None:
            self._relayed(database.name, "again", by=len(begun.rows) - len(outcome.sent))
            raise failure
        self._sending.clear()
        was_full, self._limit = len(begun.rows) >= self._limit, settings.batch
        return was_full

    async def _send(self, batch: Batch, outcome: Outcome) -> TransportError | None:
        """Send what can be sent; returns why some rows were not stored, which are to be sent again."""
        timeout = _SHORT_TIMEOUT if self._database.is_exclusive else _TIMEOUT
        stuck = set(batch.stuck)
        left = list(batch.rows)
        while left:
            rows, messages = [], []
            for row in left:
                if row.key and row.key in stuck:
                    outcome.held.append(row.seq)
                    continue
                try:
                    messages.append(row.message())
                    rows.append(row)
                except ValueError as e:
                    self._give_up(row, e, outcome, stuck)
            ready: list[Outgoing] = []
            try:
                keys = [row.key for row in rows]
                await self._client.firer.send(messages, keys, timeout, self._settings.dedupe, ready)
            except TransportError:
                raise
            except Exception as e:
                # Nothing was sent. Where the event is at fault, it is the one after those that are ready.
                at_fault = self._at_fault(rows, len(ready), e)
                if at_fault is None:
                    raise TransportError(self._in_public(e)) from e
                self._give_up(at_fault, e, outcome, stuck)
                left = [row for row in rows if row is not at_fault]
                continue
            return self._note(rows, ready, outcome)
        return None

    def _note(
        self, rows: Sequence[Row], ready: Sequence[Outgoing], outcome: Outcome
    ) -> TransportError | None:
        failure: TransportError | None = None
        for row, event in zip(rows, ready, strict=True):
            if event.error is None:
                outcome.sent.append(row.seq)
                self._tries.pop(row.event_id, None)
            elif failure is None:
                error = event.error
                failure = error if isinstance(error, TransportError) else TransportError(str(error))
        return failure

    def _in_public(self, error: Exception) -> str:
        """Name an error of a hook, or of something else that is not ours; its text is for the log alone.

        That may quote the event. What is in the way of a relay stands on the card of its process as well,
        which everybody on the bus can read.
        """
        if not self._sending.failures:
            what = "%s came up before events of the outbox %s were sent; they are tried again one by one"
            logger.warning(what, text_of(error), self.name)
        return f"{type(error).__name__} came up before events were sent; the log of this process says more"

    def _at_fault(self, rows: Sequence[Row], ready: int, error: Exception) -> Row | None:
        """Return the row that can never be sent; None where it may be possible another time."""
        if isinstance(error, _FINAL) and ready < len(rows):
            return rows[ready]
        if len(rows) > 1:
            # A hook, or something else that is not ours: by itself, each row shows whether it is at fault.
            self._limit = 1
            return None
        row = rows[0]
        self._tries[row.event_id] = self._tries.get(row.event_id, 0) + 1
        return row if self._tries[row.event_id] >= _ATTEMPTS else None

    def _give_up(self, row: Row, error: Exception, outcome: Outcome, stuck: set[str]) -> None:
        reason = str(error) if isinstance(error, LightbusException) else text_of(error)
        self._tries.pop(row.event_id, None)
        outcome.failed[row.seq] = reason[:MAX_ERROR]
        if row.key:
            stuck.add(row.key)
        behind = f"; events of the key {row.key!r} wait for it" if row.key else ""
        logger.error(
            "%s.%s (event %s) of the outbox %s can't be sent%s: %s. `lightbus outbox list` shows it; "
            "retry or drop it",
            row.api,
            row.event,
            row.event_id,
            self._database.name,
            behind,
            reason,
            extra={"message_id": row.event_id},
        )

    async def _roll_back(self) -> None:
        try:
            await self._database.rollback()
        except DatabaseFailed as e:
            logger.debug("rolling back in %s failed, too: %s", self._database.name, e)

    async def _ask_brokers(self) -> None:
        """Raise what a broker of events says where it does not answer."""
        transports = self._client.parts.transports()
        for kind, transport, _ in transports.in_use():
            if kind == "event":
                await transport.now()

    async def _look(self) -> None:
        """Look now and then how full the outbox is, and remove what was sent long ago."""
        now = asyncio.get_running_loop().time()
        if now - self._looked >= _LOOK_EVERY and self.part == 0:
            self._looked = now
            self.waiting = await self._database.waiting()
        if self.part == 0 and self._settings.keep and now - self._pruned >= _PRUNE_EVERY:
            self._pruned = now
            await self._database.prune(self._settings.keep)

    async def _look_away(self) -> None:
        """Look while the broker is away, too: metrics then tell what waits for it."""
        try:
            await self._look()
        except (DatabaseFailed, OutboxTableMissing) as e:
            self._reading.failed(e)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._ends.wait(), seconds)
        except TimeoutError:
            return

    async def _wait(self, seconds: float) -> None:
        """Wait for a sign from the database, or for the end."""
        end = asyncio.get_running_loop().time() + seconds
        while not self._ends.is_set() and (rest := end - asyncio.get_running_loop().time()) > 0:
            if not self._listens:
                await self._pause(rest)
                return
            try:
                if await self._database.wait(min(rest, _LISTEN)):
                    return
            except DatabaseFailed as e:
                await self._pause(self._reading.failed(e))
            except CannotListen as e:
                self._listens = False
                if self.part == 0:
                    what = "outbox.notify does nothing for %s, which is looked at every %g s (poll): %s"
                    logger.warning(what, self.name, seconds, e)
