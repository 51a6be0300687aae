"""What processes say of themselves on the bus: hosts, and those that only use it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import lightbus
from lightbus.bus import cards
from lightbus.bus.creation import create
from lightbus.bus.path import BusPath
from lightbus.declared.settings import FEATURES
from lightbus.exceptions import LightbusWorkerError
from lightbus.insight.cards import last_runs, read_cards
from lightbus.transports.cards import Card, ListenerCard, PolicyCard, ScheduleCard, write_card
from tests.guide.project import Project
from tests.host.conftest import Bench, Hosted
from tests.host.shop import ShopApi, ledger
from tests.support.eventually import eventually, eventually_async
from tests.support.servers import Server, free_port

MANIFEST = """
service_version: "3.2"
process_name: p1
policies: {patient: {attempts: 3, backoff: {initial: 2s, factor: 3, max: 1m}, then: acknowledge_and_log}}
listeners:
  note: {events: [shop.sold], handler: 'tests.host.shop:note', on_error: patient, concurrency: 4, dedupe: 1m}
  fail: {events: ['shop.*'], handler: 'tests.host.shop:fail', on_error: acknowledge_and_log}
  idle: {events: [shop.sold], handler: 'tests.host.shop:note_list', batch: 5, enabled: false}
schedules:
  tick: {every: 50ms, scope: service, call: 'tests.host.shop:tick'}
  close: {cron: '0 2 * * *', timezone: Europe/London, call: 'tests.host.shop:tock'}
