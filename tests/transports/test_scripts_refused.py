"""Every script, refused at each of its commands and keys or for want of memory: it is done, or nothing is."""

from __future__ import annotations

import itertools
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import hiredis
import pytest

from lightbus.transports.redis import scripts
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.scripts import Run, Script
from tests.conftest import IS_WHOLE, require
from tests.support.servers import KINDS, Kind, Server, ServerPool

Command = tuple[str | int, ...]

STREAM, RETRY, DEAD = "a.*:stream", "{a.*:stream}:retry:g", "{a.*:stream}:dead:g"
DELAYED, BODIES, GROUPS = "{a.*:stream}:delayed:g", "{a.*:stream}:bodies:g", "{a.*:stream}:groups"
NOTES, HEIRS_NOTES = "{a.*:stream}:group:g", "{a.*:stream}:group:i"
TRIMMING = "{a.*:stream}:trimming"
QUEUE, MINE, THEIRS = "a:rpc_queue", "{a:rpc_queue}:taken:me", "{a:rpc_queue}:taken:other"
EXPIRY = "{a:rpc_queue}:expiry:x"
REGISTER, SERVED = "{a:rpc_queue}:processes", "{a:rpc_queue}:served"
PRESENT, ABSENT = "{a:rpc_queue}:present:me", "{a:rpc_queue}:present:other"
CONTRACT, PUBLISHERS, OWNERS = "schema:a", "{schema:a}:publishers", "lightbus:owner:a"
PAUSED = "lightbus:paused:shop"
PAUSES = (("HSET", PAUSED, "old", "{}", "other", "{}"),)
PAUSE_MOVED = ("new", "", "{}", "old", "{}", '{"moved_to":"shop-new"}')
SCHEDULE = "lightbus:schedule:shop:nightly"
FUTURE, TTL = 99_999_999_999_999, 60_000

#: The fields ["id", "1"] as a script packs them.
PACKED = "\x92\xa2id\xa11"


def delivered(stream: str, *, deaths: int = 1) -> tuple[Command, ...]:
    """An entry that was read, so many times, by this process."""
    return (
        ("XGROUP", "CREATE", stream, "g", "0", "MKSTREAM"),
        ("XADD", stream, "1-1", "id", "x"),
        ("XADD", stream, "1-2", "id", "y"),
        ("XREADGROUP", "GROUP", "g", "me", "STREAMS", stream, ">"),
        ("XCLAIM", stream, "g", "me", 0, "1-1", "IDLE", 90_000, "RETRYCOUNT", deaths, "JUSTID"),
        ("HSET", NOTES, "made", 1),
    )


def gone(stream: str) -> tuple[Command, ...]:
    """An entry that was read, and deleted from the stream."""
    return (*delivered(stream), ("XDEL", stream, "1-1"))


def waiting(body: str) -> tuple[Command, ...]:
    """An event that is due for its next attempt."""
    return ("ZADD", DELAYED, 1, "1-1"), ("HSET", BODIES, "1-1", body)


@dataclass(frozen=True)
class Row:
    """One way through a script.

    Args:
        script: The script.
        keys: Its keys.
        arguments: Its arguments.
        before: Commands that lead to where it is run.
        when_full: Whether it is done where Redis is out of memory.
        harmless: Keys that may change although the script was refused.
    """

    script: Script[...]
    keys: tuple[str, ...]
    arguments: tuple[str | int, ...]
    before: tuple[Command, ...] = ()
    when_full: bool = True
    harmless: frozenset[str] = frozenset()


FIELDS = ("id", "x")
WHY_DEAD = ("reason", "r", "error", "e", "trace", "t", "attempts", "8", "origin", "0-7")
EXPIRIES = ("rpc_expiry_key:x", "rpc_expiry_key:y")
CALLS: tuple[Command, ...] = (("RPUSH", QUEUE, "1", "2", "3"), ("RPUSH", MINE, "0"))
PUBLISHED: tuple[Command, ...] = (("SET", CONTRACT, "{}"), ("ZADD", PUBLISHERS, FUTURE, "me:1"))
TICKED: tuple[Command, ...] = (("HSET", SCHEDULE, "tick", 1, "holder", "me", "runner", "me", "until", 5),)

