"""Events that come again over a real Redis, in whatever way: their effects are there once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from asgiref.sync import sync_to_async

from lightbus import DeliveryPolicy
from lightbus.insight import dead_letters, groups
from lightbus.messages import EventMessage
from tests.host.conftest import Bench, Hosted
from tests.outbox.conftest import outbox_in
from tests.support.databases import Databases
from tests.support.eventually import eventually_async
from tests.support.servers import Server
from tests.support.timers import outlast_leases

from .conftest import Bank, in_django, opened

STREAM, GROUP = "shop.*:stream", "shop-charge"
T = TypeVar("T")
#: Nothing is tried again by itself, and whoever looks for what others have left finds it soon.
ONCE = DeliveryPolicy(attempts=1)
MANIFEST = """\
process_name: {name}
django: true
apis: {{default: {{event_transport: {{redis: {{acknowledgement_timeout: 1h, reclaim_interval: 50ms}}}}}}}}
"""
#: How many transactions of a database wait for others.
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = '{database}'"


def host_of(bench: Bench, handler: Callable[..., object], name: str = "one", **options: Any) -> Hosted:
    """A process whose listener has a handler, to be entered."""
    host = bench.host(MANIFEST.format(name=name))
    host.bus.shop.sold.listen(handler, listener_name="charge", on_error=ONCE, bus_options=options or None)
    return host


def charging(bank: Bank, runs: list[str]) -> Callable[..., None]:
    """A handler that pays in what an event says, and fails first where it says nothing yet."""

    @in_django(bank)
    def charge(event_message: EventMessage, sku: str) -> None:
        runs.append(event_message.id)
        bank.pay_in(int(sku))
        if event_message.id == "fails" and runs.count("fails") == 1:
            raise ValueError("not yet")

    return charge


def outcomes(*hosts: Hosted) -> dict[str, int]:
    """How many events were new, and how many done before."""
    found: Counter[str] = Counter()
    for host in hosts:
        for (_, outcome), number in host.client.parts.metrics.inbox.values.items():
            found[outcome] += int(number)
    return dict(found)


async def asked(bank: Bank, question: Callable[[Bank], T]) -> T:
    """What the bank answers, in a thread as Django wants it."""

    def ask() -> T:
        from django.db import connections

        try:
            return question(bank)
        finally:
            connections[bank.alias].close()

    answer: T = await sync_to_async(ask)()
    return answer


async def balance(bank: Bank) -> int:
    return await asked(bank, lambda it: it.balance)


async def fire(host: Hosted, sku: str, event_id: str) -> None:
    await host.bus.shop.sold.fire_async(sku=sku, bus_options={"id": event_id})


def database_of(bank: Bank) -> str:
    """Its name on the server, which other tests use as well."""
    from django.db import connections

    return str(connections[bank.alias].settings_dict["NAME"])


def is_settled(server: Server) -> bool:
    """Whether the group has read and acknowledged all."""
    (told,) = server.execute("XINFO", "GROUPS", STREAM)
    fields = dict(zip(told[::2], told[1::2], strict=True))
    return not fields[b"pending"] and not fields[b"lag"]


@pytest.fixture
def own_bank(databases: Databases, migrated: dict[str, str], tmp_path_factory: Any) -> Iterator[Bank]:
    """An account in PostgreSQL, where two transactions may be open at a time."""
    from django.db import connections

    yield from opened(outbox_in("postgresql", databases, migrated, tmp_path_factory))
    connections.close_all()


async def test_two_processes_that_have_one_event_at_a_time_have_its_effects_once(
    bench: Bench, own_bank: Bank, redis_server: Server, databases: Databases
) -> None:
    running, may_end, runs = threading.Event(), threading.Event(), []

    @in_django(own_bank)
    def charge(event_message: EventMessage, sku: str) -> None:
        runs.append(sku)
        own_bank.pay_in(int(sku))
        running.set()
        assert may_end.wait(60)

    one, two = (host_of(bench, charge, name) for name in ("one", "two"))
    async with one:
        await fire(one, "5", "a")
        await eventually_async(running.is_set)
        async with two:
            # What Redis knows once a process was frozen for longer than its lease.
            ((_, owner, *_),) = redis_server.execute("XPENDING", STREAM, GROUP, "-", "+", 10)
            outlast_leases(redis_server, STREAM, GROUP, owner)
            server, waits = databases.server("postgresql"), WAITS.format(database=database_of(own_bank))
            await eventually_async(lambda: server.execute(waits)[0][0] == 1, 60)
            before = await balance(own_bank), list(runs)
            may_end.set()
            await eventually_async(lambda: outcomes(one, two) == {"new": 1, "done_before": 1}, 60)
            await eventually_async(lambda: is_settled(redis_server), 60)
    assert before == (0, ["5"])
    assert (await balance(own_bank), runs) == (5, ["5"])


async def test_a_dead_letter_that_is_replayed_runs_unless_its_effects_are_there(
    bench: Bench, small_bank: Bank, redis_server: Server
) -> None:
    runs: list[str] = []

    async def replay(host: Hosted) -> int:
        found = dead_letters.replay(host.client, ["shop"], dead_letters.Filter())
        return len([letter async for letter in found])

    def noted(bank: Bank) -> None:
        note = 'INSERT INTO lightbus_inbox ("group", event, event_id, handled_at) VALUES (%s, %s, %s, %s)'
        bank.execute(note, GROUP, "shop.sold", "fails", "2026-01-01")

    def dead() -> int:
        key = f"{{{STREAM}}}:dead:{GROUP}"
        return int(redis_server.execute("XLEN", key))

    async with host_of(bench, charging(small_bank, runs)) as host:
        await fire(host, "5", "fails")
        await eventually_async(lambda: dead() == 1)
        assert await asked(small_bank, lambda it: (it.balance, it.notes)) == (0, [])
        assert await replay(host) == 1
        await eventually_async(lambda: outcomes(host) == {"new": 1})
        assert (await balance(small_bank), runs) == (5, ["fails", "fails"])
        # As after a process that has died between its commit and its acknowledgement, each time.
        runs.clear()
        await asked(small_bank, lambda it: it.execute("DELETE FROM lightbus_inbox"))
        await fire(host, "7", "fails")
        await eventually_async(lambda: dead() == 1)
        await asked(small_bank, noted)
        assert await replay(host) == 1
        await eventually_async(lambda: outcomes(host) == {"new": 1, "done_before": 1})
    assert (await balance(small_bank), runs) == (5, ["fails"])


async def test_a_group_that_is_set_back_runs_only_what_is_not_noted(bench: Bench, small_bank: Bank) -> None:
    runs: list[str] = []
    charge = charging(small_bank, runs)

    async def seek() -> None:
        async with bench.client() as bus:
            found = await groups.find(bus.client, ["shop"], GROUP, scan=True)
            await groups.seek(bus.client, found, await groups.plan_seek(found, "start"))

    async with host_of(bench, charge) as host:
        for number in (1, 2, 4):
            await fire(host, str(number), str(number))
        await eventually_async(lambda: outcomes(host) == {"new": 3})
    await seek()
    async with host_of(bench, charge) as host:
        await eventually_async(lambda: outcomes(host) == {"done_before": 3})
    assert await balance(small_bank) == 7
    await asked(small_bank, lambda it: it.execute("DELETE FROM lightbus_inbox WHERE event_id = '2'"))
    await seek()
    async with host_of(bench, charge) as host:
        await eventually_async(lambda: outcomes(host) == {"done_before": 2, "new": 1})
    assert (await balance(small_bank), runs) == (9, ["1", "2", "4", "2"])


async def test_dedupe_spares_the_database_what_redis_knows_and_the_inbox_has_the_rest(
    bench: Bench, small_bank: Bank, redis_server: Server
) -> None:
    runs: list[str] = []
    async with host_of(bench, charging(small_bank, runs), dedupe="1h") as host:
        for _ in range(3):
            await fire(host, "5", "a")
        await eventually_async(lambda: redis_server.execute("XLEN", STREAM) == 3)
        await eventually_async(lambda: is_settled(redis_server))
        assert outcomes(host) == {"new": 1}
        # Redis has lost what it knew, as by a failover.
        known = [key for key in redis_server.execute("KEYS", "*") if GROUP.encode() in key]
        remembered = [key for key in known if b":handled:" in key]
        assert remembered, known
        redis_server.execute("DEL", *remembered)
        await fire(host, "5", "a")
        await eventually_async(lambda: outcomes(host) == {"new": 1, "done_before": 1})
    assert (await balance(small_bank), runs) == (5, ["a"])
