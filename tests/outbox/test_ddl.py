"""``lightbus outbox ddl``: its tables work on each kind of database, and are those of Django's migration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, inspect

from lightbus.bus.path import BusPath
from tests.guide.project import Project
from tests.support.databases import Databases
from tests.support.eventually import eventually_async
from tests.support.servers import Server

from .conftest import Outbox, arguments
from .test_sqlalchemy import place, relaying, url_of

DIALECTS = {"postgresql": "postgresql", "mariadb": "mysql", "sqlite": "sqlite"}


@pytest.fixture
def engine(outbox: Outbox, databases: Databases, tmp_path: Path) -> Iterator[Engine]:
    """A database of a kind with the tables that the command prints."""
    project = Project(tmp_path, None)
    done = project.run("outbox", "ddl", "--dialect", DIALECTS[outbox.kind])
    assert (done.returncode, done.stderr) == (0, "")
    engine = create_engine(url_of(outbox.kind, databases, tmp_path))
    with engine.begin() as connection:
        for statement in done.stdout.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    yield engine
    engine.dispose()


async def test_a_relay_works_on_the_tables_that_are_printed(
    bus: BusPath, engine: Engine, redis_server: Server
) -> None:
    place(bus, engine, 1, 2, key="é")
    async with relaying(bus, engine):
        await eventually_async(lambda: arguments(redis_server, "number") == [1, 2])


def test_they_are_those_that_djangos_migration_makes(outbox: Outbox, engine: Engine) -> None:
    from django.db import connections

    migrated = connections[outbox.alias].settings_dict["NAME"]
    other = create_engine(engine.url.set(database=str(migrated)))
    ours, theirs = _shape(engine), _shape(other)
    other.dispose()
    assert ours == {name: theirs[name] for name in ours}
    assert {"lightbus_outbox", "lightbus_outbox_lock"} <= ours.keys()


def _shape(engine: Engine) -> dict[str, Any]:
    """The tables of Lightbus, as the database has them."""
    found, seen = {}, inspect(engine)
    for table in seen.get_table_names():
        if table.startswith("lightbus_"):
            found[table] = {
                "columns": {c["name"]: (_type(c), c["nullable"]) for c in seen.get_columns(table)},
                "key": seen.get_pk_constraint(table)["constrained_columns"],
                "indexes": sorted(
                    (i["name"], i["column_names"], bool(i["unique"])) for i in seen.get_indexes(table)
                ),
            }
    return found


def _type(column: Any) -> str:
    kind = column["type"]
    collation = getattr(kind, "collation", None)
    return f"{kind!r}" if collation is None else f"{kind!r} {collation}"
