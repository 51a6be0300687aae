"""Real databases for tests: a PostgreSQL and a MariaDB in folders of their own, and files of SQLite."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Literal, get_args

from tests.support.servers import free_port

DatabaseKind = Literal["postgresql", "mariadb", "sqlite"]
DATABASES: tuple[DatabaseKind, ...] = get_args(DatabaseKind)

#: For the message about a server that is not installed.
PACKAGES = {"postgresql": "postgresql", "mariadb": "mariadb-server"}

_START_TIMEOUT = 30.0
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
    """

    def __init__(self, kind: DatabaseKind) -> None:
        self.kind = kind
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"lightbus-{kind}-"))
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(self.folder, "nobody")
            self._user = {"user": "nobody", "group": "nogroup", "extra_groups": ()}
        self._data = self.folder / "data"
        self._made = 0
        self._process: subprocess.Popen[bytes] | None = None
        (self._make_postgresql if kind == "postgresql" else self._make_mariadb)()

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(
            list(map(str, command)),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
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
                **self._user,
            )
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
        options = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60")
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
        name = f"tests{self._made}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def close(self) -> None:
        """End the process and remove its folder."""
        process, self._process = self._process, None
        if process is not None:
            # PostgreSQL's children end with it by SIGINT; what is in memory is of no use.
            process.send_signal(signal.SIGINT if self.kind == "postgresql" else signal.SIGKILL)
            process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)


class Databases:
    """The servers of a session, each started when a test first asks for it."""

    def __init__(self) -> None:
        self._servers: dict[DatabaseKind, DatabaseServer] = {}

    def server(self, kind: DatabaseKind) -> DatabaseServer:
        """The server of a kind."""
        if kind not in self._servers:
            self._servers[kind] = DatabaseServer(kind)
        return self._servers[kind]

    def close(self) -> None:
        """End them."""
        for server in self._servers.values():
            server.close()


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
