"""Looks whether anybody still serves the APIs of calls that wait for their answers."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from functools import partial

from lightbus.exceptions import NoWorker, WorkerLost
from lightbus.messages import RpcMessage
from lightbus.runtime.cancellation import end
from lightbus.runtime.tasks import begin
from lightbus.transports.redis.base import RedisTransport
from lightbus.transports.redis.foreign import is_foreign
from lightbus.transports.redis.keys import served_key
from lightbus.transports.redis.link.connection import FAILURES

from .replies import Waiting

logger = logging.getLogger(__name__)

#: Seconds after which a call that was not answered is worth a look: most are answered sooner and cost none.
_FIRST = 0.02
#: Seconds between looks while calls of an API wait.
_AGAIN = 0.7
#: Seconds for which an API must stay unserved before calls that were begun count as lost, and after a lost
#: connection before any do: where Redis was away or lost its data, workers take a while to show themselves.
_LOST = 2.1


class Lookout:
    """Fails calls that nobody will answer.

    Args:
        transport: Has the session.
        expected: The calls that wait, by their ids, the oldest first.
        withdraw: Takes a call back; returns a future of 1 if it is certain that nobody has started it.
    """

    def __init__(
        self,
        transport: RedisTransport,
        expected: Mapping[str, Waiting],
        withdraw: Callable[[RpcMessage, bytes], asyncio.Future[int]],
    ) -> None:
        self._transport = transport
        self._expected = expected
        self._withdraw = withdraw
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf
        self._looked: dict[str, float] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._unserved_since: dict[str, float] = {}

    def note(self, now: float) -> None:
        """Look after a call that is sent now, if it is not answered soon."""
        if now + _FIRST < self._due:
            self._arm(now + _FIRST)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._looking.values():
            end(task)

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = asyncio.get_running_loop().call_at(due, self._tick)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer, self._due = None, math.inf
        due, wanted = now + _AGAIN, set()
        for waiting in self._expected.values():
            if waiting.sent_at + _FIRST > now + 0.001:
                due = min(due, waiting.sent_at + _FIRST)
                break
            looked = self._looked.get(waiting.message.api_name, -math.inf)
            if looked < waiting.sent_at or looked + _AGAIN <= now:
                wanted.add(waiting.message.api_name)
        for api_name in wanted - self._looking.keys():
            self._looked[api_name] = now
            looking = self._looking[api_name] = begin(self._look(api_name, now), "lightbus lookout")
            looking.add_done_callback(partial(self._note_looked, api_name))
        if self._expected:
            self._arm(max(due, now + _FIRST))

    def _note_looked(self, api_name: str, _: asyncio.Task[None]) -> None:
        del self._looking[api_name]

    async def _look(self, api_name: str, now: float) -> None:
        pipe = self._transport.pipe
        try:
            is_served = await pipe.send("EXISTS", served_key(api_name))
            foreign = not is_served and await is_foreign(pipe, api_name)
        except FAILURES as e:
            logger.debug("who serves %s can't be asked: %s", api_name, e)
            return
        calls = [
            waiting
            for waiting in self._expected.values()
            if waiting.sent_at <= now and waiting.message.api_name == api_name
        ]
        if is_served or foreign:
            self._unserved_since.pop(api_name, None)
            for waiting in calls:
                waiting.was_served |= bool(is_served)
            return
        if pipe.reconnects and now < pipe.outage_ended_at + _LOST:
            return
        since = self._unserved_since.setdefault(api_name, now)
        for waiting in calls:
            if not waiting.is_taken:
                self._take_back(waiting)
            elif waiting.was_served and now - since >= _LOST and not waiting.answer.done():
                waiting.answer.set_exception(
                    WorkerLost(
                        f"{waiting.message.canonical_name}: the process that ran it died, and no other one "
                        "serves its API; it may have had effects"
                    )
                )

    def _take_back(self, waiting: Waiting) -> None:
        """Withdraw a call whose API nobody serves; if nobody has taken it, it fails with NoWorker."""

        def settle(removed: asyncio.Future[int]) -> None:
            if removed.cancelled() or removed.exception() is not None or waiting.answer.done():
                return
            waiting.is_taken = removed.result() != 1
            if not waiting.is_taken:
                api_name, name = waiting.message.api_name, waiting.message.canonical_name
                waiting.answer.set_exception(
                    NoWorker(
                        f"nobody serves the API {api_name!r}, so {name} was not called; start the service "
                        f"that owns it, and see that it uses this Redis ({self._transport.address})"
                    )
                )

        self._withdraw(waiting.message, waiting.blob).add_done_callback(settle)
