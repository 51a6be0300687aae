"""What the transports of one event loop share of one Redis: its connector and its pipe."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any
from weakref import WeakKeyDictionary

from lightbus.metrics import Metrics
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.events import Use
from lightbus.transports.port import Finding

from .events.suspects import Suspects
from .inspection import inspect
from .link.connection import Connector, Link, unavailable
from .link.permissions import Need, Permissions
from .link.pipe import Pipe
from .needs import everybody
from .options import RedisOptions

_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, Session]] = WeakKeyDictionary()


class Session:
    """One Redis as one event loop uses it. Get one by :meth:`acquire`, give it back by :meth:`release`.

    Args:
        options: How to reach it.
        key: Under which it is shared.
    """

    def __init__(self, options: RedisOptions, key: Any) -> None:
        self._key = key
        self.connector = Connector(options)
        #: Where its users are told of what keeps commands from Redis, once for each.
        self._users: list[Obstacles] = []
        self.pipe = Pipe(self.connector, options.command_timeout, self._users)
        #: What this user may not do.
        self.permissions = Permissions(self.connector)
        self.pipe.on_refusal = self.permissions.note
        #: Shared by all listeners, since they die together.
        self.suspects = Suspects()

    @classmethod
    def acquire(cls, options: RedisOptions, obstacles: Obstacles) -> Session:
        """Return the running loop's session for these options, making it where there is none.

        Args:
            options: How Redis is reached.
            obstacles: Where who uses it is told of what keeps commands from Redis.
        """
        key = tuple(getattr(options, field.name) for field in fields(RedisOptions))
        sessions = _sessions.setdefault(asyncio.get_running_loop(), {})
        if key not in sessions:
            sessions[key] = cls(options, key)
        session = sessions[key]
        session._users.append(obstacles)
        return session

    async def release(self, obstacles: Obstacles) -> None:
        """Give back what was acquired with these; the last user closes it."""
        self._users.remove(obstacles)
        if obstacles not in self._users:
            obstacles.clear(self.pipe.outages.obstacle)
        if not self._users:
            _sessions.get(asyncio.get_running_loop(), {}).pop(self._key, None)
            await self.permissions.close()
            await self.pipe.close()

    def link(self) -> Link:
        """Return a new connection for commands that block."""
        return Link(self.connector, self.permissions.note)


class RedisTransport:
    """What the three transports over Redis have in common.

    Args:
        options: How to reach Redis, and what the kind of transport adds.
    """

    metrics: Metrics
    obstacles: Obstacles

    def __init__(self, options: RedisOptions) -> None:
        self._redis_options = options
        self._session: Session | None = None
        self._told = self.obstacles

    @property
    def session(self) -> Session:
        """The session, from the first use on."""
        if self._session is None:
            self._session = Session.acquire(self._redis_options, self.obstacles)
            self._told = self.obstacles
        return self._session

    @property
    def pipe(self) -> Pipe:
        """The shared connection."""
        return self.session.pipe

    async def now(self) -> float:
        """Return the Unix time by Redis's clock."""
        with unavailable("the time can't be asked"):
            seconds, micros = await self.pipe.send("TIME")
        return int(seconds) + int(micros) / 1_000_000

    @property
    def address(self) -> str:
        """Where Redis is, as ``host:port/db``."""
        connector = Connector(self._redis_options) if self._session is None else self._session.connector
        return connector.address

    @property
    def reconnects(self) -> int:
        """How often the shared connection was made again."""
        return 0 if self._session is None else self._session.pipe.reconnects

    async def open(self) -> None:
        """Connect.

        Raises:
            TransportUnavailable: Redis does not answer.
        """
        await self.pipe.open()

    async def check(self, uses: Sequence[Use]) -> Sequence[Finding]:
        """Look whether Redis has what the promises need, and allows it."""
        needs = [need for use in uses for need in self._needs(use)]
        return await inspect(Connector(self._redis_options), self._keys(uses), [*everybody(), *needs])

    async def expect(self, uses: Sequence[Use]) -> None:
        """Look whether Redis allows what this process is going to do, and watch what it does not."""
        self.know("everybody", everybody())
        for use in uses:
            self.know(str(use), self._needs(use))
        await self.session.permissions.check()

    def know(self, name: str, needs: Iterable[Need]) -> None:
        """Say what is needed here, for when something is refused."""
        self.session.permissions.know(name, needs, self.obstacles)

    def _needs(self, use: Use) -> Iterable[Need]:
        """Return what a use needs of this Redis."""
        return ()

    def _keys(self, uses: Sequence[Use]) -> dict[str, str]:
        """Return the keys that are used, with the type that each must have where it exists."""
        return {}

    async def close(self) -> None:
        """Give the connection back."""
        session, self._session = self._session, None
        if session is not None:
            await session.release(self._told)
