"""The database of a campaign by way of Django or SQLAlchemy: tables, transactions that announce, counts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from lightbus.bus.path import BusPath
from tests.support.databases import DatabaseKind, Databases, django_settings

from .django_here import SETTINGS, migrated

DoorName = Literal["django", "sqlalchemy"]
KEYS = 12
#: How many transactions are rolled back, and how many last longer than others that began later.
SOME = 0.1

TABLE = "CREATE TABLE numbers (name varchar(20) PRIMARY KEY, n integer NOT NULL)"
FIRST = "INSERT INTO numbers VALUES ('{key}', 0)"
RAISE = "UPDATE numbers SET n = n + 1 WHERE name = '{key}'"
LOOK = "SELECT n FROM numbers WHERE name = '{key}'"
ALL = "SELECT name, n FROM numbers"
WAITING = "SELECT count(*) FROM lightbus_outbox"

ENGINE = """\
from sqlalchemy import create_engine

engine = create_engine({url!r})
"""
#: Nobody leads. Of two relays, one keeps what it has read until the other one has sent it, too, with all that
#: comes after it, and until Redis has forgotten that.
NO_LEADER = """
import asyncio, os
from pathlib import Path
from redis.asyncio import Redis
from lightbus.outbox.relay import Relay
from lightbus.{door}.tables import {tables}

{tables}._lead = lambda self, *about: about[-1]
send, has_read = Relay._send, Path("has_read")
try:
    Path("slow").mkdir()
    is_slow = True
except FileExistsError:
    is_slow = False

async def until_all_is_forgotten(rows):
    async with Redis.from_url(os.environ["LIGHTBUS__BUS__REDIS__URL"]) as redis:
        left = {{row.event_id.encode() for row in rows}}
        while left:
            left -= {{fields[b"id"] for _, fields in await redis.xrange("shop.*:stream")}}
            await asyncio.sleep(0.05)
        while await redis.keys("*:fired:*"):
            await asyncio.sleep(0.05)

async def send_late(self, batch, outcome):
    if is_slow:
        has_read.touch()
        await until_all_is_forgotten(batch.rows)
    while not has_read.exists():
        await asyncio.sleep(0.01)
    return await send(self, batch, outcome)

Relay._send = send_late
"""


class Door(Protocol):
    """How a campaign writes into its database; and the manifest's words for it."""

    outbox: str
    #: The name of the database on its server.
    database: str

    def write_project(self, folder: Path, plant: str) -> None:
        """Write what the host of the outbox imports; a plant comes after it."""

    def opened(self) -> Any:
        """Do what a thread needs around its transactions."""

    def transact(self, bus: BusPath, rng: random.Random) -> int:
        """Raise the number of some key and announce it; tells how many were committed: one or none."""

    def ask(self, statement: str) -> list[Any]:
        """Return the rows of a statement."""

    def close(self) -> None:
        """Close its connections."""


class DjangoDoor:
    """The ORM of Django."""

    outbox = "django: default"

    def __init__(self, kind: DatabaseKind, databases: Databases, folder: Path) -> None:
        server = databases.server(kind) if kind != "sqlite" else None
        name = str(folder / "db.sqlite3") if server is None else server.new_database()
        self.database = name
        self._settings = django_settings(kind, server, name)
        self._alias = f"campaign {kind} {name}"
        with migrated(self._alias, self._settings).cursor() as cursor:
            cursor.execute(TABLE)
            for key in range(KEYS):
                cursor.execute(FIRST.format(key=key))

    def write_project(self, folder: Path, plant: str) -> None:
        """Write the settings module."""
        planted = plant.format(door="django", tables="DjangoTables")
        (folder / "campaign_settings.py").write_text(SETTINGS.format(database=self._settings) + planted)

    def opened(self) -> Any:
        """The connection of this thread, which is closed at the end."""
        from django.db import connections

        return closing(connections[self._alias])

    def transact(self, bus: BusPath, rng: random.Random) -> int:
        """Raise the number of some key and announce it."""
        from django.db import connections, transaction

        from lightbus.django import outbox

        key = str(rng.randrange(KEYS))
        with transaction.atomic(using=self._alias), connections[self._alias].cursor() as cursor:
            cursor.execute(RAISE.format(key=key))
            cursor.execute(LOOK.format(key=key))
            (number,) = cursor.fetchone()
            outbox(bus, using=self._alias, key=key).shop.placed.fire(number=number, note=key)
            if rng.random() < SOME:
                transaction.set_rollback(True, using=self._alias)
                return 0
            _linger(rng)
        return 1

    def ask(self, statement: str) -> list[Any]:
        """Return the rows of a statement."""
        from django.db import connections

        with connections[self._alias].cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def close(self) -> None:
        """Close the connection of this thread."""
        from django.db import connections

        connections[self._alias].close()


class SqlAlchemyDoor:
    """An engine of SQLAlchemy."""

    outbox = 'sqlalchemy: "db:engine"'

    def __init__(self, kind: DatabaseKind, databases: Databases, folder: Path) -> None:
        from sqlalchemy import create_engine, text

        from .test_sqlalchemy import METADATA, url_of

        self._url = url_of(kind, databases, folder)
        self._engine = create_engine(self._url, pool_size=10)
        self.database = self._engine.url.database or ""
        METADATA.create_all(self._engine)
        with self._engine.begin() as connection:
            connection.execute(text(TABLE))
            for key in range(KEYS):
                connection.execute(text(FIRST.format(key=key)))

    def write_project(self, folder: Path, plant: str) -> None:
        """Write the module of the engine."""
        planted = plant.format(door="sqlalchemy", tables="SqlAlchemyTables")
        (folder / "db.py").write_text(ENGINE.format(url=self._url) + planted)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Nothing: the pool has the connections, and none of a thread that has ended."""
        yield

    def transact(self, bus: BusPath, rng: random.Random) -> int:
        """Raise the number of some key and announce it."""
        from sqlalchemy import text

        from lightbus.sqlalchemy import outbox

        key = str(rng.randrange(KEYS))
        with self._engine.connect() as connection, connection.begin() as transaction:
            connection.execute(text(RAISE.format(key=key)))
            number = connection.scalar(text(LOOK.format(key=key)))
            outbox(bus, connection, key=key).shop.placed.fire(number=number, note=key)
            if rng.random() < SOME:
                transaction.rollback()
                return 0
            _linger(rng)
        return 1

    def ask(self, statement: str) -> list[Any]:
        """Return the rows of a statement."""
        from sqlalchemy import text

        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


DOORS: dict[DoorName, Callable[[DatabaseKind, Databases, Path], Door]] = {
    "django": DjangoDoor,
    "sqlalchemy": SqlAlchemyDoor,
}


def _linger(rng: random.Random) -> None:
    if rng.random() < SOME:
        time.sleep(0.02)
