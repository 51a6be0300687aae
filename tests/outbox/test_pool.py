"""Pools of one connection: the relay takes none of it, so whoever writes never waits for the relay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from lightbus.bus.path import BusPath
from lightbus.sqlalchemy import outbox as in_session
from tests.support.databases import Databases
from tests.support.eventually import eventually_async
from tests.support.servers import Server

from .conftest import Outbox, arguments, known_as, outbox_in
from .conftest import relaying as relaying_django
from .test_django import place as place_in_django
from .test_sqlalchemy import METADATA, place, relaying, url_of

#: Seconds for a connection: whoever waits for one that the relay has taken waits for ever.
PATIENCE = 60
ONE: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": PATIENCE}


async def test_a_synchronous_engine(bus: BusPath, databases: Databases, redis_server: Server) -> None:
    engine = create_engine(url_of("postgresql", databases), **ONE)
    METADATA.create_all(engine)
    async with relaying(bus, engine, partitions=2):
        for number in range(20):
            await asyncio.to_thread(place, bus, engine, number)
        await eventually_async(lambda: arguments(redis_server, "number") == [*range(20)])
    engine.dispose()


async def test_an_asynchronous_engine(bus: BusPath, databases: Databases, redis_server: Server) -> None:
    engine = create_async_engine(url_of("postgresql", databases), **ONE)
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    async with relaying(bus, engine):
        for number in range(20):
            async with AsyncSession(engine) as session, session.begin():
                await in_session(bus, session).shop.placed.fire_async(number=number)
        await eventually_async(lambda: arguments(redis_server, "number") == [*range(20)])
    await engine.dispose()


@pytest.fixture
def pooled(databases: Databases, migrated: dict[str, str], tmp_path_factory: Any) -> Iterator[Outbox]:
    """A database of Django's whose connections come from a pool of one."""
    plain = outbox_in("postgresql", databases, migrated, tmp_path_factory)
    from django.db import connections

    pool = {"min_size": 1, "max_size": 1, "timeout": PATIENCE}
    with known_as("pooled", plain, OPTIONS={"pool": pool}) as outbox:
        yield outbox
        connections["pooled"].close_pool()
        del connections["pooled"]


async def test_a_pool_of_djangos(bus: BusPath, pooled: Outbox, redis_server: Server) -> None:
    def write(number: int) -> None:
        from django.db import connections

        place_in_django(bus, pooled, number)
        connections["pooled"].close()

    async with relaying_django(bus, pooled):
        for number in range(20):
            await sync_to_async(write)(number)
        await eventually_async(lambda: arguments(redis_server, "number") == [*range(20)])
