"""The rules that ``lightbus acl`` writes: each is needed, its lack is named, and no more is allowed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from lightbus.exceptions import TransportUnavailable
from lightbus.options import SecretUrl
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.port import Use
from lightbus.transports.redis.acl import needs, operators
from lightbus.transports.redis.acl.needs import everybody
from lightbus.transports.redis.link.connection import Connector
from lightbus.transports.redis.link.permissions import Need, NotKnown, Permissions, look, sentences
from lightbus.transports.redis.link.promise import Promise
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.options import RedisOptions
from tests.conftest import require
from tests.support.eventually import eventually_async
from tests.support.servers import Kind, Server, ServerPool

from .page import ON_CLUSTER, USERS, rules_of, set_user, url_of, without

API, STREAM, QUEUE = "shop.orders", "shop.orders.*:stream", "shop.orders:rpc_queue"
NEEDS = {
    "shop": [
        *(*everybody(), *needs.hosts("shop"), *needs.publishes(API), *needs.owns(API), *needs.serves(API)),
        *needs.shows("shop"),
        *(*needs.answers(API), *needs.runs("shop:nightly")),
        *needs.fires(API, STREAM, dedupes=True, promise=Promise(replicas=1, timeout=1)),
    ],
    "mailer": [
        *(*everybody(), *needs.hosts("mailer"), *needs.shows("mailer"), *needs.knows(API)),
        *needs.listens("send", STREAM, "mailer-send", dedupes=True),
    ],
    "web": [*everybody(), *needs.calls(API), *needs.reads_answers(), *needs.shows("web")],
}
#: An operator's rules are many, and of the same make.
SERVICES = [*NEEDS]
NEEDS["shop"] += needs.answers_1x(API)
NEEDS["ops"] = [
    *everybody(),
    *(need for role in operators.roles_of_operators(is_cluster=False).values() for need in role),
]
NEEDS |= {
    "cluster-shop": [
        *(*everybody(is_cluster=True), *needs.hosts("shop"), *needs.publishes(API), *needs.owns(API)),
        *needs.shows("shop"),
        *(*needs.serves(API, is_cluster=True), *needs.answers(API), *needs.runs("shop:nightly")),
        *needs.fires(API, STREAM, dedupes=True, promise=Promise(replicas=1, timeout=1)),
        *(*needs.rings(STREAM), *needs.rings(QUEUE), *needs.hears(QUEUE)),
    ],
    "cluster-web": [
        *(
            *everybody(is_cluster=True),
            *needs.calls(API, is_cluster=True),
            *needs.reads_answers(),
            *needs.shows("web"),
            *needs.rings(QUEUE),
        ),
    ],
    "cluster-mailer": [*everybody(is_cluster=True), *needs.rings(STREAM), *needs.hears(STREAM)],
    "cluster-ops": [
        *everybody(is_cluster=True),
        *(need for role in operators.roles_of_operators(is_cluster=True).values() for need in role),
        *(*needs.rings(STREAM), *needs.hears(STREAM)),
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


@pytest.mark.parametrize("user", SERVICES)
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


@pytest.mark.parametrize("user", SERVICES)
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
        await eventually_async(lambda: any("NOPERM" in each for each in told))
        shown = list(told)
        await permissions.close()
        return shown

    (shown,) = asyncio.run(work())
    assert "does not allow it: NOPERM" in shown and "'rpush'" in shown
    assert list(told) == []


def test_a_use_has_a_name_of_its_own() -> None:
    assert len({str(Use("calls", "a")), str(Use("serves", "a")), str(Use("calls", "b"))}) == 3
