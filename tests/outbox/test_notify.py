"""``outbox.notify``: whoever writes wakes the relay, which else looks every ``poll``."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from asgiref.sync import sync_to_async
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import lightbus
from lightbus.bus.path import BusPath
from lightbus.declared.settings import OutboxOptions
from lightbus.outbox.database import InThread, Remote
from lightbus.outbox.relay import Relay
from lightbus.sqlalchemy import outbox as in_session
from lightbus.sqlalchemy.engines import connect
from tests.support.databases import Databases
from tests.support.eventually import eventually_async
from tests.support.servers import Server

from .conftest import Outbox, arguments, known_as, outbox_in
from .pooler import pooling
from .shop import ShopApi
from .test_django import place as place_in_django
from .test_sqlalchemy import METADATA, place, url_of

Way = Literal["django", "sqlalchemy", "asynchronous"]
Write = Callable[[int], Awaitable[Any]]
#: Longer than anything is waited for here: a relay that has sent an event was woken.
POLL = 600.0


@pytest.fixture(params=[True])
def notifying(request: pytest.FixtureRequest, redis_url: str) -> Any:
    """A bus that owns the shop, and wakes relays unless a test says otherwise."""
    config = {"bus": {"redis": {"url": redis_url}}, "outbox": {"notify": request.param}}
    bus = lightbus.create(config, service_name="shop")
    bus.client.register_api(ShopApi)
    yield bus
    bus.client.close()


@asynccontextmanager
async def way_of(
    name: Way, bus: BusPath, databases: Databases, django: Outbox, relay: int = 0, writer: int = 0
) -> AsyncIterator[tuple[Callable[[], Remote], Write]]:
    """How a relay is connected to a PostgreSQL, and how an event is written, perhaps over other ports."""
    own = databases.server("postgresql").port
    if name == "django":
        # A name for each port: a thread may remember what it knew by that name.
        with (
            known_as(f"relay over {relay}", django, PORT=str(relay or own)) as relayed,
            known_as(f"writer over {writer}", django, PORT=str(writer or own)) as written,
        ):
            yield _in_django(bus, relayed, written)
        return
    url = url_of("postgresql", databases)
    engine = create_engine(url)
    METADATA.create_all(engine)
    engine.dispose()
    make: Any = create_engine if name == "sqlalchemy" else create_async_engine
    relaying, writing = (
        # What is prepared in one transaction, pgbouncer does not know in the next.
        make(url.replace(f":{own}/", f":{port or own}/"), connect_args={"prepare_threshold": None})
        for port in (relay, writer)
    )

    async def write(number: int) -> None:
        if name == "sqlalchemy":
            await asyncio.to_thread(place, bus, writing, number)
            return
        async with AsyncSession(writing) as session, session.begin():
            await in_session(bus, session).shop.placed.fire_async(number=number)

    yield lambda: connect(relaying, "db:engine", notify=True), write
    for each in (relaying, writing):
        closing = each.dispose()
        if closing is not None:
            await closing


def _in_django(bus: BusPath, relayed: Outbox, written: Outbox) -> tuple[Callable[[], Remote], Write]:
    from django.db import connections

    from lightbus.django.tables import DjangoTables

    def write(number: int) -> None:
        place_in_django(bus, written, number)
        connections[written.alias].close()

    return lambda: InThread(DjangoTables(relayed.alias, notify=True)), sync_to_async(write)


@pytest.fixture
def django(databases: Databases, migrated: dict[str, str], tmp_path_factory: Any) -> Outbox:
    """An empty outbox of Django's in PostgreSQL."""
    return outbox_in("postgresql", databases, migrated, tmp_path_factory)


@pytest.fixture(scope="module")
def pgbouncer(databases: Databases) -> Iterator[int]:
    """The port of a pgbouncer before the PostgreSQL."""
    with pooling(databases.server("postgresql")) as port:
        yield port


@asynccontextmanager
async def relaying(bus: BusPath, remote: Remote, **options: Any) -> AsyncIterator[Relay]:
    relay = Relay(bus.client, remote, OutboxOptions(**{"poll": POLL, "notify": True, **options}))
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        relay.end()
        await task
        await relay.close()


