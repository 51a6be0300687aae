"""Clocks of hosts and of Redis that are wrong, or are set while all runs: work goes on, and it is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lightbus.declared.settings import Identity
from lightbus.runtime.clock import Clock
from lightbus.transports.memory.ticks import Ticks
from tests.conftest import missing
from tests.guide.project import Project
from tests.host.conftest import Bench, Hosted
from tests.host.shop import ledger
from tests.support.eventually import eventually, eventually_async
from tests.support.servers import Server

DAY = 86_400.0
KEY = "lightbus:schedule:shop:tick"
STREAM = "shop.*:stream"
TICKING = "schedules: {tick: {every: 100ms, call: 'tests.host.shop:tick'}}"
QUICK = (
    "apis: {default: {event_transport: {redis: {acknowledgement_timeout: 1s, reclaim_interval: 100ms}}}}\n"
    "policies: {soon: {backoff: {initial: 300ms, max: 1s}}}\n"
)
LISTENING = QUICK + (
    "listeners: {notes: {events: [shop.sold], handler: 'tests.host.shop:HANDLER', on_error: soon}}"
)


class SetClock(Clock):
    """A host's clock that somebody sets."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead

    def now(self) -> float:
        return time.time() + self.ahead


class RedisClock:
    """The clock of a Redis, which a test sets.

    Args:
        server: The Redis.
        file: Where its clock is read from.
    """

    def __init__(self, server: Server, file: Path) -> None:
        self.server = server
        self._file = file

    def set(self, ahead: float) -> None:
        """Let it be so many seconds ahead of the machine's."""
        self._file.write_text(f"{ahead:+.0f}")
        # It asks the clock once a round of its event loop.
        eventually(lambda: abs(self.lead() - ahead) < 2)

    def lead(self) -> float:
        """By how many seconds it is ahead."""
        return int(self.server.execute("TIME")[0]) - time.time()


@pytest.fixture
def redis_clock(tmp_path: Path, bench: Bench) -> Iterator[RedisClock]:
    """A Redis whose clock can be set, which the bench uses."""
    libraries = [*Path("/usr/lib").glob("**/faketime/libfaketime.so.1")]
    if not libraries:
        missing("no libfaketime: install Debian's package faketime")
    file = tmp_path / "clock"
    file.write_text("+0")
    env = {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with Server(env=env) as server:
        bench.server, bench.url = server, server.url
        yield RedisClock(server, file)


def with_clock(host: Hosted, ahead: float) -> Hosted:
    """A host whose clock is ahead by so many seconds."""
    host.client.parts.clock = SetClock(ahead)
    return host


def remembered(server: Server) -> float:
    """By how many seconds the last tick that was given out is ahead of the machine's clock."""
    return float(server.execute("HGET", KEY, "tick") or 0) / 1000 - time.time()


async def more_ticks(count: int = 3) -> None:
    """Wait until the schedule has run some more times."""
    before = ledger.counts["tick"]
    await eventually_async(lambda: ledger.counts["tick"] >= before + count)


@pytest.mark.parametrize(("ahead", "said"), [(DAY, "24 hours ahead of"), (-DAY, "24 hours behind")])
async def test_a_host_whose_clock_is_wrong_runs_in_its_turn_and_is_told(
    bench: Bench, redis_server: Server, caplog: pytest.LogCaptureFixture, ahead: float, said: str
) -> None:
    wrong = with_clock(bench.host(f"process_name: wrong\n{TICKING}"), ahead)
    async with wrong:
        await more_ticks()
        assert abs(remembered(redis_server)) < 5
        await wrong.worker.schedules.timekeeper.look()
    async with bench.host(f"process_name: right\n{TICKING}"):
        await more_ticks()
    assert caplog.text.count("the clock of this host (") == 1, "it is told once an hour"
    assert f"is {said} that of the broker at 127.0.0.1:{redis_server.port}/0 (" in caplog.text


@pytest.mark.parametrize("ahead", [DAY, -DAY])
async def test_a_host_whose_clock_is_set_while_it_runs_goes_on(
    bench: Bench, redis_server: Server, caplog: pytest.LogCaptureFixture, ahead: float
) -> None:
    clock = SetClock()
    host = bench.host(TICKING)
    host.client.parts.clock = clock
    host.client.every(seconds=0.1, name="own")(lambda: ledger.counts.update(["own"]))
    async with host:
        timekeeper = host.worker.schedules.timekeeper
        await more_ticks()
        clock.ahead = ahead
        if ahead < 0:
            # Set forward, it finds out by itself: Redis does not give it a tick of tomorrow.
            await timekeeper.look()
        await more_ticks()
        assert abs(remembered(redis_server)) < 5
        own = ledger.counts["own"]
        await eventually_async(lambda: ledger.counts["own"] > own)
        assert "since this host's was set" in caplog.text
        clock.ahead = 0.0
        await timekeeper.look()
        await more_ticks()
    assert timekeeper.lead == 0.0


async def test_what_sleeps_until_a_time_wakes_up_where_the_clock_is_set_back() -> None:
    clock = SetClock()
    sleeping = asyncio.create_task(clock.sleep_until(clock.now() + 0.2))
    await asyncio.sleep(0)
    clock.ahead = -DAY
    await asyncio.wait_for(sleeping, 60)


@pytest.mark.parametrize("ahead", [DAY, -DAY])
async def test_a_redis_whose_clock_is_wrong_keeps_nothing_waiting(
    bench: Bench, redis_clock: RedisClock, caplog: pytest.LogCaptureFixture, ahead: float
) -> None:
    redis_clock.set(ahead)
    listening = LISTENING.replace("HANDLER", "fail_once")
    async with bench.host(f"{listening}\n{TICKING}") as host:
        await more_ticks()
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts["cup"] == 2)
        assert await host.bus.shop.price.call_async(sku="cup") == 3
    assert caplog.text.count("the clock of this host (") == 1


