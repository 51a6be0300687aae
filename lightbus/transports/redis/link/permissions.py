"""Missing permissions of a user of Redis, found without doing anything.

``ACL DRYRUN`` tells of any user, to those who may ask. Others are told of their own permissions alone.
Redis judges a command within MULTI when it is sent. It refuses a forbidden one at once, queues the rest, and
forgets them with the connection. So the real commands are sent with the real keys, on every version
of Redis, and nothing is ever done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lightbus.declared.names import first_of
from lightbus.runtime.cancellation import end
from lightbus.runtime.obstacles import Obstacles
from lightbus.runtime.tasks import begin
from lightbus.transports.redis.keys import pattern_of
from lightbus.transports.redis.options import RedisOptions

from .cluster.primaries import connectors
from .connection import FAILURES, Connector, Link
from .refusals import ReplyError

logger = logging.getLogger(__name__)

#: The reason why nothing is taken; the obstacles name the permission.
LACKING = "this user of Redis lacks a permission without which nothing could be finished"
_TIMEOUT = 5.0
#: Seconds from a refusal to the first look.
_FIRST = 0.02
#: Turns of the event loop in which one that was held up meanwhile still lets a refusal be excused.
_TURNS = 10
#: Seconds between looks while something is missing.
_AGAIN = 1.0
#: Seconds for which a refusal that no look explains is shown.
_SHOWN = 3.0
#: The most keys, commands or purposes that a sentence names.
_NAMED = 3


Command = tuple[Any, ...]


class Key(str):
    """An argument of a command that is a key."""

    __slots__ = ()


class Channel(str):
    """An argument of a command that is a channel."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Need:
    """One command that somebody needs.

    Args:
        command: The command with its arguments; keys are :class:`Key`, channels :class:`Channel`.
        purpose: The purpose of it, such as ``serve the API auth``.
        is_vital: Whether nothing may be taken from the broker without it, since it could not be finished.
        is_assumed: Whether it is not known for sure that it is needed.
        is_optional: Whether the bus works without it, so that its lack is no obstacle.
    """

    command: Command
    purpose: str
    is_vital: bool = False
    is_assumed: bool = False
    is_optional: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the command."""
        return tuple(str(part) for part in self.command if isinstance(part, Key))

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of the command."""
        return tuple(str(part) for part in self.command if isinstance(part, Channel))

    @property
    def name(self) -> str:
        """The command's name, with that of its subcommand where it has one."""
        first, *more = self.command
        return f"{first} {more[0]}" if first in _WITH_SUBCOMMAND else str(first)


