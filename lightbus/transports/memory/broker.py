"""The broker of the memory transports of one event loop: events, groups, queues, contracts, claims."""

from __future__ import annotations

import asyncio
import itertools
import time
import traceback
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from lightbus.declared.settings import Identity
from lightbus.exceptions import GroupRefused, InvalidMessage, text_of
from lightbus.messages import MAX_BYTES, MAX_NODES, EventMessage, ResultMessage, RpcMessage, check_sendable
from lightbus.runtime.clock import Clock
from lightbus.serializers import json_bytes, read_json
from lightbus.transports.audit import Act
from lightbus.transports.cards import Pause
from lightbus.transports.events import ConsumerStatus, DeadLetter, GroupStatus
from lightbus.transports.groups import StillRead
from lightbus.transports.schema import SchemaTransport

from .inbox import Inbox
from .ticks import Ticks

#: The most events that are kept for groups that start in the past, and the most dead letters per group.
_KEPT = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """An event as the broker keeps it."""

    message: EventMessage
    arguments: bytes
    stored_at: float
    attempt: int = 1

    def copy(self) -> EventMessage:
        """Return the event for one handler, with arguments of its own."""
        m = self.message
        arguments = from_json(self.arguments)
        return EventMessage(m.api_name, m.event_name, arguments, m.version, m.id, m.native_id, m.headers)


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """An event that was put aside: why, after which error, and how often its handler was started."""

    message: EventMessage
    reason: str
    error: BaseException | None
    attempts: int
    id: str
    stored: Stored

    def letter(self, group: str, place: str) -> DeadLetter:
        """Return it as the port has it."""
        error = self.error
        trace = "".join(traceback.format_exception(error)) if error is not None else ""
        died_at = int(self.id.partition("-")[0]) / 1000
        text = text_of(error) if error is not None else ""
        return DeadLetter(
            self.id, group, self.message, self.reason, text, trace, self.attempts, died_at, place
        )


class Recent:
    """Ids that are remembered for a while, each with a value."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, str]] = {}

    def get(self, id: str) -> str | None:
        """Return the value of an id, where it is remembered still."""
        until, value = self._kept.get(id, (0.0, ""))
        return value if until > broker().clock.now() else None

    def add(self, id: str, value: str, seconds: float) -> None:
        """Remember an id, unless it is remembered already."""
        now = broker().clock.now()
        while self._kept and next(iter(self._kept.values()))[0] <= now:
            del self._kept[next(iter(self._kept))]
        if self.get(id) is None:
            self._kept.pop(id, None)
            self._kept[id] = (now + seconds, value)


class Group(Inbox[Stored]):
    """The events of one listener, whichever process takes them."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.api_names: set[str] = set()
        self.dead: deque[KeptLetter] = deque(maxlen=_KEPT)
        self.handled = Recent()
        #: How many each process holds, and how many wait for another attempt.
        self.held: Counter[str] = Counter()
        self.retrying = 0

    def put_back_later(self, item: Stored, delay: float) -> None:
        """Add an item that was taken before, after a while."""

        def put_back() -> None:
            self.retrying -= 1
            self.put_back(item)

        self.retrying += 1
        broker().clock.call_later(delay, put_back)

    @property
    def stream(self) -> str:
        """The place where its events are, in words."""
        return ", ".join(sorted(self.api_names))

    def status(self) -> GroupStatus:
        """Return how far the group is."""
        consumers = tuple(ConsumerStatus(process, held) for process, held in sorted(self.held.items()))
        pending, dead = sum(self.held.values()), len(self.dead)
        return GroupStatus(self.name, self.stream, len(self), True, pending, self.retrying, dead, consumers)


class Queue(Inbox[tuple[RpcMessage, bytes, float]]):
    """The calls of one API with their arguments and when their callers give up, and who serves it."""

    def __init__(self) -> None:
        super().__init__()
        self.process_names: list[str] = []
        self.running = 0