#: A group with an event of each fate.
KEPT: tuple[Command, ...] = (
    *(*delivered(STREAM), ("XGROUP", "CREATE", RETRY, "g", 0, "MKSTREAM"), ("XADD", RETRY, "1-1", *FIELDS)),
    *(
        *waiting(PACKED),
        ("XADD", DEAD, "1-1", *FIELDS, *WHY_DEAD),
        ("HSET", NOTES, "read", "1-2"),
        ("HSET", GROUPS, "g", "1-2", "h", "1-1"),
    ),
    ("XGROUP", "CREATE", STREAM, "h", 0),
)

LAST = f"{2**64 - 1}-0"
HEIRS = tuple(f"{{a.*:stream}}:{what}:i" for what in ("retry", "delayed", "bodies", "dead"))
SOUGHT = (STREAM, RETRY, DELAYED, BODIES, NOTES, GROUPS)
OF_GROUP, OF_HEIR = (STREAM, RETRY, DELAYED, BODIES, DEAD), (STREAM, RETRY, HEIRS[0])
#: The notes about a group, and those that an earlier version had of all groups; with those about the heir.
BOTH, THREE = (NOTES, GROUPS), (NOTES, HEIRS_NOTES, GROUPS)
#: All that was read is acknowledged, and nothing is read any more.
SETTLED: tuple[Command, ...] = (("XACK", STREAM, "g", "1-1", "1-2"),)
AT_ITS_END: Command = ("XGROUP", "SETID", STREAM, "g", LAST)


def heir(began: str) -> tuple[Command, ...]:
    """A group that is there before it gets what another one leaves."""
    return (
        ("XGROUP", "CREATE", STREAM, "i", "1-2", "MKSTREAM"),
        ("XGROUP", "CREATE", HEIRS[0], "i", 0, "MKSTREAM"),
        ("HSET", HEIRS_NOTES, "began", began),
    )


def inherits(*before: Command, till: str = LAST) -> Row:
    """One run of the move of a group to its heir."""
    keys = (*OF_GROUP, *BOTH, *HEIRS)
    noted: Command = ("HSET", NOTES, "heir", f"i {till}")
    arguments = ("g", "i", 100, LAST, "me", 0, 0)
    return Row(scripts.INHERIT, keys, arguments, (*before, *heir("1-1"), noted))


def seeks(what: str, cursor: str | int, nobody: str = "me", silent: int = 0) -> Row:
    """One run of what sets a group to another place."""
    arguments = ("g", "0-1", 100, what, cursor, nobody, silent, silent)
    again = (*FIELDS, "attempts", "1", "origin", "1-1")
    more: tuple[Command, ...] = (("HSET", NOTES, "began", "1-1"), ("XADD", RETRY, "1-9", *again))
    return Row(scripts.SEEK, SOUGHT, arguments, (*KEPT, *more))


#: The fields ["id", "1", "attempts", "1", "origin", "1-1"], and the same of an event that is in no stream.
WITH_ORIGIN = "\x96\xa2id\xa11\xa8attempts\xa11\xa6origin\xa31-1"
WITHOUT = WITH_ORIGIN.replace("\xa31-1", "\xa30-7")


def to_retry(origin: str, id: str = "1-1") -> tuple[Command, ...]:
    """An event in the retry stream that a process was given, which is gone."""
    group: Command = ("XGROUP", "CREATE", RETRY, "g", 0, "MKSTREAM")
    return (
        *(() if id != "1-1" else (group,)),
        ("XADD", RETRY, id, *FIELDS, "attempts", "1", "origin", origin),
        ("XREADGROUP", "GROUP", "g", "you", "STREAMS", RETRY, ">"),
    )


def waiting_too(origin: str, body: str) -> tuple[Command, ...]:
    """Another event that waits for its next attempt."""
    return ("ZADD", DELAYED, FUTURE, origin), ("HSET", BODIES, origin, body)


def hands_back(what: str, cursor: str, *before: Command, silent: int = -1) -> Row:
    """One run of what gives a group back to Lightbus 1.x."""
    keys = (*OF_GROUP, *BOTH)
    arguments = ("g", 100, what, cursor, 1, 1, 90_000, "me", silent)
    other: Command = ("XGROUP", "CREATE", STREAM, "h", "1-2")
    return Row(scripts.HAND_BACK, keys, arguments, (*delivered(STREAM), *SETTLED, other, *before))


