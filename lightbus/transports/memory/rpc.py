"""Calls within one process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Literal

from lightbus.declared.settings import Identity
from lightbus.exceptions import InvalidMessage, LightbusTimeout, NoWorker, QueueFull
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.transports.memory.broker import Broker, from_json, result_fields, to_json
from lightbus.transports.memory.broker import broker as broker
from lightbus.transports.memory.events import _InProcess
from lightbus.transports.rpc import QueueStatus, RpcConsumer, RpcTransport, loss_of

logger = logging.getLogger(__name__)


#: The most calls of an API that may wait, as with Redis by default.
_MOST_WAITING = 10_000


class MemoryRpcConsumer(RpcConsumer):
    """Takes and answers the calls of one API."""

    def __init__(self, shared: Broker, api_name: str, process_name: str) -> None:
        self._broker = shared
        self._queue = shared.queue(api_name)
        self._queue.process_names.append(process_name)
        self._process_name = process_name
        self._held: dict[str, RpcMessage] = {}
        self._stopping = False

    async def take(self, limit: int) -> Sequence[RpcMessage]:
        """Wait for a call, and return those that are there."""
        if not self._stopping:
            await self._queue.wait()
        taken: list[RpcMessage] = []
        while len(taken) < limit and not self._stopping:
            call = self._queue.take()
            if call is None:
                break
            m, arguments, deadline = call
            kwargs = from_json(arguments)
            taken.append(
                RpcMessage(m.api_name, m.procedure_name, kwargs, m.return_path, m.id, m.headers, deadline)
            )
        self._held.update((call.id, call) for call in taken)
        self._queue.running += len(taken)
        return taken

    def answer(self, call: RpcMessage, result: ResultMessage) -> None:
        """Hand the result to the caller, if it still waits."""
        self._queue.running -= self._held.pop(call.id, None) is not None
        waiting = self._broker.answers.get(call.id)
        if waiting is None or waiting.done():
            return
        try:
            blob = to_json(f"the result of {call.canonical_name}", result_fields(result))
        except InvalidMessage as e:
            logger.error("%s (call %s) is answered with an error: %s", call.canonical_name, call.id, e)
            blob = to_json("an error", result_fields(ResultMessage(repr(e), call.id, error=True)))
        waiting.set_result(blob)

    async def stop(self) -> None:
        """End a waiting take at once; what is not taken waits for another server."""
        if not self._stopping:
            self._stopping = True
            self._queue.process_names.remove(self._process_name)
            self._queue.wake()

    async def close(self) -> None:
        """Tell the callers of what was not answered."""
        await self.stop()
        for call in list(self._held.values()):
            self.answer(call, loss_of(call))


class MemoryRpcTransport(_InProcess, RpcTransport):
    """Calls what is served on this event loop."""

    async def call(self, message: RpcMessage, timeout: float) -> ResultMessage:
        """Queue the call and wait for its answer."""
        name, shared = message.canonical_name, broker()
        queue = shared.queue(message.api_name)
        call = (message, to_json(name, message.kwargs), time.monotonic() + timeout)
        if not queue.process_names:
            raise NoWorker(
                f"nobody serves the API {message.api_name!r} in this process, so {name} was not called; the "
                "memory transport reaches no other process"
            )
        if len(queue) >= _MOST_WAITING:
            raise QueueFull(
                f"{name} was not called: {len(queue):,} waiting already, the most for one API; raise its "
                "rpc_concurrency, or call less often"
            )
        waiting = shared.answers[message.id] = asyncio.get_running_loop().create_future()
        queue.put(call)
        try:
            async with asyncio.timeout(timeout):
                return ResultMessage(**from_json(await waiting))
        except TimeoutError:
            executed: Literal["no", "unknown"] = "no" if queue.remove(call) else "unknown"
            what = "was not started" if executed == "no" else "gave no answer"
            raise LightbusTimeout(f"{name} {what} within {timeout:g} s", executed) from None
        finally:
            queue.remove(call)
            del shared.answers[message.id]

    async def serve(self, api_name: str, identity: Identity) -> RpcConsumer:
        """Take part in serving an API."""
        return MemoryRpcConsumer(broker(), api_name, identity.process_name)

    async def queue_status(self, api_names: Sequence[str]) -> Sequence[QueueStatus]:
        """Tell how many calls wait and run in this event loop."""
        queues = [(name, broker().queue(name)) for name in api_names]
        return [QueueStatus(name, len(q), q.running, tuple(sorted(q.process_names))) for name, q in queues]
