"""Users of Redis with rules as ``lightbus acl`` writes them, for tests with ``LIGHTBUS_TEST_ACL=1``.

Each transport is asked what its roles need, as by the command, for any API, group and schedule. A test may
play all roles, so one user has all of them. Those of an operator it has only where tests look after a bus,
since they would hide what is missing in the others. A command that is refused is told at the end of the test
that has sent it.

Redis 6.2 can't give such rules. Tests of the link alone, which no transport is in, connect as anybody may.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, cast

from lightbus.options import SecretUrl
from lightbus.transports.port import Role, Use
from lightbus.transports.redis.acl import operators
from lightbus.transports.redis.acl.needs import answers_1x
from lightbus.transports.redis.acl.rules import rules_of
from lightbus.transports.redis.base import RedisTransport
from lightbus.transports.redis.events.transport import RedisEventTransport
from lightbus.transports.redis.link.permissions import Need
from lightbus.transports.redis.options import RedisEventOptions, RedisRpcOptions, RedisSchemaOptions
from lightbus.transports.redis.rpc.transport import RedisRpcTransport
from lightbus.transports.redis.schema import RedisSchemaTransport
from tests.support.servers import Server

#: Whether transports are tested as this user.
IS_LIMITED = bool(os.environ.get("LIGHTBUS_TEST_ACL"))
USER, PASSWORD = "limited", "secret"
#: By which a process only learns something, or without which an event may be stored twice.
_KNOWN = {"config|get", "client|setinfo", "client|kill"}
#: Any API, service, listener or schedule; and any event, in a stream of its own or in that of its API.
_ANY, _ANY_EVENT = "*", "**"
#: The files whose tests look after a bus, and a test of another one.
_OPERATING = (
    *("cards", "dead_letters", "group_changes", "group_moves", "group_seeks", "hand_back", "questions"),
    *("audit", "bells", "glance", "notes", "standings"),
    "several_slots::test_one_who_follows_all_streams_sees_the_events_of_each_slot",
    "retention::test_a_full_stream_says_how_a_group_without_readers_is_removed",
)
#: The tests that can't be done as this user, and why.
_NOT_AS_LIMITED = {
    "bells::test_where_a_node_has_no_bells_each_slot_has_its_connection": "no rule names unknown commands",
    "notes::test_a_group_goes_on_where_an_earlier_version_has_read_to": "only whoever may write to what all "
    "groups share notes what earlier versions read",
    "notes::test_of_two_marks_the_later_one_counts": "likewise",
    "notes::test_an_event_is_not_lost_whose_group_an_earlier_version_has_made_again": "likewise",
    "dedupe::TestFiring::test_a_list_goes_on_though_the_server_forgets_the_script_in_its_midst": "whoever "
    "fires may not have scripts forgotten",
    "lost_events::test_what_a_broken_link_still_holds_does_not_arrive_once_it_was_looked_for": "what a "
    "connection still holds is stored twice where none may be ended",
    "lost_reads::test_a_read_that_is_still_on_its_way_when_its_link_breaks_takes_nothing": "what it takes "
    "comes when its lease has run out, where no connection may be ended",
}


def _of_services(url: str) -> Iterator[Need]:
    """What services need that own, serve, call, fire and listen, and that have schedules."""
    address: dict[str, Any] = {"url": SecretUrl(url)}
    events = RedisEventOptions(**address, stream_use="per_event", replicas_before_confirmed=1)
    kinds: dict[RedisTransport, tuple[Role, ...]] = {
        RedisRpcTransport(RedisRpcOptions(**address)): ("serves", "calls", "knows"),
        RedisEventTransport(events): ("fires", "listens"),
        RedisSchemaTransport(RedisSchemaOptions(**address)): ("hosts", "shows", "publishes", "owns", "runs"),
    }
    for transport, roles in kinds.items():
        access = transport.access([Use(role, _ANY, (_ANY_EVENT,), _ANY, _ANY, True, _ANY) for role in roles])
        for each in (access.roles, access.with_1x):
            for needs in each.values():
                yield from needs
    # No 1.x can use a cluster, but tests put its calls there.
    yield from answers_1x(_ANY)


def _of_operators(*, is_cluster: bool) -> Iterator[Need]:
    for needs in operators.roles_of_operators(is_cluster=is_cluster).values():
        yield from needs


def _names(test_id: str) -> tuple[str, str]:
    """The name of a test's file, and that with the name of its function."""
    file, _, test = test_id.partition("::")
    name = file.rpartition("/test_")[2].removesuffix(".py")
    return name, f"{name}::{test.partition('[')[0].partition(' ')[0]}"


def why_not_limited(test_id: str) -> str:
    """Why a test can't be done as this user; empty where it can."""
    return _NOT_AS_LIMITED.get(_names(test_id)[1], "") if IS_LIMITED else ""


def _is_operating() -> bool:
    return not set(_OPERATING).isdisjoint(_names(os.environ["PYTEST_CURRENT_TEST"]))


@lru_cache
def _rules(url: str, *, is_operating: bool) -> tuple[str, ...]:
    needs = [*_of_services(url)]
    if is_operating:
        needs += _of_operators(is_cluster=url.startswith("redis+cluster:"))
    return tuple(" ".join(map(str, rules_of(dict.fromkeys(needs)))).split(" "))


def limit(server: Server) -> None:
    """Make the user at a server, where a restart does not end it, or at each node of a cluster."""
    rules = ("on", f">{PASSWORD}", *_rules(server.url, is_operating=_is_operating()))
    for node in _nodes(server):
        node.execute("ACL", "SETUSER", USER, "reset", *rules)
        node.execute("ACL", "LOG", "RESET")
    if not hasattr(server, "nodes"):
        users = server.folder / "users.acl"
        users.write_text(f"user default on nopass ~* &* +@all\nuser {USER} {' '.join(rules)}\n")
        if "--aclfile" not in server.args:
            server.args = (*server.args, "--aclfile", str(users))


def as_limited(url: str) -> str:
    """A URL with the name of this user, if transports are tested as one."""
    scheme, _, place = url.partition("://")
    return f"{scheme}://{USER}:{PASSWORD}@{place}" if IS_LIMITED else url


def refused(server: Server) -> list[str]:
    """The commands and keys that this user was refused."""
    found = []
    for entry in [entry for node in _nodes(server) for entry in node.execute("ACL", "LOG", "1000")]:
        facts = dict(zip(entry[::2], entry[1::2], strict=True))
        what = facts[b"object"].decode()
        if facts[b"username"] == USER.encode() and what not in _KNOWN:
            command = facts[b"client-info"].decode().partition("cmd=")[2].partition(" ")[0]
            found.append(f"{command}: {what}")
    return found


def _nodes(server: Server) -> list[Server]:
    """The servers that have users of their own."""
    return cast(list[Server], server.nodes) if hasattr(server, "nodes") else [server]
