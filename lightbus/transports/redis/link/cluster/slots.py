"""The slot of a key and of a command: it says which primary of a cluster a command goes to."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from typing import Any

#: The slots of a cluster.
SLOTS = 16_384
#: The place of a command without a key: any primary will do.
ANYWHERE = -1

#: The place of the first key in a command, where that is not just behind its name.
_KEY_AT = {"EVAL": 3, "EVALSHA": 3, "XINFO": 2, "XGROUP": 2, "OBJECT": 2, "MEMORY": 2}
#: The commands that read streams: their keys begin behind this word, and are half of what follows it.
_STREAMS, _READS = "STREAMS", ("XREAD", "XREADGROUP")
#: The commands of which everything behind their name is a key.
_ALL_KEYS = frozenset({"DEL", "UNLINK", "EXISTS", "MGET", "TOUCH", "WATCH", "SSUBSCRIBE", "SUNSUBSCRIBE"})
#: The commands of which so many words behind their name are keys, if more than one is.
_MANY_KEYS = {"RENAME": 2, "RENAMENX": 2, "COPY": 2, "LMOVE": 2, "BLMOVE": 2, "RPOPLPUSH": 2, "SMOVE": 2}
#: The commands whose keys are all that follows their name but for the last word.
_ALL_BUT_LAST = frozenset({"BLPOP", "BRPOP", "BZPOPMIN", "BZPOPMAX"})
_WITHOUT_KEY = frozenset(
    {
        *("PING", "ECHO", "TIME", "INFO", "CONFIG", "COMMAND", "CLIENT", "SCRIPT", "CLUSTER", "SCAN", "WAIT"),
        *("WAITAOF", "ACL", "MULTI", "EXEC", "DISCARD", "PUBLISH", "FLUSHALL", "FLUSHDB", "DBSIZE", "AUTH"),
        *("ROLE", "ASKING", "READONLY", "READWRITE", "RESET", "HELLO", "SELECT", "LASTSAVE", "LATENCY"),
        *("SLOWLOG", "PUBSUB", "MODULE", "MONITOR", "UNWATCH", "KEYS", "DEBUG", "SHUTDOWN", "REPLICAOF"),
    }
)

#: The commands whose first key has to be looked for, each with its place; of others it follows their name.
_NONE, _BEHIND_A_WORD, _BEHIND_A_SCRIPT = 0, -1, 3
_SPECIAL = {**_KEY_AT, **dict.fromkeys(_WITHOUT_KEY, _NONE), **dict.fromkeys(_READS, _BEHIND_A_WORD)}

#: The slots of tags: the keys of a bus have few.
_known: dict[str, int] = {}
#: So many slots are remembered.
_MOST = 50_000


def slot_of_key(key: str | bytes) -> int:
    """Return the slot of a key: of what stands between its braces, if anything does."""
    if isinstance(key, bytes):
        key = key.decode("utf-8", "surrogateescape")
    start = key.find("{")
    if start >= 0:
        end = key.find("}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    slot = _known.get(key)
    if slot is None:
        slot = crc_hqx(key.encode("utf-8", "surrogateescape"), 0) % SLOTS
        if len(_known) >= _MOST:
            _known.clear()
        _known[key] = slot
    return slot


def slot_of_command(command: Sequence[Any]) -> int:
    """Return the slot of the first key of a command; :data:`ANYWHERE` if it has none."""
    at = _SPECIAL.get(command[0], 1)
    if at == _BEHIND_A_WORD:
        at = command.index(_STREAMS) + 1
    elif at == _NONE or (at == _BEHIND_A_SCRIPT and not int(command[2])):
        return ANYWHERE
    return slot_of_key(command[at])


def first_key(command: Sequence[Any]) -> Any:
    """Return the first key of a command that writes, which always has one."""
    return command[_KEY_AT.get(command[0], 1)]


def keys_of(command: Sequence[Any]) -> Sequence[str | bytes]:
    """Return all keys of a command, as a server of a cluster looks at them."""
    name = command[0]
    if name in _WITHOUT_KEY:
        return ()
    if name in _READS:
        sources = command[command.index(_STREAMS) + 1 :]
        return sources[: len(sources) // 2]
    at = _KEY_AT.get(name, 1)
    if at == _BEHIND_A_SCRIPT:
        return command[at : at + int(command[2])]
    if name in _ALL_KEYS:
        return command[1:]
    if name in _ALL_BUT_LAST:
        return command[1:-1]
    return command[at : at + _MANY_KEYS.get(name, 1)]


def slots_of_command(command: Sequence[Any]) -> set[int]:
    """Return the slots of all keys of a command: a cluster refuses one that has more than one of them."""
    return set(map(slot_of_key, keys_of(command)))
