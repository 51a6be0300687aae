"""The outbox in Django's transactions, on each kind of database."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async

import lightbus
from lightbus.bus.path import BusPath
from lightbus.exceptions import (
    EventNotFound,
    InvalidEventArguments,
    InvalidMessage,
    InvalidParameters,
    NotAuthoritative,
    NotInTransaction,
    OutboxRequired,
    OutboxTableMissing,
    TransportUnavailable,
    ValidationError,
)
from lightbus.testing import BusMocker
from tests.support.eventually import eventually_async
from tests.support.servers import Server, free_port

from .conftest import Outbox, arguments, fired, relaying
from .shop import ShopApi


def atomic(outbox: Outbox) -> Any:
    from django.db import transaction

    return transaction.atomic(using=outbox.alias)


def opened(bus: BusPath, outbox: Outbox, **options: Any) -> BusPath:
    from lightbus.django import outbox as of

    return of(bus, using=outbox.alias, **options)


def place(bus: BusPath, outbox: Outbox, *numbers: int, **options: Any) -> None:
    with atomic(outbox):
        for number in numbers:
            opened(bus, outbox, **options).shop.placed.fire(number=number)


async def test_what_commits_is_fired_and_what_is_rolled_back_is_not(
    bus: BusPath, outbox: Outbox, redis_server: Server
) -> None:
    def work() -> list[str]:
        with atomic(outbox):
            one = opened(bus, outbox).shop.placed.fire(number=1, note="é \u0000 '")
            with pytest.raises(RuntimeError), atomic(outbox):
                opened(bus, outbox).shop.placed.fire(number=2)
                raise RuntimeError("the savepoint is rolled back")
            two = opened(bus, outbox).shop.placed.fire_many([{"number": 3}, {"number": 4}])
        with pytest.raises(RuntimeError), atomic(outbox):
            opened(bus, outbox).shop.placed.fire(number=5)
            raise RuntimeError("all of it is rolled back")
        return [one.id, *(event.id for event in two)]

    ids = await sync_to_async(work)()
    async with relaying(bus, outbox):
        await eventually_async(lambda: len(fired(redis_server)) == 3)
    assert [each.decode() for each in fired(redis_server)] == ids
    assert arguments(redis_server, "number") == [1, 3, 4]
    assert await sync_to_async(outbox.rows.count)() == 0


def test_it_writes_while_redis_is_away(bus: BusPath, outbox: Outbox, redis_server: Server) -> None:
    redis_server.pause()
    try:
        place(bus, outbox, 1)
    finally:
        redis_server.resume()
    assert outbox.rows.count() == 1


def test_on_commit_loses_what_the_outbox_keeps_where_redis_is_away(sqlite: Outbox) -> None:
    from django.db import transaction

    config, ran = {"bus": {"redis": {"url": f"redis://127.0.0.1:{free_port()}/0"}}}, list[int]()
    with lightbus.create(config, service_name="shop") as bus:
        bus.client.register_api(ShopApi)
        with pytest.raises(TransportUnavailable), atomic(sqlite):
            opened(bus, sqlite).shop.placed.fire(number=1)
            transaction.on_commit(partial(bus.shop.placed.fire, number=2), using=sqlite.alias)
            transaction.on_commit(partial(ran.append, 3), using=sqlite.alias)
    # It has committed all the same; the second event is nowhere, and other callbacks were not run either.
    assert [json.loads(row.kwargs)["number"] for row in sqlite.rows.all()] == [1]
    assert not ran


def test_outside_of_a_transaction_it_refuses(bus: BusPath, outbox: Outbox) -> None:
    with pytest.raises(NotInTransaction, match=r"with transaction\.atomic\(\)"):
        opened(bus, outbox).shop.placed.fire(number=1)
    opened(bus, outbox, require_transaction=False).shop.placed.fire(number=1)
    assert outbox.rows.count() == 1


@pytest.mark.parametrize(
    ("error", "use"),
    [
        (InvalidEventArguments, lambda shop: shop.placed.fire(no=1)),
        (ValidationError, lambda shop: shop.placed.fire(number="one")),
        (InvalidMessage, lambda shop: shop.placed.fire(number=1, note="x" * (1 << 20))),
        (EventNotFound, lambda shop: shop.sent.fire()),
        (InvalidParameters, lambda shop: shop.placed.fire(1)),
        (InvalidParameters, lambda shop: shop.placed.fire(number=1, bus_options={"key": 7})),
        (InvalidParameters, lambda shop: shop.placed.fire(number=1, bus_options={"key": "a\n"})),
        (InvalidParameters, lambda shop: shop.placed.fire_many([{"number": 1}], bus_options={"keys": []})),
        (InvalidParameters, lambda shop: shop.price()),
    ],
)
def test_what_can_not_be_fired_is_refused_before_it_is_written(
    bus: BusPath, sqlite: Outbox, error: type[Exception], use: Any
) -> None:
    with pytest.raises(error), atomic(sqlite):
        use(opened(bus, sqlite).shop)
    assert sqlite.rows.count() == 0


def test_only_the_owner_writes_events(sqlite: Outbox, redis_url: str) -> None:
    with lightbus.create(redis_url, service_name="other") as bus:
        with pytest.raises(NotAuthoritative), atomic(sqlite):
            opened(bus, sqlite).shop.placed.fire(number=1)


def test_a_bus_is_wanted(sqlite: Outbox) -> None:
    with pytest.raises(InvalidParameters, match="takes a bus"):
        opened(object(), sqlite)  # type: ignore[arg-type]


async def test_async_code_is_told_to_put_the_block_into_a_thread(bus: BusPath, sqlite: Outbox) -> None:
    with pytest.raises(NotInTransaction, match=r"sync_to_async\(function\)"):
        await opened(bus, sqlite).shop.placed.fire_async(number=1)


def test_many_events_are_one_insert_with_their_ids_and_keys(bus: BusPath, outbox: Outbox) -> None:
    from django.db import connections
    from django.test.utils import CaptureQueriesContext

    options = {"ids": ["a", None, "c"], "keys": ["k", "", None]}
    with CaptureQueriesContext(connections[outbox.alias]) as queries, atomic(outbox):
        made = opened(bus, outbox).shop.placed.fire_many(
            [{"number": n} for n in range(3)], bus_options=options
        )
    assert [query["sql"][:6] for query in queries.captured_queries].count("INSERT") == 1
    rows = list(outbox.rows.order_by("seq").values_list("event_id", "key"))
    assert rows == [("a", "k"), (made[1].id, ""), ("c", "")]


def rename(outbox: Outbox, name: str, other: str) -> None:
    from django.db import connections

    with connections[outbox.alias].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {name} RENAME TO {other}")


def test_a_missing_table_is_told_with_its_remedy(bus: BusPath, outbox: Outbox) -> None:
    rename(outbox, "lightbus_outbox", "away")
    try:
        with pytest.raises(OutboxTableMissing, match=r"manage\.py migrate lightbus --database"):
            place(bus, outbox, 1)
        with pytest.raises(OutboxTableMissing):
            outbox.tables().begin(range(12), 10)
    finally:
        rename(outbox, "away", "lightbus_outbox")


def test_the_models_are_as_the_migration_makes_them_and_it_can_be_taken_back(outbox: Outbox) -> None:
    from django.core.management import call_command

    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    call_command("migrate", "lightbus", "zero", database=outbox.alias, verbosity=0)
    call_command("migrate", "lightbus", database=outbox.alias, verbosity=0)
    assert outbox.rows.count() == 0


@pytest.mark.parametrize("outbox_is", ["required", "null"])
async def test_an_api_may_demand_the_outbox(sqlite: Outbox, redis_url: str, outbox_is: str) -> None:
    config = {"bus": {"redis": {"url": redis_url}}, "apis": {"shop": {"outbox": outbox_is}}}
    if outbox_is == "null":
        del config["apis"]
    async with lightbus.create(config, service_name="shop") as bus:
        bus.client.register_api(ShopApi)
        if outbox_is == "required":
            with pytest.raises(OutboxRequired, match=r"outbox\(bus\)\.shop\.placed\.fire"):
                await bus.shop.placed.fire_async(number=1)
        else:
            await bus.shop.placed.fire_async(number=1)
        await sync_to_async(place)(bus, sqlite, 1)


def test_a_mocked_bus_notes_what_is_written(bus: BusPath, sqlite: Outbox) -> None:
    with BusMocker(bus) as mocked:
        mocked.mock_event_firing("shop.placed")
        place(bus, sqlite, 5)
        mocked.assert_event_fired("shop.placed", times=1)
        with pytest.raises(AssertionError, match=r"shop\.paid was fired"), atomic(sqlite):
            opened(bus, sqlite).shop.paid.fire(number=5)
