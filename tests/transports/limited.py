"""A user of Redis with rules as ``lightbus acl`` writes them, for tests with ``LIGHTBUS_TEST_ACL=1``.

It has all roles, for any API, group and schedule. A command that is missing in the table of needs is refused,
and told at the end of the test that has sent it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from lightbus.transports.redis import keys
from lightbus.transports.redis.acl import needs, operators
from lightbus.transports.redis.acl.needs import ANY
from lightbus.transports.redis.acl.operators import ANY_STREAM
from lightbus.transports.redis.acl.rules import rules_of
from lightbus.transports.redis.link.permissions import Need
from lightbus.transports.redis.link.promise import Promise
from tests.support.servers import Server

#: Whether transports are tested as this user.
IS_LIMITED = bool(os.environ.get("LIGHTBUS_TEST_ACL"))
USER, PASSWORD = "limited", "secret"
#: By which a process only learns something, or without which an event may be stored twice.
_KNOWN = {"config|get", "client|setinfo", "client|kill"}


def _needs(*, is_cluster: bool) -> Iterator[Need]:
    promise = Promise(replicas=1, timeout=1)
    yield from (*needs.everybody(is_cluster=is_cluster), *needs.hosts(ANY), *needs.shows(ANY))
    yield from (*needs.publishes(ANY), *needs.owns(ANY), *needs.runs(ANY))
    yield from (*needs.calls(ANY, is_cluster=is_cluster), *needs.reads_answers())
    yield from (*needs.serves(ANY, is_cluster=is_cluster), *needs.answers(ANY), *needs.answers_1x(ANY))
    yield from needs.fires(ANY, ANY_STREAM, dedupes=True, promise=promise)
    yield from needs.listens(ANY, ANY_STREAM, ANY, dedupes=True)
    yield from needs.takes_over(ANY_STREAM, ANY, ANY, dedupes=True)
    yield from (*operators.looks(), *operators.settles_dead_letters(), *operators.changes_groups())
    yield from operators.pauses()
    for key in (ANY_STREAM, keys.queue_key(ANY)) if is_cluster else ():
        yield from (*needs.rings(key), *needs.hears(key))


def limit(server: Server) -> str:
    """Make the user at a server, or at each node of a cluster; returns the URL with its name."""
    is_cluster = server.url.startswith("redis+cluster:")
    rules = " ".join(map(str, rules_of(_needs(is_cluster=is_cluster))))
    for each in (
        ("ACL", "SETUSER", USER, "reset", "on", f">{PASSWORD}", *rules.split(" ")),
        ("ACL", "LOG", "RESET"),
    ):
        server.execute(*each)
    scheme, _, place = server.url.partition("://")
    return f"{scheme}://{USER}:{PASSWORD}@{place}"


def refused(server: Server) -> list[str]:
    """The commands and keys that this user was refused."""
    found = []
    for entry in server.execute("ACL", "LOG", "1000"):
        facts = dict(zip(entry[::2], entry[1::2], strict=True))
        what = facts[b"object"].decode()
        if facts[b"username"] == USER.encode() and what not in _KNOWN:
            command = facts[b"client-info"].decode().partition("cmd=")[2].partition(" ")[0]
            found.append(f"{command}: {what}")
    return found
