"""A pgbouncer before a PostgreSQL, in its mode ``transaction``: each may be on another connection."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import missing
from tests.support.databases import DatabaseServer, as_nobody, find_program
from tests.support.eventually import eventually
from tests.support.servers import free_port

CONFIG = """\
[databases]
* = host=127.0.0.1 port={server} user=lightbus

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
"""


@contextmanager
def pooling(server: DatabaseServer) -> Iterator[int]:
    """Run a pgbouncer with three connections to each database of a server; gives its port."""
    program = find_program("pgbouncer")
    if program is None:
        missing("no pgbouncer: install Debian's package pgbouncer")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="lightbus-pgbouncer-") as name:
        folder = Path(name)
        user = as_nobody(folder)
        (folder / "pgbouncer.ini").write_text(CONFIG.format(server=server.port, port=port))
        with (folder / "log").open("wb") as log:
            command = [program, str(folder / "pgbouncer.ini")]
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **user)
        try:
            eventually(lambda: _answers(process, port, folder / "log"), what="a pgbouncer")
            yield port
        finally:
            process.kill()
            process.wait()


def _answers(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"pgbouncer has ended: {log.read_text()}")
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True
