"""Policies and schedules of the manifest, as a host acts upon them."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest

from lightbus.exceptions import InvalidSchedule, MissingExtra
from lightbus.manifest import InvalidManifest
from lightbus.recurring import Schedule
from tests.eventually import eventually_async
from tests.hosting.conftest import Bench
from tests.hosting.shop import ledger, tick
from tests.servers import Server

DEAD = "{shop.*:stream}:dead:shop-fail"


def failing(policy: str, handler: str = "fail") -> str:
    return f"""
policies:
  base: {{backoff: {{initial: 20ms, factor: 1, jitter: false}}}}
  mine: {{extends: base, {policy}}}
listeners:
  fail: {{events: [shop.sold], handler: "tests.hosting.shop:{handler}", on_error: mine}}
"""


def dead_letters(server: Server) -> int:
    keys = server.execute("KEYS", "*dead*")
    return sum(server.execute("XLEN", key) for key in keys if server.execute("TYPE", key) == b"stream")


@pytest.mark.parametrize("attempts", [1, 3])
async def test_an_event_is_tried_so_often(bench: Bench, redis_server: Server, attempts: int) -> None:
    async with bench.host(failing(f"attempts: {attempts}")) as host:
        await host.fire("cup")
        await eventually_async(lambda: dead_letters(redis_server) == 1)
    assert ledger.counts["cup"] == attempts


@pytest.mark.parametrize("name", ["tests.hosting.shop:NoSuchSku", "ValueError"])
async def test_an_exception_that_nothing_cures_ends_the_attempts(
    bench: Bench, redis_server: Server, name: str
) -> None:
    async with bench.host(failing(f"attempts: 3, give_up_on: ['{name}']")) as host:
        await host.fire("cup")
        await eventually_async(lambda: dead_letters(redis_server) == 1)
    assert ledger.counts["cup"] == (3 if name == "ValueError" else 1)


@pytest.mark.parametrize(
    ("backoff", "least", "most"),
    [
        ("{initial: 20ms}", 0.02, 0.3),
        ("{initial: 400ms}", 0.4, 0.8),
        ("{initial: 400ms, max: 50ms}", 0.05, 0.35),
        ("{initial: 400ms, jitter: true}", 0.2, 0.7),
    ],
)
async def test_a_retry_waits_as_its_policy_says(
    bench: Bench, backoff: str, least: float, most: float
) -> None:
    async with bench.host(failing(f"attempts: 2, backoff: {backoff}", "fail_once")) as host:
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts["cup"] == 1)
        failed = time.monotonic()
        await eventually_async(lambda: ledger.counts["cup"] == 2)
        assert least - 0.05 <= time.monotonic() - failed <= most


async def test_waits_grow_by_the_factor_of_their_policy(bench: Bench) -> None:
    policy = bench.host(failing("backoff: {initial: 1s, factor: 3, max: 1h}")).client.listeners["fail"].policy
    assert [policy.backoff.delay(n) for n in (1, 2, 3)] == [1.0, 3.0, 9.0]


@pytest.mark.parametrize(("then", "dead", "handled"), [("dead_letter", 1, 2), ("acknowledge_and_log", 0, 2)])
async def test_what_becomes_of_an_event_in_the_end_is_said_by_its_policy(
    bench: Bench, redis_server: Server, then: str, dead: int, handled: int
) -> None:
    async with bench.host(failing(f"attempts: 1, then: {then}")) as host:
        await host.fire("cup")
        await host.fire("pot")
        await eventually_async(lambda: ledger.counts["cup"] + ledger.counts["pot"] == handled)
        await eventually_async(lambda: dead_letters(redis_server) == 2 * dead)


async def test_a_policy_may_stop_its_listener(bench: Bench, redis_server: Server) -> None:
    async with bench.host(failing("attempts: 1, then: stop_listener")) as host:
        await host.fire("cup")
        await eventually_async(lambda: not host.client.listeners["fail"].enabled)
        await host.fire("pot")
    assert ledger.counts["pot"] == 0 and dead_letters(redis_server) == 0


@pytest.mark.parametrize("on_error", ["dead_letter", "acknowledge_and_log"])
async def test_a_listener_names_its_policy_or_an_outcome(
    bench: Bench, redis_server: Server, on_error: str
) -> None:
    record = bench.host(failing("attempts: 2").replace("on_error: mine", f"on_error: {on_error}"))
    assert record.client.listeners["fail"].policy.then.value == on_error


# Schedules


@pytest.mark.parametrize(("scope", "runs"), [("service", 1), ("process", 2)])
async def test_a_tick_runs_once_for_the_service_or_in_each_process(
    bench: Bench, redis_server: Server, scope: str, runs: int
) -> None:
    text = f"schedules: {{tick: {{every: 1h, call: 'tests.hosting.shop:tick', scope: {scope}}}}}"
    hosts = [bench.host(f"process_name: {name}\n{text}") for name in ("one", "two")]
    moment = time.time() + 0.3
    for host in hosts:
        # An hour is long: let the first tick come now.
        _come_at(host.client.schedules, moment)
    async with hosts[0], hosts[1]:
        await eventually_async(lambda: ledger.counts["tick"] >= runs)
        await asyncio.sleep(0.1)
    assert ledger.counts["tick"] == runs
    claims = redis_server.execute("KEYS", "lightbus:schedule:shop:tick:*")
    assert len(claims) == (1 if scope == "service" else 0)
    assert all(redis_server.execute("TTL", key) > 0 for key in claims)


def _come_at(schedules: dict[str, Schedule], moment: float) -> None:
    class Soon(Schedule):
        def next_time(self, after: float) -> float:
            return moment if after < moment else moment + 3600

    for name, each in schedules.items():
        schedules[name] = Soon(each.name, each.function, each.every, each.cron, each.timezone, each.scope)


@pytest.mark.parametrize(("every", "least", "most"), [("20ms", 4, 60), ("10s", 0, 1)])
async def test_a_schedule_runs_as_often_as_it_says(bench: Bench, every: str, least: int, most: int) -> None:
    text = f"schedules: {{tock: {{every: {every}, call: 'tests.hosting.shop:tock'}}}}"
    async with bench.host(text):
        await asyncio.sleep(0.3)
    assert least <= ledger.counts["tock"] <= most


@pytest.mark.parametrize(
    ("cron", "zone", "expected"),
    [
        ("0 2 * * *", None, "2026-07-02T02:00:00+00:00"),
        ("0 2 * * *", "Europe/London", "2026-07-02T01:00:00+00:00"),
        ("*/5 * * * *", "Asia/Kolkata", "2026-07-01T12:05:00+00:00"),
    ],
)
def test_cron_names_moments_of_its_time_zone(cron: str, zone: str | None, expected: str) -> None:
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp()
    found = Schedule("x", tick, cron=cron, timezone=zone).next_time(noon)
    assert datetime.fromtimestamp(found, UTC).isoformat() == expected


def test_cron_that_never_comes_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match="'0 0 31 2 \\*'"):
        Schedule("x", tick, cron="0 0 31 2 *")


def test_cron_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cronsim", None)
    with pytest.raises(MissingExtra, match="pip install 'lightbus\\[schedule\\]'"):
        Schedule("x", tick, cron="0 0 * * *")
    with pytest.raises(InvalidManifest, match=r"lightbus.yaml:1:23  schedules\.x\.cron: cron in"):
        bench.host("schedules: {x: {cron: '0 0 * * *', call: 'tests.hosting.shop:tick'}}")


async def test_times_of_a_service_are_the_same_in_all_its_processes() -> None:
    schedule = Schedule("x", tick, every=10)
    assert schedule.next_time(1000.0) == schedule.next_time(1003.7) == 1010.0
    assert Schedule("x", tick, every=10, scope="process").next_time(1003.5) == 1013.5


async def test_a_schedule_that_fails_runs_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    text = "schedules: {x: {every: 20ms, call: 'tests.hosting.shop:tick'}}"
    host = bench.host(text)

    def fail() -> None:
        tick()
        raise RuntimeError("no")

    host.client.schedules["x"] = Schedule("x", fail, every=0.02)
    async with host:
        await eventually_async(lambda: ledger.counts["tick"] >= 2)
    assert "the schedule x failed; it runs again at its next time" in caplog.text
