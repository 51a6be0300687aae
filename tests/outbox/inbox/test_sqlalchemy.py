"""``@inbox(Session)`` in SQLAlchemy's sessions, on each kind of database, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from lightbus.exceptions import ConfigurationError, InboxError, InvalidListener
from lightbus.messages import EventMessage
from lightbus.sqlalchemy import inbox, inbox_table
from tests.conftest import missing
from tests.support.databases import PACKAGES, Databases, is_installed

from .conftest import Listener, event

METADATA = MetaData()
NOTES = inbox_table(METADATA)
BANK = Table("bank", METADATA, Column("name", String(20), primary_key=True), Column("balance", Integer))


def place_of(kind: str, databases: Databases, folder: Any) -> str:
    """Where an empty database of a kind is, without the driver."""
    if kind == "sqlite":
        return f":///{folder}/db.sqlite3"
    if not is_installed(kind):  # type: ignore[arg-type]
        missing(f"no {kind}: install Debian's package {PACKAGES[kind]}")
    server = databases.server(kind)  # type: ignore[arg-type]
    user = "lightbus" if kind == "postgresql" else "root"
    return f"://{user}@127.0.0.1:{server.port}/{server.new_database()}"


@pytest.fixture(params=["postgresql+psycopg", "mysql+pymysql", "sqlite"])
def engine(request: pytest.FixtureRequest, databases: Databases, tmp_path: Any) -> Iterator[Engine]:
    """An engine with an empty account and an empty inbox, of each kind of database in turn."""
    kind = {"mysql": "mariadb"}.get(name := request.param.partition("+")[0], name)
    engine = create_engine(request.param + place_of(kind, databases, tmp_path))
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(BANK).values(name="ann", balance=0))
    yield engine
    engine.dispose()


@pytest.fixture
def small_engine(tmp_path: Any) -> Iterator[Engine]:
    """An engine of SQLite, for what is the same in each database."""
    engine = create_engine(f"sqlite:///{tmp_path}/db.sqlite3")
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(BANK).values(name="ann", balance=0))
    yield engine
    engine.dispose()


def balance(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(select(BANK.c.balance)) or 0


def notes(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(select(NOTES.c.event_id).order_by(NOTES.c.event_id)))


def paying(number: int) -> Any:
    return update(BANK).values(balance=BANK.c.balance + number)


def charging(engine: Engine, **options: Any) -> Any:
    @inbox(sessionmaker(engine), **options)
    def charge(event_message: EventMessage, session: Session, number: int) -> None:
        session.execute(paying(number))

    return charge


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "sqlite+aiosqlite"])
async def test_a_coroutine_function_does_the_same(
    databases: Databases, tmp_path: Any, listener: Listener, driver: str
) -> None:
    engine = create_async_engine(driver + place_of(driver.partition("+")[0], databases, tmp_path))
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.execute(insert(BANK).values(name="ann", balance=0))
    Maker = async_sessionmaker(engine)
    running, may_end = asyncio.Event(), asyncio.Event()

    @inbox(Maker)
    async def charge(event_message: EventMessage, session: AsyncSession, number: int) -> None:
        running.set()
        await may_end.wait()
        await session.execute(paying(number))
        if number == 3:
            raise ValueError("not three")

    first = asyncio.create_task(listener.call_async(charge, event(5)))
    await running.wait()
    running.clear()
    # What is cancelled, as at the end of a host, has not happened, and a twin that waits for it runs.
    twin = asyncio.create_task(listener.call_async(charge, event(5)))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await running.wait()
    may_end.set()
    await twin
    await listener.call_async(charge, event(5))
    with pytest.raises(ValueError, match="not three"):
        await listener.call_async(charge, event(3, "three"))
    lists: list[int] = []

    @inbox(Maker)
    async def count(events: list[EventMessage], session: AsyncSession) -> None:
        lists.append(len(events))

    await listener.call_async(count, [event(5), event(3, "three"), event(3, "three"), event(2, "two")])
    async with engine.connect() as connection:
        assert await connection.scalar(select(BANK.c.balance)) == 5
    assert lists == [2]
    assert listener.counted == {"new": 3, "done_before": 3}

    @inbox(Maker)
    async def committing(event_message: EventMessage, session: AsyncSession, number: int) -> None:
        await session.execute(paying(number))
        await session.commit()

    with pytest.raises(InboxError, match=r"committing\(\) may not commit"):
        await listener.call_async(committing, event(1, "c"))

    @inbox(async_scoped_session(Maker, asyncio.current_task))
    async def scoped(event_message: EventMessage, number: int, *, session: AsyncSession) -> None:
        await session.execute(paying(number))

    await listener.call_async(scoped, event(1, "s"))
    await scoped(event(1, "by hand"), number=1)
    async with engine.connect() as connection:
        assert await connection.scalar(select(BANK.c.balance)) == 7
    await engine.dispose()


def test_a_handler_neither_commits_nor_rolls_back(small_engine: Engine, listener: Listener) -> None:
    maker = sessionmaker(small_engine)

    @inbox(maker)
    def committing(event_message: EventMessage, session: Session, number: int) -> None:
        session.execute(paying(number))
        with session.begin_nested():
            session.execute(paying(number))
        session.commit()

    @inbox(maker)
    def rolling_back(event_message: EventMessage, session: Session, number: int) -> None:
        session.execute(paying(number))
        session.rollback()

    with pytest.raises(InboxError, match=r"committing\(\) may not commit: .* take session\.commit\(\) out"):
        listener.call(committing, event(1))
    with pytest.raises(InboxError, match=r"rolling_back\(\) has returned, but its transaction can't commit"):
        listener.call(rolling_back, event(1))
    assert (balance(small_engine), notes(small_engine)) == (0, [])


def test_a_scoped_session_is_the_one_of_its_thread(small_engine: Engine, listener: Listener) -> None:
    Current = scoped_session(sessionmaker(small_engine))
    Current.execute(select(BANK))  # Somebody has left a transaction behind.

    @inbox(Current)
    def charge(event_message: EventMessage, session: Session, number: int) -> None:
        assert session is Current()
        Current.execute(paying(number))

    listener.call(charge, event(5))
    assert not Current.registry.has()
    charge(event(), number=2)
    assert balance(small_engine) == 7


def test_an_autocommitting_engine_is_refused(small_engine: Engine, listener: Listener) -> None:
    engine = small_engine.execution_options(isolation_level="AUTOCOMMIT")
    with pytest.raises(InboxError, match="AUTOCOMMIT"):
        listener.call(charging(engine), event(5))


def test_misuse_is_refused_where_it_is_written(small_engine: Engine) -> None:
    maker, async_maker = sessionmaker(small_engine), async_sessionmaker()

    def plain(event_message: EventMessage, session: Session) -> None: ...

    async def awaited(event_message: EventMessage, session: AsyncSession) -> None: ...

    def without(event_message: EventMessage) -> None: ...

    wrong: list[tuple[Any, Any, str]] = [
        (
            maker,
            awaited,
            r"test_sqlalchemy\.py:\d+: awaited is async def, .* async_sessionmaker, or write def",
        ),
        (async_maker, plain, r"plain is a plain function, .* a sessionmaker, or write async def"),
        (maker, without, r"takes no session by name; write: def without\(event_message, session"),
    ]
    for sessions, function, said in wrong:
        with pytest.raises(InvalidListener, match=said):
            inbox(sessions)(function)
    with pytest.raises(InvalidListener, match="has an inbox already"):
        inbox(maker)(inbox(maker)(plain))
    for sessions in (small_engine, Session(small_engine), plain):
        with pytest.raises(
            InvalidListener, match=r"takes what makes sessions, such as sessionmaker\(engine\)"
        ):
            inbox(sessions)  # type: ignore[call-overload]


def test_a_database_that_can_not_have_it_is_told_before_anything_comes(small_engine: Engine) -> None:
    from lightbus.declared.inbox import inbox_of

    found = inbox_of(charging(small_engine))
    assert found is not None and (found.name, found.gives) == ("sqlalchemy", "session")
    found.check()
    small_engine.dialect.name = "oracle"
    with pytest.raises(ConfigurationError, match="this database is oracle"):
        found.check()


def test_its_table_is_added_once_and_has_the_columns_and_indexes_that_django_makes(engine: Engine) -> None:
    assert inbox_table(METADATA) is NOTES
    from tests.outbox.django_here import django_here

    django_here()
    from lightbus.django.models import InboxEvent

    made = inspect(engine)
    assert {each["name"] for each in made.get_columns("lightbus_inbox")} == {
        field.column for field in InboxEvent._meta.fields
    }
    indexes = {each["name"]: each["column_names"] for each in made.get_indexes("lightbus_inbox")}
    assert indexes["lightbus_inbox_age"] == ["group", "handled_at"]
    (unique,) = made.get_unique_constraints("lightbus_inbox")
    assert unique["column_names"] == ["group", "event", "event_id"]
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(NOTES)) == 0


def test_the_errors_of_the_handler_itself_are_its_own(small_engine: Engine, listener: Listener) -> None:
    @inbox(sessionmaker(small_engine))
    def charge(event_message: EventMessage, session: Session, number: int) -> None:
        session.execute(text("SELECT * FROM nowhere"))

    with pytest.raises(DBAPIError, match="nowhere"):
        listener.call(charge, event(5))