class Broker:
    """The broker that the buses of one event loop share. Get it by :func:`broker`."""

    def __init__(self) -> None:
        #: The groups by name. Listeners of one name and different APIs have one each, the later ones under
        #: another key.
        self.groups: dict[str, Group] = {}
        self.queues: dict[str, Queue] = {}
        self.answers: dict[str, asyncio.Future[bytes]] = {}
        self.contracts: dict[str, dict[SchemaTransport, tuple[float, bytes]]] = {}
        self.owners: dict[str, dict[Identity, float]] = {}
        #: What each service declared when it was started last.
        self.declared: dict[str, bytes] = {}
        self.ticks: dict[str, Ticks] = {}
        #: The cards of processes, each with the end of its time, and the pauses by service and listener.
        self.cards: dict[Identity, tuple[float, bytes]] = {}
        self.pauses: dict[tuple[str, str], Pause] = {}
        #: The entries of the audit, the oldest first.
        self.audit: list[Act] = []
        #: What somebody wants to be done, by id.
        self.errands: dict[str, bytes] = {}
        self.clock = Clock()
        self.fired = Recent()
        self.history: deque[Stored] = deque(maxlen=_KEPT)
        #: Those who look at every event as it comes.
        self.followers: set[Inbox[Stored]] = set()
        self._numbers = itertools.count()

    def add(self, message: EventMessage, arguments: bytes, dedupe: float | None = None) -> None:
        """Store an event and hand it to every group of its API."""
        now = time.time()
        key = f"{message.api_name} {message.id}"
        if dedupe is not None:
            message.native_id = self.fired.get(key)
            if message.native_id is not None:
                return
        message.native_id = self.new_id(now)
        if dedupe is not None:
            self.fired.add(key, message.native_id, dedupe)
        m = message
        kept = EventMessage(m.api_name, m.event_name, {}, m.version, m.id, m.native_id, m.headers)
        stored = Stored(kept, arguments, now)
        self.history.append(stored)
        for group in self.groups.values():
            if message.api_name in group.api_names:
                group.put(stored)
        for follower in self.followers:
            follower.put(stored)

    def new_id(self, now: float) -> str:
        """Return an id that nothing else has."""
        return f"{int(now * 1000)}-{next(self._numbers)}"

    def join(self, name: str, api_names: Sequence[str], since: str) -> Group:
        """Return a group, made if it is not there; it gets the past of APIs that are new to it."""
        same = [group for group in self.groups.values() if group.name == name]
        group = next((each for each in same if each.api_names & set(api_names)), None)
        if group is None:
            group = Group(name)
            self.groups[f"{name} of {', '.join(api_names)}" if same else name] = group
        new = set(api_names) - group.api_names
        group.api_names |= new
        if since != "new":
            start = 0.0 if since == "earliest" else float(since)
            for stored in self.history:
                if stored.message.api_name in new and stored.stored_at >= start:
                    group.put(stored)
        return group

    def unread(self, name: str, stream: str) -> str:
        """Return the key of a group; raise GroupRefused if it is not there, or a process reads it."""
        for key, group in self.groups.items():
            if (group.name, group.stream) == (name, stream):
                if group.held:
                    raise StillRead(f"{', '.join(group.held)} reads {name}: stop it first")
                return key
        raise GroupRefused(f"there is no group {name} any more")

    def move(self, name: str, stream: str, heir: str) -> None:
        """Give a group another name, with all that waits there."""
        key = self.unread(name, stream)
        if any(each.name == heir and each.stream == stream for each in self.groups.values()):
            raise GroupRefused(f"there is a group {heir} already: remove it first, with what waits for it")
        group = self.groups.pop(key)
        group.name = heir
        self.groups[f"{heir} of {stream}" if heir in self.groups else heir] = group

    def queue(self, api_name: str) -> Queue:
        """Return the queue of an API."""
        return self.queues.setdefault(api_name, Queue())


_brokers: WeakKeyDictionary[asyncio.AbstractEventLoop, Broker] = WeakKeyDictionary()


def broker() -> Broker:
    """Return the running loop's broker."""
    return _brokers.setdefault(asyncio.get_running_loop(), Broker())


def renew_broker() -> None:
    """Let the running loop begin with an empty broker."""
    _brokers[asyncio.get_running_loop()] = Broker()


def result_fields(result: ResultMessage) -> dict[str, Any]:
    """Return an answer as it would travel, before it is JSON."""
    return {name: getattr(result, name) for name in ResultMessage.__slots__}


def from_json(blob: bytes) -> Any:
    """Return the value of what :func:`to_json` has made."""
    try:
        return msgspec.json.decode(blob)
    except msgspec.MsgspecError:
        return read_json(blob)  # It has a number that is infinite, or none.


def to_json(what: str, value: Any) -> bytes:
    """Return a value as it would travel.

    Raises:
        InvalidMessage: It is no JSON value, or larger than any transport takes.
    """
    try:
        blob = json_bytes(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as e:
        raise InvalidMessage(f"{what} can't travel as JSON: {e}") from e
    if len(blob) > MAX_BYTES:
        raise InvalidMessage(f"{what} is {len(blob):,} bytes long; a message may have {MAX_BYTES:,}")
    if len(blob) > MAX_NODES:
        check_sendable(what, blob)
    return blob