async def fired(server: Server, number: int) -> None:
    await eventually_async(lambda: arguments(server, "number") == [*range(number)])


@pytest.mark.parametrize("name", ["django", "sqlalchemy", "asynchronous"])
async def test_whoever_writes_wakes_the_relay_at_once_also_over_a_new_connection(
    notifying: BusPath, databases: Databases, django: Outbox, redis_server: Server, name: Way
) -> None:
    async with way_of(name, notifying, databases, django) as (remote, write):
        async with relaying(notifying, remote()) as relay:
            for number in range(5):
                await write(number)
                await fired(redis_server, number + 1)
            tables: Any = relay._database._tables
            process = tables._ear._raw.info.backend_pid
            databases.server("postgresql").execute(f"SELECT pg_terminate_backend({process})")
            await write(5)
            await fired(redis_server, 6)
            await write(6)
            await fired(redis_server, 7)


@pytest.mark.parametrize("notifying", [False], indirect=True)
@pytest.mark.parametrize("name", ["django", "sqlalchemy", "asynchronous"])
async def test_a_lost_sign_costs_no_more_than_poll(
    notifying: BusPath, databases: Databases, django: Outbox, redis_server: Server, name: Way
) -> None:
    async with way_of(name, notifying, databases, django) as (remote, write):
        database, looked = remote(), []
        begin: Callable[..., Any] = database.begin

        async def noted(*about: Any) -> Any:
            looked.append(time.monotonic())
            return await begin(*about)

        database.begin = noted  # type: ignore[method-assign,assignment]
        async with relaying(notifying, database, poll=0.5):
            # The second look follows at once, as signs are heard only from then on.
            await eventually_async(lambda: len(looked) >= 2)
            await write(1)
            await eventually_async(lambda: arguments(redis_server, "number") == [1])
    assert looked[2] - looked[1] >= 0.5


@pytest.mark.parametrize("name", ["django", "sqlalchemy", "asynchronous"])
async def test_through_pgbouncer_writers_wake_a_relay_that_goes_around_it(
    notifying: BusPath, databases: Databases, django: Outbox, redis_server: Server, name: Way, pgbouncer: int
) -> None:
    async with way_of(name, notifying, databases, django, writer=pgbouncer) as (remote, write):
        async with relaying(notifying, remote()):
            for number in range(8):
                await write(number)
                await fired(redis_server, number + 1)


@pytest.mark.parametrize("name", ["django", "sqlalchemy", "asynchronous"])
async def test_behind_pgbouncer_a_relay_tells_once_that_it_hears_no_signs_and_poll_goes_on(
    notifying: BusPath,
    databases: Databases,
    django: Outbox,
    redis_server: Server,
    caplog: pytest.LogCaptureFixture,
    name: Way,
    pgbouncer: int,
) -> None:
    ways = way_of(name, notifying, databases, django, relay=pgbouncer, writer=pgbouncer)
    async with ways as (remote, write), relaying(notifying, remote(), poll=0.05):
        await asyncio.gather(*map(write, range(20)))
        await eventually_async(lambda: sorted(arguments(redis_server, "number")) == [*range(20)])
        await eventually_async(lambda: "does nothing for" in caplog.text)
        # A second look would tell it again.
        await write(20)
        await eventually_async(lambda: 20 in arguments(redis_server, "number"))
    (told,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert told.startswith("outbox.notify does nothing for ")
    assert "a pooler such as pgbouncer stands before PostgreSQL" in told


async def test_another_database_has_no_signs_and_nobody_who_writes_gives_any(
    notifying: BusPath, sqlite: Outbox, redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    from lightbus.django.tables import DjangoTables

    async with relaying(notifying, InThread(DjangoTables(sqlite.alias, notify=True)), poll=0.05):
        await eventually_async(lambda: "SQLite has nothing like NOTIFY" in caplog.text)
        await sync_to_async(place_in_django)(notifying, sqlite, 1)
        await eventually_async(lambda: arguments(redis_server, "number") == [1])
