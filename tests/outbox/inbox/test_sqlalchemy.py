"""``@inbox(Session)`` in SQLAlchemy's sessions, on each kind of database, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
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
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from lightbus.exceptions import ConfigurationError, InboxError, InboxTableMissing, InvalidListener
from lightbus.messages import EventMessage
from lightbus.outbox import inbox as rules
from lightbus.sqlalchemy import inbox, inbox_table
from lightbus.sqlalchemy.schema import now
from tests.conftest import missing
from tests.support.databases import PACKAGES, Databases, is_installed

from .conftest import GROUP, Listener, event

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


def test_an_event_that_comes_twice_has_its_effects_once(engine: Engine, listener: Listener) -> None:
    charge = charging(engine)
    for given in (event(5), event(5), event(7, "two"), event(5), event(1, "TWO"), event(1, "two", "paid")):
        listener.call(charge, given)
    assert balance(engine) == 14
    assert listener.counted == {"new": 4, "done_before": 2}


@pytest.mark.parametrize("first_fails", [False, True])
def test_a_twin_waits_for_the_end_of_the_first(engine: Engine, listener: Listener, first_fails: bool) -> None:
    begun, may_end, runs = threading.Event(), threading.Event(), []

    @inbox(sessionmaker(engine))
    def charge(event_message: EventMessage, session: Session, number: int) -> None:
        runs.append(number)
        is_first = not begun.is_set()
        begun.set()
        assert may_end.wait(60)
        session.execute(paying(number))
        if is_first and first_fails:
            raise ValueError("the first fails")

    def call() -> None:
        try:
            listener.call(charge, event(5))
        except ValueError:
            assert first_fails

    threads = [threading.Thread(target=call) for _ in range(2)]
    threads[0].start()
    assert begun.wait(60)
    threads[1].start()
    # The second waits, so that what follows can't come too early for it, only too late to show anything.
    threads[1].join(0.05)
    assert threads[1].is_alive() and len(runs) == 1
    may_end.set()
    for thread in threads:
        thread.join(60)
    assert balance(engine) == 5
    assert listener.counted == ({"new": 1} if first_fails else {"new": 1, "done_before": 1})


def test_a_list_has_only_what_is_new_in_its_order_and_in_one_transaction(
    engine: Engine, listener: Listener
) -> None:
    lists: list[list[int]] = []

    @inbox(sessionmaker(engine))
    def charge(events: list[EventMessage], session: Session) -> None:
        lists.append([each.kwargs["number"] for each in events])
        for each in events:
            session.execute(paying(each.kwargs["number"]))
        if len(lists) == 2:
            raise ValueError("all or nothing")

    listener.call(charge, [event(2, "b")])
    many = [event(4, "d"), event(2, "b"), event(1, "a"), event(4, "d"), event(3, "c")]
    with pytest.raises(ValueError, match="all or nothing"):
        listener.call(charge, many)
    assert balance(engine) == 2
    listener.call(charge, many)
    listener.call(charge, many)
    listener.call(charge, [event(1, str(n)) for n in range(500)])
    listener.call(charge, [event(1, str(n)) for n in range(501)])
    assert lists[:3] == [[2], [4, 1, 3], [4, 1, 3]]
    assert balance(engine) == 511
    assert listener.counted == {"new": 505, "done_before": 507}


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


def test_a_transaction_that_an_error_has_ended_is_told_though_the_error_was_caught(
    engine: Engine, listener: Listener
) -> None:
    maker = sessionmaker(engine)

    @inbox(maker)
    def careless(event_message: EventMessage, session: Session, number: int) -> None:
        session.execute(paying(number))
        with pytest.raises(IntegrityError):
            session.execute(insert(BANK).values(name="ann", balance=0))
        if engine.dialect.name == "mysql":
            # As it does at a deadlock: the transaction is rolled back, and the connection goes on.
            session.connection().connection.rollback()

    @inbox(maker)
    def careful(event_message: EventMessage, session: Session, number: int) -> None:
        session.execute(paying(number))
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(insert(BANK).values(name="ann", balance=0))

    if engine.dialect.name != "sqlite":
        with pytest.raises(InboxError, match=r"what may fail into a session\.begin_nested\(\) of its own"):
            listener.call(careless, event(5))
    listener.call(careful, event(7, "two"))
    assert (balance(engine), notes(engine)) == (7, ["two"])


def test_old_notes_are_deleted_in_small_steps_and_those_of_others_stay(
    engine: Engine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "_SOON", 0.0)
    ages = [(GROUP, n, 61) for n in range(700)] + [("billing-other", 0, 61), (GROUP, 1_000, 50)]
    row = {"event": "shop.placed"}
    with engine.begin() as connection:
        connection.execute(
            insert(NOTES),
            [
                {**row, "group": group, "event_id": f"old-{n}", "handled_at": now() - timedelta(seconds=age)}
                for group, n, age in ages
            ],
        )
    charge = charging(engine, keep="60s")
    listener.call(charge, event(1, "a"))
    assert len(notes(engine)) == 702 - rules.STEP + 1
    listener.call(charge, event(1, "b"))
    assert notes(engine) == ["a", "b", "old-0", "old-1000"]


def test_a_missing_table_is_told_with_its_remedy(engine: Engine, listener: Listener) -> None:
    NOTES.drop(engine)
    with pytest.raises(InboxTableMissing, match=r"inbox_table\(Base\.metadata\).* alembic revision"):
        listener.call(charging(engine), event(5))


def test_notes_that_can_not_be_deleted_do_not_fail_the_handler(
    small_engine: Engine, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    with small_engine.begin() as connection:
        row = {"event": "e", "event_id": "i", "handled_at": now() - timedelta(days=1)}
        connection.execute(insert(NOTES).values(group=GROUP, **row))
        connection.execute(
            text(
                "CREATE TRIGGER stays BEFORE DELETE ON lightbus_inbox "
                "BEGIN SELECT RAISE(ABORT, 'it stays'); END"
            )
        )
    listener.call(charging(small_engine, keep=1), event(5))
    assert balance(small_engine) == 5
    assert "old notes of the inbox of charge could not be deleted" in caplog.text


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


def test_the_errors_of_the_handler_itself_are_its_own(engine: Engine, listener: Listener) -> None:
    @inbox(sessionmaker(engine))
    def charge(event_message: EventMessage, session: Session, number: int) -> None:
        session.execute(text("SELECT * FROM nowhere"))

    with pytest.raises(DBAPIError, match="nowhere"):
        listener.call(charge, event(5))
