"""ACL rules of Redis 7 and Valkey, made of needs: each allows what somebody needs, and nothing else.

Redis allows a command where one selector allows both it and all of its keys. So a selector has keys for which
the same commands are needed. Scripts have one of their own: the commands within them are judged one by one,
so it allows nothing by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lightbus.transports.redis.keys import pattern_of
from lightbus.transports.redis.link.permissions import Need

_SCRIPTS = frozenset(("eval", "evalsha"))
#: Reads the streams of several APIs at once, whatever they are.
_READS_MANY = "xreadgroup"
#: Commands that only read their keys, or only write to them. A key of any other command is open to both.
_READING = frozenset((
    *("exists", "get", "hget", "hgetall", "hkeys", "hmget", "llen", "lpos", "lrange", "mget", "pttl"),
    *("scard", "smembers", "type", "xinfo|consumers", "xinfo|groups", "xinfo|stream", "xlen", "xpending"),
    *("xrange", "xread", "xrevrange", "zcard", "zrange", "zrangebyscore", "zscore"),
))  # fmt: skip
_WRITING = frozenset((
    *("del", "expire", "hdel", "hset", "hsetnx", "lpush", "lrem", "pexpire", "rpush", "sadd", "set", "srem"),
    *("unlink", "xadd", "xdel", "xtrim", "zadd", "zrem", "zremrangebyscore"),
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: a selector, or what a user may do without any key.

    Args:
        commands: The commands, as ``xinfo|groups``.
        keys: The patterns of keys; for rules without any, the commands need none.
        together: Whether a command takes several of these keys at once.
        are_channels: Whether they are channels in place of keys.
        is_open: Whether a command that mostly writes to a key reads it, too, as ``SET`` with ``GET`` does.
    """

    commands: tuple[str, ...]
    keys: tuple[str, ...] = ()
    together: bool = False
    are_channels: bool = False
    is_open: bool = False

    def __str__(self) -> str:
        commands = " ".join(f"+{command}" for command in self.commands)
        if not self.keys:
            return commands
        if self.are_channels:
            return f"({' '.join(f'&{channel}' for channel in self.keys)} {commands})"
        given = frozenset(self.commands)
        is_written = given <= _WRITING and not self.together and not self.is_open
        mode = "%R~" if given <= _READING else "%W~" if is_written else "~"
        return f"({' '.join(mode + key for key in self.keys)} {commands})"


def rules_of(needs: Iterable[Need]) -> list[Rule]:
    """Return rules that allow these needs, in as few selectors as allow nothing more."""
    plain: dict[str, None] = {}
    of_scripts: tuple[dict[str, None], dict[str, None]] = {}, {}
    of_key: dict[str, dict[str, None]] = {}
    of_channel: dict[str, dict[str, None]] = {}
    read: dict[str, None] = {}
    together: dict[tuple[str, ...], dict[str, None]] = {}
    opened: set[str] = set()
    for need in needs:
        command = need.name.lower().replace(" ", "|")
        keys = tuple(dict.fromkeys(map(pattern_of, need.keys)))
        if command in _SCRIPTS:
            of_scripts[0][command] = None
            of_scripts[1].update(dict.fromkeys(keys))
        elif command == _READS_MANY:
            read.update(dict.fromkeys(keys))
        elif need.channels:
            for channel in map(pattern_of, need.channels):
                of_channel.setdefault(channel, {})[command] = None
        elif not keys:
            plain[command] = None
        elif len(need.keys) == 1:
            of_key.setdefault(keys[0], {})[command] = None
            opened.update(keys if command == "set" and "GET" in need.command else ())
        else:
            together.setdefault(keys, {})[command] = None
    commands, keys_of_scripts = of_scripts
    if commands and not keys_of_scripts:
        plain |= commands
    single = [Rule(tuple(its), (key,), is_open=key in opened) for key, its in of_key.items()]
    rules = [
        Rule(tuple(plain)),
        Rule((_READS_MANY,), tuple(read), together=True),
        *(Rule(tuple(commands), keys, together=True) for keys, commands in together.items()),
        *_gathered(_without_covered(single)),
        *(Rule(tuple(commands), (name,), are_channels=True) for name, commands in of_channel.items()),
        Rule(tuple(commands), tuple(_wide(keys_of_scripts))),
    ]
    return [rule for rule in rules if rule.commands and (rule.keys or rule.commands == tuple(plain))]


def _gathered(rules: Sequence[Rule]) -> list[Rule]:
    """Return rules of one key each, put together where the same commands are needed."""
    keys: dict[tuple[frozenset[str], bool], tuple[Rule, list[str]]] = {}
    for rule in rules:
        keys.setdefault((frozenset(rule.commands), rule.is_open), (rule, []))[1].append(rule.keys[0])
    return [replace(first, keys=tuple(each)) for first, each in keys.values()]


def _wide(patterns: Iterable[str]) -> list[str]:
    """Return patterns without those that others cover."""
    given = list(patterns)
    wide = [pattern for pattern in given if pattern.endswith("*")]
    return [pattern for pattern in given if not any(_covers(other, pattern) for other in wide)]


def _without_covered(rules: Sequence[Rule]) -> list[Rule]:
    """Return rules of one key each without those commands that a wider pattern allows."""
    wide = [rule for rule in rules if rule.keys[0].endswith("*")]
    left = []
    for rule in rules:
        covered = {c for other in wide if _covers(other.keys[0], rule.keys[0]) for c in other.commands}
        commands = tuple(command for command in rule.commands if command not in covered)
        if commands:
            left.append(replace(rule, commands=commands))
    return left


def _covers(pattern: str, key: str) -> bool:
    """Tell whether a pattern that ends with a star fits all that another one does."""
    start = pattern[:-1]
    return pattern != key and not re.search(r"[*?\[\\]", start) and key.startswith(start)