#: The codes by which a node of a cluster says that a key lies at another one, or that keys lie apart.
_ELSEWHERE = frozenset(("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "CROSSSLOT"))
_WITH_SUBCOMMAND = {"ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "SCRIPT", "XGROUP", "XINFO"}


class NotKnown(Exception):
    """Redis does not let this user ask."""


class NoSuchUser(NotKnown):
    """Redis has no user of that name."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A need that Redis does not allow this user.

    Args:
        need: The need.
        keys: The keys that it may not be done on; empty if the command itself is not allowed.
        code: The code of the refusal.
        said: The words of Redis, with their meaning.
        where: The nodes of a cluster that do not allow it, where others do.
    """

    need: Need
    keys: tuple[str, ...]
    code: str
    said: str
    where: str = ""


#: Begins what Redis judges and forgets.
_BEGINS = ("MULTI",)
#: Returns the replies to commands that are judged and not done.
_Judge = Callable[[Connector, Sequence[Command]], Awaitable[list[Any]]]


async def look(connectors: Sequence[Connector], needs: Iterable[Need], user: str = "") -> list[Missing]:
    """Return the needs that Redis does not allow.

    Each primary of a cluster has users of its own, and any key may come to it. So all of them are asked for
    all needs: permissions are judged before it is looked where a key lies.

    Args:
        connectors: Each connects to a primary, as the user whose permissions are asked for.
        needs: The needs.
        user: The user whose permissions are asked for by ``ACL DRYRUN``; left out, the one that connects,
            without it.

    Raises:
        NotKnown: This user may not ask.
        TransportUnavailable, LinkBroken: Redis does not answer.
    """
    asked = list(dict.fromkeys(needs))
    found: dict[Need, list[tuple[Connector, Missing]]] = {need: [] for need in asked}
    for connector in connectors:
        for missing in await _look_at_one(connector, asked, user):
            found[missing.need].append((connector, missing))
    told = []
    for at in filter(None, found.values()):
        where = ", ".join(connector.address for connector, _ in at) if len(at) < len(connectors) else ""
        told.append(replace(at[0][1], where=where))
    return told


async def _look_at_one(connector: Connector, asked: Sequence[Need], user: str) -> list[Missing]:
    judge, commands = _judge, [need.command for need in asked]
    if user:
        judge = partial(_dry_run, user)
    try:
        replies = await judge(connector, commands)
    except NoSuchUser:
        raise
    except NotKnown:
        if user not in ("", connector.username):
            raise
        judge = _judge
        replies = await judge(connector, commands)
    found = []
    for need, error in zip(asked, replies, strict=True):
        if isinstance(error, ReplyError) and error.code not in _ELSEWHERE:
            keys: tuple[str, ...] = ()
            if error.code == "NOPERM" and need.keys and "to run the" not in error.said:
                keys = await _refused_keys(connector, need, judge)
            found.append(Missing(need, keys, error.code, str(error)))
    return found


async def _dry_run(user: str, connector: Connector, commands: Sequence[Command]) -> list[Any]:
    """Return the replies that a user would get, as far as permissions make them."""
    link = Link(connector)
    try:
        replies = await link.exchange([("ACL", "DRYRUN", user, *command) for command in commands], _TIMEOUT)
    finally:
        await link.close()
    for reply in replies:
        if isinstance(reply, ReplyError):
            kind = NoSuchUser if "not found" in reply.said else NotKnown
            raise kind(str(reply))
    return [reply if reply == b"OK" else ReplyError(f"NOPERM {reply.decode()}") for reply in replies]


async def _judge(connector: Connector, commands: Sequence[Command]) -> list[Any]:
    """Return the replies to commands that are only judged, and never done."""
    link = Link(connector)
    # It is asked first, and can't be within itself.
    asked = [command if command != _BEGINS else ("PING",) for command in commands]
    try:
        # By itself, and before the others: without it they would be done.
        (begun,) = await link.exchange([_BEGINS], _TIMEOUT)
        if isinstance(begun, ReplyError):
            raise NotKnown(str(begun))
        return await link.exchange(asked, _TIMEOUT) if asked else []
    finally:
        await link.close()


async def _refused_keys(connector: Connector, need: Need, judge: _Judge) -> tuple[str, ...]:
    """Return which keys of a command are not allowed; all of them where each alone is."""
    keys = tuple(dict.fromkeys(need.keys))
    if len(keys) == 1 or need.command[0] not in ("EVAL", "EVALSHA"):
        return keys
    name, script = need.command[:2]
    replies = await judge(connector, [(name, script, 1, key) for key in keys])
    alone = tuple(
        key
        for key, reply in zip(keys, replies, strict=True)
        if isinstance(reply, ReplyError) and reply.code not in _ELSEWHERE
    )
    return alone or keys


def sentences(connector: Connector, found: Sequence[Missing], user: str = "") -> list[str]:
    """Say what is missing: by command where that is not allowed at all, else by key.

    Args:
        connector: The Redis and the user.
        found: The missing permissions.
        user: The user, if not the one that connects.
    """
    apart = dict.fromkeys(missing.where for missing in found)
    return [
        sentence
        for where in apart
        for sentence in _sentences(
            user or connector.username, where or connector.address, [m for m in found if m.where == where]
        )
    ]


def _sentences(name: str, where: str, found: Sequence[Missing]) -> list[str]:
    user, allow = f"the user {name!r} of Redis at {where}", f"allow it with ACL SETUSER {name}"
    told = []
    not_allowed = [missing for missing in found if missing.code == "NOPERM"]
    for command, group in _grouped(m for m in not_allowed if not m.keys).items():
        keys = _some([key for m in group for key in m.need.keys])
        on = f" (on {keys})" if keys else ""
        rule = f"+{command.lower().replace(' ', '|')}"
        told.append(f"{user} may not use {command}{on}, which it needs to {_purposes(group)}; {allow} {rule}")
    for keys_of in dict.fromkeys(m.keys for m in not_allowed if m.keys):
        group = [m for m in not_allowed if m.keys == keys_of]
        what, on = _some([m.need.name for m in group]), _some(keys_of)
        rules = " ".join(f"~{pattern_of(key)}" for key in keys_of)
        told.append(
            f"{user} may not use {what} on {on}, which it needs to {_purposes(group)}; {allow} {rules}"
        )
    for code in dict.fromkeys(m.code for m in found if m.code != "NOPERM"):
        first = next(m for m in found if m.code == code)
        on = f" on {_some(first.need.keys)}" if first.need.keys else ""
        told.append(f"Redis at {where} refuses {first.need.name}{on}: {first.said}")
    return told


def _grouped(found: Iterable[Missing]) -> dict[str, list[Missing]]:
    groups: dict[str, list[Missing]] = {}
    for missing in found:
        groups.setdefault(missing.need.name, []).append(missing)
    return groups


def _purposes(group: Sequence[Missing]) -> str:
    return _some([missing.need.purpose for missing in group])


def _some(names: Sequence[str]) -> str:
    return first_of(list(dict.fromkeys(names)), _NAMED)


class Permissions:
    """Watches the missing permissions of one user of one Redis, from the first refusal until all is allowed.

    Args:
        options: The address of Redis, and the user.
    """

    def __init__(self, options: RedisOptions) -> None:
        self._options = options
        self._connector = Connector(options)
        self._needs: dict[str, list[Need]] = {}
        #: The purposes for which nothing may be taken at present, since it could not be finished.
        self.barred: frozenset[str] = frozenset()
        self._told: list[Obstacles] = []
        self._shown: list[str] = []
        self._watching: asyncio.Task[None] | None = None
        self._refusal: ReplyError | None = None
        self._refused_at = 0.0

    def know(self, name: str, needs: Iterable[Need], obstacles: Obstacles) -> None:
        """Look at this as well, whenever something is refused.

        Args:
            name: Names these needs.
            needs: The needs.
            obstacles: Shows what is missing.
        """
        if name not in self._needs:
            self._needs[name] = [need for need in needs if not need.is_optional]
        if not any(told is obstacles for told in self._told):
            self._told.append(obstacles)

    async def check(self) -> None:
        """Look now, and go on looking while something is missing."""
        if await self._look():
            self._watch()

    def note(self, refusal: ReplyError) -> None:
        """After a refusal for want of a permission, find out which, and watch until it is granted."""
        if refusal.code != "NOPERM" or "client|kill" in refusal.said:
            return  # It is no need: without it, an event of a broken connection may be stored twice.
        self._refusal, self._refused_at = refusal, asyncio.get_running_loop().time()
        self._watch()

    def excuse(self, refusals: Iterable[ReplyError]) -> None:
        """Tell nobody of refusals of something that the bus does without."""
        if any(refusal is self._refusal for refusal in refusals):
            self._refusal = None

    async def close(self) -> None:
        """Look no more."""
        if self._watching is not None:
            end(self._watching)
            await asyncio.wait([self._watching])
        for sentence in self._shown:
            for obstacles in self._told:
                obstacles.clear(("permission", self._connector.address, sentence))

    def _watch(self) -> None:
        if self._watching is None or self._watching.done():
            self._watching = begin(self._keep_looking(), "lightbus permissions")

    async def _keep_looking(self) -> None:
        loop = asyncio.get_running_loop()
        # The refused one first notes its other needs.
        await asyncio.sleep(_FIRST)
        while True:
            is_missing = await self._look()
            is_recent = self._refusal is not None and loop.time() < self._refused_at + _SHOWN
            if not is_missing and not is_recent:
                break
            await asyncio.sleep(_AGAIN)
        self._refusal = None
        self._show([])

    async def _look(self) -> bool:
        """Look at all needs; tell whether something is missing, or may be."""
        try:
            every = (need for needs in self._needs.values() for need in needs)
            found = await look(await connectors(self._options), every)
        except NotKnown:
            found = []
        except FAILURES as e:
            logger.debug("permissions can't be looked at: %s", e)
            return True
        found = [missing for missing in found if missing.code == "NOPERM"]
        self.barred = frozenset(missing.need.purpose for missing in found if missing.need.is_vital)
        said = sentences(self._connector, found)
        if found:
            self._refusal = None  # It is explained.
        # One that came just now may still be excused.
        is_told = asyncio.get_running_loop().time() >= self._refused_at + _FIRST
        if not said and (refusal := self._refusal) is not None and is_told:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if self._refusal is refusal:
                said = [f"Redis at {self._connector.address} does not allow it: {refusal}"]
        self._show(said)
        return bool(found)

    def _show(self, said: list[str]) -> None:
        address = self._connector.address
        before, self._shown = self._shown, said
        for sentence in said:
            if sentence not in before:
                logger.warning("%s", sentence)
            for obstacles in self._told:
                obstacles.meet(("permission", address, sentence), sentence)
        for sentence in before:
            if sentence not in said:
                for obstacles in self._told:
                    obstacles.clear(("permission", address, sentence))
        if before and not said:
            logger.info("Redis at %s allows everything that is needed", address)