apis: {shop: {rpc_concurrency: 7, event_transport: {redis: {max_stream_length: 500}}}}
"""
SHOP = Path(sys.modules[ShopApi.__module__].__file__ or "")


async def cards_on(bench: Bench) -> list[Card]:
    async with bench.client() as other:
        return await read_cards(other.client)


async def card_of(bench: Bench, process: str = "p1") -> Card | None:
    return next((card for card in await cards_on(bench) if card.process == process), None)


async def renewed(host: Hosted, bench: Bench) -> Card:
    """The card of a host as it is by now."""
    host.client.parts.card.renew()
    expected = host.client.parts.card.card()

    async def is_seen() -> bool:
        card = await card_of(bench)
        return card is not None and facts(card) == facts(expected)

    await eventually_async(is_seen)
    card = await card_of(bench)
    assert card is not None
    return card


def facts(card: Card) -> tuple[Any, ...]:
    """What tells a card from the one before; it may have been written by itself in between."""
    handled = {each.name: each.recent.outcomes for each in card.listeners}
    served = {each.name: each.recent.outcomes for each in card.procedures}
    has_run = {each.name: each.started is not None for each in card.schedules}
    return card.calls, card.phase, handled, served, has_run


async def test_a_host_shows_what_it_is_and_runs(bench: Bench) -> None:
    async with bench.host(MANIFEST) as host:
        await eventually_async(lambda: ledger.counts["tick"])
        card = await renewed(host, bench)
        assert (card.service, card.version, card.kind, card.phase) == ("shop", "3.2", "host", "ready")
        assert (card.pid, card.lightbus, card.features) == (
            os.getpid(),
            lightbus.__version__,
            FEATURES,
        )
        assert card.obstacles == card.waits == () and not card.remote_control
        (api,) = card.apis
        assert (api.name, api.concurrency, api.stream_use) == ("shop", 7, "per_api")
        assert (api.max_stream_length, api.address) == (500, f"127.0.0.1:{bench.server.port}/0")
        note, fail, idle = card.listeners
        assert note == ListenerCard(
            name="note", group="shop-note", events=("shop.sold",), handler="tests.host.shop:note",
            file="tests/host/shop.py", line=line_of("async def note("), concurrency=4, dedupe=60.0,
            policy=PolicyCard(
                attempts=3, then="acknowledge_and_log", max_deaths=3, initial=2, factor=3, longest=60
            ),
        )  # fmt: skip
        assert (fail.events, idle.batch, idle.enabled) == (("shop.*",), 5, False)
        assert {each.name for each in card.procedures} == {"price", "stay", "fail"}
        (price,) = [each for each in card.procedures if each.name == "price"]
        assert (price.api, price.handler, price.line) == (
            "shop",
            "tests.host.shop:ShopApi.price",
            line_of("    async def price("),
        )


def line_of(start: str) -> int:
    """The line of the shop that begins so."""
    return 1 + next(n for n, line in enumerate(SHOP.read_text().splitlines()) if line.startswith(start))


async def test_it_shows_how_long_runs_took_and_how_they_ended(bench: Bench) -> None:
    async with bench.host(MANIFEST) as host:
        for sku in ("cup", "pot", "can"):
            await host.fire(sku)
        for _ in range(2):
            await host.bus.shop.price.call_async(sku="cup")
        with pytest.raises(LightbusWorkerError):
            await host.bus.shop.fail.call_async()
        handled = host.client.parts.metrics.event_handlings
        for name, outcome in (("note", "ok"), ("fail", "acknowledged")):
            await eventually_async(lambda: handled.total(name, outcome=outcome) == 3)  # noqa: B023
        card = await renewed(host, bench)
        by_name = {each.name: each for each in card.listeners}
        assert by_name["note"].recent.outcomes == {"ok": 3}
        assert by_name["fail"].recent.outcomes == {"acknowledged": 3}
        times = by_name["note"].recent
        assert times.p50 is not None and times.p95 is not None and times.longest is not None
        assert 0 < times.p50 <= times.p95 <= times.longest < 60
        outcomes = {each.name: each.recent.outcomes for each in card.procedures}
        assert outcomes == {"price": {"ok": 2}, "fail": {"error": 1}, "stay": {}}
        assert card.calls == {"shop.price": 2, "shop.fail": 1} and card.fires == {"shop.sold": 3}


async def test_it_shows_the_last_and_the_next_run_of_each_schedule(bench: Bench) -> None:
    async with bench.host(MANIFEST) as host:
        await eventually_async(lambda: ledger.counts["tick"] >= 2)
        card = await renewed(host, bench)
        tick, close = (next(e for e in card.schedules if e.name == n) for n in ("tick", "close"))
        assert (tick.times, tick.scope, close.timezone) == ("every 0.05 s", "service", "Europe/London")
        assert tick.started is not None and tick.next_run is not None
        assert abs(tick.next_run - tick.started) < 5
        assert (close.started, close.outcome) == (None, None) and close.next_run is not None
        assert close.next_run > tick.started
        await eventually_async(lambda: host.worker.schedules.pasts["tick"].outcome == "ok")


def test_the_last_run_of_a_service_is_the_latest_of_its_processes() -> None:
    def card(process: str, started: float | None) -> Card:
        schedules = (ScheduleCard(name="tick", started=started),)
        return Card(service="shop", process=process, schedules=schedules)

    found = last_runs([card("p1", 5.0), card("p2", 7.0), card("p3", None)])
    assert {key: who.process for key, (who, _) in found.items()} == {("shop", "tick"): "p2"}


async def test_no_argument_no_result_and_no_secret_is_on_a_card(bench: Bench) -> None:
    canary = "canary-4711"
    async with bench.host(MANIFEST) as host:
        await host.fire(canary)
        await host.bus.shop.price.call_async(sku=canary)
        await eventually_async(lambda: ledger.counts[canary] >= 2)
        await renewed(host, bench)
        blob = bench.server.execute("GET", "lightbus:card:shop:p1").decode()
        assert json.loads(blob)["calls"] == {"shop.price": 1}
        assert canary not in blob


async def test_errors_environment_and_arguments_of_jobs_are_not_on_a_card(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where they keep a listener from its work."""
    import schedule

    canary = "canary-4711"
    monkeypatch.setenv("CANARY", canary)
    stop = "{events: [shop.sold], handler: 'tests.host.shop:fail', on_error: stop_listener}"
    dead = "{events: [shop.sold], handler: 'tests.host.shop:fail', on_error: dead_letter}"
    later = stop.replace("stop_listener", "later")
    policies = "policies: {later: {attempts: 9, backoff: {initial: 1m, max: 1m}}}"
    host = bench.host(
        f"process_name: p1\n{policies}\nlisteners: {{stop: {stop}, dead: {dead}, later: {later}}}"
    )

    def tell(secret: str) -> None:
        ledger.counts["told"] += 1
        raise ValueError(secret)

    job = schedule.every().monday.at("02:30").do(tell, canary)
    host.client.schedule(job, True, name="job")(partial(tell, canary))
    async with host:
        await host.fire(canary)
        with pytest.raises(LightbusWorkerError):
            await host.bus.shop.fail.call_async()
        await eventually_async(lambda: ledger.counts[canary] >= 3 and ledger.counts["told"])
        await eventually_async(
            lambda: any("its policy has stopped it" in it for it in host._life.obstacles())
        )
        card = await renewed(host, bench)
        assert card.schedules[0].times == "every monday at 02:30:00" and card.obstacles != ()
        blob = bench.server.execute("GET", "lightbus:card:shop:p1").decode()
        assert canary not in blob and "CANARY" not in blob


