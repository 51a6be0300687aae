"""Commands of one loop tick go out in few writes, on one connection; replies come back in order.

Measured against the library's own client with 100 XADD in flight: about five times the throughput.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

import hiredis

from lightbus.exceptions import BusAlreadyClosed, TransportUnavailable
from lightbus.runtime.cancellation import is_ending
from lightbus.runtime.obstacles import Obstacles
from lightbus.runtime.retrying import backoff
from lightbus.runtime.tasks import why_ended

from .channel import Batch, Channel
from .connection import Connector, Link, LinkBroken, Wire, ignore_outcome
from .deadlines import Deadlines, Outcome, fail
from .promise import Promise, Replicas
from .reaching.outages import Hearers, Outages
from .reaching.reasons import words_of
from .refusals import ReplyError, must_reconnect
from .remains import NAME, Remains

logger = logging.getLogger(__name__)

#: Seconds that a silent connection has to be read once more before it is closed.
_LAST_CHANCE = 0.1
#: So many sends of one tick go out before its end, so that Redis works on them while more are made.
_MOST_AT_ONCE = 32
#: The most seconds between two attempts to connect.
_LONGEST = 5.0


class Pipe(Channel):
    """The shared connection of one event loop to one Redis.

    Args:
        connector: Opens the connection.
        command_timeout: Seconds without a reply, while one is due, after which the connection counts as dead.
        told: Shows that commands don't reach Redis, while that is so.
        promise: The replicas that must have a write of :meth:`store` before its sender hears of it.
    """

    def __init__(
        self,
        connector: Connector,
        command_timeout: float,
        told: Hearers | None = None,
        promise: Promise | None = None,
    ) -> None:
        self.connector = connector
        self.address = connector.address
        self.outages = Outages(connector.address, Hearers() if told is None else told, promise)
        self._timeout = command_timeout
        self._replicas: Replicas | None = None
        if promise is not None:
            self._replicas = Replicas(promise, connector.address, self._deliver, self._flush)
            self._timeout += promise.timeout  # For so long WAIT may hold up all replies.
        #: After how many seconds, while replies are due, it is looked whether any have come.
        self._look_after = self._timeout
        self._loop = asyncio.get_running_loop()
        self.deadlines = Deadlines(self._loop)
        self._waiting: deque[Batch] = deque()
        self._written: deque[Batch] = deque()
        self._replies: list[Any] = []  # That have come to the first of these.
        self._wire: Wire | None = None
        self._reader: asyncio.Task[None] | None = None
        self._flushing = False
        self._is_alone = True  # Whether the last writing had one batch: the next one, too, goes by itself.
        self.is_closed = False
        self._watch: asyncio.TimerHandle | None = None
        #: When replies came last, by the event loop's clock.
        self._heard_at = 0.0
        self._is_doubtful = False
        self._failure: TransportUnavailable | None = None
        self._failures = 0
        self._was_connected = False
        self._leaving: ReplyError | None = None
        self._has_answered = False
        self._remains = Remains()
        self._reconnects = 0
        self.on_refusal = lambda refusal: None

    def send(self, *command: Any) -> asyncio.Future[Any]:
        """Send one command."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self.put(Batch(future, hiredis.pack_command(command), 1, True))
        return future

    post = send  # Whoever blocks is woken by Redis itself.

    def ring(self, key: str, group: str = "") -> None:
        """Redis wakes those that block."""

    def store(self, *command: Any) -> asyncio.Future[Any]:
        """Send a write, whose reply comes once what was promised of replicas is kept."""
        stored: asyncio.Future[Any] = self._loop.create_future()
        self.put(Batch(stored, hiredis.pack_command(command), 1, True, is_promised=True))
        return stored

    def send_many(self, commands: Iterable[tuple[Any, ...]]) -> asyncio.Future[list[Any]]:
        """Send commands that follow each other without another one between."""
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self.send_for(future, "", *commands)
        return future

    def send_for(self, outcome: Outcome, key: str, *commands: tuple[Any, ...]) -> None:
        """Send commands that follow each other, and tell what is given here of their replies as they come."""
        packed = [hiredis.pack_command(command) for command in commands]
        self.put(Batch(outcome, b"".join(packed), len(packed), False))

    def send_to_all(self, *command: Any) -> asyncio.Future[list[Any]]:
        """Send one command, to the only Redis that there is."""
        return self.send_many([command])

    async def primaries(self) -> Sequence[Channel]:
        """Return this one."""
        return [self]

    async def close(self) -> None:
        """Close the connection; commands that wait fail."""
        self.is_closed = True
        try:
            if self._reader is not None and self._reader.cancel():
                await asyncio.wait([self._reader])
        finally:
            self._written.extend(self._waiting)
            self._waiting.clear()
            self._drop(BusAlreadyClosed("the bus was closed while the command waited"))

    def link(self, key: str | None, on_refusal: Callable[[ReplyError], None]) -> Link:
        """Return a new connection for commands that block."""
        return Link(self.connector, on_refusal)

    def unblock(self, link: Link) -> None:
        """Make a read that blocks on another connection return at once."""
        if link.client_id is not None and not self.is_closed:
            self.send("CLIENT", "UNBLOCK", link.client_id).add_done_callback(ignore_outcome)

    def end_remains(self, link: Link) -> None:
        """Let what is left of another connection end before anything that is sent from now on is done."""
        self.end(link.remains)

    def end(self, remains: Remains) -> None:
        """Let these end before anything that is sent from now on is done."""
        if not self.is_closed:
            remains.end_by(self.send_many)

    @property
    def failure(self) -> TransportUnavailable | None:
        """The last failure to connect, while there is no connection."""
        return self._failure

    @property
    def reconnects(self) -> int:
        """How often the connection was made again."""
        return self._reconnects

    @property
    def outage_ended_at(self) -> float:
        """When the connection was made last, by the event loop's clock."""
        return self.outages.ended_at

    def outage_since(self, moment: float) -> str:
        """Say for how long Redis was away, where that was after a moment of the loop's clock."""
        return self.outages.since(moment, self._loop.time())

    def forget(self, obstacles: Obstacles) -> None:
        """Tell these no more of what is in the way of commands."""
        obstacles.clear(self.outages.obstacle)

    def is_unsent(self, future: Outcome) -> bool:
        """Tell whether a command still waits for a connection."""
        return any(batch.future is future for batch in self._waiting)

    def unsent(self) -> Collection[Outcome]:
        """Return the futures of all commands that still wait for a connection."""
        return {batch.future for batch in self._waiting}

    def put(self, batch: Batch) -> None:
        """Send commands at the end of this tick of the loop, or at once where they go one at a time."""
        if self.is_closed:
            raise BusAlreadyClosed
        self._waiting.append(batch)
        if self._wire is None:
            if self._reader is None:
                self._start()
        elif len(self._waiting) >= _MOST_AT_ONCE or (self._is_alone and not self._written):
            self._flush()
        elif not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write everything that was sent during this tick."""
        self._flushing = False
        wire = self._wire
        if wire is None or not self._waiting or self._leaving is not None:
            return
        batches: Iterable[Batch] = self._waiting
        if self._replicas is not None:
            if self._replicas.is_asked:
                return  # Redis would not read it before it has answered.
            batches = self._replicas.bind(batches)
        now = self._loop.time()
        chunks = []
        for batch in batches:
            if not batch.future.done():  # Else its sender has taken it back.
                batch.sent = now
                chunks.append(batch.packed)
                self._written.append(batch)
        self._waiting.clear()
        self._is_alone = len(chunks) <= 1
        if chunks:
            wire.write(b"".join(chunks) if len(chunks) > 1 else chunks[0])
            if self._watch is None:
                self._watch = self._loop.call_later(self._look_after, self._check_alive)

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
            self._watch = self._loop.call_later(min(left, self._look_after), self._check_alive)
        else:
            self.outages.log(logging.WARNING, f"Redis at {self.address} is silent; connecting again")
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
        self._drop(self._broken("its task ended"))
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
                error = TransportUnavailable(f"Redis at {self.address} can't be used: {words_of(e)}")
                error.__cause__ = e
                self._note_unreachable(error)
            else:
                await self._use(wire)
            await asyncio.sleep(backoff(self._failures, _LONGEST if self._leaving is None else _LONGEST / 10))

    def _note_unreachable(self, error: TransportUnavailable) -> None:
        if self._failure is None and error.__cause__ is None:
            # If there never was a connection, each sender gets an error.
            level = logging.WARNING if self._was_connected else logging.DEBUG
            self.outages.log(level, f"{error}; trying again until it answers")
        self._failure = error
        self._note_failure(str(error), error.__cause__)
        self._refuse_waiting(error)

    async def _use(self, wire: Wire) -> None:
        """Send and read until the connection breaks."""
        if self._failure is not None and self._leaving is None:
            self.outages.log(logging.INFO, f"Redis at {self.address} answers again")
        self._failure = self._leaving = None
        self._was_connected, self._has_answered = True, False
        self.outages.end(self._loop.time())
        self._wire, self._replies = wire, []
        wire.receive = self._receive
        try:
            # Before what waits here: the remains of the last connection must do nothing after it.
            self._introduce()
            self._flush()
            await wire.lost()
        except LinkBroken as e:
            # A server that is the wrong one is met again and again: once is enough to tell.
            self.outages.log(logging.WARNING if self._failures == 0 else logging.DEBUG, str(e))
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
            self._reconnects += 1
            await wire.close()

    def _introduce(self) -> None:
        """Before anything else, ask who this is, and end what is left of the connections before."""
        introduced = self._loop.create_future()
        endings = self._remains.endings()
        introduced.add_done_callback(partial(self._remains.note_introduced, endings))
        packed = [hiredis.pack_command(command) for command in (NAME, *endings)]
        self._waiting.appendleft(Batch(introduced, b"".join(packed), len(packed), single=False))

    def _receive(self, replies: list[Any]) -> None:
        """Hand replies to the senders of their commands."""
        written = self._written
        self._heard_at = self._loop.time()
        self._is_doubtful = False
        for reply in replies:
            if not written:
                raise self._broken("a reply came to no command")
            batch = written[0]
            if reply.__class__ is ReplyError:
                batch.is_refused = True
                self.on_refusal(reply)
                if must_reconnect(reply):
                    # Written commands are still answered; new ones wait for the next connection.
                    self._leaving = reply
            if not batch.single:
                self._replies.append(reply)
                if len(self._replies) < batch.wanted:
                    continue
                reply, self._replies = self._replies, []
            # Before the future is set: nothing that it wakes may find the batch still unanswered.
            written.popleft()
            if batch.future.done():
                continue
            if batch.is_refused:
                self._deliver(batch, reply)
            else:
                batch.future.set_result(reply)
        if self._leaving is None:
            if self._failures:
                self._note_success()
        elif not written:
            self._failure = TransportUnavailable(f"Redis at {self.address} can't be used: {self._leaving}")
            self.outages.tell(str(self._failure))
            raise self._broken(f"it is left, since {self._leaving}")

    def _broken(self, reason: str) -> LinkBroken:
        return LinkBroken(f"the connection to Redis at {self.connector.address} broke: {reason}")

    def _deliver(self, batch: Batch, reply: Any) -> None:
        """Hand out the reply to a batch of which something was refused, or which waited for replicas."""
        if isinstance(reply, ReplyError):
            batch.future.set_exception(reply)
        else:
            batch.future.set_result(reply)

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
            else:  # With one error for all, everybody who waits would add to its traceback.
                own = TransportUnavailable(*error.args)
                own.__cause__ = error.__cause__
                fail(batch.future, own)

    def _drop(self, error: Exception) -> None:
        lost, self._written = self._written, deque()
        self._is_doubtful = False
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        for batch in lost:
            fail(batch.future, error)
