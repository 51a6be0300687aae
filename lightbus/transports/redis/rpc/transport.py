"""Calls over Redis lists: one queue per API, one reply list per caller."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

from lightbus.declared.settings import Identity
from lightbus.exceptions import LightbusTimeout, QueueFull, TransportUnavailable
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.runtime.retrying import backoff
from lightbus.transports.port import Use
from lightbus.transports.redis.acl import needs
from lightbus.transports.redis.base import RedisTransport
from lightbus.transports.redis.custom_codec import rpc_codec
from lightbus.transports.redis.keys import expiry_prefix, queue_key
from lightbus.transports.redis.link.connection import LinkBroken, ignore_outcome
from lightbus.transports.redis.link.permissions import Need
from lightbus.transports.redis.link.refusals import Reaction, ReplyError
from lightbus.transports.redis.options import RedisRpcOptions
from lightbus.transports.redis.scripts import CALL, Run
from lightbus.transports.rpc import QueuedCalls, QueueStatus, RpcConsumer, RpcTransport

from .consumer import RedisRpcConsumer
from .heartbeat import Heartbeat
from .lookout import Lookout
from .replies import RedisAnswers, ReplyList, Waiting, needs_of_answers, needs_of_answers_1x
from .status import queue_status, queued_calls

logger = logging.getLogger(__name__)

#: The most seconds before a call is sent again that Redis could not take just then.
_LONGEST_PAUSE = 0.5
#: The most seconds, after its time is up, in which a call is found not to have begun.
WITHDRAWAL = 1.0


class RedisRpcTransport(RedisTransport, RpcTransport):
    """Calls procedures by ``RPUSH {api}:rpc_queue`` and matches the answers by their call's id.

    Args:
        options: The address of Redis, and the lifetime of answers.
    """

    options: ClassVar[type | None] = RedisRpcOptions

    def __init__(self, options: RedisRpcOptions | None = None) -> None:
        self._options = options or RedisRpcOptions()
        super().__init__(self._options)
        self._is_cluster = self._options.is_cluster
        self._codec = rpc_codec(self._options)
        apart = None if self._options.results is None else RedisAnswers(self._options.results)
        self.answers = apart
        self._answers: RedisTransport = apart or self
        decode, obstacles = self._codec.decode_result, lambda: self.obstacles
        self._replies = ReplyList(self._answers, self._options.rpc_retry_delay, decode, obstacles)
        #: The APIs that were called, each with its queue and the beginning of its calls' expiry keys.
        self._queues: dict[str, tuple[str, str]] = {}
        self._heartbeat: Heartbeat | None = None
        self._lookout = Lookout(self, self._replies.expected, partial(self._withdraw, end=-1))

    async def call(self, message: RpcMessage, timeout: float) -> ResultMessage:
        """Push the call and wait for its answer on this caller's reply list."""
        if message.api_name not in self._queues:
            prefix = expiry_prefix(message.api_name, is_cluster=self._is_cluster)
            self._queues[message.api_name] = queue_key(message.api_name), prefix
            use = Use("calls", message.api_name)
            self.know(str(use), self._needs(use))
            self._answers.know(str(use), needs_of_answers(use))
        loop = asyncio.get_running_loop()
        blob = self._codec.encode_call(message, self._replies.return_path)
        deadline = loop.time() + timeout
        failures = 0
        refusal: ReplyError | None = None
        by_text = False
        while True:
            try:
                return await self._call_once(message, blob, deadline, timeout, by_text=by_text)
            except (LightbusTimeout, TransportUnavailable) as e:
                if refusal is not None:
                    # Perhaps the last try had too little time left, and that is what took it.
                    e.args = (f"{e}; before that, Redis at {self.address} refused it: {refusal}",)
                raise
            except ReplyError as e:
                if e.reaction is Reaction.SEND_SCRIPT and not by_text:
                    by_text = True  # This node does not know the script yet, or no more.
                    continue
                refusal = e
                failures += 1
                pause = backoff(failures, _LONGEST_PAUSE)
                if not e.passes or loop.time() + pause >= deadline:
                    kind = QueueFull if e.code == "OOM" else TransportUnavailable
                    raise kind(
                        f"{message.canonical_name} was not called: Redis at {self.address} refused it: {e}"
                    ) from None
                await asyncio.sleep(pause)

    async def _call_once(
        self, message: RpcMessage, blob: bytes, deadline: float, whole: float, *, by_text: bool
    ) -> ResultMessage:
        """Push the call and wait for its answer; raises ReplyError where Redis did not take it.

        Args:
            message: The call.
            blob: The call as it is pushed.
            deadline: When its caller gives up, by the event loop's clock.
            whole: The seconds that it has had in all until then.
            by_text: Whether a node of a cluster may not know the script that pushes it.
        """
        loop, pipe = asyncio.get_running_loop(), self.pipe
        now = loop.time()
        timeout = deadline - now
        answer: asyncio.Future[ResultMessage] = loop.create_future()
        call = Waiting(message, blob, answer, now, self._after_sending)
        self._push(call, timeout, by_text=by_text)
        self._replies.expect(call)
        self._lookout.note(now)
        due = pipe.deadlines.add(answer, deadline, whole)
        try:
            return await answer
        except TimeoutError:
            raise await self._timed_out(call, round(timeout, 3)) from None
        except LinkBroken as e:
            raise LightbusTimeout(
                f"{message.canonical_name} was sent, but {e}; it may or may not have run", "unknown"
            ) from None
        except asyncio.CancelledError:
            # That of the time when it was called: one that is closed by now stays so.
            is_unsent = pipe.is_unsent(call)
            call.cancel()
            if not is_unsent and not pipe.is_closed:
                self._withdraw(message, blob, 1)
            raise
        finally:
            due.discard(answer)
            self._replies.expected.pop(message.id, None)

    async def serve(self, api_name: str, identity: Identity) -> RpcConsumer:
        """Take calls from the API's queue into a list of this process's own."""
        use = Use("serves", api_name)
        self.know(str(use), self._needs(use))
        self._answers.know(str(use), needs_of_answers(use))
        heartbeat = self._heartbeat = self._heartbeat or Heartbeat(self.pipe, self.obstacles)
        consumer = RedisRpcConsumer(
            self.session, self._answers.pipe, self._options, self._codec, api_name, identity, self.metrics,
            heartbeat,
        )  # fmt: skip
        consumer.obstacles = self.obstacles
        consumer.barred_by = (self.session.permissions, self._answers.session.permissions)
        await consumer.join()
        return consumer

    async def queue_status(self, api_names: Sequence[str]) -> Sequence[QueueStatus]:
        """Ask the queues and their registers of processes."""
        return await queue_status(self.pipe, api_names)

    async def queued_calls(self, api_name: str, most: int) -> QueuedCalls:
        """Read the queue, and what the processes of its register have taken."""
        return await queued_calls(self.pipe, self._codec.decode_call, api_name, most)

    async def close(self) -> None:
        """Stop waiting for answers and give the connections back."""
        self._lookout.close()
        self._heartbeat = None
        async with contextlib.AsyncExitStack() as closings:
            closings.push_async_callback(super().close)
            if self.answers is not None:
                closings.push_async_callback(self.answers.close)
            closings.push_async_callback(self._replies.close)

    def _needs(self, use: Use) -> Iterable[Need]:
        if use.role == "serves":
            yield from needs.serves(use.name, is_cluster=self._is_cluster)
        elif use.role == "calls":
            yield from needs.calls(use.name, is_cluster=self._is_cluster)
        elif use.role == "knows":
            yield from needs.knows(use.name)
        if self._is_cluster and use.role in ("serves", "calls"):
            yield from needs.rings(queue_key(use.name))
        if self.answers is None:
            yield from needs_of_answers(use)

    def _needs_of_1x(self, use: Use) -> Iterable[Need]:
        return () if self._is_cluster or self.answers is not None else needs_of_answers_1x(use)

    def _keys(self, uses: Sequence[Use]) -> dict[str, str]:
        return {queue_key(use.name): "list" for use in uses if use.role in ("serves", "calls", "knows")}

    def _push(self, call: Waiting, timeout: float, *, by_text: bool) -> None:
        """Set the call's expiry key and push the call; the last reply is the length of the queue."""
        message = call.message
        queue, prefix = self._queues[message.api_name]
        patience = _patience(timeout, self._options.rpc_timeout)
        if not self._is_cluster:
            keep, push = ("SET", prefix + message.id, *patience), ("RPUSH", queue, call.blob)
            self.pipe.send_for(call, queue, keep, push)
            return
        # In one step: while a slot moves, commands that follow each other may be done by different nodes.
        run = _call(queue, prefix + message.id, patience, call.blob)
        self.pipe.send_for(call, queue, run.by_text() if by_text else run.by_name())

    def _after_sending(self, call: Waiting, replies: Any, error: BaseException | None) -> None:
        """Fail the answer if the call was not sent, so that the caller wakes up only once."""
        message, answer = call.message, call.answer
        if error is None:
            told = replies if isinstance(replies, list) else (replies,)
            for reply in told:
                if error is None and isinstance(reply, ReplyError):
                    error = reply
            length, most = told[-1], self._options.max_queue_length
            if error is None and most is not None and isinstance(length, int) and length > most:
                removed = self._withdraw(message, call.blob, -1)
                removed.add_done_callback(partial(self._after_withdrawal, message, length, answer))
        if isinstance(error, LinkBroken) and not self.pipe.is_closed:
            # It may be there, and the bell may not have been rung.
            self.pipe.ring(queue_key(message.api_name))
        if error is not None and not answer.done():
            answer.set_exception(error)

    def _after_withdrawal(
        self,
        message: RpcMessage,
        length: int,
        answer: asyncio.Future[ResultMessage],
        removed: asyncio.Future[int],
    ) -> None:
        """The queue was full; if nobody has taken the call all the same, that is its outcome."""
        if removed.cancelled() or removed.exception() is not None or removed.result() != 1 or answer.done():
            return
        answer.set_exception(
            QueueFull(
                f"{message.canonical_name} was not called: {length - 1:,} waiting already, and "
                f"max_queue_length is {self._options.max_queue_length:,}; start more processes that serve "
                "it, raise its rpc_concurrency, call less often, or raise max_queue_length"
            )
        )

    def _withdraw(self, message: RpcMessage, blob: bytes, end: Literal[1, -1]) -> asyncio.Future[int]:
        """Take a call back.

        Args:
            message: The call.
            blob: The call as it was pushed.
            end: Near which end of the queue it must be: 1 for the head, -1 for the tail.

        Returns:
            A future of 1 where it is certain that nobody has started the call.
        """

        def tidy(removed: asyncio.Future[int]) -> None:
            if removed.cancelled() or removed.exception() is not None or self.pipe.is_closed:
                return
            if removed.result() == 1:
                left = self.pipe.send("LREM", queue_key(message.api_name), end, blob)
                left.add_done_callback(ignore_outcome)

        _, prefix = self._queues[message.api_name]
        removed = self.pipe.send("DEL", prefix + message.id)
        removed.add_done_callback(tidy)
        return removed

    async def _has_withdrawn(self, call: Waiting) -> bool:
        """Take back a call whose time is up; tell whether it is certain that nobody has started it."""
        removed = self._withdraw(call.message, call.blob, 1)
        # No timeout that ends it: where this process was held up, the reply may have come all the same.
        await asyncio.wait([removed], timeout=WITHDRAWAL)
        if removed.done() and not removed.cancelled() and removed.exception() is None:
            return bool(removed.result() == 1)
        logger.debug("could not withdraw %s", call.message.id, extra={"message_id": call.message.id})
        return False

    async def _timed_out(self, call: Waiting, timeout: float) -> Exception:
        message, since = call.message, call.sent_at
        name = message.canonical_name
        away = self.pipe.outage_since(since) or self._answers.pipe.outage_since(since)
        is_unsent = self.pipe.is_unsent(call)
        if call.cancel():
            if is_unsent:
                reason = self.pipe.failure or f"Redis at {self.address} is silent"
                return TransportUnavailable(f"{name} was not called: {reason}")
            why = f"; {away}" if away else ""
            return LightbusTimeout(
                f"{name}: Redis did not take the call within {timeout:g} s{why}", "unknown"
            )
        if await self._has_withdrawn(call):
            why = away or "are its workers all busy?"
            return LightbusTimeout(
                f"{name} was not started within {timeout:g} s and was withdrawn; {why}", "no"
            )
        away = away or self._replies.loss_since(since)
        why = f" ({away})" if away else ""
        return LightbusTimeout(
            f"{name} gave no answer within {timeout:g} s{why}; it may still run. Raise rpc_timeout of the "
            f"API {message.api_name!r}, or pass bus_options={{'timeout': ...}}",
            "unknown",
        )


def _call(queue: str, expiry: str, patience: tuple[float, str, int], blob: bytes) -> Run:
    margin, _, seconds = patience
    return CALL(queue=queue, expiry=expiry, margin=margin, seconds=seconds, call=blob)


def _patience(timeout: float, kept: float | None) -> tuple[float, str, int]:
    """Return value and lifetime of an expiry key; the value is by how much it outlives the caller.

    Args:
        timeout: Seconds that the caller waits.
        kept: Seconds for which the call is kept for a worker, if not for as long.
    """
    # A little longer than the caller waits, so that withdrawing can prove what happened.
    lifetime = math.ceil(timeout if kept is None else kept) + 1
    margin = round(lifetime - timeout, 3)
    return int(margin) if margin.is_integer() else margin, "EX", lifetime
