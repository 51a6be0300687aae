"""The primaries of a cluster, for those that look at each of them by itself."""

from __future__ import annotations

from lightbus.exceptions import ConfigurationError, TransportUnavailable
from lightbus.transports.redis.link.connection import FAILURES, Connector, Link
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.options import HostPort, RedisOptions

from .topology import WHO, Topology, read_topology


class NoCluster(TransportUnavailable, ConfigurationError):
    """A Redis that is to be a node of a cluster belongs to none: the configuration is wrong."""


async def connectors(options: RedisOptions) -> list[Connector]:
    """Return what connects to each primary; to the only Redis where there is no cluster.

    Args:
        options: The address and the credentials.

    Raises:
        NoCluster: The first Redis that answers belongs to no cluster.
        TransportUnavailable: No node of the cluster says who they are.
    """
    if not options.is_cluster:
        return [Connector(options)]
    failure: TransportUnavailable | None = None
    for seed in options.seeds:
        try:
            topology = await ask(options, seed, options.command_timeout)
        except NoCluster:
            raise
        except TransportUnavailable as e:
            failure = failure or e
            continue
        return [Connector(options, node) for node in topology.primaries()]
    assert failure is not None  # noqa: S101 - a cluster without nodes was refused
    raise failure


async def ask(options: RedisOptions, node: HostPort, patience: float) -> Topology:
    """Ask a node over a connection for this alone.

    Args:
        options: The address and the credentials.
        node: The node.
        patience: Seconds to wait for the answer.

    Raises:
        TransportUnavailable: It does not answer, or can't say it.
    """
    link = Link(Connector(options, node))
    try:
        return understood(await link.exchange(WHO, patience), node)
    except FAILURES as e:
        if isinstance(e, TransportUnavailable):
            raise
        raise TransportUnavailable(silent(node, str(e))) from None
    finally:
        await link.close()


def understood(replies: list[object], node: HostPort) -> Topology:
    """Return what a node says.

    Raises:
        NoCluster: It belongs to none.
        TransportUnavailable: It can't say it.
    """
    try:
        topology = read_topology(replies, node)
    except ReplyError as e:
        if "cluster support disabled" in e.said:
            told = (
                "is no cluster; give its URL, redis://..., as bus.redis.url in place of the cluster's nodes"
            )
            raise NoCluster(f"Redis at {node} {told}") from None
        raise TransportUnavailable(silent(node, str(e))) from None
    if not topology.owned:
        told = "belongs to a cluster without slots; give them to its nodes, as CLUSTER ADDSLOTSRANGE does"
        raise TransportUnavailable(f"Redis at {node} {told}")
    return topology


def silent(node: HostPort, reason: str) -> str:
    """Say that a node does not answer who has which slot."""
    return f"Redis at {node} does not say who has which slot: {reason}"