ROWS = {
    "call": Row(
        scripts.CALL,
        (QUEUE, EXPIRY),
        (1, 60, "4"),
        CALLS,
        when_full=False,
        harmless=frozenset([EXPIRY]),
    ),
    "take": Row(scripts.TAKE, (QUEUE, MINE, REGISTER), (2,), CALLS),
    "take, its share": Row(
        scripts.TAKE, (QUEUE, MINE, REGISTER), (9,), (*CALLS, ("SADD", REGISTER, "me", "other"))
    ),
    "begin": Row(scripts.BEGIN, EXPIRIES, (), tuple(("SET", key, 1, "EX", TTL) for key in EXPIRIES)),
    "begin, one has expired": Row(scripts.BEGIN, EXPIRIES, (), (("SET", EXPIRIES[1], 1, "EX", TTL),)),
    "begin, one holds something else": Row(
        scripts.BEGIN, EXPIRIES, (), (("SET", EXPIRIES[0], 1, "EX", TTL), ("RPUSH", EXPIRIES[1], 1))
    ),
    "release": Row(scripts.RELEASE, (QUEUE, MINE), ("0",), CALLS),
    "recover": Row(
        scripts.RECOVER, (MINE, THEIRS, ABSENT, REGISTER), ("other",), (*CALLS, ("SADD", REGISTER, "other"))
    ),
    "recover, nothing left": Row(
        scripts.RECOVER, (THEIRS, MINE, ABSENT, REGISTER), ("other",), (("SADD", REGISTER, "other"),)
    ),
    "present": Row(scripts.PRESENT, (PRESENT, REGISTER, SERVED), ("me", TTL, 1_700_000_000_000, 1500)),
    "leave": Row(
        scripts.LEAVE,
        (PRESENT, REGISTER, SERVED),
        ("me",),
        (("SADD", REGISTER, "me"), ("SET", PRESENT, 1), ("SET", SERVED, 1)),
    ),
    "answer": Row(scripts.ANSWER, ("lightbus:reply:x",), ("{}", 60)),
    "retry": Row(
        scripts.RETRY,
        (STREAM, DELAYED, BODIES, NOTES, GROUPS),
        ("g", "1-1", "1-1", 1000, 0, 1, *FIELDS),
        delivered(STREAM),
    ),
    "retry, again": Row(
        scripts.RETRY,
        (RETRY, DELAYED, BODIES, NOTES, GROUPS),
        ("g", "1-1", "0-7", 1000, 1, 1, *FIELDS),
        delivered(RETRY, deaths=3),
    ),
    "retry, finished by another": Row(
        scripts.RETRY,
        (STREAM, DELAYED, BODIES, NOTES, GROUPS),
        ("g", "1-1", "1-1", 1000, 0, 1, *FIELDS),
        (*delivered(STREAM), ("XACK", STREAM, "g", "1-1")),
    ),
    "move": Row(scripts.MOVE, (STREAM, DEAD, *BOTH), ("g", "1-1", 0, 1, *FIELDS), delivered(STREAM)),
    "move, again": Row(
        scripts.MOVE, (RETRY, DEAD, NOTES, GROUPS), ("g", "1-1", 1, 1, *FIELDS), delivered(RETRY)
    ),
    "move, finished by another": Row(
        scripts.MOVE,
        (STREAM, DEAD, NOTES, GROUPS),
        ("g", "1-1", 0, 1, *FIELDS),
        (*delivered(STREAM), ("XACK", STREAM, "g", "1-1")),
    ),
    "promote": Row(scripts.PROMOTE, (DELAYED, BODIES, RETRY, DEAD), (100, TTL), waiting(PACKED)),
    "promote, no event": Row(scripts.PROMOTE, (DELAYED, BODIES, RETRY, DEAD), (100, TTL), waiting("?")),
    "promote, from the future": Row(
        scripts.PROMOTE,
        (DELAYED, BODIES, RETRY, DEAD),
        (100, TTL),
        (*waiting(PACKED), ("ZADD", DELAYED, FUTURE, "1-2")),
        harmless=frozenset([DELAYED]),
    ),
    "renew": Row(scripts.RENEW, (STREAM,), ("g", "me", "1-1", "1-2"), delivered(STREAM)),
    "restamp": Row(scripts.RESTAMP, (STREAM,), ("g", 9, "-", TTL), delivered(STREAM)),
    "claim": Row(scripts.CLAIM, (STREAM,), ("g", "you", TTL, "-", 9, 9), delivered(STREAM)),
    "claim, deleted": Row(scripts.CLAIM, (STREAM,), ("g", "you", TTL, "-", 9, 9), gone(STREAM)),
    "trim": Row(
        scripts.TRIM, (STREAM, TRIMMING), (1, TTL, 0), delivered(STREAM), harmless=frozenset([TRIMMING])
    ),
    "trim, from the future": Row(
        scripts.TRIM,
        (STREAM, TRIMMING),
        (1, TTL, 0),
        (*delivered(STREAM), ("SET", TRIMMING, FUTURE)),
        harmless=frozenset([TRIMMING]),
    ),
    "trim, no group": Row(
        scripts.TRIM,
        (STREAM, TRIMMING),
        (0, TTL, 0),
        (("XADD", STREAM, "1-1", *FIELDS),),
        harmless=frozenset([TRIMMING]),
    ),
    "remove": Row(scripts.REMOVE, (*OF_GROUP, *BOTH), ("g", "me", 0, 0), KEPT),
    "remove, read": Row(scripts.REMOVE, (*OF_GROUP, *BOTH), ("g", "nobody", TTL, TTL), KEPT),
    "succeed": Row(
        scripts.SUCCEED,
        (*OF_HEIR, *THREE),
        ("g", "i", LAST, "me", 0, 0),
        KEPT,
    ),
    "succeed, read": Row(
        scripts.SUCCEED,
        (*OF_HEIR, *THREE),
        ("g", "i", LAST, "nobody", TTL, TTL),
        KEPT,
    ),
    "succeed, there": Row(
        scripts.SUCCEED,
        (*OF_HEIR, *THREE),
        ("g", "i", LAST, "me", 0, 0),
        (*KEPT, *heir("1-1")),
    ),
    "inherit, unread": inherits(
        ("XGROUP", "CREATE", STREAM, "g", 0, "MKSTREAM"), ("XADD", STREAM, "1-1", *FIELDS), till="1-9"
    ),
    "inherit, all read": inherits(*delivered(STREAM), till="1-9"),
    "inherit, pending": inherits(*delivered(STREAM), AT_ITS_END),
    "inherit, pending again": inherits(*delivered(STREAM), *SETTLED, AT_ITS_END, *delivered(RETRY, deaths=3)),
    "inherit, to retry": inherits(
        *(*delivered(STREAM), *SETTLED, AT_ITS_END, ("XGROUP", "CREATE", RETRY, "g", 0, "MKSTREAM")),
        *(("XADD", RETRY, "1-1", *FIELDS), ("XADD", HEIRS[0], "1-1", *FIELDS)),
    ),
    "inherit, delayed": inherits(*delivered(STREAM), *SETTLED, AT_ITS_END, *waiting(PACKED)),
    "inherit, dead": inherits(
        *(*delivered(STREAM), *SETTLED, AT_ITS_END, ("XADD", DEAD, "1-1", *FIELDS, *WHY_DEAD)),
        ("XADD", DEAD, "1-2", *FIELDS, *WHY_DEAD),
    ),
    "inherit, nothing left": inherits(*delivered(STREAM), *SETTLED, AT_ITS_END),
    "seek": seeks("begin", "-"),
    "seek, pending": seeks("pending", "-"),
    "seek, again": seeks("again", "-"),
    "seek, waiting": seeks("waiting", 0),
    "seek, read": seeks("begin", "-", "nobody", TTL),
    "hand_back": hands_back("again", "-", *to_retry("1-1")),
    "hand_back, gone": hands_back("again", "-", *to_retry("1-1"), *to_retry("0-7", "1-3")),
    "hand_back, waiting": hands_back("waiting", "0", *waiting(WITH_ORIGIN), *waiting_too("1-9", WITHOUT)),
    "hand_back, dead": hands_back("dead", "-", ("XADD", DEAD, "1-1", *FIELDS, *WHY_DEAD)),
    "hand_back, read": hands_back("again", "-", *to_retry("1-1"), silent=TTL),
    "span": Row(scripts.SPAN, (STREAM,), ("0", "1-9", 1), delivered(STREAM)),
    "forget": Row(
        scripts.FORGET,
        (STREAM,),
        ("g", 0, "you"),
        (*delivered(STREAM), ("XGROUP", "CREATECONSUMER", STREAM, "g", "you")),
    ),
    "replay": Row(
        scripts.REPLAY,
        (DEAD, RETRY),
        ("1-1",),
        (
            ("XADD", DEAD, "1-1", *FIELDS, *WHY_DEAD),
            ("XADD", DEAD, "1-2", *FIELDS),
        ),
    ),
    "replay, edited": Row(
        scripts.REPLAY,
        (DEAD, RETRY),
        ("1-1", *FIELDS),
        (("XADD", DEAD, "1-1", *FIELDS, *WHY_DEAD),),
    ),
    "publish": Row(
        scripts.PUBLISH,
        (CONTRACT, PUBLISHERS),
        ("[]", 60, "me:1", 0),
        PUBLISHED,
        harmless=frozenset([PUBLISHERS]),
    ),
    "withdraw": Row(
        scripts.WITHDRAW,
        (CONTRACT, PUBLISHERS),
        ("{}", "me:1", "1"),
        PUBLISHED,
        harmless=frozenset([CONTRACT]),
    ),
    "enlist": Row(scripts.ENLIST, ("schemas",), ("a", "b"), (("SADD", "schemas", "b"),)),
    "own": Row(scripts.OWN, (OWNERS,), ("shop", "me", TTL)),
    "own, from the future": Row(
        scripts.OWN,
        (OWNERS,),
        ("shop", "me", TTL),
        (("ZADD", OWNERS, FUTURE, "", FUTURE + TTL, "shop\nme"),),
        harmless=frozenset([OWNERS]),
    ),
    "tick": Row(scripts.TICK, (SCHEDULE,), ("me", 9, TTL, TTL, 0), TICKED),
    "tick, from the future": Row(
        scripts.TICK,
        (SCHEDULE,),
        ("me", 9, TTL, TTL, 0),
        (("HSET", SCHEDULE, "tick", FUTURE, "holder", "you", "runner", "you", "until", FUTURE),),
    ),
    "tick, first": Row(scripts.TICK, (SCHEDULE,), ("me", 9, TTL, TTL, 0)),
    "hold": Row(scripts.HOLD, (SCHEDULE,), ("me", TTL, TTL), TICKED),
    "change pauses": Row(scripts.CHANGE_PAUSES, (PAUSED,), (*PAUSE_MOVED,), PAUSES, when_full=False),
    "change pauses, one ends": Row(
        scripts.CHANGE_PAUSES, (PAUSED,), ("old", "{}", "", "new", "", "{}", "other", "{}", ""), PAUSES
    ),
    "change pauses, changed meanwhile": Row(
        scripts.CHANGE_PAUSES, (PAUSED,), ("new", "", "{}", "old", "{1}", ""), PAUSES
    ),
    "reread": Row(scripts.REREAD, (STREAM,), ("g", "me", "1-1"), delivered(STREAM)),
    "reread, deleted": Row(scripts.REREAD, (STREAM,), ("g", "me", "1-1"), gone(STREAM)),
    "find": Row(scripts.FIND, (STREAM,), ("+", "-", 1, 0, "x"), delivered(STREAM)),
    "count": Row(scripts.COUNT, (STREAM,), ("0", 1), delivered(STREAM)),
    "finish": Row(
        scripts.FINISH, (STREAM, "{a.*:stream}:handled:g:x"), ("g", TTL, 0, "1-1"), delivered(STREAM)
    ),
    "finish, again": Row(
        scripts.FINISH, (RETRY, "{a.*:stream}:handled:g:x"), ("g", TTL, 1, "1-1"), delivered(RETRY)
    ),
    "fire": Row(
        scripts.FIRE, (STREAM, "{a.*:stream}:fired:x"), (TTL, 0, *FIELDS), delivered(STREAM), when_full=False
    ),
    "make": Row(scripts.MAKE, (STREAM, RETRY, NOTES, GROUPS), ("g", "$"), harmless=frozenset([NOTES])),
    "make, noted by an earlier version": Row(
        scripts.MAKE,
        (STREAM, RETRY, *BOTH),
        ("g", "$"),
        (*delivered(STREAM), ("HSET", GROUPS, "g", "1-2", "g began", "1-1", "g made", 2)),
        harmless=frozenset(BOTH),
    ),
    "make, both there": Row(
        scripts.MAKE,
        (STREAM, RETRY, NOTES, GROUPS),
        ("g", "$"),
        (*delivered(STREAM), ("XGROUP", "CREATE", RETRY, "g", "0", "MKSTREAM")),
    ),
    "adopt": Row(
        scripts.ADOPT, (STREAM,), ("g", "me", "1-1"), (*delivered(STREAM), ("XACK", STREAM, "g", "1-1"))
    ),
    "excuse": Row(scripts.EXCUSE, (STREAM,), ("g", "me", "1-1"), delivered(STREAM)),
}

