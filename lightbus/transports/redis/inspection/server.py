"""One server: what it says of itself, and which promises that costs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightbus.transports.port import Finding

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
    *("BLMOVE", "EVAL", "EVALSHA", "EXISTS", "GET", "GETDEL", "LMOVE", "PEXPIRE", "PTTL", "RPUSH", "SET"),
    *("XACK", "XADD", "XAUTOCLAIM", "XCLAIM", "XGROUP", "XINFO", "XPENDING", "XRANGE", "XREADGROUP"),
    *("XREVRANGE", "XTRIM", "ZADD", "ZRANGE"),
)
#: What a server is asked of itself.
QUESTIONS: tuple[tuple[Any, ...], ...] = (
    ("INFO",),
    ("COMMAND", "INFO", *COMMANDS),
    ("CONFIG", "GET", "save"),
)


@dataclass(frozen=True, slots=True)
class Server:
    """A server, by its answers.

    Args:
        where: Its name in sentences.
        about: The answer to INFO.
        commands: The answer to COMMAND INFO.
        save: The answer to CONFIG GET save.
        is_local: Whether it is on this machine.
        facts: The names and values of INFO.
    """

    where: str
    about: Any
    commands: Any
    save: Any
    is_local: bool
    facts: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", facts_of(self.about))

    @property
    def is_of_cluster(self) -> bool:
        """Whether it is a node of a cluster."""
        return self.facts.get("cluster_enabled") == "1"

    @property
    def is_replica(self) -> bool:
        """Whether it follows another one."""
        return self.facts.get("role") == "slave"

    @property
    def has_bells(self) -> bool:
        """Whether it has channels that lie in slots, as far as it is known."""
        major = self.facts.get("redis_version", "").partition(".")[0]
        return not major.isdigit() or int(major) >= _COUNTS_LAG[0]

    @property
    def replicas(self) -> int:
        """How many replicas are in step with it."""
        return sum(
            name.startswith("slave") and name[5:].isdigit() and "state=online" in value
            for name, value in self.facts.items()
        )

    def faults(self) -> Iterator[Finding]:
        """What it lacks, wherever it stands."""
        where, facts = self.where, self.facts
        yield from _version(where, self.about)
        yield from _commands(where, self.commands)
        if facts:
            yield from _eviction(where, facts)
            yield from _room(where, facts)
            yield from _persistence(where, facts, self.save, is_local=self.is_local)
            yield from _disk(where, facts)

    def misplaced(self) -> Iterator[Finding]:
        """What is wrong with it as the one Redis that a URL, or Sentinel, names."""
        where, facts = self.where, self.facts
        if self.is_of_cluster:
            yield Finding(
                f"{where} is a cluster, of which each node holds only a part of the keys; use "
                "bus.redis.cluster, with some of its nodes, in place of bus.redis.url",
                severity="error",
            )
        elif self.is_replica and facts.get("slave_read_only", "1") == "1":
            primary = f"{facts.get('master_host', '?')}:{facts.get('master_port', '?')}"
            yield Finding(
                f"{where} is a replica, which takes no writes; give the URL of its primary, {primary}, or "
                "let bus.redis.sentinel find it",
                severity="error",
            )


def describe(answers: Sequence[tuple[str, Any]]) -> str:
    """Return what a Redis is: the version of each primary, and how full and how busy it is.

    Args:
        answers: The address of each primary, and its answer to INFO.
    """
    told = "; ".join(_describe(address, about) for address, about in answers)
    return told if len(answers) == 1 else f"a cluster of {len(answers)} primaries: {told}"


def _describe(address: str, about: Any) -> str:
    facts = facts_of(about)
    version = f"Redis {facts.get('redis_version', 'of unknown version')}"
    if facts.get("server_name") == "valkey":
        version = f"Valkey {facts.get('valkey_version', '')} (as {version})"
    limit = facts.get("maxmemory_human", "0B")
    room = "" if limit in ("0B", "") else f" of {limit}"
    used, clients = facts.get("used_memory_human", "?"), facts.get("connected_clients", "?")
    count = f"{clients} client{'' if clients == '1' else 's'}"
    return f"{address}: {version}, {used}{room} of memory used, {count}"


def facts_of(about: Any) -> dict[str, str]:
    """Return the names and values of an answer to INFO."""
    if not isinstance(about, bytes):
        return {}
    return dict(re.findall(r"^(\w+):(.*?)\r?$", about.decode("utf-8", "replace"), re.MULTILINE))


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
        # A node that is back before it counts as failed has its slots again, and its replica copies it.
        when, then = "when it restarts", ""
        if facts.get("cluster_enabled") == "1" and facts.get("connected_slaves", "0") != "0":
            when, then = "if it restarts before a replica is promoted", "it comes back empty, and "
        yield Finding(
            f"{where} writes nothing to disk: {when}, {then}every event that fire() has confirmed and no "
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


def lacking_replicas(servers: Iterable[Server], promised: int) -> Iterator[Finding]:
    """Tell of servers with fewer replicas than each event waits for.

    Args:
        servers: The primaries.
        promised: The number of replicas that an event waits for before it counts as fired.
    """
    for server in servers:
        if server.facts and not server.is_replica and server.replicas < promised:
            yield Finding(
                f"{server.where} has {server.replicas} of the {promised} replicas that events wait for by "
                "replicas_before_confirmed: each fire() there raises PublishNotConfirmed after "
                "replicas_timeout; add replicas, or lower it",
                severity="error",
                topic="data",
            )
