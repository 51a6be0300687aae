"""What the tests of the outbox share: databases with its tables, a bus, and a relay in the test's process."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import lightbus
from lightbus.bus.path import BusPath
from lightbus.declared.settings import OutboxOptions
from lightbus.outbox.database import InThread, Tables
from lightbus.outbox.relay import Relay
from tests.conftest import missing
from tests.support.databases import PACKAGES, DatabaseKind, Databases, django_settings, is_installed
from tests.support.servers import Server

from .django_here import migrated
from .shop import ShopApi

EVENTS = "shop.*:stream"


@dataclass(frozen=True)
class Outbox:
    """A database of Django's with the tables of an outbox, all empty."""

    kind: DatabaseKind
    alias: str

    def tables(self) -> Tables:
        """Its tables as a relay has them."""
        from lightbus.django.tables import DjangoTables

        return DjangoTables(self.alias)

    @property
    def rows(self) -> Any:
        """The rows, as a query of Django's."""
        from lightbus.django.models import OutboxEvent

        return OutboxEvent.objects.using(self.alias)


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """One server of each kind for all processes of the tests, started when it is first asked for."""
    own = tmp_path_factory.getbasetemp()
    servers = Databases(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)
    yield servers
    servers.close()


@pytest.fixture(scope="session", name="migrated")
def known_aliases(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The aliases of the databases that have the tables already, by kind."""
    known: dict[str, str] = {}
    yield known
    if known:
        from django.db import connections

        connections.close_all()


def outbox_in(
    kind: DatabaseKind, databases: Databases, known: dict[str, str], folder: pytest.TempPathFactory
) -> Outbox:
    """An empty outbox in a database of a kind."""
    if not is_installed(kind):
        missing(f"no {kind}: install Debian's package {PACKAGES[kind]}")
    if kind not in known:
        server = databases.server(kind) if kind != "sqlite" else None
        name = str(folder.mktemp("sqlite") / "db.sqlite3") if server is None else server.new_database()
        migrated(kind, django_settings(kind, server, name))
        known[kind] = kind
    from lightbus.django.models import InboxEvent, OutboxEvent, OutboxLock

    for model in (OutboxEvent, OutboxLock, InboxEvent):
        model.objects.using(kind).all().delete()
    return Outbox(kind, kind)


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
def outbox(
    request: pytest.FixtureRequest,
    databases: Databases,
    migrated: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Outbox]:
    """An empty outbox in each kind of database in turn."""
    yield outbox_in(request.param, databases, migrated, tmp_path_factory)
    from django.db import connections

    connections.close_all()


@pytest.fixture
def sqlite(
    databases: Databases, migrated: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outbox]:
    """An empty outbox in SQLite, for what is the same in each database."""
    yield outbox_in("sqlite", databases, migrated, tmp_path_factory)
    from django.db import connections

    connections.close_all()


@contextlib.contextmanager
def known_as(alias: str, outbox: Outbox, **changes: Any) -> Iterator[Outbox]:
    """The same database under another name of Django's, reached in another way; whoever connects closes."""
    from django.db import connections

    # What Django knows of the first has its defaults in it.
    connections.databases[alias] = {**connections.databases[outbox.alias], **changes}
    yield Outbox(outbox.kind, alias)
    del connections.databases[alias]


@pytest.fixture
def bus(redis_url: str) -> Iterator[BusPath]:
    """A bus that owns the shop."""
    bus = lightbus.create({"bus": {"redis": {"url": redis_url}}}, service_name="shop")
    bus.client.register_api(ShopApi)
    yield bus
    bus.client.close()


@contextlib.asynccontextmanager
async def relaying(bus: BusPath, outbox: Outbox, **options: Any) -> AsyncIterator[list[Relay]]:
    """Relays of an outbox in this process."""
    settings = OutboxOptions(**{"poll": 0.02, **options})
    relays = [
        Relay(bus.client, InThread(outbox.tables()), settings, part) for part in range(settings.partitions)
    ]
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    try:
        yield relays
    finally:
        for relay in relays:
            relay.end()
        await asyncio.gather(*tasks)
        for relay in relays:
            await relay.close()


def fired(server: Server) -> list[bytes]:
    """The ids of the events in the stream of the shop, in their order."""
    entries = server.execute("XRANGE", EVENTS, "-", "+")
    return [dict(zip(e[1][::2], e[1][1::2], strict=True))[b"id"] for e in entries]


def arguments(server: Server, name: str) -> list[int]:
    """What the events of the shop say in one of their arguments, in order."""
    entries = server.execute("XRANGE", EVENTS, "-", "+")
    key = f":{name}".encode()
    return [int(dict(zip(e[1][::2], e[1][1::2], strict=True))[key]) for e in entries]
