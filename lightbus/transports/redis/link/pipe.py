"""Commands of one loop tick go out in few writes, on one connection; replies come back in order.

Measured against the library's own client with 100 XADD in flight: about five times the throughput.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import hiredis

from lightbus.exceptions import BusAlreadyClosed, TransportUnavailable
from lightbus.runtime.cancellation import is_ending
from lightbus.runtime.obstacles import Obstacles
from lightbus.runtime.retrying import backoff
from lightbus.runtime.tasks import why_ended
from lightbus.transports.redis.scripts import Run

from .connection import Connector, Link, LinkBroken, Wire, unavailable
from .deadlines import Deadlines
from .outages import Outages
from .reasons import words_of
from .refusals import Reaction, ReplyError, must_reconnect
from .remains import NAME, Remains

logger = logging.getLogger(__name__)

#: Seconds that a silent connection has to be read once more before it is closed.
_LAST_CHANCE = 0.1
#: So many sends of one tick go out before its end, so that Redis works on them while more are made.
_MOST_AT_ONCE = 32
#: The most seconds between two attempts to connect.
_LONGEST = 5.0


@dataclass(slots=True, eq=False)
class _Batch:
    """Commands that belong together, and the future of their replies."""

    future: asyncio.Future[Any]
    packed: bytes
    wanted: int
    single: bool
    replies: list[Any] = field(default_factory=list)
    sent: float = 0.0


class Pipe:
    """The shared connection of one event loop to one Redis.

    If it breaks, commands that were not yet written wait until it is back. Those that were written and not
    answered fail with :class:`LinkBroken`, since nobody knows whether Redis did them.

    Args:
        connector: Opens the connection.
        command_timeout: Seconds without a reply, while one is due, after which the connection counts as dead.
        told: Shows that commands don't reach Redis, while that is so.
    """

    def __init__(
        self, connector: Connector, command_timeout: float, told: Collection[Obstacles] = ()
    ) -> None:
        self.connector = connector
        self.outages = Outages(connector.address, told)
        self._timeout = command_timeout
        self._loop = asyncio.get_running_loop()
        #: When those that wait for replies, or for answers, wait no longer.
        self.deadlines = Deadlines(self._loop)
        self._waiting: deque[_Batch] = deque()
        self._written: deque[_Batch] = deque()
        self._wire: Wire | None = None
        self._reader: asyncio.Task[None] | None = None
        self._flushing = False
        #: Whether :meth:`close` was called.
        self.is_closed = False
        self._watch: asyncio.TimerHandle | None = None
        #: When replies came last, by the event loop's clock.
        self._heard_at = 0.0
        self._is_doubtful = False
        #: The last failure to connect, while there is no connection.
        self.failure: TransportUnavailable | None = None
        self._failures = 0
        self._was_connected = False
        self._leaving: ReplyError | None = None
        self._has_answered = False
        self._remains = Remains()
        #: How often the connection was made again.
        self.reconnects = 0
        #: Is told of each refusal.
        self.on_refusal: Callable[[ReplyError], None] = lambda refusal: None

    def send(self, *command: Any) -> asyncio.Future[Any]:
        """Send one command.

        Returns:
            A future of its reply. It fails with :class:`ReplyError` if Redis refuses the command, with
            :class:`LinkBroken` if its outcome is unknown, and with ``TransportUnavailable`` if there was
            never a connection. Cancelling it before the command is written takes the command back.
        """
        return self._enqueue(hiredis.pack_command(command), 1, single=True)

    def send_many(self, commands: Iterable[tuple[Any, ...]]) -> asyncio.Future[list[Any]]:
        """Send commands that follow each other without another one between.

        Returns:
            A future of all replies, in which a refused command has its :class:`ReplyError` in its place.
        """
        packed = [hiredis.pack_command(command) for command in commands]
        return self._enqueue(b"".join(packed), len(packed), single=False)

    async def run(self, run: Run) -> Any:
        """Run a script, sending its text where the server does not know it yet.

        Raises:
            ReplyError: Redis refused it.
            LinkBroken: The outcome is unknown.
        """
        try:
            try:
                return await self.send(*run.by_name())
            except ReplyError as e:
                if e.reaction is not Reaction.SEND_SCRIPT:
                    raise
            return await self.send(*run.by_text())
        except ReplyError as e:
            e.note_script(run)
            raise

    async def open(self) -> None:
        """Connect now instead of with the first command.

        Raises:
            TransportUnavailable: Redis does not answer; it is tried again in the background all the same.
        """
        with unavailable(f"Redis at {self.connector.address} is not ready"):
            await self.send("PING")

    async def close(self) -> None:
        """Close the connection; commands that wait fail."""
        self.is_closed = True
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        self._written.extend(self._waiting)
        self._waiting.clear()
        self._drop(BusAlreadyClosed("the bus was closed while the command waited"))

    def unblock(self, link: Link) -> None:
        """Make a read that blocks on another connection return at once."""
        if link.client_id is not None and not self.is_closed:
            self.send("CLIENT", "UNBLOCK", link.client_id).add_done_callback(ignore_outcome)

    def end_remains(self, link: Link) -> None:
        """Let what is left of another connection end before anything that is sent from now on is done."""
        endings = link.remains.endings()
        if endings and not self.is_closed:
            ended = self.send_many(endings)
            ended.add_done_callback(
                lambda done: link.remains.forget(endings) if failure_of(done) is None else None
            )

    def outage_since(self, moment: float) -> str:
        """Say for how long Redis was away, where that was after a moment of the loop's clock."""
        return self.outages.since(moment, self._loop.time())

    def is_unsent(self, future: asyncio.Future[Any]) -> bool:
        """Tell whether a command still waits for a connection."""
        return any(batch.future is future for batch in self._waiting)

    def unsent(self) -> set[asyncio.Future[Any]]:
        """Return the futures of all commands that still wait for a connection."""
        return {batch.future for batch in self._waiting}

    def _enqueue(self, packed: bytes, wanted: int, *, single: bool) -> asyncio.Future[Any]:
        if self.is_closed:
            raise BusAlreadyClosed("this bus was closed; make a new one with lightbus.create()")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(_Batch(future, packed, wanted, single))
        if self._wire is None:
            if self._reader is None:
                self._start()
        elif len(self._waiting) >= _MOST_AT_ONCE:
            self._flush()
        elif not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        """Write everything that was sent during this tick."""
        self._flushing = False
        wire = self._wire
        if wire is None or not self._waiting or self._leaving is not None:
            return
        now = self._loop.time()
        chunks = []
        for batch in self._waiting:
            if not batch.future.done():  # Else its sender has taken it back.
                batch.sent = now
                chunks.append(batch.packed)
                self._written.append(batch)
        self._waiting.clear()
        if chunks:
            wire.write(b"".join(chunks) if len(chunks) > 1 else chunks[0])
            if self._watch is None:
                self._watch = self._loop.call_later(self._timeout, self._check_alive)

    def _check_alive(self) -> None:
        """Close a connection that says nothing although a command waits: a half-open one tells nothing."""
        self._watch = None
        if not self._written or self._wire is None:
            return
        left = max(self._written[0].sent, self._heard_at) + self._timeout - self._loop.time()
        if left <= 0 and not self._is_doubtful:
            # It may be the event loop that was held up: what has come meanwhile is read first.
            self._is_doubtful, left = True, _LAST_CHANCE
        if left > 0:
            self._watch = self._loop.call_later(left, self._check_alive)
        else:
            logger.warning("Redis at %s is silent; connecting again", self.connector.address)
            self._wire.abort()

    def _start(self) -> None:
        self._reader = self._loop.create_task(self._keep_connected(), name="lightbus redis pipe")
        self._reader.add_done_callback(self._note_end)

    def _note_end(self, reader: asyncio.Task[None]) -> None:
        """Nobody but :meth:`close` ends the task: without it, commands would wait for ever."""
        if self.is_closed:
            return
        error = None if reader.cancelled() else reader.exception()
        if error is None and not is_ending(reader):
            what = "the task %r ended unasked: %s. It is begun again; commands on their way fail"
            logger.error(what, reader.get_name(), why_ended(reader))
        self._note_failure("its task was ended from outside", error)
        self._drop(LinkBroken(f"the connection to Redis at {self.connector.address} broke: its task ended"))
        self._reader = None
        # At the end of the loop, nobody waits any more, and it need not begin again.
        if any(not batch.future.done() for batch in self._waiting):
            self._start()

    async def _keep_connected(self) -> None:
        while True:
            try:
                wire = await self.connector.connect()
            except TransportUnavailable as e:
                self._note_unreachable(e)
            except Exception as e:
                error = TransportUnavailable(
                    f"Redis at {self.connector.address} can't be used: {words_of(e)}"
                )
                error.__cause__ = e
                self._note_unreachable(error)
            else:
                await self._use(wire)
            await asyncio.sleep(backoff(self._failures, _LONGEST if self._leaving is None else _LONGEST / 10))

    def _note_unreachable(self, error: TransportUnavailable) -> None:
        if self.failure is None and error.__cause__ is None:
            # If there never was a connection, each sender gets an error.
            level = logging.WARNING if self._was_connected else logging.DEBUG
            logger.log(level, "%s; trying again until it answers", error)
        self.failure = error
        self._note_failure(str(error), error.__cause__)
        self._refuse_waiting(error)

    async def _use(self, wire: Wire) -> None:
        """Send and read until the connection breaks."""
        if self.failure is not None and self._leaving is None:
            logger.info("Redis at %s answers again", self.connector.address)
        self.failure = self._leaving = None
        self._was_connected, self._has_answered = True, False
        self.outages.end(self._loop.time())
        self._wire = wire
        try:
            # Before what waits here: the remains of the last connection must do nothing after it.
            self._introduce()
            self._flush()
            await self._read(wire)
        except LinkBroken as e:
            # A server that is the wrong one is met again and again: once is enough to tell.
            logger.log(logging.WARNING if self._failures == 0 else logging.DEBUG, "%s", e)
            self._failures += 1
            self._drop(e)
        except Exception as e:
            broken = wire.broken(words_of(e))
            self._note_failure(str(broken), e)
            self._drop(broken)
        finally:
            # Before anything is awaited: commands that are sent meanwhile wait for the next connection.
            self._wire = None
            self._remains.leave()
            self.outages.begin(self._loop.time())
            self.reconnects += 1
            await wire.close()

    def _introduce(self) -> None:
        """Before anything else, ask who this is, and end what is left of the connections before."""
        introduced = self._loop.create_future()
        endings = self._remains.endings()
        introduced.add_done_callback(partial(self._remains.note_introduced, endings))
        packed = [hiredis.pack_command(command) for command in (NAME, *endings)]
        self._waiting.appendleft(_Batch(introduced, b"".join(packed), len(packed), single=False))

    async def _read(self, wire: Wire) -> None:
        written = self._written
        while True:
            replies = await wire.read()
            self._heard_at = self._loop.time()
            self._is_doubtful = False
            for reply in replies:
                if reply.__class__ is ReplyError:
                    self.on_refusal(reply)
                    if must_reconnect(reply):
                        # Written commands are still answered; new ones wait for the next connection.
                        self._leaving = reply
                if not written:
                    raise wire.broken("a reply came to no command")
                batch = written[0]
                if not batch.single:
                    batch.replies.append(reply)
                    if len(batch.replies) < batch.wanted:
                        continue
                    reply = batch.replies
                # Before the future is set: nothing that it wakes may find the batch still unanswered.
                written.popleft()
                if batch.future.done():
                    continue
                if isinstance(reply, ReplyError):
                    batch.future.set_exception(reply)
                else:
                    batch.future.set_result(reply)
            if self._leaving is None:
                if self._failures:
                    self._note_success()
            elif not written:
                self.failure = TransportUnavailable(
                    f"Redis at {self.connector.address} can't be used: {self._leaving}"
                )
                self.outages.tell(str(self.failure))
                raise wire.broken(f"it is left, since {self._leaving}")

    def _note_failure(self, sentence: str, fault: BaseException | None) -> None:
        self._failures += 1
        self.outages.tell(sentence, fault)

    def _note_success(self) -> None:
        """Commands are answered again; the first reply proves less: any server answers that question."""
        if self._has_answered:
            self._failures = 0
        self._has_answered = True
        self.outages.clear()

    def _refuse_waiting(self, error: TransportUnavailable) -> None:
        """Fail the waiting commands if there never was a connection; else they are sent when it is back."""
        waiting, self._waiting = self._waiting, deque()
        for batch in waiting:
            if batch.future.done():
                continue
            if self._was_connected:
                self._waiting.append(batch)
            else:
                batch.future.set_exception(error)
                batch.future.exception()  # Nobody may be waiting for it any more.

    def _drop(self, error: Exception) -> None:
        lost, self._written = self._written, deque()
        self._is_doubtful = False
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        for batch in lost:
            if not batch.future.done():
                batch.future.set_exception(error)
                batch.future.exception()  # Nobody may be waiting for it any more.


def failure_of(sent: asyncio.Future[list[Any]]) -> BaseException | None:
    """Return what went wrong with commands that were sent, refusals included; None if nothing did."""
    if sent.cancelled():
        return None
    return sent.exception() or next((r for r in sent.result() if isinstance(r, ReplyError)), None)


def ignore_outcome(future: asyncio.Future[Any]) -> None:
    """Take note of an outcome that changes nothing, so that asyncio does not report it as lost."""
    if not future.cancelled():
        future.exception()
