"""Looks at the consumer groups all the time: who holds how much, and whether anybody steals back."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import redis

from lightbus.transports.redis.settling import GroupKeys

from .settings import LISTENERS, SERVICE, STREAM

_MOST = 5_000
_PAUSE = 0.05
_AROUND = 1.0

GROUPS = {listener: GroupKeys(STREAM, f"{SERVICE}-{listener}") for listener in LISTENERS}


@dataclass
class Left:
    """What a group has not dealt with."""

    pending: int = 0
    unread: int = 0
    delayed: int = 0
    retrying: int = 0

    @property
    def total(self) -> int:
        return self.pending + self.unread + self.delayed + self.retrying


@dataclass
class Watcher:
    """A thread that polls the server, past all proxies; use it as a context.

    Args:
        port: Of the server.
    """

    port: int
    #: Entries that went to another consumer without a delivery being counted.
    thefts: set[tuple[str, str]] = field(default_factory=set)
    #: For each consumer, what it held when last seen, as (source, id).
    held: dict[str, set[tuple[str, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._redis = redis.Redis(port=self.port, socket_timeout=2, decode_responses=True)
        self._history: deque[tuple[float, dict[str, int]]] = deque()
        self._known: dict[tuple[str, str], tuple[str, int]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def look(self) -> None:
        """Note who holds what now."""
        known: dict[tuple[str, str], tuple[str, int]] = {}
        held: dict[str, set[tuple[str, str]]] = {}
        for listener, keys in GROUPS.items():
            for source in (STREAM, keys.retry):
                for entry in self._pending(source, f"{SERVICE}-{listener}"):
                    key = (f"{listener} {source}", str(entry["message_id"]))
                    who, count = str(entry["consumer"]), int(entry["times_delivered"])
                    before = self._known.get(key)
                    if before is not None and before[0] != who and before[1] == count:
                        self.thefts.add(key)
                    known[key] = (who, count)
                    held.setdefault(who, set()).add(key)
        self._known, self.held = known, held
        self._history.append((time.monotonic(), {who: len(keys) for who, keys in held.items()}))

    def held_at(self, when: float, consumer: str) -> int:
        """The most that a consumer was seen to hold around a time."""
        counts = [held.get(consumer, 0) for seen, held in self._history if abs(seen - when) < _AROUND]
        return max(counts, default=0)

    def left(self) -> Left:
        """What has not been dealt with, over all groups."""
        left = Left()
        for listener, keys in GROUPS.items():
            group = f"{SERVICE}-{listener}"
            left.pending += len(self._pending(STREAM, group))
            left.retrying += self._redis.xlen(keys.retry)
            left.delayed += self._redis.zcard(keys.delayed)
            for info in self._redis.xinfo_groups(STREAM):
                if info["name"] == group:
                    after = f"({info['last-delivered-id']}"
                    left.unread += len(self._redis.xrange(STREAM, after, "+") or ())
        return left

    def dead(self, listener: str) -> list[tuple[int, str]]:
        """The number and the reason of each of a listener's dead letters."""
        entries: Any = self._redis.xrange(GROUPS[listener].dead)
        return [(int(fields[":n"]), fields["reason"]) for _, fields in entries]

    def destroy_groups(self) -> None:
        """What an administrator should not do."""
        for listener in LISTENERS:
            self._redis.xgroup_destroy(STREAM, f"{SERVICE}-{listener}")
        self._known.clear()

    def _pending(self, source: str, group: str) -> list[dict[str, Any]]:
        try:
            return list(self._redis.xpending_range(source, group, "-", "+", _MOST))
        except redis.ResponseError:
            return []

    def _run(self) -> None:
        while not self._stopping.wait(_PAUSE):
            try:
                self.look()
            except redis.RedisError:
                self._known.clear()

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._redis.close()