async def test_a_redis_whose_clock_is_set_back_gives_out_ticks_all_the_same(
    bench: Bench, redis_clock: RedisClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.host(TICKING) as host:
        await more_ticks()
        redis_clock.set(-DAY)
        await more_ticks()
        assert "since the broker's was set" in caplog.text
        assert host.worker.schedules.timekeeper.lead == pytest.approx(-DAY, abs=5)
        redis_clock.set(0)
        await host.worker.schedules.timekeeper.look()
        await more_ticks()
        assert abs(remembered(redis_clock.server)) < 5


async def test_retries_that_wait_when_the_clock_of_redis_is_set_back_come_by_the_longest_backoff(
    bench: Bench, redis_clock: RedisClock
) -> None:
    async with bench.host(LISTENING.replace("HANDLER", "fail_once")) as host:
        await host.fire("cup")
        delayed = f"{{{STREAM}}}:delayed:shop-notes"
        await eventually_async(lambda: redis_clock.server.execute("ZCARD", delayed))
        redis_clock.set(-DAY)
        await eventually_async(lambda: ledger.counts["cup"] == 2)


async def test_what_a_dead_process_held_when_the_clock_of_redis_is_set_back_is_taken_over(
    bench: Bench, redis_clock: RedisClock
) -> None:
    execute = redis_clock.server.execute
    about = ("id", "1", "api_name", "shop", "event_name", "sold", "version", "1", ":sku", '"cup"')
    execute("XADD", STREAM, "*", *about)
    execute("XGROUP", "CREATE", STREAM, "shop-notes", "0")
    execute("XREADGROUP", "GROUP", "shop-notes", "dead", "STREAMS", STREAM, ">")
    redis_clock.set(-DAY)
    async with bench.host(LISTENING.replace("HANDLER", "note")):
        await eventually_async(lambda: ledger.counts["cup"] == 1)


async def test_an_api_of_a_dead_owner_comes_free_though_the_clock_of_redis_is_set_back(
    bench: Bench, redis_clock: RedisClock
) -> None:
    dead, other = Identity("dead", "1"), Identity("other", "1")
    async with bench.client() as bus:

        async def owner_for(identity: Identity) -> str:
            return (await bus.client.transports().schema().own(["shop"], identity, 10.0))["shop"]

        async def is_free() -> bool:
            return await owner_for(other) == "other"

        assert await owner_for(dead) == "dead"
        redis_clock.set(-DAY)
        assert await owner_for(other) == "dead", "its lease has not run out"
        await eventually_async(is_free)
        redis_clock.set(-2 * DAY)
        assert await owner_for(dead) == "other", "who lives goes on owning it"


async def test_a_lease_on_trimming_from_the_future_keeps_nobody_from_it(
    bench: Bench, redis_server: Server
) -> None:
    tomorrow = int((time.time() + DAY) * 1000)
    redis_server.execute("SET", f"{{{STREAM}}}:trimming", tomorrow, "PX", int(DAY * 1000))
    async with bench.host("apis: {default: {event_transport: {redis: {max_stream_length: 100}}}}") as host:
        await host.client.fire_many([("shop", "sold", {"sku": "cup"})] * 800)

        async def is_trimmed() -> bool:
            await host.client.fire_many([("shop", "sold", {"sku": "cup"})] * 20)
            return bool(redis_server.execute("XLEN", STREAM) < 500)

        await eventually_async(is_trimmed)


async def test_a_tick_and_a_run_from_the_future_are_not_believed(bench: Bench, redis_server: Server) -> None:
    tomorrow = str(int((time.time() + DAY) * 1000))
    redis_server.execute("HSET", KEY, "tick", tomorrow, "holder", "gone", "runner", "gone", "until", tomorrow)
    async with bench.host(TICKING):
        await eventually_async(lambda: ledger.counts["tick"] >= 2)
    assert abs(remembered(redis_server)) < 5


@pytest.mark.parametrize("broker", ["memory", "redis"])
async def test_a_tick_of_tomorrow_is_not_given_out(bench: Bench, redis_server: Server, broker: str) -> None:
    now, ticks = time.time(), Ticks()
    async with bench.client() as bus:

        async def claim(tick: float, holder: str, catch_up: bool = False) -> str:
            if broker == "memory":
                return ticks.claim(tick, holder, 60.0, now, catch_up=catch_up)
            return await bus.client.transports().schema().claim("x", tick, holder, 60.0, catch_up=catch_up)

        assert await claim(now + DAY, "one") == "early"
        assert await claim(now, "two", catch_up=True) == "had", "nothing is remembered of it"
        assert await claim(now + 1, "two") == "ours"
        assert await claim(now + 2, "one") == "busy"


@pytest.mark.parametrize("ahead", [DAY, -DAY])
def test_looking_back_goes_by_the_clock_of_redis(
    tmp_path: Path, redis_clock: RedisClock, ahead: float
) -> None:
    redis_clock.set(ahead)
    server = redis_clock.server
    about = ("id", "1", "api_name", "shop", "event_name", "sold", "version", "1", ":sku", '"cup"')
    server.execute("XADD", STREAM, "*", *about)
    why = ("reason", "failed", "error", "", "trace", "", "attempts", "1", "origin", "1-0")
    server.execute("XADD", f"{{{STREAM}}}:dead:shop-notes", "*", *about, *why)
    project = Project(tmp_path, server.url)
    assert "1 dead letter\n" in project.run("dlq", "list", "--newer-than", "1h").stdout
    assert project.run("dlq", "list", "--older-than", "1h").stdout == "0 dead letters\n"
    assert "shop" in project.run("inspect", "--since", "1h").stdout
    checked = project.run("check", "--connect").stdout
    assert f"the clock of this host ({datetime.now(UTC):%Y-%m-%d}" in checked
    assert checked.count("24 hours") == 1


def test_a_letter_that_is_put_aside_again_while_all_are_gone_through_is_met_once(
    bench: Bench, redis_server: Server
) -> None:
    key = f"{{{STREAM}}}:dead:shop-notes"
    # Of a time that has not come, as where the clock of Redis was set back since.
    about = ("id", "1", "api_name", "shop", "event_name", "sold", "version", "1", ":sku", '"cup"')
    why = ("reason", "failed", "error", "", "trace", "", "attempts", "1", "origin", "1-0")
    redis_server.execute("XADD", key, f"{int((time.time() + DAY) * 1000)}-0", *about, *why)

    async def go_through() -> int:
        met = 0
        async with bench.client() as bus:
            async for letter in bus.client.transports().event("shop").list_dead():
                met += 1
                redis_server.execute("XADD", key, "*", *about, *why)
                assert letter.message.id == "1"
        return met

    assert asyncio.run(go_through()) == 1
