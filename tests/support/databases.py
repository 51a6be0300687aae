"""Real databases for tests: a PostgreSQL and a MariaDB in folders of their own, and files of SQLite."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self, get_args

from tests.support.servers import free_port

DatabaseKind = Literal["postgresql", "mariadb", "sqlite"]
DATABASES: tuple[DatabaseKind, ...] = get_args(DatabaseKind)

#: For the message about a server that is not installed.
PACKAGES = {"postgresql": "postgresql", "mariadb": "mariadb-server"}

#: Seconds for the start of a server, and for its end: a busy machine is no fault.
_START_TIMEOUT = 120.0
_POSTGRES = Path("/usr/lib/postgresql")


def find_program(name: str) -> str | None:
    """A program of a database server, or None where it is not installed."""
    folders = sorted(_POSTGRES.glob("*/bin"), reverse=True)
    path = os.pathsep.join([*map(str, folders), *os.get_exec_path(), "/usr/sbin"])
    return shutil.which(name, path=path)


def is_installed(kind: DatabaseKind) -> bool:
    """Whether there is a server of a kind."""
    return {
        "postgresql": bool(find_program("initdb")),
        "mariadb": bool(find_program("mariadbd")),
        "sqlite": True,
    }[kind]


class DatabaseServer:
    """One server process in a folder of its own, which nobody but its owner may enter.

    No database server runs as root: under root, it is run by ``nobody``. Nothing is forced to the disk, as
    the tests never kill it.

    Args:
        kind: Its kind.
        port: Where it listens.
        folder: Its folder.
        pid: Its process; 0 as long as it has none.
    """

    def __init__(self, kind: DatabaseKind, port: int, folder: Path, pid: int = 0) -> None:
        self.kind = kind
        self.port = port
        self.folder = folder
        self.pid = pid
        self._user: dict[str, Any] = {}
        self._data = self.folder / "data"
        # A MariaDB that starts deletes the temporary tables of all others that share its folder for them.
        self._env = {**os.environ, "TMPDIR": str(folder)}
        self._made = 0
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def started(cls, kind: DatabaseKind) -> Self:
        """Start a server in a new folder."""
        server = cls(kind, free_port(), Path(tempfile.mkdtemp(prefix=f"lightbus-{kind}-")))
        server._user = as_nobody(server.folder)
        (server._make_postgresql if kind == "postgresql" else server._make_mariadb)()
        return server

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(
            list(map(str, command)),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            env=self._env,
            **self._user,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _start(self, *command: str | Path) -> None:
        log = self.folder / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(map(str, command)),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self._env,
                **self._user,
            )
        self.pid = self._process.pid
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            with contextlib.suppress(Exception):
                self.execute("SELECT 1")
                return
            assert self._process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.05)

    def _make_postgresql(self) -> None:
        initdb, postgres = find_program("initdb"), find_program("postgres")
        assert initdb and postgres
        self._run(
            initdb, "-D", self._data, "-U", "lightbus", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"
        )
        options = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")
        settings = [word for option in options for word in ("-c", option)]
        self._start(
            postgres, "-D", self._data, "-p", str(self.port), "-k", self.folder, "-h", "127.0.0.1", *settings
        )

    def _make_mariadb(self) -> None:
        install, mariadbd = find_program("mariadb-install-db"), find_program("mariadbd")
        assert install and mariadbd
        base = f"--datadir={self._data}"
        self._run(
            install, "--no-defaults", base, "--auth-root-authentication-method=normal", "--skip-test-db"
        )
        self._start(
            mariadbd,
            "--no-defaults",
            base,
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self.folder / 'socket'}",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=32M",
            "--character-set-server=utf8mb4",
            "--skip-name-resolve",
        )

    def execute(self, statement: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement over a connection of its own; returns the rows that it gives."""
        connection = self.connect(database)
        try:
            cursor = connection.cursor()
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def connect(self, database: str | None = None) -> Any:
        """A connection by the driver alone, on which each statement commits."""
        if self.kind == "postgresql":
            import psycopg

            name = database or "postgres"
            return psycopg.connect(
                host="127.0.0.1", port=self.port, user="lightbus", dbname=name, autocommit=True
            )
        import pymysql

        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True
        )

    def new_database(self) -> str:
        """Make an empty database; returns its name."""
        self._made += 1
        # Other processes of the same tests may use the server, too.
        name = f"tests{os.getpid()}_{self._made}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def leave_running(self) -> None:
        """Let the process outlive this one, as others use it; one of them ends it."""
        if self._process is not None:
            # It is no child of this process any more, as far as Python is concerned, which warns of children
            # that it forgets while they run, at its own end at the latest.
            self._process.returncode = 0
            self._process = None

    def close(self) -> None:
        """End the process and remove its folder."""
        with contextlib.suppress(ProcessLookupError):
            # PostgreSQL's children end with it by SIGQUIT; what is in memory is of no use.
            os.kill(self.pid, signal.SIGQUIT if self.kind == "postgresql" else signal.SIGKILL)
        if self._process is not None:
            self._process.wait(_START_TIMEOUT)
        deadline = time.monotonic() + _START_TIMEOUT
        while _is_running(self.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        shutil.rmtree(self.folder, ignore_errors=True)


class Databases:
    """The servers of a session, each started when a test first asks for it.

    Args:
        shared: A folder of all processes of the same tests: the first that asks starts a server, all use it,
            each with databases of its own, and the last one ends it.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self._shared = shared
        self._servers: dict[DatabaseKind, DatabaseServer] = {}

    def server(self, kind: DatabaseKind) -> DatabaseServer:
        """The server of a kind."""
        if kind not in self._servers:
            joined = DatabaseServer.started(kind) if self._shared is None else self._join(self._shared, kind)
            self._servers[kind] = joined
        return self._servers[kind]

    def close(self) -> None:
        """End them, but for those that others still use."""
        for server in self._servers.values():
            if self._shared is None:
                server.close()
            else:
                self._leave(self._shared, server)

    def _join(self, folder: Path, kind: DatabaseKind) -> DatabaseServer:
        with _register(folder) as known:
            there = known.get(kind)
            if there is None:
                server = DatabaseServer.started(kind)
                there = known[kind] = {"port": server.port, "folder": str(server.folder), "pid": server.pid}
            else:
                server = DatabaseServer(kind, there["port"], Path(there["folder"]), there["pid"])
            there.setdefault("users", []).append(os.getpid())
        return server

    def _leave(self, folder: Path, server: DatabaseServer) -> None:
        with _register(folder) as known:
            there = known[server.kind]
            # One that was killed has not left.
            there["users"] = [pid for pid in there["users"] if pid != os.getpid() and _is_running(pid)]
            if not there["users"]:
                del known[server.kind]
                server.close()
            else:
                server.leave_running()


@contextlib.contextmanager
def _register(folder: Path) -> Iterator[dict[str, Any]]:
    """Read which servers run for the processes of a folder, and write it back; one process at a time."""
    with (folder / "databases.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        known = json.loads(file.read() or "{}")
        yield known
        file.truncate(0)
        file.write(json.dumps(known))


def as_nobody(folder: Path) -> dict[str, Any]:
    """What starts a process as ``nobody`` under root, which some refuse; the folder is then its own."""
    if os.geteuid() != 0:
        return {}
    shutil.chown(folder, "nobody")
    return {"user": "nobody", "group": "nogroup", "extra_groups": ()}


def _is_running(pid: int) -> bool:
    """Whether a process is there that has not ended; one that its parent has not asked for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def django_settings(kind: DatabaseKind, server: DatabaseServer | None, name: str) -> dict[str, Any]:
    """What DATABASES of Django says of a database."""
    if kind == "sqlite":
        options = {"timeout": 20}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}
    assert server is not None
    engine = "postgresql" if kind == "postgresql" else "mysql"
    user = "lightbus" if kind == "postgresql" else "root"
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": name,
        "USER": user,
        "HOST": "127.0.0.1",
        "PORT": str(server.port),
    }
