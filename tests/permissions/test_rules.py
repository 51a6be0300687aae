"""The rules of docs/how-to/acl.md: each of them is needed, its lack is named, and no more is allowed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from lightbus.exceptions import TransportUnavailable
from lightbus.options import SecretUrl
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.port import Use
from lightbus.transports.redis import needs
from lightbus.transports.redis.link.connection import Connector
from lightbus.transports.redis.link.permissions import Need, NotKnown, Permissions, look, sentences
from lightbus.transports.redis.link.promise import Promise
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.needs import everybody
from lightbus.transports.redis.options import RedisOptions
from tests.conftest import require
from tests.support.servers import Kind, Server, ServerPool

from .page import ON_CLUSTER, USERS, As, rules_of, set_user, url_of, without

API, STREAM = "shop.orders", "shop.orders.*:stream"
NEEDS = {
    "shop": [
        *(*everybody(), *needs.hosts("shop"), *needs.publishes(API), *needs.owns(API), *needs.serves(API)),
        *needs.shows("shop"),
        *(*needs.answers(API), *needs.runs("shop:beat")),
        *needs.fires(API, STREAM, dedupes=True, promise=Promise(replicas=1, timeout=1)),
    ],
    "mailer": [
        *(*everybody(), *needs.hosts("mailer"), *needs.shows("mailer")),
        *needs.listens("send", STREAM, "mailer-send", dedupes=True),
    ],
    "web": [*everybody(), *needs.calls(API), *needs.reads_answers(), *needs.shows("web")],
}
NEEDS |= {
    "cluster-shop": [
        *(*everybody(), *needs.hosts("shop"), *needs.publishes(API), *needs.owns(API)),
        *needs.shows("shop"),
        *(*needs.serves(API, is_cluster=True), *needs.answers(API), *needs.runs("shop:beat")),
        *needs.fires(API, STREAM, dedupes=True, promise=Promise(replicas=1, timeout=1)),
    ],
    "cluster-web": [
        *(*everybody(), *needs.calls(API, is_cluster=True), *needs.reads_answers(), *needs.shows("web")),
    ],
}


@pytest.fixture(params=["redis7", "valkey"])
def server(request: pytest.FixtureRequest, servers: ServerPool) -> Iterator[Server]:
    kind: Kind = request.param
    require(kind)
    it = servers.clean(kind)
    yield it
    for user in (*USERS, *ON_CLUSTER):
        it.execute("ACL", "DELUSER", user)


def options(server: Server, user: str) -> RedisOptions:
    return RedisOptions(url=SecretUrl(url_of(server, user)))


def missing(server: Server, user: str, needed: list[Need]) -> list[str]:
    """What a user is told that it lacks."""
    it = Connector(options(server, user))
    try:
        return sentences(it, asyncio.run(look([it], needed)))
    except (NotKnown, TransportUnavailable) as e:  # without MULTI, without PING
        return [str(e).upper()]


@pytest.mark.parametrize("user", NEEDS)
def test_the_rules_are_enough(server: Server, user: str) -> None:
    set_user(server, user, rules_of(user))
    assert missing(server, user, NEEDS[user]) == []


def words(rules: list[str], begin: str) -> list[tuple[int, str]]:
    """The commands or keys of rules, with which rule has them."""
    return [
        (nth, word)
        for nth, rule in enumerate(rules)
        for word in rule.strip("()").split()
        if re.match(begin, word)
    ]


@pytest.mark.parametrize("user", NEEDS)
def test_each_command_that_is_taken_away_is_named(server: Server, user: str) -> None:
    rules = rules_of(user)
    unnamed = []
    for nth, word in words(rules, r"\+"):
        set_user(server, user, without(rules, word, nth))
        name = word[1:].upper().replace("|", " ")
        told = missing(server, user, NEEDS[user])
        if not any(
            re.search(rf"\b{name}\b", sentence.partition(", which it needs to ")[0]) for sentence in told
        ):
            unnamed.append((nth, word, told))
    assert unnamed == []


@pytest.mark.parametrize("user", NEEDS)
def test_each_key_that_is_taken_away_is_named(server: Server, user: str) -> None:
    rules = rules_of(user)
    unnamed = []
    for nth, word in words(rules, r"%?[RW]?~"):
        set_user(server, user, without(rules, word, nth))
        key = word.partition("~")[2].replace("\\", "")
        told = missing(server, user, NEEDS[user])
        if not any(key.rstrip("*") in sentence.partition(", which it needs to ")[0] for sentence in told):
            unnamed.append((nth, word, told))
    assert unnamed == []


def test_nothing_is_done_by_looking(server: Server) -> None:
    for user, needed in NEEDS.items():
        set_user(server, user, rules_of(user))
        missing(server, user, needed)
        set_user(server, user, [rule for rule in rules_of(user) if rule != "+multi"])
        assert "'MULTI'" in missing(server, user, needed)[0]
    assert server.execute("DBSIZE") == 0


def test_a_user_who_may_not_ask_is_told_what_redis_refuses(server: Server) -> None:
    rules = rules_of("web")
    nth = next(n for n, rule in enumerate(rules) if rule == "+multi")
    set_user(server, "web", without(rules, "+multi", nth))
    told = Obstacles()

    async def work() -> list[str]:
        permissions = Permissions(options(server, "web"))
        permissions.know("calls", NEEDS["web"], told)
        permissions.note(ReplyError("NOPERM this user has no permissions to run the 'rpush' command"))
        await asyncio.sleep(0.2)
        shown = list(told)
        await permissions.close()
        return shown

    (shown,) = asyncio.run(work())
    assert "does not allow it: NOPERM" in shown and "'rpush'" in shown
    assert list(told) == []


ATTACKS = [
    ("forge a contract", "SET", "schema:shop.orders", "{}"),
    ("drop a contract", "DEL", "schema:shop.orders"),
    ("publish a name", "SADD", "schemas", "shop.orders"),
    ("forge that somebody serves", "SET", "{shop.orders:rpc_queue}:served", 1),
    ("list the workers", "SMEMBERS", "{shop.orders:rpc_queue}:processes"),
    ("take calls", "BRPOP", "shop.orders:rpc_queue", 0.1),
    ("take calls", "LPOP", "shop.orders:rpc_queue"),
    ("read calls", "LRANGE", "shop.orders:rpc_queue", 0, -1),
    ("drop all waiting calls", "DEL", "shop.orders:rpc_queue"),
    ("poison the queue's type", "SET", "shop.orders:rpc_queue", "x"),
    ("forge an answer", "LPUSH", "lightbus:reply:somebody", "x"),
    ("forge an answer", "RPUSH", "lightbus:reply:somebody", "x"),
    ("take the right to run a call", "GETDEL", "rpc_expiry_key:x"),
    ("fire", "XADD", "shop.orders.*:stream", "*", "a", "b"),
    ("read events", "XRANGE", "shop.orders.*:stream", "-", "+"),
    ("read events", "XREAD", "STREAMS", "shop.orders.*:stream", "0"),
    ("own", "ZADD", "lightbus:owner:shop.orders", 1, "web"),
    ("call another API", "RPUSH", "shop.payments:rpc_queue", "x"),
    ("look for keys", "KEYS", "*"),
    ("look for keys", "SCAN", 0),
    ("run a script", "EVAL", "return redis.call('DEL', KEYS[1])", 1, "shop.orders:rpc_queue"),
    ("empty everything", "FLUSHALL"),
    ("change the rules", "ACL", "SETUSER", "web", "+@all"),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: f"{a[0]} by {a[1]}")
def test_a_caller_can_not(server: Server, attack: tuple[str, ...]) -> None:
    set_user(server, "web", rules_of("web"))
    user = As(server, "web")
    assert "NOPERM" in str(user.send(*attack[1:]))
    user.close()


FOREIGN = [
    ("mailer", "XADD", "shop.orders.*:stream", "*", "a", "b"),
    ("mailer", "XTRIM", "shop.orders.*:stream", "MAXLEN", 0),
    ("mailer", "XGROUP", "DESTROY", "shop.orders.*:stream", "other"),
    ("mailer", "XRANGE", "shop.payments.*:stream", "-", "+"),
    ("mailer", "XRANGE", "shop.orders.archive.*:stream", "-", "+"),
    ("mailer", "XRANGE", "{shop.orders.*:stream}:dead:other-send", "-", "+"),
    ("mailer", "BLMOVE", "shop.orders:rpc_queue", "mine", "LEFT", "RIGHT", 0.1),
    ("mailer", "RPUSH", "shop.orders:rpc_queue", "x"),
    ("mailer", "SET", "schema:shop.orders", "{}"),
    ("shop", "XADD", "shop.payments.*:stream", "*", "a", "b"),
    ("shop", "XADD", "shop.orders.archive.*:stream", "*", "a", "b"),
    ("shop", "SET", "schema:shop.payments", "{}"),
    ("shop", "ZADD", "lightbus:owner:shop.payments", 1, "shop"),
    ("shop", "BRPOP", "lightbus:reply:somebody", 0.1),
    ("shop", "XREADGROUP", "GROUP", "mailer-send", "x", "STREAMS", "shop.orders.*:stream", ">"),
    ("operator", "SET", "schema:shop.orders", "{}"),
    ("operator", "XADD", "shop.orders.*:stream", "*", "a", "b"),
    ("operator", "DEL", "shop.orders.*:stream"),
    ("operator", "RPUSH", "shop.orders:rpc_queue", "x"),
]


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda f: f"{f[0]} {f[1]} {f[2]}")
def test_nobody_does_more_than_their_part(server: Server, foreign: tuple[str, ...]) -> None:
    set_user(server, foreign[0], rules_of(foreign[0]))
    user = As(server, foreign[0])
    assert "NOPERM" in str(user.send(*foreign[1:]))
    user.close()


def test_a_use_has_a_name_of_its_own() -> None:
    assert len({str(Use("calls", "a")), str(Use("serves", "a")), str(Use("calls", "b"))}) == 3