_CALLED = re.compile(r"redis\.p?call\('(\w+)'")
# Valkey writes some scores with an exponent.
_TIME = re.compile(r"\d\.\d+e\+\d+|\d{10,}(\.\d+)?(-\d+)?")


def commands_of(script: Script[...]) -> list[str]:
    return sorted(set(_CALLED.findall(script.text)))


class Someone:
    """A connection of the administrator, or of a user whose permissions change meanwhile."""

    def __init__(self, server: Server, name: str = "") -> None:
        self._reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape", replyError=ReplyError)
        self._link = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        if name:
            self.do("AUTH", name, "any")

    def do(self, *command: str | int) -> Any:
        """Return the reply, or the error as Redis says it."""
        packed: tuple[Any, ...] = tuple(p.encode("latin-1") if isinstance(p, str) else p for p in command)
        self._link.sendall(hiredis.pack_command(packed))
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._link.recv(65536))
        return reply

    def run(self, row: Row) -> Any:
        reply = self.do("EVAL", row.script.text, len(row.keys), *row.keys, *row.arguments)
        if isinstance(reply, ReplyError):
            reply.note_script(Run(row.script, list(row.keys), list(row.arguments)))
        return reply

    def close(self) -> None:
        self._link.close()


class Bench:
    """A server, its administrator and a user who may do less."""

    def __init__(self, server: Server) -> None:
        self.admin = Someone(server)
        self.allow()
        self.user = Someone(server, "someone")

    def allow(self, *less: str) -> None:
        """Let the user do everything, with rules that take from that."""
        self.admin.do("ACL", "SETUSER", "someone", "on", "nopass", "+@all", "resetkeys", "~*", *less)

    def prepare(self, row: Row) -> dict[str, Any]:
        """Bring the server into the state before a row."""
        self.admin.do("FLUSHALL")
        for command in row.before:
            reply = self.admin.do(*command)
            assert not isinstance(reply, ReplyError), (command, reply)
        return self.look()

    def done(self, row: Row) -> dict[str, Any]:
        """Return what a row leads to where nothing is refused."""
        self.prepare(row)
        reply = self.admin.run(row)
        assert not isinstance(reply, ReplyError), reply
        return self.look()

    def look(self) -> dict[str, Any]:
        """Return all there is, but for idle times and times to live."""
        return {key: self._content(key) for key in sorted(self.admin.do("KEYS", "*"))}

    def _content(self, key: str) -> Any:
        do = self.admin.do
        kind = do("TYPE", key)
        if kind == "stream":
            groups = [dict(zip(g[::2], g[1::2], strict=True)) for g in do("XINFO", "GROUPS", key)]
            held = [do("XPENDING", key, g["name"], "-", "+", 100) for g in groups]
            return [
                do("XRANGE", key, "-", "+"),
                [[g["name"], g["consumers"], g["last-delivered-id"]] for g in groups],
                [[entry, consumer, count] for each in held for entry, consumer, _, count in each],
            ]
        read: dict[str, Command] = {
            "string": ("GET", key),
            "list": ("LRANGE", key, 0, -1),
            "set": ("SMEMBERS", key),
            "hash": ("HGETALL", key),
            "zset": ("ZRANGE", key, 0, -1, "WITHSCORES"),
        }
        return do(*read[kind])

    def close(self) -> None:
        self.user.close()
        self.admin.do("ACL", "DELUSER", "someone")
        self.admin.close()


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, servers: ServerPool) -> Iterator[Bench]:
    """A bench on each kind of server: after a test that was cut short, connections have replies left."""
    kind: Kind = request.param
    require(kind)
    made = Bench(servers.clean(kind))
    yield made
    made.close()


