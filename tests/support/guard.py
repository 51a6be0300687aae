"""A guard over connections to Redis: nothing that has to be done together may have keys in several slots."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from weakref import WeakSet

import pytest

from lightbus.transports.redis.link.cluster.pipe import ClusterPipe
from lightbus.transports.redis.link.cluster.slots import slots_of_command
from lightbus.transports.redis.link.connection import Link
from lightbus.transports.redis.link.pipe import Pipe

Command = tuple[Any, ...]

#: All that sends commands to Redis.
CHANNELS, LINKS = (Pipe, ClusterPipe), (Link,)

#: Commands that change nothing: a list of them may be answered by several nodes, in any order.
READS = frozenset(
    {
        *("EXISTS", "GET", "HGET", "HGETALL", "HKEYS", "HMGET", "LLEN", "PTTL", "SMEMBERS", "TIME", "TYPE"),
        *("XINFO", "XLEN", "XPENDING", "XRANGE", "XREVRANGE", "ZCARD", "ZRANGEBYSCORE"),
    }
)


class SpansSlots(AssertionError):
    """Commands have keys of several slots, though they belong together."""


def look_at(commands: Sequence[Command]) -> None:
    """Refuse a command whose keys lie in several slots, and a list over several of them that is no mere sum.

    The commands of a list are done by different nodes then, in any order, and some of them may never be done.
    That does no harm if they only read, or if all are of one kind, such as one mark for each stream.
    """
    for command in commands:
        if len(slots_of_command(command)) > 1:
            raise SpansSlots(f"the keys of {short(command)} lie in several slots")
    met: set[int] = set()
    kinds = {command[0] for command in commands}
    if len(met.union(*map(slots_of_command, commands))) > 1 and len(kinds) > 1 and not kinds <= READS:
        raise SpansSlots(f"{'; '.join(map(short, commands))} go to several nodes, in any order")


def short(command: Command) -> str:
    """A command for people, without the text of a script."""
    return " ".join(str(part)[:60].partition("\n")[0] for part in command)


@contextlib.contextmanager
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Look at all that is sent to Redis; whatever spans slots raises there, and once more at the end."""
    met: list[SpansSlots] = []
    # Within MULTI, commands are only judged, and never done.
    judged: WeakSet[Any] = WeakSet()

    def look(sender: Any, commands: Iterable[Command]) -> list[Command]:
        listed = list(commands)
        if listed == [("MULTI",)]:
            judged.add(sender)
        try:
            if sender not in judged:
                look_at(listed)
        except SpansSlots as e:
            met.append(e)
            raise
        return listed

    def watch(kind: type[Any], name: str) -> None:
        real = getattr(kind, name)

        def one(self: Any, *command: Any) -> Any:
            look(self, [command])
            return real(self, *command)

        def many(self: Any, commands: Iterable[Command], *rest: Any) -> Any:
            return real(self, look(self, commands), *rest)

        def each(self: Any, commands: Iterable[Command], *rest: Any) -> Any:
            listed = list(commands)
            for command in listed:
                look(self, [command])  # They have nothing to do with each other.
            return real(self, listed, *rest)

        monkeypatch.setattr(kind, name, {"send": one, "send_each": each}.get(name, many))

    for kind in CHANNELS:
        watch(kind, "send")
        watch(kind, "send_many")
        watch(kind, "send_each")
    for link in LINKS:
        watch(link, "exchange")
    yield
    if met:
        raise met[0]
