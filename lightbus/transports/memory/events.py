"""The ports without a broker: for tests, and for ``lightbus run --transport memory``.

All transports of one event loop meet in one :class:`~lightbus.transports.memory.broker.Broker`, so buses on
the same loop see each other, and nobody else. Values travel as JSON, so nothing is shared by reference, and
nothing outlives the loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import msgspec

from lightbus.exceptions import InvalidMessage, LightbusTimeout, NoWorker, QueueFull, WorkerLost
from lightbus.messages import EventMessage, ResultMessage, RpcMessage
from lightbus.metrics import Metrics
from lightbus.transports.events import DeadLetter, GroupStatus, QueueStatus
from lightbus.transports.port import (
    Delivery,
    EventConsumer,
    EventTransport,
    Identity,
    Outgoing,
    RpcConsumer,
    RpcTransport,
    SchemaTransport,
    Subscription,
)

from .broker import Broker, Group, KeptLetter, Stored, result_fields, to_json
from .broker import broker as broker
from .inbox import Inbox
from .ticks import Ticks

logger = logging.getLogger(__name__)

#: How many calls of an API may wait, as with Redis by default.
_MOST_WAITING = 10_000


class _InProcess:
    """What the three transports have in common: nowhere to connect to."""

    address = "this process"

    async def now(self) -> float:
        """Return the time by the clock that schedules and retries go by."""
        return broker().clock.now()


class MemoryDelivery(Delivery):
    """An event that one consumer has taken."""

    __slots__ = ("_consumer", "_stored")

    def __init__(self, consumer: MemoryEventConsumer, stored: Stored) -> None:
        super().__init__(stored.copy(), stored.attempt)
        self._consumer = consumer
        self._stored = stored

    def reread(self) -> None:
        """Copy it once more."""
        self.message = self._stored.copy()

    def ack(self) -> None:
        """It is done."""
        if self._consumer.settle(self):
            self._consumer.note_handled(self.message.id)

    async def was_handled(self) -> bool:
        """Tell whether its id is remembered."""
        return self._consumer.group.handled.get(self.message.id) is not None

    async def retry(self, delay: float, error: BaseException) -> None:
        """Put it back after a while."""
        if self._consumer.settle(self):
            again = replace(self._stored, attempt=self.attempt + 1)
            self._consumer.group.put_back_later(again, delay)

    async def dead_letter(self, reason: str, error: BaseException | None) -> None:
        """Put it aside."""
        if self._consumer.settle(self):
            stored, group = self._stored, self._consumer.group
            letter_id = broker().new_id(time.time())
            group.dead.append(KeptLetter(stored.copy(), reason, error, self.attempt, letter_id, stored))
            self._consumer.count_dead(self.message, reason)

    async def release(self) -> None:
        """Put it back at once."""
        if self._consumer.settle(self):
            self._consumer.group.put_back(self._stored)


class MemoryEventConsumer(EventConsumer):
    """Takes the events of a group that its listener wants."""

    def __init__(
        self, name: str, group: Group, subscription: Subscription, process_name: str, metrics: Metrics
    ) -> None:
        self._name = name
        self.group = group
        self._process_name = process_name
        self._metrics = metrics
        self._subscription = subscription
        self._held: dict[MemoryDelivery, None] = {}
        self._stopping = False

    async def status(self) -> Sequence[GroupStatus]:
        """Tell how far the group is."""
        return [self.group.status(self._name)]

    async def take(self, limit: int) -> Sequence[Delivery]:
        """Wait for an event, and return those that are there; others of the same APIs are dropped."""
        if not self._stopping:
            await self.group.wait()
        taken: list[MemoryDelivery] = []
        while len(taken) < limit and not self._stopping:
            stored = self.group.take()
            if stored is None:
                break
            if self._subscription.wants(stored.message.api_name, stored.message.event_name):
                taken.append(MemoryDelivery(self, stored))
        self._held.update(dict.fromkeys(taken))
        self.group.held[self._process_name] += len(taken)
        return taken

    def count_dead(self, message: EventMessage, reason: str) -> None:
        """Take note of an event that was put aside."""
        names = (message.api_name, message.event_name)
        self._metrics.dead_letters.add(self._subscription.listener_name, *names, reason)

    def note_handled(self, message_id: str) -> None:
        """Remember the id of an event that is done, where that is wanted."""
        if self._subscription.dedupe is not None:
            self.group.handled.add(message_id, "", self._subscription.dedupe)

    def settle(self, delivery: MemoryDelivery) -> bool:
        """Hold a delivery no longer; false where that was so already."""
        is_held = self._held.pop(delivery, self) is None
        if is_held:
            self.group.held[self._process_name] -= 1
        return is_held

    async def stop(self) -> None:
        """End a waiting take at once."""
        self._stopping = True
        self.group.wake()

    async def close(self) -> None:
        """Hand back what was not settled."""
        await self.stop()
        for delivery in list(self._held):
            await delivery.release()
        self.group.held.pop(self._process_name, None)


class MemoryEventTransport(_InProcess, EventTransport):
    """Fires events to the groups of this event loop."""

    def encode(self, message: EventMessage) -> bytes:
        """Return the arguments as they would travel."""
        return to_json(message.canonical_name, message.kwargs)

    async def publish_each(self, events: Sequence[Outgoing], timeout: float) -> None:
        """Store events; there is nothing to wait for."""
        for event in events:
            broker().add(event.message, event.body, event.dedupe)

    async def consume(self, subscription: Subscription, identity: Identity) -> EventConsumer:
        """Join the listener's group, or make it."""
        name = f"{identity.service_name}-{subscription.listener_name}"
        api_names = [api_name for api_name, _ in subscription.events]
        group = broker().join(name, api_names, subscription.since)
        group.held[identity.process_name] += 0
        return MemoryEventConsumer(name, group, subscription, identity.process_name, self.metrics)

    async def list_dead(self) -> AsyncIterator[DeadLetter]:
        """Go through the dead letters of every group of this event loop."""
        for name, group in list(broker().groups.items()):
            for kept in list(group.dead):
                yield kept.letter(name)

    async def replay(self, letter: DeadLetter) -> bool:
        """Hand a dead letter to its group again."""
        kept = self._take_out(letter)
        if kept is not None:
            broker().groups[letter.group].put_back(replace(kept.stored, attempt=1))
        return kept is not None

    async def drop(self, letter: DeadLetter) -> bool:
        """Delete a dead letter."""
        return self._take_out(letter) is not None

    async def history(
        self, api: str = "*", event: str = "*", *, since: float | None = None, native_id: str | None = None
    ) -> AsyncIterator[EventMessage]:
        """Go through the newest events of this event loop."""
        for stored in reversed(list(broker().history)):
            if stored.stored_at < (since or 0.0):
                return
            if native_id in (None, stored.message.native_id):
                yield stored.copy()

    async def follow(
        self, api: str = "*", event: str = "*", *, since: float | None = None
    ) -> AsyncIterator[EventMessage]:
        """Go through the events of this event loop as they come."""
        shared, inbox = broker(), Inbox[Stored]()
        for stored in shared.history if since is not None else ():
            if since is not None and stored.stored_at >= since:
                inbox.put(stored)
        shared.followers.add(inbox)
        try:
            while True:
                await inbox.wait()
                while (taken := inbox.take()) is not None:
                    yield taken.copy()
        finally:
            shared.followers.discard(inbox)

    async def group_status(self, events: Sequence[tuple[str, str]] | None = None) -> Sequence[GroupStatus]:
        """Tell how far the groups of this event loop are."""
        wanted = None if events is None else {api_name for api_name, _ in events}
        groups = broker().groups.items()
        return [g.status(name) for name, g in groups if wanted is None or g.api_names & wanted]

    def _take_out(self, letter: DeadLetter) -> KeptLetter | None:
        group = broker().groups.get(letter.group)
        for kept in list(group.dead) if group is not None else ():
            if kept.id == letter.id and group is not None:
                group.dead.remove(kept)
                return kept
        return None


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
            kwargs = msgspec.json.decode(arguments)
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
            lost = WorkerLost(f"the process that was running {call.canonical_name} ended")
            self.answer(call, ResultMessage(repr(lost), call.id, error=True))


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
                return ResultMessage(**msgspec.json.decode(await waiting))
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


