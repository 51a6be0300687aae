"""Looks at the consumer groups all the time: who holds how much, and whether anybody steals back."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from lightbus.transports.redis.keys import GroupKeys

from .backing import Backing
from .settings import API, HELD_UP, LISTENERS, SERVICE

#: A listener, a stream that it reads, and an id there.
Entry = tuple[str, str, str]

_MOST = 5_000
_PAUSE = 0.05


@dataclass(frozen=True)
class Group:
    """What a listener reads of one stream."""

    listener: str
    stream: str
    name: str

    @property
    def keys(self) -> GroupKeys:
        return GroupKeys(self.stream, self.name)


def groups_of(*apis: str) -> tuple[Group, ...]:
    """What the listeners of a campaign read of the streams of its APIs."""
    return tuple(
        Group(listener, f"{name}.*:stream", f"{SERVICE}-{listener}")
        for listener in LISTENERS
        for name in apis
    )


GROUPS = groups_of(API)


@dataclass(frozen=True)
class Theft:
    """An entry that went to another consumer without a delivery being counted, between two looks.

    Args:
        entry: The entry.
        before: Who held it at the first look.
        after: Who held it at the second one.
        count: How often it was delivered, at both.
        since: When the first look began.
        till: When the second one ended.
    """

    entry: Entry
    before: str
    after: str
    count: int
    since: float
    till: float

    def __str__(self) -> str:
        return (
            f"{' '.join(self.entry)} from {self.before} to {self.after}, delivered {self.count} times, "
            f"{self.since:.3f} to {self.till:.3f}"
        )


@dataclass
class Left:
    """What a group has not dealt with."""

    pending: int = 0
    unread: int = 0
    delayed: int = 0
    retrying: int = 0
    #: Who holds which pending entry, for how long, and its delivery: on its way, or left by somebody.
    held: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.pending + self.unread + self.delayed + self.retrying


@dataclass
class Watcher:
    """A thread that polls the server, past all proxies; use it as a context.

    Args:
        backing: Where the server is.
        groups: What is looked at.
    """

    backing: Backing
    groups: Sequence[Group] = GROUPS
    #: What went to another consumer without a delivery being counted.
    thefts: list[Theft] = field(default_factory=list)
    #: For each consumer, what it held when last seen.
    held: dict[str, set[Entry]] = field(default_factory=dict)
    #: For each entry, who was seen to hold it, since when and in which delivery.
    holders: dict[Entry, list[str]] = field(default_factory=dict)
    #: From the begin of a look to the end of the next one, where that took long: Redis, or this process, in
    #: which all proxies run, was held up.
    delays: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._looking = threading.Lock()
        self._known: dict[Entry, tuple[str, int]] = {}
        #: When that look began.
        self._looked_at = 0.0
        self._seen = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def look_again(self) -> None:
        """Look now; where there is no server, what was seen last stays."""
        with contextlib.suppress(redis.RedisError):
            self.look()

    def look(self) -> None:
        """Note who holds what now."""
        with self._looking:
            # A promoted replica may not have heard of the last leases.
            if self._seen != self.backing.promotions or self.backing.is_changing:
                self._known.clear()
                self._seen = self.backing.promotions
            self._look()

    def _look(self) -> None:
        began = time.monotonic()
        known: dict[Entry, tuple[str, int]] = {}
        held: dict[str, set[Entry]] = {}
        moved: list[tuple[Entry, str, str, int]] = []
        for group in self.groups:
            for source in (group.stream, group.keys.retry):
                for entry in self._pending(source, group.name):
                    key = (group.listener, source, str(entry["message_id"]))
                    who, count = str(entry["consumer"]), int(entry["times_delivered"])
                    before = self._known.get(key)
                    if before is not None and before[0] != who and before[1] == count:
                        moved.append((key, before[0], who, count))
                    if before != (who, count):
                        since = f"{began:.3f} {who}, delivery {count}"
                        self.holders.setdefault(key, []).append(since)
                    known[key] = (who, count)
                    held.setdefault(who, set()).add(key)
        till = time.monotonic()
        if self._looked_at and till - self._looked_at > HELD_UP:
            self.delays.append((self._looked_at, till))
        self.thefts += [Theft(*each, self._looked_at, till) for each in moved]
        self._known, self.held, self._looked_at = known, held, began

    def left(self) -> Left:
        """What has not been dealt with, over all groups."""
        left = Left()
        for group in self.groups:
            pending = self._pending(group.stream, group.name)
            left.pending += len(pending)
            left.held += [_holding(group, entry) for entry in pending]
            left.retrying += self._at(group.keys.retry).xlen(group.keys.retry)
            left.delayed += self._at(group.keys.delayed).zcard(group.keys.delayed)
            for info in self._at(group.stream).xinfo_groups(group.stream):
                if info["name"] == group.name:
                    after = f"({info['last-delivered-id']}"
                    left.unread += len(self._at(group.stream).xrange(group.stream, after, "+") or ())
        return left

    def dead(self) -> dict[str, list[tuple[int, str]]]:
        """For each listener the number and the reason of each of its dead letters."""
        found: dict[str, list[tuple[int, str]]] = {group.listener: [] for group in self.groups}
        for group in self.groups:
            entries: Any = self._at(group.keys.dead).xrange(group.keys.dead)
            found[group.listener] += [(int(fields[":n"]), fields["reason"]) for _, fields in entries]
        return found

    def holders_of_dead(self) -> list[str]:
        """For each dead letter of a message whose processes died, who was seen to hold it: evidence."""
        told = []
        for group in self.groups:
            entries: Any = self._at(group.keys.dead).xrange(group.keys.dead)
            for _, fields in entries:
                if fields["reason"] == "process_died":
                    seen = self.holders.get((group.listener, group.stream, fields["origin"]), ["nobody"])
                    told.append(f"{group.listener} {fields[':n']} was held by: {'; '.join(seen)}")
        return told

    def destroy_groups(self) -> None:
        """What an administrator should not do."""
        with self._looking:
            for group in self.groups:
                self._at(group.stream).xgroup_destroy(group.stream, group.name)
            self._known.clear()

    def _at(self, key: str) -> redis.Redis:
        return self.backing.client(key)

    def _pending(self, source: str, group: str) -> list[dict[str, Any]]:
        try:
            return list(self._at(source).xpending_range(source, group, "-", "+", _MOST))
        except redis.ResponseError:
            return []

    def _run(self) -> None:
        while not self._stopping.wait(_PAUSE):
            try:
                self.look()
            except redis.RedisError:
                self._known.clear()
                self._looked_at = 0.0

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()


def _holding(group: Group, entry: Mapping[str, Any]) -> str:
    return (
        f"{entry['message_id']} of {group.stream} for {group.listener}: {entry['consumer']} has it for "
        f"{entry['time_since_delivered'] / 1000:.1f} s, delivery {entry['times_delivered']}"
    )
