"""Calls over Redis lists: one queue per API, one reply list per caller."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Literal

from lightbus.exceptions import (
    BusAlreadyClosed,
    InvalidMessage,
    LightbusTimeout,
    NoWorker,
    QueueFull,
    TransportUnavailable,
)
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.transports.base import Identity, RpcConsumer, RpcTransport
from lightbus.transports.questions import QueueStatus

from .codec import decode_result, encode_call
from .connection import BLOCK, FAILURES, Link, LinkBroken, ReplyError, backoff
from .options import RedisRpcOptions
from .pipe import ignore_outcome
from .queues import queue_status
from .rpc_consumer import RedisRpcConsumer, expiry_key, queue_key, served_key
from .schema import schema_key
from .session import RedisTransport

logger = logging.getLogger(__name__)

#: Seconds for which an answer proves that an API is served, so that the next call need not ask.
_SERVED_FOR = 5.0


class RedisRpcTransport(RedisTransport, RpcTransport):
    """Calls procedures by ``RPUSH {api}:rpc_queue`` and matches the answers by their call's id.

    Args:
        options: How to reach Redis, and how long answers are kept.
    """

    options: ClassVar[type | None] = RedisRpcOptions

    def __init__(self, options: RedisRpcOptions | None = None) -> None:
        self._options = options or RedisRpcOptions()
        super().__init__(self._options)
        self._replies = ReplyList(self, self._options.rpc_retry_delay)

    async def call(self, message: RpcMessage, timeout: float) -> ResultMessage:
        """Push the call and wait for its answer on this caller's reply list."""
        api_name = message.api_name
        blob = encode_call(message, self._replies.return_path)
        # The key outlives the caller's patience a little, so that withdrawing can prove what happened.
        commands: list[tuple[str | bytes | int, ...]] = [
            ("SET", expiry_key(message.id), 1, "EX", math.ceil(self._options.rpc_timeout or timeout) + 1),
            ("RPUSH", queue_key(api_name), blob),
        ]
        if not self._replies.is_served(api_name):
            commands += [("EXISTS", schema_key(api_name)), ("EXISTS", served_key(api_name))]
        sent = self.pipe.send_many(commands)
        answer = self._replies.expect(message.id)
        # What becomes of the sending goes into the answer's future, so that the caller wakes up only once.
        sent.add_done_callback(partial(self._after_sending, message, blob, answer))
        timer = asyncio.get_running_loop().call_later(timeout, _expire, answer)
        try:
            result = await answer
            self._replies.note_served(api_name)
            return result
        except TimeoutError:
            raise await self._timed_out(message, blob, sent, timeout) from None
        except LinkBroken as e:
            raise LightbusTimeout(
                f"{message.canonical_name} was sent, but {e}; it may or may not have run", "unknown"
            ) from e
        except asyncio.CancelledError:
            is_unsent = self.pipe.is_unsent(sent)
            sent.cancel()
            if not is_unsent and not self.pipe.is_closed:
                self._withdraw(message, blob, 1)
            raise
        finally:
            timer.cancel()
            self._replies.forget(message.id)

    async def serve(self, api_name: str, identity: Identity) -> RpcConsumer:
        """Take calls from the API's queue into a list of this process's own."""
        consumer = RedisRpcConsumer(self.session, self._options, api_name, identity, self.metrics)
        await consumer.join()
        return consumer

    async def queue_status(self, api_names: Sequence[str]) -> Sequence[QueueStatus]:
        """Ask the queues and their registers of processes."""
        return await queue_status(self.pipe, api_names)

    async def close(self) -> None:
        """Stop waiting for answers and give the connection back."""
        await self._replies.close()
        await super().close()

    def _keys(self, events: Sequence[tuple[str, str]]) -> dict[str, str]:
        return {queue_key(api): "list" for api, _ in events}

    def _after_sending(
        self,
        message: RpcMessage,
        blob: bytes,
        answer: asyncio.Future[ResultMessage],
        sent: asyncio.Future[list[object]],
    ) -> None:
        if sent.cancelled():
            return
        error: BaseException | None = sent.exception()
        if error is None:
            replies = sent.result()
            error = _refusal(message, replies)
            if replies[2:] == [0, 0] and error is None and not answer.done():
                removed = self._withdraw(message, blob, -1)
                removed.add_done_callback(partial(self._after_withdrawal, message, answer))
        if error is not None and not answer.done():
            answer.set_exception(error)

    def _after_withdrawal(
        self, message: RpcMessage, answer: asyncio.Future[ResultMessage], removed: asyncio.Future[int]
    ) -> None:
        """Nobody serves the API; if nobody has taken the call all the same, that is its outcome."""
        if removed.cancelled() or removed.exception() is not None or removed.result() != 1 or answer.done():
            return
        answer.set_exception(
            NoWorker(
                f"nobody serves the API {message.api_name!r}, so {message.canonical_name} was not called; "
                f"start the service that owns it, and see that it uses this Redis ({self.address})"
            )
        )

    def _withdraw(self, message: RpcMessage, blob: bytes, end: Literal[1, -1]) -> asyncio.Future[int]:
        """Take a call back.

        Args:
            message: The call.
            blob: What was pushed.
            end: Near which end of the queue it must be: 1 for the head, -1 for the tail.

        Returns:
            A future of 1 where it is certain that nobody has started the call.
        """

        def tidy(removed: asyncio.Future[int]) -> None:
            if not removed.cancelled() and removed.exception() is None and removed.result() == 1:
                left = self.pipe.send("LREM", queue_key(message.api_name), end, blob)
                left.add_done_callback(ignore_outcome)

        removed = self.pipe.send("DEL", expiry_key(message.id))
        removed.add_done_callback(tidy)
        return removed

    async def _timed_out(
        self, message: RpcMessage, blob: bytes, sent: asyncio.Future[list[object]], timeout: float
    ) -> Exception:
        name = message.canonical_name
        if sent.cancel():
            if self.pipe.failure is not None:
                return TransportUnavailable(f"{name} was not called: {self.pipe.failure}")
            return LightbusTimeout(f"{name}: Redis did not take the call within {timeout:g} s", "unknown")
        executed: Literal["no", "unknown"] = "unknown"
        try:
            async with asyncio.timeout(1):
                executed = "no" if await self._withdraw(message, blob, 1) == 1 else "unknown"
        except (TimeoutError, *FAILURES):
            logger.debug("could not withdraw %s", message.id, extra={"message_id": message.id})
        if executed == "no":
            return LightbusTimeout(
                f"{name} was not started within {timeout:g} s and was withdrawn; are its workers all busy?",
                "no",
            )
        return LightbusTimeout(
            f"{name} gave no answer within {timeout:g} s; it may still run. Raise rpc_timeout of the API "
            f"{message.api_name!r}, or pass bus_options={{'timeout': ...}}",
            "unknown",
        )


