"""Serves one API: takes its calls and answers them."""

from __future__ import annotations

import asyncio
import logging

from lightbus.bus.parts import Parts
from lightbus.exceptions import text_of
from lightbus.messages import ResultMessage, RpcMessage, handled
from lightbus.runtime.tasks import Kept
from lightbus.transports.rpc import RpcConsumer, loss_of

from .dispatch import Dispatch
from .slots import Slots

logger = logging.getLogger(__name__)


class RpcWorker:
    """Takes the calls of one API as slots become free, and answers them."""

    def __init__(self, parts: Parts, dispatch: Dispatch, api_name: str) -> None:
        self.api_name = api_name
        self._parts = parts
        self._dispatch = dispatch
        self._consumer: RpcConsumer | None = None
        self._slots: Slots[RpcMessage] | None = None
        self._taker: Kept | None = None

    @property
    def has_joined(self) -> bool:
        """Whether :meth:`join` was called."""
        return self._consumer is not None

    @property
    def trouble(self) -> str:
        """The reason that no calls are taken at present; empty while they are."""
        return self._consumer.trouble if self._consumer is not None else "it has not signed on yet"

    @property
    def running(self) -> int:
        """The number of calls that run."""
        return self._slots.running if self._slots is not None else 0

    async def join(self) -> None:
        """Begin to take part in serving the API."""
        transport = self._parts.transports().rpc(self.api_name)
        self._consumer = await transport.serve(self.api_name, self._parts.identity)
        limit = self._parts.settings(self.api_name).rpc_concurrency
        isolation, pool, take = self._dispatch.isolation, self._parts.pool, self._consumer.take
        self._slots = Slots(f"API {self.api_name}", isolation, pool, take, self._execute, None, limit)

    def start(self) -> None:
        """Serve from now on, until :meth:`stop`."""
        if self._slots is not None:
            lost = f"no calls of the API {self.api_name} are taken"
            name = f"lightbus rpc {self.api_name}"
            self._taker = Kept(self._slots.run, name, lost, self._parts.obstacles).start()

    def resize(self, limit: int) -> None:
        """Run up to ``limit`` calls at a time from now on."""
        if self._slots is not None:
            self._slots.resize(limit)

    async def stop(self) -> None:
        """Take no more calls; those already taken are run."""
        if self._consumer is not None and self._slots is not None:
            await asyncio.gather(self._slots.stop(), self._consumer.stop())

    async def end_taking(self, patience: float) -> None:
        """Wait for the calls that are on their way, for ``patience`` seconds: the broker may be away."""
        if self._taker is not None and not await self._taker.ended(patience):
            self._taker.end()

    async def finish(self, timeout: float) -> int:
        """Wait for running calls; return how many are left behind."""
        if self._slots is None:
            return 0
        running = await self._slots.finish(timeout)
        if running:
            logger.warning("calls of %s that do not end are left behind: %d", self.api_name, running)
        return running

    async def close(self) -> None:
        """Send the last answers, and take no part in serving any more."""
        if self._consumer is not None:
            await self._consumer.close()

    async def _execute(self, call: RpcMessage) -> None:
        of_log_lines = [call.id]
        handled.set(of_log_lines)
        try:
            result = await self._dispatch.execute(call)
            self._answer(call, result)
        except asyncio.CancelledError:
            # The call is left behind as the process ends: its caller learns that now, not by its timeout.
            self._answer(call, loss_of(call))
            raise
        except BaseException as e:
            self._answer(call, ResultMessage(text_of(e), call.id, error=True))
            raise
        finally:
            of_log_lines.clear()

    def _answer(self, call: RpcMessage, result: ResultMessage) -> None:
        if self._consumer is not None:
            self._consumer.answer(call, result)
