"""Events that tell about the bus: sent in the background, many at a time, never in anybody's way."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
from collections import deque
from typing import Any

from lightbus.exceptions import BusAlreadyClosed, InvalidMessage, LightbusException
from lightbus.messages import EventMessage
from lightbus.runtime.retrying import Retrying
from lightbus.runtime.tasks import Kept
from lightbus.values import marked

logger = logging.getLogger(__name__)

#: How many events may wait; of more the oldest are dropped.
MOST_WAITING = 10_000
#: How many are sent with one write.
_BATCH = 500
#: Seconds for the last ones when the bus is closed.
_LAST_WORDS = 2.0


class Outbox:
    """Events of one API that wait to be sent, on each event loop of a bus.

    They go straight to the transport, past the hooks, so that telling about events tells of no more events.
    """

    def __init__(self, api_name: str) -> None:
        self._api_name = api_name
        self._queues: dict[asyncio.AbstractEventLoop, _Queue] = {}
        self._process = 0

    def put(self, client: Any, event_name: str, kwargs: dict[str, Any]) -> None:
        """Have an event sent soon; its arguments are JSON values."""
        loop = asyncio.get_running_loop()
        queue = self._queues.get(loop)
        if queue is None:
            for closed in [other for other in self._queues if other.is_closed()]:
                del self._queues[closed]
            queue = self._queues[loop] = _Queue(client, self._api_name)
            if self._process != os.getpid():
                self._process = os.getpid()
                atexit.register(self._flush_others, self._process)
        queue.put(EventMessage(self._api_name, event_name, marked(kwargs)))

    async def flush(self) -> None:
        """Send what waits on the running event loop, as far as that can be done within two seconds."""
        queue = self._queues.pop(asyncio.get_running_loop(), None)
        if queue is not None:
            await queue.close()

    def _flush_others(self, process: int) -> None:
        """At the end of a process that did not close its bus: the loop of synchronous code still runs."""
        for loop in list(self._queues) if os.getpid() == process else ():
            if loop.is_running():
                done = asyncio.run_coroutine_threadsafe(self.flush(), loop)
                try:
                    done.result(_LAST_WORDS + 0.5)
                except Exception as e:
                    logger.debug("the last events of %s were not sent: %r", self._api_name, e)


class _Queue:
    """The events that wait on one event loop, and the task that sends them."""

    def __init__(self, client: Any, api_name: str) -> None:
        self._client = client
        self._api_name = api_name
        self._waiting: deque[EventMessage] = deque()
        self._wanted = asyncio.Event()
        self._dropped = 0
        self._waits = Retrying(logger, f"events of {api_name} wait")
        self._closing = False
        self._sending: list[EventMessage] = []
        lost = f"events of {api_name} are not sent"
        self._sender = Kept(self._run, f"lightbus {api_name}", lost, client.parts.obstacles).start()

    def put(self, message: EventMessage) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(message)
        self._wanted.set()

    async def close(self) -> None:
        self._closing = True
        self._wanted.set()
        if not await self._sender.ended(_LAST_WORDS):
            self._sender.end()
            await self._sender.ended()
            lost = len(self._waiting) + sum(m.native_id is None for m in self._sending)
            logger.warning("events of %s that could not be sent before the end: %d", self._api_name, lost)

    async def _run(self) -> None:
        self._take_back()
        while not (self._closing and not self._waiting):
            await self._wanted.wait()
            try:
                await self._send()
            except BusAlreadyClosed:
                return
            except LightbusException as e:
                self._take_back()
                await self._waits.wait(e)
                continue
            except Exception:
                logger.exception("events of %s were dropped", self._api_name)
                self._sending = []
            self._waits.clear()
            if self._dropped:
                logger.warning("events of %s that were dropped meanwhile: %d", self._api_name, self._dropped)
                self._dropped = 0
            if not self._waiting and not self._closing:
                self._wanted.clear()

    def _take_back(self) -> None:
        """Let what was not sent with the last batch wait again."""
        self._waiting.extendleft(reversed([m for m in self._sending if m.native_id is None]))
        self._sending = []

    async def _send(self) -> None:
        """Send one batch; an event that can't travel is left out."""
        self._sending = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        transport = self._client.transports().event(self._api_name)
        timeout = self._client.settings(self._api_name).event_fire_timeout
        try:
            await transport.publish(self._sending, timeout)
        except InvalidMessage:
            for message in [m for m in self._sending if m.native_id is None]:
                try:
                    await transport.publish((message,), timeout)
                except InvalidMessage as e:
                    message.native_id = ""
                    logger.warning("an event of %s is left out: %s", self._api_name, e)
        self._sending = []