class MemorySchemaTransport(_InProcess, SchemaTransport):
    """Keeps contracts for the buses of this event loop."""

    async def store(
        self, contracts: Mapping[str, Mapping[str, Any]], ttl: float, *, human_readable: bool = True
    ) -> None:
        """Publish contracts for ``ttl`` seconds; who has started later has the last word."""
        expires = time.monotonic() + ttl
        for api_name, contract in contracts.items():
            broker().contracts.setdefault(api_name, {})[self] = (expires, msgspec.json.encode(contract))

    async def withdraw(self, api_names: Sequence[str]) -> None:
        """Remove those for which nobody else stands."""
        for api_name in api_names:
            broker().contracts.get(api_name, {}).pop(self, None)

    async def load(self, first: Collection[str] = ()) -> Mapping[str, Mapping[str, Any]]:
        """Return the contracts that have not expired."""
        now, found = time.monotonic(), {}
        for api_name, stored in broker().contracts.items():
            blobs = [blob for expires, blob in stored.values() if expires > now]
            if blobs:
                found[api_name] = msgspec.json.decode(blobs[-1])
        return found

    async def own(self, api_names: Sequence[str], identity: Identity, ttl: float) -> Mapping[str, str]:
        """Become, or stay, an owner of APIs; returns the service that owns each."""
        now, holders = time.monotonic(), {}
        for name in api_names:
            owners = {who: until for who, until in broker().owners.get(name, {}).items() if until > now}
            holders[name] = next(iter(owners), identity).service_name
            if holders[name] == identity.service_name:
                owners[identity] = now + ttl
            broker().owners[name] = owners
        return holders

    async def disown(self, api_names: Sequence[str], identity: Identity) -> None:
        """Own APIs no more."""
        for name in api_names:
            broker().owners.get(name, {}).pop(identity, None)

    async def owners(self, api_names: Sequence[str]) -> Mapping[str, Sequence[Identity]]:
        """Return the processes whose lease on an API has not run out."""
        now, owners = time.monotonic(), broker().owners
        return {n: [who for who, until in owners.get(n, {}).items() if until > now] for n in api_names}

    async def claim(
        self, schedule: str, tick: float, holder: str, lease: float, *, catch_up: bool = False
    ) -> Literal["ours", "had", "busy", "early"]:
        """Take one tick of a schedule."""
        ticks = broker().ticks.setdefault(schedule, Ticks())
        return ticks.claim(tick, holder, lease, broker().clock.now(), catch_up=catch_up)

    async def hold(self, schedule: str, holder: str, lease: float) -> bool:
        """Renew or end the lease of a tick."""
        ticks = broker().ticks.get(schedule)
        return ticks is not None and ticks.hold(holder, lease, broker().clock.now())
