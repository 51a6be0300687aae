"""The session with one Redis that all users on one event loop share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.cluster.bells import Bells
from lightbus.transports.redis.link.cluster.pipe import ClusterPipe
from lightbus.transports.redis.link.cluster.slots import slot_of_key
from lightbus.transports.redis.link.connection import FAILURES, Connector, Link
from lightbus.transports.redis.link.permissions import Permissions
from lightbus.transports.redis.link.pipe import Pipe
from lightbus.transports.redis.link.promise import Promise
from lightbus.transports.redis.link.reaching.outages import Hearers
from lightbus.transports.redis.link.reaching.patience import Patience
from lightbus.transports.redis.options import RedisOptions

logger = logging.getLogger(__name__)

#: A key.
K = TypeVar("K", str, bytes)

_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, Session]] = WeakKeyDictionary()


class Session:
    """One Redis as one event loop uses it. Get one by :meth:`acquire`, give it back by :meth:`release`.

    Args:
        options: The address of the Redis.
        key: The key under which it is shared.
        patience: Seconds for which commands wait while Redis is away; None for as long as that takes.
    """

    def __init__(self, options: RedisOptions, key: Any, patience: float | None) -> None:
        self._key = key
        self._patience = patience
        self._impatient: list[Patience] = []
        self.connector = Connector(options)
        #: The obstacles of its users, once for each.
        self._users = Hearers()
        #: Whether the keys are spread over the nodes of a cluster.
        self.is_cluster = options.is_cluster
        self._options = options
        #: The permissions of this user.
        self.permissions = Permissions(options)
        self.pipe = self._channel()
        #: At how many slots the uses wait that are known from the start.
        self.planned_waits = 0
        # At how many each one waits who has begun to.
        self._waits: WeakKeyDictionary[object, int] = WeakKeyDictionary()
        self._has_bells: bool | None = None
        # Apart, since WAIT holds up all that comes after it on its connection.
        self._promising: dict[Promise, Channel] = {}

    @classmethod
    def acquire(cls, options: RedisOptions, obstacles: Obstacles, patience: float | None = None) -> Session:
        """Return the running loop's session for these options, making it if there is none.

        Args:
            options: The address of the Redis.
            obstacles: Shows the user of the session that commands don't reach Redis.
            patience: Seconds for which commands wait while Redis is away; None for as long as that takes.
        """
        key = (patience, *(getattr(options, field.name) for field in fields(RedisOptions)))
        sessions = _sessions.setdefault(asyncio.get_running_loop(), {})
        if key not in sessions:
            sessions[key] = cls(options, key, patience)
        session = sessions[key]
        session._users.append(obstacles)
        return session

    def promising(self, promise: Promise) -> Channel:
        """Return a shared way to it on which writes are answered once so many replicas have them."""
        channel = self._promising.get(promise)
        if channel is None:
            channel = self._promising[promise] = self._channel(promise)
        return channel

    def _channel(self, promise: Promise | None = None) -> Channel:
        channel: Channel
        if self.is_cluster:
            channel = ClusterPipe(self._options, self._users, promise)
        else:
            channel = Pipe(self.connector, self._options.command_timeout, self._users, promise)
        channel.on_refusal = self.permissions.note
        if self._patience is not None:
            self._impatient.append(Patience(channel, self._patience))
        return channel

    async def release(self, obstacles: Obstacles) -> None:
        """Give back the session; the last user closes it."""
        self._users.remove(obstacles)
        channels = [self.pipe, *self._promising.values()]
        if obstacles not in self._users:
            for channel in channels:
                channel.forget(obstacles)
        if not self._users:
            _sessions.get(asyncio.get_running_loop(), {}).pop(self._key, None)
            for each in self._impatient:
                each.end()
            # Whoever is cancelled meanwhile closes all of them: nobody else would.
            async with contextlib.AsyncExitStack() as closings:
                for channel in reversed(channels):
                    closings.push_async_callback(channel.close)
                closings.push_async_callback(self.permissions.close)

    def link(self, key: str | None = None) -> Link:
        """Return a new connection for commands that block.

        Args:
            key: The key that they wait at. In a cluster, the connection goes to whichever primary has it.
                Left out, it is the first key of the first commands.
        """
        return self.pipe.link(key, self.permissions.note)

    async def bells_for(self, who: object, keys: Iterable[str]) -> Bells | None:
        """Return the bells by which somebody is to hear of what comes to some keys.

        Args:
            who: Whoever waits for it.
            keys: The keys.

        Returns:
            None where each slot gets a connection that blocks instead: on one Redis, or for few slots.
        """
        pipe = self.pipe
        if not isinstance(pipe, ClusterPipe):
            return None
        self._waits[who] = len(self.together(keys))
        if not self._options.hears_bells(max(self.planned_waits, sum(self._waits.values()))):
            return None
        return pipe.bells if await self._have_bells(pipe) else None

    async def _have_bells(self, pipe: Channel) -> bool:
        """Tell whether all nodes of the cluster have bells; where none says so, that turns out later."""
        if self._has_bells is None:
            try:
                about = await pipe.send_to_all("COMMAND", "INFO", "SSUBSCRIBE")
            except FAILURES as e:
                logger.debug("whether there are bells can't be asked: %s", e)
                return True
            was_known = self._has_bells is not None
            self._has_bells = not any(isinstance(reply, list) and reply[0] is None for reply in about)
            if not self._has_bells and not was_known:
                logger.warning(
                    "a node of the %s is older than version 7.0 and has no SSUBSCRIBE: this process opens a "
                    "connection for each slot that it waits at; upgrade the node, or see that its maxclients "
                    "is high enough",
                    self._options.address,
                )
        return self._has_bells

    def together(self, keys: Iterable[K]) -> list[list[K]]:
        """Return keys in lists of those that one command may name: on a cluster, by their slots."""
        if not self.is_cluster:
            return [list(keys)]
        by_slot: dict[int, list[K]] = {}
        for key in keys:
            by_slot.setdefault(slot_of_key(key), []).append(key)
        return list(by_slot.values())
