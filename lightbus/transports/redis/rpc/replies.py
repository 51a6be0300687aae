"""The list on which a caller's answers arrive."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lightbus.exceptions import BusAlreadyClosed, InvalidMessage, TransportUnavailable
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.runtime.complaints import Complaints
from lightbus.runtime.obstacles import Obstacles
from lightbus.runtime.retrying import Retrying
from lightbus.runtime.tasks import Kept
from lightbus.transports.port import Finding, Transport, Use
from lightbus.transports.redis.acl import needs
from lightbus.transports.redis.base import RedisTransport
from lightbus.transports.redis.codec import decode_answered
from lightbus.transports.redis.keys import reply_key
from lightbus.transports.redis.link.connection import BLOCK, FAILURES, Link, LinkBroken
from lightbus.transports.redis.link.deadlines import fail
from lightbus.transports.redis.link.permissions import Need
from lightbus.transports.redis.link.refusals import ReplyError

logger = logging.getLogger(__name__)


class RedisAnswers(RedisTransport, Transport):
    """The Redis of answers, where it is not that of calls."""

    async def check(self, uses: Sequence[Use]) -> Sequence[Finding]:
        """Look whether Redis can be used; nothing is kept there that must last."""
        return [f for f in await super().check(uses) if f.fatal or f.severity == "error"]

    def _needs(self, use: Use) -> Iterable[Need]:
        return needs_of_answers(use)

    def _needs_of_1x(self, use: Use) -> Iterable[Need]:
        return needs_of_answers_1x(use)


def needs_of_answers(use: Use) -> Iterable[Need]:
    """Return what a use of an API needs of the Redis of answers."""
    if use.role == "serves":
        return needs.answers(use.name)
    return needs.reads_answers() if use.role == "calls" else ()


def needs_of_answers_1x(use: Use) -> Iterable[Need]:
    """Return what a use of an API needs of the Redis of answers, where Lightbus 1.x calls the API."""
    return needs.answers_1x(use.name) if use.role == "serves" else ()


@dataclass(slots=True, eq=False)
class Waiting:
    """A call that waits for its answer.

    The connection tells it what became of sending the call, as it would tell a future.

    Args:
        message: The call.
        blob: The call as it was pushed.
        answer: Takes the answer.
        sent_at: When it was sent, by the event loop's clock.
        after: Called with this, and with the replies of Redis or the reason why there are none.
        was_served: Whether a process of this version has served the API meanwhile.
        is_taken: Whether it could not be withdrawn any more.
        is_sent: Whether it is known what became of sending it, or nobody wants to know.
        told: Those who are told so.
    """

    message: RpcMessage
    blob: bytes
    answer: asyncio.Future[ResultMessage]
    sent_at: float
    after: Callable[[Waiting, Any, BaseException | None], None]
    was_served: bool = False
    is_taken: bool = False
    is_sent: bool = False
    told: list[Callable[[Waiting], object]] | None = None

    def done(self) -> bool:
        """Tell whether nothing more is to be told of sending it."""
        return self.is_sent

    def cancel(self) -> bool:
        """Take it back, unless it was written; return whether it was not known yet what became of it."""
        was_open = not self.is_sent
        if was_open:
            self._note_sent()
        return was_open

    def set_result(self, replies: Any, /) -> None:
        """Redis has taken or refused it."""
        self._note_sent()
        self.after(self, replies, None)

    def set_exception(self, error: BaseException, /) -> None:
        """It is not known whether Redis has it, or it was not sent."""
        self._note_sent()
        self.after(self, None, error)

    def exception(self) -> BaseException | None:
        """Return nothing: whoever waits for the answer is told of the error."""
        return None

    def add_done_callback(self, told: Callable[[Waiting], object], /) -> None:
        """Tell somebody once nothing more is to be told of sending it; at once, not in a turn of the loop."""
        self.told = [*(self.told or ()), told]

    def _note_sent(self) -> None:
        self.is_sent = True
        if self.told is not None:
            told, self.told = self.told, None
            for tell in told:
                tell(self)


class ReplyList:
    """The one list on which this caller's answers arrive, and the futures that wait for them.

    Args:
        transport: Has the session: that of calls, or :class:`RedisAnswers`.
        retry_delay: The longest wait after an error, in seconds.
        decode: Makes an answer of its bytes.
        obstacles: Returns the obstacles that show why answers are not read.
    """

    def __init__(
        self,
        transport: RedisTransport,
        retry_delay: float,
        decode: Callable[[bytes], ResultMessage],
        obstacles: Callable[[], Obstacles],
    ) -> None:
        self._obstacles = obstacles
        self._decode = decode
        self._retry_delay = retry_delay
        self._transport = transport
        self._complaints = Complaints(logger)
        self._key = reply_key(secrets.token_urlsafe(32))
        self.return_path = f"redis+key://{self._key}"
        #: The calls that wait, by their ids, the oldest first; each caller takes its own out at the end.
        self.expected: dict[str, Waiting] = {}
        self._reader: Kept | None = None
        self._wanted = asyncio.Event()
        self._broke_at = -math.inf

    def expect(self, call: Waiting) -> None:
        """Have the answer to a call that is sent just now delivered."""
        self.expected[call.message.id] = call
        if self._reader is None:
            lost = "answers to calls are not read"
            self._reader = Kept(self._read, "lightbus replies", lost, self._obstacles()).start()
        if len(self.expected) == 1:
            self._wanted.set()

    def loss_since(self, moment: float) -> str:
        """Say that an answer may be lost, if its connection broke after a moment of the loop's clock."""
        is_lost = self._broke_at >= moment
        return "the connection of answers broke, perhaps with this one" if is_lost else ""

    async def close(self) -> None:
        """Stop reading; calls that wait are cancelled."""
        try:
            if self._reader is not None:
                await self._reader.stop()
        finally:
            for waiting in self.expected.values():
                fail(waiting.answer, BusAlreadyClosed("the bus was closed while the call waited"))

    async def _read(self) -> None:
        link = self._transport.session.link(self._key)
        reading = Retrying(logger, "reading answers", longest=self._retry_delay)
        try:
            while True:
                if not self.expected:
                    self._wanted.clear()
                    await self._wanted.wait()
                try:
                    await self._read_once(link)
                    if reading.failures:
                        reading.clear()
                except FAILURES as e:
                    # The pipe tells of it, if the Redis of calls is away.
                    is_told = isinstance(e, TransportUnavailable) and not isinstance(
                        self._transport, RedisAnswers
                    )
                    if isinstance(e, LinkBroken):
                        self._broke_at = asyncio.get_running_loop().time()
                        # A command that still waits to be read there would take answers for nobody.
                        self._transport.pipe.end_remains(link)
                    await reading.wait(e, is_told=is_told)
        finally:
            await link.close()

    async def _read_once(self, link: Link) -> None:
        """Wait for an answer and fetch all others that are there with the same write."""
        commands = [("BRPOP", self._key, BLOCK), ("RPOP", self._key, 1000)]
        for reply in await link.exchange(commands, BLOCK + 2, self._take):
            if isinstance(reply, ReplyError):
                raise reply

    def _take(self, replies: Sequence[Any]) -> None:
        """Deliver the first answer and all others."""
        first, more = replies
        if isinstance(first, list):
            self._deliver(first[1])
        if isinstance(more, list):
            for blob in more:
                self._deliver(blob)

    def _deliver(self, blob: bytes) -> None:
        try:
            result = self._decode(blob)
        except InvalidMessage as e:
            what = "an unreadable answer arrived and is dropped: %s"
            self._complaints.tell("the answers to this process", what, e)
            self._transport.metrics.messages_refused.add("lightbus:reply")
            self._fail(decode_answered(blob), e)
            return
        waiting = self.expected.get(result.rpc_message_id)
        if waiting is not None and not waiting.answer.done():
            waiting.answer.set_result(result)

    def _fail(self, call_id: str | None, error: InvalidMessage) -> None:
        """Tell a caller now that its answer can't be read, not by its timeout."""
        waiting = self.expected.get(call_id) if call_id is not None else None
        if waiting is not None and not waiting.answer.done():
            name = waiting.message.canonical_name
            waiting.answer.set_exception(
                InvalidMessage(f"{name} was run, but its answer can't be read: {error}")
            )
