"""The outbox in SQLAlchemy's transactions, on each kind of database, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, create_engine, func, inspect, select, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from lightbus.bus.path import BusPath
from lightbus.declared.settings import OutboxOptions
from lightbus.exceptions import (
    ConfigurationError,
    NotInTransaction,
    OutboxTableMissing,
    SyncCallOnEventLoop,
)
from lightbus.outbox.relay import Relay
from lightbus.outbox.rows import BUCKETS, FAILED, HELD, SENT, bucket_of
from lightbus.sqlalchemy import outbox, outbox_table
from lightbus.sqlalchemy.engines import connect
from lightbus.sqlalchemy.tables import SqlAlchemyTables
from tests.conftest import missing
from tests.support.databases import PACKAGES, DatabaseKind, Databases, is_installed
from tests.support.eventually import eventually_async
from tests.support.servers import Server

from .conftest import arguments, fired

METADATA = MetaData()
EVENTS = outbox_table(METADATA)


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
def url(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> str:
    """Where an empty database is."""
    return url_of(request.param, databases, tmp_path)


def url_of(kind: DatabaseKind, databases: Databases, folder: Path | None = None) -> str:
    """Where an empty database of a kind is."""
    if kind == "sqlite":
        return f"sqlite:///{folder}/made.sqlite3"
    if not is_installed(kind):
        missing(f"no {kind}: install Debian's package {PACKAGES[kind]}")
    server = databases.server(kind)
    name = server.new_database()
    if kind == "postgresql":
        return f"postgresql+psycopg://lightbus@127.0.0.1:{server.port}/{name}"
    return f"mysql+pymysql://root@127.0.0.1:{server.port}/{name}"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """An engine with the tables."""
    engine = create_engine(url)
    METADATA.create_all(engine)
    yield engine
    engine.dispose()


def number_of(engine: Engine, **filters: Any) -> int:
    counted = select(func.count()).select_from(EVENTS).filter_by(**filters)
    with engine.connect() as connection:
        return connection.scalar(counted) or 0


def place(bus: BusPath, engine: Engine, *numbers: int, **options: Any) -> None:
    with Session(engine) as session, session.begin():
        for number in numbers:
            outbox(bus, session, **options).shop.placed.fire(number=number)


@asynccontextmanager
async def relaying(bus: BusPath, engine: Any, **options: Any) -> AsyncIterator[Relay]:
    relay = Relay(bus.client, connect(engine, "db:engine"), OutboxOptions(**{"poll": 0.02, **options}))
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        relay.end()
        await task
        await relay.close()


async def test_what_commits_is_fired_and_what_is_rolled_back_is_not(
    bus: BusPath, engine: Engine, redis_server: Server
) -> None:
    redis_server.pause()
    try:
        with Session(engine) as session, session.begin():
            one = outbox(bus, session).shop.placed.fire(number=1, note="é \u0000 '")
            with pytest.raises(RuntimeError), session.begin_nested():
                outbox(bus, session).shop.placed.fire(number=2)
                raise RuntimeError("the savepoint is rolled back")
            two = outbox(bus, session, key="k").shop.placed.fire_many([{"number": 3}, {"number": 4}])
        with pytest.raises(RuntimeError), Session(engine) as session, session.begin():
            outbox(bus, session).shop.placed.fire(number=5)
            raise RuntimeError("all of it is rolled back")
    finally:
        redis_server.resume()
    async with relaying(bus, engine, keep=3_600.0):
        await eventually_async(lambda: len(fired(redis_server)) == 3)
        await eventually_async(lambda: number_of(engine, state=SENT) == 3)
    assert [each.decode() for each in fired(redis_server)] == [one.id, *(event.id for event in two)]
    tables = SqlAlchemyTables(engine, "e")
    tables.prune(3_600)
    assert number_of(engine) == 3
    tables.prune(0)
    tables.close()
    assert number_of(engine) == 0


@pytest.mark.parametrize("driver", ["sqlite+aiosqlite", "postgresql+psycopg"])
async def test_an_async_session_and_an_async_engine_do_the_same(
    bus: BusPath, databases: Databases, redis_server: Server, tmp_path: Any, driver: str
) -> None:
    if driver.startswith("sqlite"):
        url = f"{driver}:///{tmp_path}/db.sqlite3"
    else:
        server = databases.server("postgresql")
        url = f"{driver}://lightbus@127.0.0.1:{server.port}/{server.new_database()}"
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    async with AsyncSession(engine) as session, session.begin():
        await outbox(bus, session).shop.placed.fire_async(number=1)
        await outbox(bus, session).shop.placed.fire_many_async([{"number": 2}, {"number": 3}])
        with pytest.raises(SyncCallOnEventLoop):
            outbox(bus, session).shop.placed.fire(number=4)
    async with relaying(bus, engine) as relay:
        await eventually_async(lambda: arguments(redis_server, "number") == [1, 2, 3])
        assert not relay.trouble
    await engine.dispose()


async def test_an_event_that_can_not_be_sent_keeps_back_its_key_until_somebody_decides(
    bus: BusPath, engine: Engine, redis_server: Server
) -> None:
    place(bus, engine, 1, 2, key="a")
    place(bus, engine, 3)
    with engine.begin() as connection:
        connection.execute(update(EVENTS).where(EVENTS.c.kwargs.contains("1")).values(kwargs="no JSON"))
    async with relaying(bus, engine):
        await eventually_async(lambda: number_of(engine, state=HELD) == 1)
        await eventually_async(lambda: arguments(redis_server, "number") == [3])
        tables = SqlAlchemyTables(engine, "e")
        (stuck,) = tables.stuck(10)
        assert (stuck.held, stuck.attempts, stuck.row.key) == (1, 1, "a")
        waiting = tables.waiting()
        assert (waiting.rows, waiting.failed) == (1, 1) and 0 <= waiting.oldest < 60
        assert tables.retry([stuck.row.seq]) == 1
        await eventually_async(lambda: number_of(engine, state=FAILED) == 1)
        assert tables.drop(None) == 1
        tables.close()
        await eventually_async(lambda: arguments(redis_server, "number") == [3, 2])


def test_two_relays_do_not_lead_at_a_time(bus: BusPath, engine: Engine) -> None:
    place(bus, engine, 1)
    if engine.dialect.name == "sqlite":
        return  # Its one lock is waited for.
    one, other = (SqlAlchemyTables(engine, "e") for _ in range(2))
    every = range(BUCKETS)
    assert one.begin(every, 10) is not None
    assert other.begin(every, 10) is None
    one.rollback()
    assert other.begin(every, 10) is not None
    other.close()
    one.close()


def test_whoever_led_all_gives_way_to_a_relay_that_has_a_part(bus: BusPath, engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        return  # Its one lock is waited for.
    key = next(f"k{n}" for n in range(1_000) if bucket_of(f"k{n}") == 3)
    place(bus, engine, 1, key=key)
    place(bus, engine, 2)
    one, other = (SqlAlchemyTables(engine, "e") for _ in range(2))

    def keys() -> list[str] | None:
        batch = one.begin(range(BUCKETS), 10)
        one.rollback()
        return None if batch is None else [row.key for row in batch.rows]

    assert keys() == keys() == [key, ""]
    assert other.begin([3], 10) is not None
    assert keys() is None
    # From now on, as a relay that has come to another one with more partitions.
    assert keys() == keys() == [""]
    other.rollback()
    assert keys() == keys() == [key, ""]
    other.close()
    one.close()


def test_what_keeps_an_event_from_being_written_is_told(bus: BusPath, url: str) -> None:
    engine = create_engine(url)
    with pytest.raises(OutboxTableMissing, match="alembic revision --autogenerate"):
        place(bus, engine, 1)
    METADATA.create_all(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        with pytest.raises(NotInTransaction, match="AUTOCOMMIT"):
            outbox(bus, connection).shop.placed.fire(number=1)
        outbox(bus, connection, require_transaction=False).shop.placed.fire(number=1)
    engine.dispose()
    by_itself = create_engine(url, isolation_level="AUTOCOMMIT")
    with pytest.raises(NotInTransaction):
        place(bus, by_itself, 2)
    assert number_of(by_itself) == 1
    by_itself.dispose()


async def test_a_synchronous_session_is_no_asynchronous_one(bus: BusPath) -> None:
    with Session(create_engine("sqlite://")) as session, pytest.raises(NotInTransaction, match="write fire"):
        await outbox(bus, session).shop.placed.fire_async(number=1)


def test_only_an_engine_is_relayed() -> None:
    with pytest.raises(ConfigurationError, match=r"shop\.db:Base is .*name an engine"):
        connect(object(), "shop.db:Base")


def test_the_tables_are_added_once_and_have_the_columns_that_django_makes(engine: Engine) -> None:
    assert outbox_table(METADATA) is EVENTS
    from .django_here import django_here

    django_here()
    from lightbus.django.models import OutboxEvent

    made = {column["name"] for column in inspect(engine).get_columns("lightbus_outbox")}
    assert made == {field.column for field in OutboxEvent._meta.fields}
    (index,) = inspect(engine).get_indexes("lightbus_outbox")
    assert index["column_names"] == ["state", "seq", "bucket"]