def timeless(value: Any) -> Any:
    """Without the ids and times that Redis has made."""
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items()}
    if isinstance(value, list):
        return [timeless(each) for each in value]
    return _TIME.sub("*", value) if isinstance(value, str) else value


def without(keys: frozenset[str], state: dict[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in state.items() if key not in keys}


def refuses(bench: Bench, row: Row, rules: tuple[str, ...], code: str = "NOPERM") -> ReplyError | None:
    """Run a row under rules: all is done, or it is refused and nothing is; then, allowed again, all is."""
    before, done = bench.prepare(row), timeless(bench.done(row))
    bench.prepare(row)
    bench.allow(*rules)
    reply = bench.user.run(row)
    after = bench.look()
    if not isinstance(reply, ReplyError):
        assert timeless(after) == done, f"{rules} changed the outcome"
        return None
    assert reply.code == code, reply
    assert without(row.harmless, after) == without(row.harmless, before), f"half done under {rules}: {reply}"
    bench.allow()
    bench.admin.do("DEL", TRIMMING)  # It ends by itself.
    again = bench.user.run(row)
    assert not isinstance(again, ReplyError), again
    assert timeless(bench.look()) == done, f"not done when allowed again after {rules}"
    return reply


def test_every_script_has_a_row() -> None:
    known = {name: script for name, script in vars(scripts).items() if isinstance(script, Script)}
    assert {row.script.name for row in ROWS.values()} == {script.name for script in known.values()}


@pytest.mark.parametrize("name", {row.script.name: None for row in ROWS.values()})
def test_without_any_command_all_of_it_is_done_or_nothing_and_the_command_is_named(
    bench: Bench, name: str
) -> None:
    rows = [row for row in ROWS.values() if row.script.name == name]
    for command in commands_of(rows[0].script):
        refusals = [refusal for row in rows if (refusal := refuses(bench, row, (f"-{command}",)))]
        assert refusals, f"no row of {name} comes to {command}"
        for refusal in refusals:
            assert command.lower() in str(refusal).lower() or command == "XPENDING", refusal


# Where any one is refused, each server is asked; `make soak` asks each without any two as well.
@pytest.mark.parametrize("bench", KINDS if IS_WHOLE else KINDS[:1], indirect=True)
@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_without_any_two_commands_all_of_it_is_done_or_nothing(bench: Bench, row: Row) -> None:
    for two in itertools.combinations(commands_of(row.script), 2):
        refuses(bench, row, tuple(f"-{command}" for command in two))


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_without_any_of_its_keys_nothing_is_done_and_the_keys_are_named(bench: Bench, row: Row) -> None:
    for key in row.keys:
        refusal = refuses(bench, row, ("resetkeys", *(f"~{other}" for other in row.keys if other != key)))
        assert refusal is not None and key in str(refusal)


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_where_redis_is_full_it_is_done_or_nothing_is(bench: Bench, row: Row) -> None:
    before, done = bench.prepare(row), timeless(bench.done(row))
    bench.prepare(row)
    bench.allow()
    bench.admin.do("CONFIG", "SET", "maxmemory", 1)
    try:
        reply = bench.user.run(row)
    finally:
        bench.admin.do("CONFIG", "SET", "maxmemory", 0)
    if row.when_full:
        assert not isinstance(reply, ReplyError), reply
        assert timeless(bench.look()) == done
    else:
        assert isinstance(reply, ReplyError) and reply.code == "OOM"
        assert bench.look() == before