async def test_a_password_is_not_on_a_card(bench: Bench, redis_server: Server) -> None:
    redis_server.execute("ACL", "SETUSER", "shop", "on", ">canary-4711", "~*", "+@all")
    bench.url = f"redis://shop:canary-4711@127.0.0.1:{redis_server.port}/0"
    try:
        async with bench.host(MANIFEST) as host:
            await renewed(host, bench)
            blob = bench.server.execute("GET", "lightbus:card:shop:p1").decode()
            assert "127.0.0.1" in blob and "canary" not in blob
    finally:
        redis_server.execute("ACL", "DELUSER", "shop")


@pytest.mark.parametrize(
    "redis",
    [
        "sentinel: {service: main, nodes: ['127.0.0.1:PORT'], password: canary-1}, password: canary-2",
        "cluster: {nodes: ['127.0.0.1:PORT']}, username: shop, password: canary-3",
        "url: 'redis+cluster://shop:canary-4@127.0.0.1:PORT'",
    ],
)
async def test_passwords_of_sentinels_and_clusters_are_not_in_what_is_in_the_way_of_a_host(
    bench: Bench, redis: str, caplog: pytest.LogCaptureFixture
) -> None:
    """That stands on its card, on /readyz and in lightbus status."""
    port = free_port()
    far = f"{{owner: far, event_transport: {{redis: {{{redis.replace('PORT', str(port))}}}}}}}"
    listener = "{events: [far.there], handler: 'tests.host.shop:note'}"
    host = bench.host(f"process_name: p1\napis: {{far: {far}}}\nlisteners: {{far: {listener}}}")
    living = asyncio.ensure_future(host._life.live(host._stop.wait, 5, lambda: None))
    await eventually_async(lambda: f"127.0.0.1:{port}" in str(host._life.obstacles()))
    card = Card(obstacles=tuple(host._life.obstacles()))
    for told in (write_card(card).decode(), caplog.text, repr(host.client.parts.card.card())):
        assert "canary" not in told
    host._stop.set()
    await living


async def test_a_card_says_that_its_process_ends_and_is_gone_with_it(bench: Bench) -> None:
    async with bench.host("process_name: p1") as host:
        staying = asyncio.ensure_future(host.bus.shop.stay.call_async())
        await eventually_async(lambda: ledger.running)
        host._stop.set()

        async def stops() -> bool:
            card = await card_of(bench)
            return card is not None and card.phase == "stopping" and card.obstacles != ()

        await eventually_async(stops)
        ledger.gate.set()
        await staying
    assert bench.server.execute("EXISTS", "lightbus:card:shop:p1") == 0
    assert bench.server.execute("ZCARD", "lightbus:cards") == 0


async def test_a_card_is_shown_while_its_host_still_starts(bench: Bench) -> None:
    gate = asyncio.Event()
    host = bench.host("process_name: p1")

    async def wait(*, client: object) -> None:
        await gate.wait()

    host.client.before_worker_start(wait)
    starting = asyncio.ensure_future(host.__aenter__())

    async def is_seen() -> bool:
        card = await card_of(bench)
        return card is not None and card.phase == "starting" and card.obstacles == ("the host is starting",)

    await eventually_async(is_seen)
    gate.set()
    await starting
    await host.__aexit__()


