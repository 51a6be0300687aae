"""Rounds: the same commands for many keys, again and again, in few writes.

Their keys may lie with several nodes of a cluster, of which one is away, or with slots that have nobody. What
is asked there must keep nothing else waiting: signs of life, leases and retries of all other keys go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

from lightbus.exceptions import BusAlreadyClosed
from lightbus.transports.redis.scripts import Run

from .channel import Channel, is_unknown
from .refusals import ReplyError

#: What is asked about: a key, or whatever stands for one.
K = TypeVar("K")

#: Seconds after which a round goes on without the replies that are still missing.
PATIENCE = 1.0


class Rounds(Generic[K]):
    """Asks about many keys, each of which is answered for by itself.

    A reply that is late is handed out when it comes. Until then, nothing is asked about its key again.

    Args:
        pipe: The Redis.
        patience: Seconds after which a round goes on without the replies that are still missing.
    """

    def __init__(self, pipe: Channel, patience: float = PATIENCE) -> None:
        self._pipe = pipe
        self._patience = patience
        self._asked: set[K] = set()
        #: Those who wait until nothing is asked about a key.
        self._waiting: dict[K, asyncio.Event] = {}

    async def ask(self, commands: Mapping[K, tuple[Any, ...]], take: Callable[[K, Any], None]) -> None:
        """Send a command for each key, but for those whose last one is not answered yet.

        Args:
            commands: The commands.
            take: Is given the reply to each, or its :class:`ReplyError`, or the error because of which
                nothing is known.
        """
        sent = self._send(commands, take)
        if sent:
            await asyncio.wait(sent, timeout=self._patience)

    async def run(self, runs: Mapping[K, Run], take: Callable[[K, Any], None]) -> None:
        """Run a script for each key likewise, by its text where a node does not know it."""
        unknown: dict[K, tuple[Any, ...]] = {}
        is_late = False

        def judge(key: K, reply: Any) -> None:
            if isinstance(reply, ReplyError):
                reply.note_script(runs[key])
            take(key, reply)

        def look(key: K, reply: Any) -> None:
            if not is_unknown(reply):
                judge(key, reply)
            elif is_late:
                # Left to the next round, it might not be run before what it is to prevent has happened.
                with suppress(BusAlreadyClosed):
                    self._send({key: runs[key].by_text()}, judge)
            else:
                unknown[key] = runs[key].by_text()

        await self.ask({key: run.by_name() for key, run in runs.items()}, look)
        is_late = True
        await self.ask(unknown, judge)

    def is_asked(self, key: K) -> bool:
        """Tell whether something that was asked about a key is not answered yet."""
        return key in self._asked

    async def answered(self, key: K) -> None:
        """Wait until nothing is asked about a key."""
        if key in self._asked:
            await self._waiting.setdefault(key, asyncio.Event()).wait()

    def _send(
        self, commands: Mapping[K, tuple[Any, ...]], take: Callable[[K, Any], None]
    ) -> Sequence[asyncio.Future[Any]]:
        """Send commands as :meth:`ask` does; return futures that are done once all is answered."""
        keys = [key for key in commands if key not in self._asked]
        if not keys:
            return ()
        self._asked.update(keys)

        def answered(place: int, reply: Any) -> None:
            key = keys[place]
            self._asked.discard(key)
            take(key, reply)
            # By now, it may be asked about again.
            if self._waiting and key not in self._asked:
                self._waiting.pop(key, asyncio.Event()).set()

        try:
            return self._pipe.send_each([commands[key] for key in keys], answered)
        except BusAlreadyClosed:
            self._asked.difference_update(keys)
            raise
