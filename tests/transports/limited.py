"""Users of Redis with rules as ``lightbus acl`` writes them, for tests with ``LIGHTBUS_TEST_ACL=1``.

Each transport is asked what its roles need, as by the command, for any API, group and schedule. A test may
play all roles, so one user has all of them. Those of an operator it has only where tests look after a bus,
since they would hide what is missing in the others. A command that is refused is told at the end of the test
that has sent it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
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


def _is_operating() -> bool:
    file, _, test = os.environ["PYTEST_CURRENT_TEST"].partition("::")
    name = file.rpartition("/test_")[2].removesuffix(".py")
    return name in _OPERATING or f"{name}::{test.partition('[')[0].partition(' ')[0]}" in _OPERATING


def limit(server: Server) -> str:
    """Make the user at a server, or at each node of a cluster; returns the URL with its name."""
    needs = [*_of_services(server.url)]
    if _is_operating():
        needs += _of_operators(is_cluster=server.url.startswith("redis+cluster:"))
    rules = " ".join(map(str, rules_of(dict.fromkeys(needs))))
    for node in _nodes(server):
        node.execute("ACL", "SETUSER", USER, "reset", "on", f">{PASSWORD}", *rules.split(" "))
        node.execute("ACL", "LOG", "RESET")
    scheme, _, place = server.url.partition("://")
    return f"{scheme}://{USER}:{PASSWORD}@{place}"


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
