"""The base of the transports over Redis; those of one event loop share its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import cached_property

from lightbus.declared.metrics import Metrics
from lightbus.exceptions import BusAlreadyClosed
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.port import Finding, Use
from lightbus.transports.redis.link.session import Session

from .acl.needs import everybody, hears
from .acl.roles import EVERYBODY, Access, database_of, role_of, user_of
from .inspection.asking import inspect
from .inspection.server import describe
from .link.channel import Channel
from .link.cluster.primaries import connectors
from .link.connection import Connector, unavailable
from .link.permissions import Need, look, sentences
from .options import RedisOptions


class RedisTransport:
    """The part that the three transports over Redis have in common.

    Args:
        options: The address of Redis, and the options of this kind of transport.
    """

    metrics: Metrics
    obstacles: Obstacles
    patience: float | None

    def __init__(self, options: RedisOptions) -> None:
        self._redis_options = options
        self._told = self.obstacles
        self._is_closed = False

    @cached_property
    def session(self) -> Session:
        """The session, from the first use on.

        Raises:
            BusAlreadyClosed: The transport was closed: nobody would close another connection.
        """
        if self._is_closed:
            raise BusAlreadyClosed
        self._told = self.obstacles
        return Session.acquire(self._redis_options, self.obstacles, self.patience)

    @cached_property
    def pipe(self) -> Channel:
        """The shared connection."""
        return self.session.pipe

    async def about(self) -> str:
        """Return the version of Redis, and how full and how busy it is; of a cluster, for each primary."""
        with unavailable("it can't be asked about itself"):
            primaries = await self.pipe.primaries()
            answers = await asyncio.gather(*(primary.send("INFO") for primary in primaries))
        return describe([(primary.address, about) for primary, about in zip(primaries, answers, strict=True)])

    async def now(self) -> float:
        """Return the Unix time by Redis's clock."""
        with unavailable("the time can't be asked"):
            seconds, micros = await self.pipe.send("TIME")
        return int(seconds) + int(micros) / 1_000_000

    @property
    def address(self) -> str:
        """The address of Redis, as ``host:port/db``."""
        session = self._acquired
        connector = Connector(self._redis_options) if session is None else session.connector
        return connector.address

    @property
    def reconnects(self) -> int:
        """How often the shared connection was made again."""
        return 0 if self._acquired is None else self.pipe.reconnects

    async def open(self) -> None:
        """Connect.

        Raises:
            TransportUnavailable: Redis does not answer.
        """
        await self.pipe.open()

    async def check(self, uses: Sequence[Use]) -> Sequence[Finding]:
        """Look whether Redis has all that the promises need, and allows it."""
        needs = [need for use in uses for need in self._needs(use)]
        needed = [*self._common_needs(), *needs, *self._hears(self._waits(uses))]
        # Those that only listen promise nothing.
        replicas = self._replicas if any(use.role == "fires" for use in uses) else 0
        return await inspect(self._redis_options, self._keys(uses), needed, replicas)

    async def expect(self, uses: Sequence[Use]) -> None:
        """Look whether Redis allows these uses, and watch those that it does not allow."""
        self.know("everybody", self._common_needs())
        for use in uses:
            self.know(str(use), self._needs(use))
        self.session.planned_waits += len(waits := self._waits(uses))
        self.know("bells", self._hears(waits))
        await self.session.permissions.check()

    def know(self, name: str, needs: Iterable[Need]) -> None:
        """Note needs, to look at them when something is refused."""
        self.session.permissions.know(name, needs, self.obstacles)

    def access(self, uses: Sequence[Use]) -> Access:
        """Return who this process is at its Redis, and what these uses need there, by role."""
        roles: dict[str, dict[Need, None]] = {EVERYBODY: dict.fromkeys(self._common_needs())}
        with_1x: dict[str, dict[Need, None]] = {}
        for use in uses:
            # A process hears bells if it waits at many slots, which not each one of a service may do.
            heard = self._waits([use]) if self._redis_options.is_cluster else ()
            own = [*self._needs(use), *(need for key in heard for need in hears(key))]
            for needs, found in ((own, roles), (self._needs_of_1x(use), with_1x)):
                if given := dict.fromkeys(needs):
                    found.setdefault(role_of(use), {}).update(given)
        username, digest = user_of(self._redis_options)
        ours, theirs = ({role: tuple(given) for role, given in each.items()} for each in (roles, with_1x))
        return Access(self.address, username, digest, self._redis_options.is_cluster, ours, theirs)

    async def lacking(self, needs: Iterable[Need], user: str) -> list[str]:
        """Say what Redis does not allow a user, in a sentence for each command or key.

        Args:
            needs: The needs.
            user: The user.

        Raises:
            NotKnown: Redis does not tell.
            TransportUnavailable: Redis does not answer.
        """
        missing = await look(await connectors(self._redis_options), needs, user)
        return sentences(Connector(self._redis_options), missing, user)

    @property
    def _replicas(self) -> int:
        """The number of replicas that must have a message before it counts as sent."""
        return 0

    def _waits(self, uses: Sequence[Use]) -> list[str]:
        """Return the keys that some uses wait at, each as often as it is waited at."""
        return [key for use in uses if use.role in ("serves", "listens") for key in self._keys([use])]

    def _hears(self, waits: Sequence[str]) -> list[Need]:
        """Return the needs of those who wait at so many keys of a cluster that they do it by bells."""
        is_so = self._redis_options.hears_bells(len(waits))
        return [need for key in waits for need in hears(key)] if is_so else []

    def _common_needs(self) -> Iterable[Need]:
        """Return the needs of every process."""
        options = self._redis_options
        return everybody(is_cluster=options.is_cluster, database=database_of(options))

    def _needs(self, use: Use) -> Iterable[Need]:
        """Return the needs of a use."""
        return ()

    def _needs_of_1x(self, use: Use) -> Iterable[Need]:
        """Return the needs of a use that only processes of Lightbus 1.x at the other end bring along."""
        return ()

    def _keys(self, uses: Sequence[Use]) -> dict[str, str]:
        """Return the keys that are used, with the type that each must have where it exists."""
        return {}

    async def close(self) -> None:
        """Give the connection back. What is used after this is refused."""
        session, self._is_closed = self._acquired, True
        vars(self).pop("session", None)
        vars(self).pop("pipe", None)
        if session is not None:
            await session.release(self._told)

    @property
    def _acquired(self) -> Session | None:
        """The session, if it was used before."""
        return vars(self).get("session")
