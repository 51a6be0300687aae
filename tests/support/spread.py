"""A cluster, in the place of the one server of a test."""

from __future__ import annotations

from typing import Any

from lightbus.transports.redis.link.cluster.slots import ANYWHERE, slot_of_command

from .cluster import RedisCluster
from .node import Node


class Spread:
    """A cluster with the interface of :class:`Server`, as far as tests of transports need it.

    Args:
        cluster: The cluster.
    """

    def __init__(self, cluster: RedisCluster) -> None:
        self._cluster = cluster
        self.url = cluster.url
        self.kind = cluster.kind
        #: The number of its primaries.
        self.primaries = len(cluster.primaries())

    def execute(self, *command: Any, timeout: float = 30.0) -> Any:
        """Send one command to the primary that has its key, or one without a key to all primaries.

        Returns:
            The reply; of all primaries that of the last, or if these are lists, all that is in them.
        """
        if len(self.nodes) == 1:  # It has all keys, and need not be asked for its slots first.
            return self.nodes[0].execute(*command, timeout=timeout)
        slot = slot_of_command(command)
        if slot != ANYWHERE:
            return self._cluster.owner(slot).execute(*command, timeout=timeout)
        replies = [node.execute(*command, timeout=timeout) for node in self._cluster.primaries()]
        if isinstance(replies[0], list):
            return [item for reply in replies for item in reply]
        return b"".join(replies) if isinstance(replies[0], bytes) and len(replies) > 1 else replies[-1]

    def __getattr__(self, name: str) -> Any:
        """Whatever else a test does with its server, it does with the only node."""
        (node,) = self._cluster.nodes
        return getattr(node, name)

    @property
    def nodes(self) -> list[Node]:
        """Its nodes."""
        return self._cluster.nodes
