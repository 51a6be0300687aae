"""A cluster of one node, which answers for all slots."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lightbus.transports.redis.link.cluster.slots import SLOTS
from tests.support.eventually import eventually
from tests.support.servers import Server


@pytest.fixture(scope="session")
def _cluster_node() -> Iterator[Server]:
    with Server(args=("--cluster-enabled", "yes", "--cluster-node-timeout", "1500")) as server:
        server.execute("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        eventually(lambda: b"cluster_state:ok" in server.execute("CLUSTER", "INFO"))
        yield server


@pytest.fixture
def cluster_node(_cluster_node: Server) -> Server:
    """A cluster of one node, empty."""
    _cluster_node.execute("FLUSHALL")
    return _cluster_node
