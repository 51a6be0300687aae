"""The port that is used where nothing is configured, 6379: for one test of this machine at a time."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .eventually import eventually

#: Seconds for which a server that another program has there is waited for.
_PATIENCE = 60.0


@contextlib.contextmanager
def default_port() -> Iterator[None]:
    """Have the port for oneself; skips the test where another program keeps it."""
    with (Path(tempfile.gettempdir()) / "lightbus-tests-6379.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            eventually(_is_free, _PATIENCE)
        except AssertionError:
            pytest.skip("something listens at 127.0.0.1:6379 on this machine")
        yield


def _is_free() -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", 6379)) != 0
