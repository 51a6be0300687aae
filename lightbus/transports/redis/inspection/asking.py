"""Asking a Redis about itself: one server, or each primary of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightbus.transports.port import Finding
from lightbus.transports.redis.link.cluster.primaries import NoCluster, connectors
from lightbus.transports.redis.link.cluster.topology import WHO, Topology, read_topology
from lightbus.transports.redis.link.connection import FAILURES, Connector, Link
from lightbus.transports.redis.link.permissions import Need, NotKnown, look, sentences
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.options import HostPort, RedisOptions

from .cluster import Cluster
from .server import QUESTIONS, Server, lacking_replicas

_TIMEOUT = 5.0
#: Commands that servers have from version 7.0 on.
_OF_BELLS = ("SPUBLISH", "SSUBSCRIBE")


async def inspect(
    options: RedisOptions, keys: Mapping[str, str], needs: Sequence[Need], replicas: int = 0
) -> list[Finding]:
    """Ask a Redis about itself, and what its user may do.

    Args:
        options: Its address and credentials.
        keys: Keys that this transport uses, with the type that each must have where it exists.
        needs: The commands and keys that are needed.
        replicas: The number of replicas that an event waits for before it counts as fired.

    Returns:
        Its faults.

    Raises:
        TransportUnavailable: It does not answer, or refuses the password.
    """
    if options.is_cluster:
        try:
            primaries = await connectors(options)
        except NoCluster as e:
            return [Finding(str(e), fatal=True, topic="setting")]
        return await _inspect_cluster(primaries, keys, needs, replicas)
    connector = Connector(options)
    server, types, _ = await _ask(connector, keys)
    found = [*server.faults(), *server.misplaced(), *lacking_replicas([server], replicas)]
    found += _types(server.where, keys, types)
    if not any(finding.fatal for finding in found):
        found += await _permissions(connector, needs, is_replica=server.is_replica)
    return found


async def _inspect_cluster(
    primaries: Sequence[Connector], keys: Mapping[str, str], needs: Sequence[Need], replicas: int
) -> list[Finding]:
    asked = [_ask(connector, keys, *WHO) for connector in primaries]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    found: list[Finding] = []
    servers: dict[Connector, Server] = {}
    topology: Topology | None = None
    for connector, answer in zip(primaries, answers, strict=True):
        if isinstance(answer, FAILURES):
            # The others are worth looking at all the same.
            found.append(Finding(str(answer), severity="error", topic="away"))
        elif isinstance(answer, BaseException):
            raise answer
        else:
            servers[connector], types, who = answer
            topology = topology or read_topology(who, HostPort(connector.address))
            # Of a key of another primary, the answer only says whose it is.
            found += _types(servers[connector].where, keys, types)
    found += Cluster(list(servers.values()), topology).faults(replicas)
    if not any(finding.fatal for finding in found):
        # A user's rights are set at each node.
        for connector, server in servers.items():
            able = needs if server.has_bells else [need for need in needs if need.command[0] not in _OF_BELLS]
            found += await _permissions(connector, able, is_replica=False)
    return found


async def _ask(
    connector: Connector, keys: Mapping[str, str], *more: tuple[Any, ...]
) -> tuple[Server, Sequence[Any], Sequence[Any]]:
    """Return a server by its answers, the types of keys, and the answers to more questions."""
    link = Link(connector)
    questions = [*QUESTIONS, *(("TYPE", key) for key in keys), *more]
    try:
        about, commands, save, *others = await link.exchange(questions, _TIMEOUT)
    finally:
        await link.close()
    where = f"Redis at {connector.address}"
    server = Server(where, about, commands, save, connector.is_local)
    return server, others[: len(keys)], others[len(keys) :]


async def _permissions(connector: Connector, needs: Sequence[Need], *, is_replica: bool) -> list[Finding]:
    try:
        missing = await look([connector], needs)
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
    sure = sentences(connector, [m for m in told if not _is_doubtful(m.need)])
    assumed = sentences(connector, [m for m in told if _is_doubtful(m.need)])
    return [
        *(Finding(what, severity="error", is_watched=True, topic="permission") for what in sure),
        *(Finding(what, is_watched=True, topic="permission") for what in assumed),
    ]


def _is_doubtful(need: Need) -> bool:
    """Tell whether a process works without a need, or may not have it."""
    return need.is_assumed or need.is_optional


def _types(where: str, keys: Mapping[str, str], types: Sequence[Any]) -> Iterable[Finding]:
    for (key, wanted), found in zip(keys.items(), types, strict=True):
        if isinstance(found, ReplyError) or found in (b"none", wanted.encode(), wanted):
            continue
        kind = found.decode() if isinstance(found, bytes) else found
        what = "events can be neither fired nor received" if wanted == "stream" else "no call gets through"
        yield Finding(
            f"{where} holds a {kind} at {key}, where a {wanted} belongs: {what}; rename or delete that key"
        )
