"""Looking at a Redis: does it have all that the promises need?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightbus.transports.port import Finding

from .link.connection import Connector, Link
from .link.permissions import Need, NotKnown, look, sentences
from .link.refusals import ReplyError

#: The oldest version that has every command.
OLDEST = (6, 2)
#: The oldest that knows how far each group has read.
_COUNTS_LAG = (7, 0)
#: The share of its memory, or of its connections, from which on a server counts as nearly full.
_NEARLY_FULL = 0.9
#: What INFO says of the last attempts to write to disk.
_WRITES = ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
#: Commands that some servers lack, or that an administrator has renamed away.
COMMANDS = (
    *("BLMOVE", "EVAL", "EVALSHA", "EXISTS", "GETDEL", "LMOVE", "MGET", "PEXPIRE", "PTTL", "RPUSH", "SET"),
    *("XACK", "XADD", "XAUTOCLAIM", "XCLAIM", "XGROUP", "XINFO", "XPENDING", "XRANGE", "XREADGROUP"),
    *("XREVRANGE", "XTRIM", "ZADD", "ZRANGE"),
)
_TIMEOUT = 5.0


async def inspect(connector: Connector, keys: Mapping[str, str], needs: Sequence[Need]) -> list[Finding]:
    """Ask a server about itself, and what its user may do.

    Args:
        connector: Connects to it.
        keys: Keys that this transport uses, with the type that each must have where it exists.
        needs: The commands and keys that are needed.

    Returns:
        Its faults.

    Raises:
        TransportUnavailable: It does not answer, or refuses the password.
    """
    questions: list[tuple[Any, ...]] = [
        ("INFO",),
        ("COMMAND", "INFO", *COMMANDS),
        ("CONFIG", "GET", "save"),
        *(("TYPE", key) for key in keys),
    ]
    link = Link(connector)
    try:
        about, commands, save, *types = await link.exchange(questions, _TIMEOUT)
    finally:
        await link.close()
    where = f"Redis at {connector.address}"
    found = [*_version(where, about), *_commands(where, commands)]
    facts = _facts(about)
    if facts:
        found += [*_place(where, facts), *_eviction(where, facts), *_room(where, facts)]
        found += _persistence(where, facts, save, is_local=connector.is_local)
        found += _disk(where, facts)
    found += _types(where, keys, types)
    if not any(finding.fatal for finding in found):
        found += await _permissions(connector, needs, is_replica=facts.get("role") == "slave")
    return found


def describe(address: str, about: Any) -> str:
    """Return what a server is, by its answer to INFO: its version, and how full and how busy it is."""
    facts = _facts(about)
    version = f"Redis {facts.get('redis_version', 'of unknown version')}"
    if facts.get("server_name") == "valkey":
        version = f"Valkey {facts.get('valkey_version', '')} (as {version})"
    limit = facts.get("maxmemory_human", "0B")
    room = "" if limit in ("0B", "") else f" of {limit}"
    used, clients = facts.get("used_memory_human", "?"), facts.get("connected_clients", "?")
    count = f"{clients} client{'' if clients == '1' else 's'}"
    return f"{address}: {version}, {used}{room} of memory used, {count}"


def _facts(about: Any) -> dict[str, str]:
    """Return the names and values of an answer to INFO."""
    if not isinstance(about, bytes):
        return {}
    return dict(re.findall(r"^(\w+):(.*?)\r?$", about.decode("utf-8", "replace"), re.MULTILINE))


async def _permissions(connector: Connector, needs: Sequence[Need], *, is_replica: bool) -> list[Finding]:
    try:
        missing = await look(connector, needs)
    except NotKnown as e:
        return [
            Finding(
                f"the permissions of the user {connector.username!r} of Redis at {connector.address} can't "
                f"be looked at without MULTI, which changes nothing: {e}",
                severity="note",
                topic="permission",
            )
        ]
    # Of a replica, each write says the same, and it is told already.
    told = [m for m in missing if not (is_replica and m.code == "READONLY")]
    sure = sentences(connector, [m for m in told if not m.need.is_assumed])
    assumed = sentences(connector, [m for m in told if m.need.is_assumed])
    return [
        *(Finding(what, severity="error", is_watched=True, topic="permission") for what in sure),
        *(Finding(what, is_watched=True, topic="permission") for what in assumed),
    ]


def _place(where: str, facts: Mapping[str, str]) -> Iterable[Finding]:
    if facts.get("cluster_enabled") == "1":
        yield Finding(
            f"{where} is a node of a Redis Cluster, and Lightbus needs one Redis that holds all keys: it "
            "follows no MOVED; give the URL of a Redis that stands alone or behind Sentinel",
            severity="error",
        )
    if facts.get("role") == "slave" and facts.get("slave_read_only", "1") == "1":
        primary = f"{facts.get('master_host', '?')}:{facts.get('master_port', '?')}"
        yield Finding(
            f"{where} is a replica, which takes no writes; give the URL of its primary, {primary}, or let "
            "bus.redis.sentinel find it",
            severity="error",
        )


def _version(where: str, about: Any) -> Iterable[Finding]:
    text = about if isinstance(about, bytes) else b""
    match = re.search(rb"^redis_version:(\d+)\.(\d+)(\S*)", text, re.MULTILINE)
    number = (int(match[1]), int(match[2])) if match else _COUNTS_LAG
    version = f"{number[0]}.{number[1]}{match[3].decode('ascii', 'replace') if match else ''}"
    if number < OLDEST:
        yield Finding(
            f"{where} is version {version}; the oldest that can take over what a killed host held "
            f"(XAUTOCLAIM, BLMOVE) is {OLDEST[0]}.{OLDEST[1]}; upgrade it",
            fatal=True,
        )
    elif number < _COUNTS_LAG:
        yield Finding(
            f"{where} is version {version}, which does not count what a group has read: how many events are "
            "unread is an estimate where they are many, rates are not known, and events that somebody trims "
            "unread are not noticed; upgrade it to 7.0 or newer",
            severity="note",
            is_detail=True,
        )


def _commands(where: str, replies: Any) -> Iterable[Finding]:
    if not isinstance(replies, list):
        return
    known = {reply[0].decode().upper() for reply in replies if reply}
    missing = [name for name in COMMANDS if name not in known]
    if missing:
        what = "the commands" if len(missing) > 1 else "the command"
        yield Finding(
            f"{where} lacks {what} {', '.join(missing)}, without which calls and events neither go "
            "out nor come in; upgrade it, or take its rename-command settings back",
            fatal=True,
        )


def _eviction(where: str, facts: Mapping[str, str]) -> Iterable[Finding]:
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        when = "when memory runs out" if facts.get("maxmemory", "0") != "0" else "once maxmemory is set"
        yield Finding(
            f"{where} has maxmemory-policy {policy}: {when}, it drops keys, and with them events that fire() "
            "has confirmed and the progress of listeners; set it to noeviction",
            topic="data",
        )


def _room(where: str, facts: Mapping[str, str]) -> Iterable[Finding]:
    used, most = (int(facts.get(name) or 0) for name in ("used_memory", "maxmemory"))
    if most and used >= _NEARLY_FULL * most:
        yield Finding(
            f"{where} uses {used / most:.0%} of its maxmemory, {facts.get('maxmemory_human', most)}: once it "
            "is full, no event can be fired and no call be made; see by lightbus status which listener is "
            "behind, or raise maxmemory",
            topic="data",
        )
    clients, limit = (int(facts.get(name) or 0) for name in ("connected_clients", "maxclients"))
    if limit and clients >= _NEARLY_FULL * limit:
        yield Finding(
            f"{where} has {clients:,} of at most {limit:,} clients: further processes can't connect; "
            "raise maxclients, or run fewer processes"
        )


def _disk(where: str, facts: Mapping[str, str]) -> Iterable[Finding]:
    failed = [name for name in _WRITES if facts.get(name, "ok") != "ok"]
    if failed:
        yield Finding(
            f"{where} could not write to disk when it tried last ({', '.join(failed)}): what it took since "
            "is lost when it ends, and it may refuse writes; look into its log, as its disk may be full",
            topic="data",
        )


def _persistence(where: str, facts: Mapping[str, str], save: Any, *, is_local: bool) -> Iterable[Finding]:
    if facts.get("aof_enabled") != "0":
        return
    # If CONFIG is forbidden, nothing is known about snapshots.
    if isinstance(save, list) and not (len(save) > 1 and save[1]):
        yield Finding(
            f"{where} writes nothing to disk: when it restarts, every event that fire() has confirmed and no "
            "listener has handled is lost; set appendonly yes",
            topic="data",
        )
        return
    yield Finding(
        f"{where} writes to disk only now and then (save, without appendonly): should it die, events that "
        "fire() confirmed in the last minutes are lost; set appendonly yes",
        # On the developer's own machine it is as it comes, and nothing to be alarmed about.
        severity="note" if is_local else "warning",
        topic="data",
    )


def _types(where: str, keys: Mapping[str, str], types: Sequence[Any]) -> Iterable[Finding]:
    for (key, wanted), found in zip(keys.items(), types, strict=True):
        if isinstance(found, ReplyError) or found in (b"none", wanted.encode(), wanted):
            continue
        kind = found.decode() if isinstance(found, bytes) else found
        what = "events can be neither fired nor received" if wanted == "stream" else "no call gets through"
        yield Finding(
            f"{where} holds a {kind} at {key}, where a {wanted} belongs: {what}; rename or delete that key"
        )