def test_the_card_of_a_process_that_is_killed_ends_by_itself(project: Project, redis_server: Server) -> None:
    project.write(
        "bus.py", "import lightbus\n\nclass A(lightbus.Api):\n    class Meta:\n        name = 'a'\n"
    )
    url = f"bus: {{redis: {{url: '{redis_server.url}'}}}}\n"
    project.write("lightbus.yaml", f"service_name: a\nprocess_name: p1\n{url}")
    project.host().kill()
    assert 0 < redis_server.execute("PTTL", "lightbus:card:a:p1") <= 30_000

    def processes() -> list[str]:
        told = json.loads(project.run("status", "--json").stdout)
        return [each["name"] for each in told["processes"]]

    # Half a minute later, though it had a lease on its API for a minute.
    redis_server.execute("DEL", "lightbus:card:a:p1")
    assert redis_server.execute("ZCARD", "lightbus:owner:a") > 0 and processes() == []
    redis_server.execute("DEL", "lightbus:cards")
    assert processes() == ["p1"], "without that, the lease is all that is known"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that only use the bus need not have lived for long."""
    monkeypatch.setattr(cards, "_WORTH_A_CARD", 0.0)


def bus_of(bench: Bench, **more: Any) -> BusPath:
    """A bus as the code of a web application makes it."""
    return create({"bus": {"redis": {"url": bench.url}}, **more}, service_name="web", process_name="w1")


async def test_a_process_that_only_calls_has_a_card_until_it_closes_its_bus(
    bench: Bench, at_once: None
) -> None:
    bus = bus_of(bench, service_version="1.4")
    async with bench.host():
        for _ in range(3):
            await bus.shop.price.call_async(sku="cup")

        async def is_seen() -> bool:
            return await card_of(bench, "w1") is not None

        await eventually_async(is_seen)
        bus.client.parts.card.renew()

        async def has_called() -> bool:
            card = await card_of(bench, "w1")
            return card is not None and card.calls == {"shop.price": 3}

        await eventually_async(has_called)
        card = await card_of(bench, "w1")
        assert card is not None and (card.kind, card.version, card.listeners) == ("client", "1.4", ())
        await bus.client.close_async()
        assert not await is_seen()


async def test_a_script_that_is_soon_over_needs_no_card(bench: Bench) -> None:
    bus = bus_of(bench)
    async with bench.host():
        await bus.shop.price.call_async(sku="cup")
        await bus.client.close_async()
    assert [key for key in bench.server.execute("KEYS", "lightbus:card*") if b"web" in key] == []


def test_synchronous_code_has_a_card_as_well(bench: Bench, at_once: None) -> None:
    bus = bus_of(bench)
    with pytest.raises(lightbus.LightbusException):
        bus.nobody.there(bus_options={"timeout": 0.1})
    eventually(lambda: bench.server.execute("EXISTS", "lightbus:card:web:w1") == 1)
    bus.client.close()
    assert bench.server.execute("EXISTS", "lightbus:card:web:w1") == 0


def test_a_child_by_fork_has_a_name_of_its_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    card = bus_of(bench).client.parts.card
    assert card.card().process == "w1"
    monkeypatch.setattr(os, "getpid", lambda: 4711)
    assert card.card().process == "w1-4711"


@pytest.fixture
def limited(bench: Bench) -> Iterator[None]:
    """A user of Redis who may do all but what cards and pauses need."""
    rules = ("~shop*", "~{shop*", "~schema*", "~{schema*", "~lightbus:owner:*", "~lightbus:reply:*")
    more = ("~rpc_expiry_key:*", "~lightbus:streams*", "~lightbus:schedule:*")
    bench.server.execute("ACL", "SETUSER", "shop", "reset", "on", ">secret", "+@all", *rules, *more)
    bench.url = f"redis://shop:secret@127.0.0.1:{bench.server.port}/0"
    yield
    bench.server.execute("ACL", "DELUSER", "shop")


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings of what its user may not do."""
    warnings = (r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING)
    return [text for text in warnings if "NOPERM" in text]


async def test_a_host_that_may_not_show_a_card_says_so_once_and_works(
    bench: Bench, limited: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cards, "_REFUSED_AGAIN", 0.01)
    monkeypatch.setattr("lightbus.worker.pauses._REFUSED_AGAIN", 0.01)
    async with bench.host(MANIFEST) as host:
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts["cup"] >= 2)
        await eventually_async(lambda: len(refusals(caplog)) >= 2)
        await asyncio.sleep(0.2)
        assert list(host.client.parts.obstacles) == [] and host._life.obstacles() == []
    told = refusals(caplog)
    assert len(told) == 2
    assert sum("this process is not seen by lightbus status" in line for line in told) == 1
    assert sum("can't be paused, and work all the same" in line for line in told) == 1
