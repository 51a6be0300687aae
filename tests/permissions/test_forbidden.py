"""What nobody may do on a bus but those whose part it is, tried as each role with the rules that it gets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lightbus.transports.redis.acl import needs
from lightbus.transports.redis.acl.rules import rules_of
from lightbus.transports.redis.keys import bell_key
from tests.conftest import require
from tests.support.servers import Kind, Server, ServerPool

from .page import As, parts, set_user
from .page import rules_of as rules_of_page

Act = tuple[str, *tuple[str | int | float, ...]]

STREAM, QUEUE = "shop.orders.*:stream", "shop.orders:rpc_queue"
#: What is none of anybody's business on a bus.
OF_THE_SERVER: list[Act] = [
    ("empty everything", "FLUSHALL"),
    ("empty the database", "FLUSHDB"),
    ("look for keys", "KEYS", "*"),
    ("change the rules", "ACL", "SETUSER", "web", "+@all"),
    ("see the rules", "ACL", "LIST"),
    ("configure", "CONFIG", "SET", "maxmemory", 1),
    ("end connections", "CLIENT", "KILL", "ID", 1),
    ("overhear all", "MONITOR"),
    ("lose the server's data to another", "REPLICAOF", "127.0.0.1", 1),
    ("forget scripts", "SCRIPT", "FLUSH"),
    ("copy a queue", "COPY", QUEUE, "mine"),
    ("rename a stream", "RENAME", STREAM, "mine"),
]
CONTRACTS: list[Act] = [
    ("forge a contract", "SET", "schema:shop.orders", "{}"),
    ("drop a contract", "DEL", "schema:shop.orders"),
    ("publish a name", "SADD", "schemas", "shop.orders"),
    ("stand for a contract", "ZADD", "{schema:shop.orders}:publishers", 1, "web"),
    ("own", "ZADD", "lightbus:owner:shop.orders", 1, "web"),
]
CALLS: list[Act] = [
    ("forge that somebody serves", "SET", "{shop.orders:rpc_queue}:served", 1),
    ("take calls", "BRPOP", QUEUE, 0.1),
    ("take calls", "LPOP", QUEUE),
    ("take calls", "BLMOVE", QUEUE, "mine", "LEFT", "RIGHT", 0.1),
    ("drop all waiting calls", "DEL", QUEUE),
    ("poison the queue's type", "SET", QUEUE, "x"),
    ("call another API", "RPUSH", "shop.payments:rpc_queue", "x"),
    ("take the right to run a call", "GETDEL", "rpc_expiry_key:x"),
]
READS_CALLS: list[Act] = [
    ("read calls", "LRANGE", QUEUE, 0, -1),
    ("list the workers", "SMEMBERS", "{shop.orders:rpc_queue}:processes"),
]
ANSWERS: list[Act] = [
    ("forge an answer", "LPUSH", "lightbus:reply:somebody", "x"),
    ("forge an answer", "RPUSH", "lightbus:reply:somebody", "x"),
]
EVENTS: list[Act] = [
    ("fire", "XADD", STREAM, "*", "a", "b"),
    ("trim", "XTRIM", STREAM, "MAXLEN", 0),
    ("delete events", "XDEL", STREAM, "1-1"),
    ("delete a stream", "DEL", STREAM),
]
READS_EVENTS: list[Act] = [
    ("read events", "XRANGE", STREAM, "-", "+"),
    ("read dead letters", "XRANGE", "{shop.orders.*:stream}:dead:mailer-send", "-", "+"),
]
OTHERS: list[Act] = [
    ("fire another's events", "XADD", "shop.payments.*:stream", "*", "a", "b"),
    ("fire events of an API whose name goes on", "XADD", "shop.orders.archive.*:stream", "*", "a", "b"),
    ("run another's schedule", "HSET", "lightbus:schedule:billing:nightly", "holder", "me"),
    ("read with another's right", "EVAL", "return redis.call('GET', KEYS[1])", 1, "lightbus:reply:somebody"),
]
OF_OPERATORS: list[Act] = [
    ("rewrite another's card", "SET", "lightbus:card:billing:web-1", "{}"),
    ("pause a listener", "HSET", "lightbus:paused:mailer", "send", "{}"),
    ("end a pause", "HDEL", "lightbus:paused:mailer", "send"),
    ("forge who did what", "XADD", "lightbus:audit", "*", "a", "b"),
    ("hide who did what", "XTRIM", "lightbus:audit", "MAXLEN", 0),
]
OF_LISTENERS: list[Act] = [
    ("read another API's stream", "XRANGE", "shop.payments.*:stream", "-", "+"),
    ("read a stream whose name goes on", "XRANGE", "shop.orders.archive.*:stream", "-", "+"),
    ("read another's dead letters", "XRANGE", "{shop.orders.*:stream}:dead:other-send", "-", "+"),
    ("bring another's events back", "XADD", "{shop.orders.*:stream}:retry:other-send", "*", "a", "b"),
    ("drop another's retries", "ZREM", "{shop.orders.*:stream}:delayed:other-send", "x"),
    ("destroy another's group", "XGROUP", "DESTROY", STREAM, "other-send"),
    ("move another group's mark", "HSET", f"{{{STREAM}}}:group:other-send", "read", "9-9"),
    ("move another group's mark of before", "HSET", f"{{{STREAM}}}:groups", "other-send", "9-9"),
    ("say that another group was made again", "HINCRBY", f"{{{STREAM}}}:group:other-send", "made", 1),
    ("set a group to another place", "XGROUP", "SETID", STREAM, "other-send", "$"),
]
DELETES_BY_SCRIPT: Act = (
    "delete by a script", "EVAL", "return redis.call('DEL', KEYS[1])", 1, QUEUE,
)  # fmt: skip

FORBIDDEN: dict[str, list[Act]] = {
    "web": [
        *(
            *OF_THE_SERVER,
            *CONTRACTS,
            *CALLS,
            *READS_CALLS,
            *ANSWERS,
            *EVENTS,
            *READS_EVENTS,
            *OTHERS,
            *OF_OPERATORS,
        ),
        ("look for keys", "SCAN", 0),
        DELETES_BY_SCRIPT,
    ],
    "mailer": [
        *(
            *OF_THE_SERVER,
            *CONTRACTS,
            *CALLS,
            *READS_CALLS,
            *ANSWERS,
            *EVENTS,
            *OTHERS,
            *OF_LISTENERS,
            *OF_OPERATORS,
        ),
        ("call", "RPUSH", QUEUE, "x"),
        ("withdraw calls", "DEL", "rpc_expiry_key:x"),
        (
            "fire by a script",
            "EVAL",
            "return redis.call('XADD', KEYS[1], '*', 'a', 'b')",
            1,
            STREAM,
        ),
        DELETES_BY_SCRIPT,
    ],
    "shop": [
        *(*OF_THE_SERVER, *OTHERS, *OF_OPERATORS),
        ("read answers", "BRPOP", "lightbus:reply:somebody", 0.1),
        ("forge a contract of another API", "SET", "schema:shop.payments", "{}"),
        ("own another API", "ZADD", "lightbus:owner:shop.payments", 1, "shop"),
        ("serve another API", "LPOP", "shop.payments:rpc_queue"),
        ("call another API", "RPUSH", "shop.payments:rpc_queue", "x"),
        (
            "read as a listener",
            "XREADGROUP",
            "GROUP",
            "mailer-send",
            "x",
            "STREAMS",
            STREAM,
            ">",
        ),
        ("acknowledge as a listener", "XACK", STREAM, "mailer-send", "1-1"),
        ("destroy a listener's group", "XGROUP", "DESTROY", STREAM, "mailer-send"),
        ("move a group's mark", "HSET", f"{{{STREAM}}}:group:mailer-send", "read", "9-9"),
        ("drop a dead letter", "XDEL", "{shop.orders.*:stream}:dead:mailer-send", "1-1"),
        ("delete a stream", "DEL", STREAM),
        ("look for keys", "SCAN", 0),
        DELETES_BY_SCRIPT,
    ],
    "clock": [
        *(
            *OF_THE_SERVER,
            *CONTRACTS,
            *CALLS,
            *READS_CALLS,
            *ANSWERS,
            *EVENTS,
            *READS_EVENTS,
            *OTHERS,
            *OF_OPERATORS,
        ),
        ("forget a schedule", "DEL", "lightbus:schedule:shop:nightly"),
        ("call", "RPUSH", QUEUE, "x"),
        DELETES_BY_SCRIPT,
    ],
    "ops": [
        *(*OF_THE_SERVER, *CONTRACTS, *CALLS, *ANSWERS, *EVENTS, *OTHERS[:3], OF_OPERATORS[0]),
        *(OF_OPERATORS[-1], ("hide one act", "XDEL", "lightbus:audit", "1-1")),
        ("hide all acts", "DEL", "lightbus:audit"),
        ("call", "RPUSH", QUEUE, "x"),
        ("withdraw calls", "DEL", "rpc_expiry_key:x"),
        ("read calls", "LRANGE", QUEUE, 0, -1),
        ("read answers", "BRPOP", "lightbus:reply:somebody", 0.1),
        DELETES_BY_SCRIPT,
    ],
}
FEWEST = 25
#: Where Redis is a cluster, the key of the right to run a call lies beside the queue, and there are bells.
EXPIRIES = "rpc_expiry_key:", "{shop.orders:rpc_queue}:expiry:"
BELLS: list[Act] = [
    ("ring for those who serve another API", "SPUBLISH", bell_key("shop.payments:rpc_queue"), ""),
    ("hear of another API's events", "SSUBSCRIBE", bell_key("shop.payments.*:stream")),
]
ON_CLUSTER: dict[str, list[Act]] = {
    f"cluster-{user}": [
        (what, *(word.replace(*EXPIRIES) if isinstance(word, str) else word for word in words))
        for what, *words in [*acts, *(BELLS if user != "ops" else ())]
    ]
    for user, acts in FORBIDDEN.items()
}


def rules(user: str) -> list[str]:
    """The rules of a user of the page, or of a service that has nothing but a schedule."""
    is_cluster = user.startswith("cluster-")
    if not user.endswith("clock"):
        return rules_of_page(user)
    needed = [
        *needs.everybody(is_cluster=is_cluster),
        *needs.hosts("shop"),
        *needs.shows("shop"),
        *needs.runs("shop:nightly"),
    ]
    return parts(f"on resetchannels {' '.join(map(str, rules_of(needed)))}")


@pytest.fixture(params=["redis7", "valkey"])
def server(request: pytest.FixtureRequest, servers: ServerPool) -> Iterator[Server]:
    kind: Kind = request.param
    require(kind)
    it = servers.clean(kind)
    # So that nothing is refused for want of something to do it to.
    it.execute("XADD", STREAM, "1-1", "a", "b")
    it.execute("XGROUP", "CREATE", STREAM, "other-send", 0)
    it.execute("RPUSH", QUEUE, "a call")
    yield it
    for user in (*FORBIDDEN, *ON_CLUSTER):
        it.execute("ACL", "DELUSER", user)


@pytest.mark.parametrize("user", [*FORBIDDEN, *ON_CLUSTER])
def test_each_role_is_refused_what_is_not_its_part(server: Server, user: str) -> None:
    set_user(server, user, rules(user))
    it = As(server, user)
    replies = {act: str(it.send(*act[1:])) for act in (FORBIDDEN | ON_CLUSTER)[user]}
    it.close()
    assert {act: reply for act, reply in replies.items() if not is_refused(reply)} == {}
    assert len(replies) >= FEWEST
    assert server.execute("XLEN", STREAM) == server.execute("LLEN", QUEUE) == 1


def is_refused(reply: str) -> bool:
    """Whether Redis did not allow it, also within a script."""
    return any(
        said in reply for said in ("NOPERM", "ACL failure in script", "The user executing the script can't")
    )


def test_the_acts_are_allowed_to_somebody_who_may_do_all(server: Server) -> None:
    set_user(
        server, "web", ["on", "~*", "&*", "+@all", "-flushall", "-flushdb", "-replicaof", "-config", "-acl"]
    )
    it = As(server, "web")
    tried = {act: str(it.send(*act[1:])) for act in [*CONTRACTS, *ANSWERS, *READS_EVENTS, *OTHERS[:3]]}
    it.close()
    assert [act for act, reply in tried.items() if is_refused(reply)] == []