class ReplyList:
    """The one list on which this caller's answers arrive, and the futures that wait for them.

    Args:
        transport: Whose session is used.
        retry_delay: The longest wait after an error, in seconds.
    """

    def __init__(self, transport: RedisTransport, retry_delay: float) -> None:
        self._retry_delay = retry_delay
        self._transport = transport
        self._key = f"lightbus:reply:{secrets.token_urlsafe(32)}"
        self.return_path = f"redis+key://{self._key}"
        self._expected: dict[str, asyncio.Future[ResultMessage]] = {}
        self._served: dict[str, float] = {}
        self._reader: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    def expect(self, call_id: str) -> asyncio.Future[ResultMessage]:
        """Return the future of the answer to a call that is about to be sent."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ResultMessage] = loop.create_future()
        self._expected[call_id] = future
        if self._reader is None:
            self._reader = loop.create_task(self._read(), name="lightbus replies")
        if len(self._expected) == 1:
            self._wanted.set()
        return future

    def forget(self, call_id: str) -> None:
        """Wait no longer for an answer."""
        self._expected.pop(call_id, None)

    def is_served(self, api_name: str) -> bool:
        """Tell whether an answer has lately proved that somebody serves an API."""
        return self._served.get(api_name, -math.inf) > asyncio.get_running_loop().time() - _SERVED_FOR

    def note_served(self, api_name: str) -> None:
        """Remember that an API has just answered."""
        self._served[api_name] = asyncio.get_running_loop().time()

    async def close(self) -> None:
        """Stop reading; calls that wait are cancelled."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        for future in self._expected.values():
            if not future.done():
                future.set_exception(BusAlreadyClosed("the bus was closed while the call waited"))
                future.exception()

    async def _read(self) -> None:
        link = self._transport.session.link()
        failures = 0
        try:
            while True:
                if not self._expected:
                    self._wanted.clear()
                    await self._wanted.wait()
                try:
                    await self._read_once(link)
                    failures = 0
                except FAILURES as e:
                    if failures == 0 and not isinstance(e, TransportUnavailable):
                        logger.warning("reading answers: %s; trying again", e)
                    failures += 1
                    await asyncio.sleep(backoff(failures, self._retry_delay))
        finally:
            await link.close()

    async def _read_once(self, link: Link) -> None:
        """Wait for an answer and fetch all others that are there with the same write."""
        first, more = await link.exchange([("BRPOP", self._key, BLOCK), ("RPOP", self._key, 1000)], BLOCK + 2)
        for reply in (first, more):
            if isinstance(reply, ReplyError):
                raise reply
        if first is not None:
            self._deliver(first[1])
        for blob in more or ():
            self._deliver(blob)

    def _deliver(self, blob: bytes) -> None:
        try:
            result = decode_result(blob)
        except InvalidMessage as e:
            logger.warning("an unreadable answer arrived and is dropped: %s", e)
            return
        future = self._expected.get(result.rpc_message_id)
        if future is not None and not future.done():
            future.set_result(result)


def _expire(answer: asyncio.Future[ResultMessage]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


def _refusal(message: RpcMessage, replies: list[object]) -> Exception | None:
    for reply in replies:
        if isinstance(reply, ReplyError):
            kind = QueueFull if reply.code == "OOM" else TransportUnavailable
            return kind(f"{message.canonical_name} was not called: Redis refused it ({reply.code}): {reply}")
    return None
