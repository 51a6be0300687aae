"""A real Lightbus 1.x, and ours, on one Redis of the kind that 1.x knows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.conftest import missing, require
from tests.support.processes import Process, lightbus_process
from tests.support.servers import Server, ServerPool
from tests.wire.peer_1x import ROOT, Peer, find_peer


class StartHost(Protocol):
    """What the fixtures `peer_worker` and `our_host` give."""

    def __call__(self, *roles: str) -> Process:
        """Start a host in the roles "owner" and/or "listener"."""
        ...


@pytest.fixture
def shared_redis(servers: ServerPool) -> Server:
    """The Redis where both live."""
    require("redis7")
    return servers.clean("redis7")


@pytest.fixture
def answers_url(shared_redis: Server) -> str:
    """Where answers travel; tests may have another Redis for them."""
    return shared_redis.url


@pytest.fixture
def peer(shared_redis: Server, answers_url: str) -> Peer:
    """Lightbus 1.x as a client, and to start workers with."""
    python = find_peer()
    if python is None:
        missing("no Lightbus 1.x: `make pytest` makes its venv")
    return Peer(python, shared_redis.url, answers_url)


@pytest.fixture
def peer_worker(peer: Peer) -> Iterator[StartHost]:
    """Starts Lightbus 1.x workers (service "old"), and ends them after the test."""
    with contextlib.ExitStack() as started:
        yield lambda *roles: started.enter_context(peer.worker(*roles))


@pytest.fixture
def our_host(shared_redis: Server, answers_url: str, tmp_path: Path) -> Iterator[StartHost]:
    """Starts our hosts (service "new"), and ends them after the test."""
    manifest = tmp_path / "lightbus.yaml"
    results = f"{{result_transport: {{redis: {{url: '{answers_url}'}}}}}}"
    manifest.write_text(f"bus:\n  redis:\n    url: {shared_redis.url}\napis: {{default: {results}}}\n")
    with contextlib.ExitStack() as started:

        def start(*roles: str) -> Process:
            args = ["--bus", "tests.wire.our_bus", "-c", str(manifest), "--service-name", "new"]
            process = lightbus_process("run", *args, cwd=ROOT, env={"OUR_ROLES": " ".join(roles)})
            return started.enter_context(process)

        yield start
