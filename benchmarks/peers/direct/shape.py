"""What the peers without a broker of Redis have in common: a server and a client, and calls between them.

It needs nothing but Python, since every peer runs in a venv of its own.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from benchmarks import tally
from benchmarks.measures import PASSWORD, USERNAME
from benchmarks.peers import shape
from tests.support.processes import Process

CREDENTIALS = shape.CREDENTIALS
#: The arguments of a call as JSON, for a peer that carries bytes.
PAYLOAD = json.dumps(CREDENTIALS).encode()
#: Whether this process is the server.
IS_SERVER = shape.TALLY is not None
#: The server's own: where it listens, as ``host:port``.
ADDRESS = shape.URL


def check(username: str, password: str) -> bool:
    """The procedure of all servers."""
    return username == USERNAME and password == PASSWORD


class DirectPeer(shape.AsyncPeer):
    """A client that calls its server, without Redis.

    Args:
        folder: For what a worker writes down.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        #: Where the server listens.
        self.address = f"127.0.0.1:{_free_port()}"

    def clear(self) -> None:
        """Leave Redis alone."""

    def start(self, events: int = 1, handler: str = "one") -> Process:
        """Start a server, which the caller closes."""
        env = tally.environment(events, self._file) | {"BENCH_URL": self.address}
        return Process([sys.executable, *self.worker], env=env)

    async def fire(self, username: str = USERNAME) -> object:
        """Send no events: only calls are measured."""
        raise NotImplementedError


def main(peer: type[DirectPeer], serve: Coroutine[Any, Any, None] | None = None) -> None:
    """Be the client, or the server where the environment says so."""
    if not IS_SERVER:
        if serve is not None:
            serve.close()
        shape.main(peer)
    elif serve is not None:
        shape.run(serve)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
