"""Schedules, as a host acts upon them: once for a service or in each process, over Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from lightbus.declared.schedule import Schedule
from lightbus.exceptions import InvalidSchedule, MissingExtra, TransportUnavailable
from lightbus.manifest.problems import InvalidManifest
from lightbus.transports.redis.schema import RedisSchemaTransport
from lightbus.worker.schedules import leases
from tests.host.conftest import Bench, Hosted
from tests.host.shop import ledger, linger, tick
from tests.support.eventually import eventually_async
from tests.support.proxy import Mode, Proxy
from tests.support.servers import Server

KEY = "lightbus:schedule:shop:tick"
HOUR = 3600.0
#: The seconds between two times of a schedule that is not to come to its next time while a test lasts. It is
#: some weeks, since an hour may just be over.
RARELY = 1000 * HOUR


def planned(call: Callable[[], Any], **options: Any) -> Schedule:
    """A schedule that is made by itself, with no bus."""
    return Schedule(name="x", call=call, **options)


def ticking(**options: object) -> str:
    """A manifest with the schedule ``tick``, each 1,000 hours unless the options say otherwise."""
    call = options.pop("call", "tick")
    given: dict[str, object] = {"every": "1000h", **options, "call": f"tests.host.shop:{call}"}
    return "schedules: {tick: {" + ", ".join(f"{key}: '{value}'" for key, value in given.items()) + "}}"


def come_now(*hosts: Hosted) -> float:
    """Let the next tick of the schedules of hosts that run come soon; returns when."""
    moment = time.time() + 1

    class Soon(Schedule):
        def next_time(self, after: float) -> float:
            # Also where it has passed already, since this process was held up.
            is_over = after == moment or after > moment + HOUR
            return moment + RARELY if is_over else moment

    for host in hosts:
        schedules = host.client.parts.declarations.schedules
        for name, s in schedules.items():
            schedules[name] = Soon(name=name, call=s.call, every=s.every, scope=s.scope)
        host.worker.schedules.replace(host.client.all_schedules())
    return moment


def remembered(server: Server, field: str) -> float:
    """What Redis has noted of the schedule, in seconds."""
    return float(server.execute("HGET", KEY, field) or 0) / 1000


def last_time() -> float:
    return time.time() // RARELY * RARELY


@pytest.mark.parametrize(("scope", "runs"), [("service", 1), ("process", 2)])
async def test_a_tick_runs_once_for_the_service_or_in_each_process(
    bench: Bench, redis_server: Server, scope: str, runs: int
) -> None:
    hosts = [bench.host(f"process_name: {name}\n{ticking(scope=scope)}") for name in ("one", "two")]
    async with hosts[0], hosts[1]:
        moment = come_now(*hosts)
        await eventually_async(lambda: ledger.counts["tick"] >= runs)
        await asyncio.sleep(0.1)
    assert ledger.counts["tick"] == runs
    assert remembered(redis_server, "tick") == (round(moment, 3) if scope == "service" else 0)


async def test_code_declares_the_scope_too(bench: Bench, redis_server: Server) -> None:
    hosts = [bench.host(f"process_name: {name}") for name in ("one", "two")]
    for host in hosts:
        every = host.client.every(seconds=0.1, scope="service", name="tick")
        assert every(tick) is tick
        host.client.schedule("* * * * *", timezone="Asia/Kolkata", scope="service")(linger)
    assert hosts[0].client.parts.declarations.recurring["tick"].scope == "service"
    assert hosts[0].client.parts.declarations.recurring["linger"].timezone == "Asia/Kolkata"
    start = time.time()
    async with hosts[0], hosts[1]:
        await eventually_async(lambda: ledger.counts["tick"] >= 5)
        assert ledger.counts["tick"] <= (time.time() - start) / 0.1 + 1


NAMES = [
    *("tick", "until", "a b", "a:b", "{a}", "*", "[a-z]?", "%s", "caf\u00e9", "<lambda>", "\\x00", "'", '"'),
    *("x" * 1000, "lightbus", "shop", "-", "\U0001f570"),
]


async def test_a_schedule_of_any_name_runs_over_redis(bench: Bench, redis_server: Server) -> None:
    async with bench.host("plugins: {internal_metrics: {enabled: true}}") as host:
        for name in NAMES:
            call = partial(ledger.counts.update, [name])
            host.client.every(seconds=0.1, scope="service", name=name)(call)
        host.worker.schedules.replace(host.client.all_schedules())
        await eventually_async(lambda: [name for name in NAMES if ledger.counts[name] < 2] == [])
    keys = redis_server.execute("KEYS", "lightbus:schedule:shop:*")
    assert {key.decode().removeprefix("lightbus:schedule:shop:") for key in keys} == {*NAMES}


@pytest.mark.parametrize(
    ("missed", "known", "runs"),
    [("run_once", True, 1), ("run_once", False, 0), ("skip", True, 0)],
)
async def test_what_was_missed_while_no_process_ran_is_made_up_for_once(
    bench: Bench, redis_server: Server, missed: str, known: bool, runs: int
) -> None:
    if known:
        redis_server.execute("HSET", KEY, "tick", str(int(last_time() - 5 * RARELY) * 1000))
    hosts = [bench.host(f"process_name: {name}\n{ticking(missed=missed)}") for name in ("one", "two")]
    async with hosts[0], hosts[1]:
        if missed == "run_once":
            await eventually_async(lambda: remembered(redis_server, "tick") >= last_time())
        await eventually_async(lambda: ledger.counts["tick"] == runs)
        await asyncio.sleep(0.05)
    assert ledger.counts["tick"] == runs


async def test_what_ran_in_time_is_not_made_up_for(bench: Bench, redis_server: Server) -> None:
    redis_server.execute("HSET", KEY, "tick", str(int(last_time()) * 1000))
    async with bench.host(ticking(missed="run_once")) as host:
        await eventually_async(lambda: not host.worker.schedules.running)
    assert ledger.counts["tick"] == 0


async def test_running_at_the_start_is_for_the_service_too(bench: Bench, redis_server: Server) -> None:
    for name in ("one", "two"):
        host = bench.host(f"process_name: {name}")
        host.client.every(hours=1000, scope="service", name="tick", also_run_immediately=True)(tick)
        async with host:
            await eventually_async(lambda: remembered(redis_server, "tick") >= last_time())
            running = host.worker.schedules
            await eventually_async(lambda: not running.running)  # noqa: B023 - asked within this round
    assert ledger.counts["tick"] == 1


class Away:
    """A broker that does not answer those who ask for a tick."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away = True
        self.asked = 0
        claim = RedisSchemaTransport.claim

        async def claim_or_fail(transport: RedisSchemaTransport, *args: Any, **kwargs: Any) -> Any:
            self.asked += 1
            if self.is_away:
                raise TransportUnavailable("Redis is away")
            return await claim(transport, *args, **kwargs)

        monkeypatch.setattr(RedisSchemaTransport, "claim", claim_or_fail)


async def test_a_tick_waits_for_a_broker_that_is_away_for_a_moment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Away(monkeypatch)
    host = bench.host(ticking())
    async with host:
        come_now(host)
        await eventually_async(lambda: away.asked >= 1)
        assert ledger.counts["tick"] == 0
        away.is_away = False
        await eventually_async(lambda: ledger.counts["tick"] == 1)


async def test_ticks_that_come_while_the_broker_is_away_are_skipped_and_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away = Away(monkeypatch)
    async with bench.host(ticking(every="100ms")):
        await eventually_async(lambda: away.asked >= 2)
        away.is_away = False
        start = time.time()
        await eventually_async(lambda: ledger.counts["tick"] >= 1)
        assert ledger.counts["tick"] <= (time.time() - start) / 0.1 + 2
    waiting = "the schedule tick waits until the broker says which process runs it: Redis is away"
    assert caplog.text.count(waiting) == 1
    assert caplog.text.count("the schedule tick did not run in this process from ") == 1


@pytest.mark.parametrize("mode", ["refuse", "blackhole"])
async def test_a_link_that_breaks_and_heals_costs_no_more_than_the_ticks_meanwhile(
    bench: Bench, proxy: Proxy, caplog: pytest.LogCaptureFixture, mode: Mode
) -> None:
    link = f"bus: {{redis: {{url: '{proxy.url}', command_timeout: 1s}}}}"
    async with bench.host(f"{link}\n{ticking(every='200ms')}") as host:
        await eventually_async(lambda: ledger.counts["tick"] >= 2)
        proxy.set(mode)
        try:
            await eventually_async(lambda: "the schedule tick waits" in caplog.text)
            runs = ledger.counts["tick"]
            await eventually_async(lambda: not host.worker.schedules.running)
            assert ledger.counts["tick"] == runs, "what came too late does not run"
        finally:
            proxy.set("pass")
        await eventually_async(lambda: ledger.counts["tick"] >= runs + 2)
        await eventually_async(lambda: "the schedule tick did not run in this process from" in caplog.text)


async def test_the_last_of_them_is_made_up_for_where_that_is_asked(
    bench: Bench, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_server.execute("HSET", KEY, "tick", str(int(last_time() - RARELY) * 1000))
    away = Away(monkeypatch)
    async with bench.host(ticking(missed="run_once")):
        await eventually_async(lambda: away.asked >= 2)
        away.is_away = False
        await eventually_async(lambda: ledger.counts["tick"] == 1)
    assert remembered(redis_server, "tick") == last_time()


@pytest.mark.parametrize("scope", ["process", "service"])
@pytest.mark.parametrize(("overlap", "most"), [("false", 1), ("true", 3)])
async def test_runs_of_a_schedule_overlap_only_where_that_is_asked(
    bench: Bench, caplog: pytest.LogCaptureFixture, overlap: str, most: int, scope: str
) -> None:
    text = ticking(call="linger", every="30ms", scope=scope).replace("'}}", f"', overlap: {overlap}}}}}")
    async with bench.host(text):
        await eventually_async(lambda: ledger.running >= most)
        await eventually_async(lambda: overlap == "true" or "times are skipped" in caplog.text)
        await asyncio.sleep(0.15)
        assert (ledger.most > 1) == (overlap == "true")
    skipped = caplog.text.count("the schedule tick still runs here at its next time")
    assert skipped == (overlap == "false")


async def test_a_run_in_one_process_keeps_others_from_the_next_ticks_however_long_it_lasts(
    bench: Bench,
    redis_server: Server,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of less than a second, it runs out where all are held up for a moment.
    monkeypatch.setattr(leases, "_SHORTEST", 4.0)
    hosts = [
        bench.host(f"process_name: {name}\n{ticking(call='linger', every='100ms')}")
        for name in ("one", "two")
    ]
    async with hosts[0], hosts[1]:
        await eventually_async(lambda: ledger.running == 1)
        first = remembered(redis_server, "until")
        await eventually_async(lambda: time.time() > first, what="it lasts longer than the lease")
        assert (ledger.counts["linger"], ledger.most) == (1, 1)
        ledger.gate.set()
        await eventually_async(lambda: ledger.counts["linger"] > 3)
    assert ledger.most == 1
    assert "the schedule tick still runs in another process at its next time" in caplog.text


async def test_what_runs_at_the_end_is_finished(bench: Bench) -> None:
    async with bench.host(ticking(call="linger", every="30ms")) as host:
        await eventually_async(lambda: ledger.running == 1)
        task = asyncio.create_task(host.worker.drain(20))
        await asyncio.sleep(0.05)
        assert not task.done()
        ledger.gate.set()
        assert await task == 0
    assert ledger.running == 0


async def test_what_does_not_end_in_time_is_left_behind(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.host(ticking(call="linger", every="30ms")) as host:
        await eventually_async(lambda: ledger.running == 1)
        assert await host.worker.drain(0.05) == 1
    assert "a run of the schedule tick is left behind" in caplog.text


@pytest.mark.parametrize(("every", "seconds", "runs"), [("20ms", 0.02, 4), ("10s", 10, 0)])
async def test_a_schedule_runs_as_often_as_it_says(
    bench: Bench, every: str, seconds: float, runs: int
) -> None:
    started = time.monotonic()
    async with bench.host(ticking(call="tock", every=every)):
        await asyncio.sleep(0.1)
        await eventually_async(lambda: ledger.counts["tock"] >= runs)
    assert ledger.counts["tock"] <= (time.monotonic() - started) / seconds + 1


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
    found = planned(tick, cron=cron, timezone=zone).next_time(noon)
    assert datetime.fromtimestamp(found, UTC).isoformat() == expected


def test_cron_that_never_comes_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match="'0 0 31 2 \\*'"):
        planned(tick, cron="0 0 31 2 *")


def test_cron_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cronsim", None)
    with pytest.raises(MissingExtra, match="pip install 'lightbus\\[schedule\\]'"):
        planned(tick, cron="0 0 * * *")
    with pytest.raises(InvalidManifest, match=r"lightbus.yaml:1:23  schedules\.x\.cron: cron in"):
        bench.host("schedules: {x: {cron: '0 0 * * *', call: 'tests.host.shop:tick'}}")


async def test_times_of_a_service_are_the_same_in_all_its_processes() -> None:
    schedule = planned(tick, every=10)
    assert schedule.next_time(1000.0) == schedule.next_time(1003.7) == 1010.0
    assert planned(tick, every=10, scope="process").next_time(1003.5) == 1013.5


async def test_a_schedule_that_fails_runs_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    host = bench.host()

    def fail() -> None:
        tick()
        raise RuntimeError("no")

    host.client.every(seconds=0.02, name="x")(fail)
    async with host:
        await eventually_async(lambda: ledger.counts["tick"] >= 2)
    assert "the schedule x failed; it runs again at its next time" in caplog.text


@pytest.mark.parametrize(
    ("every", "number"), [(54.319, 32_630_955), (954.8164324179219, 1_977_280), (0.001, 10**12), (60, 10**7)]
)
def test_one_time_comes_after_another_whatever_is_rounded(every: float, number: int) -> None:
    schedule, moment = planned(tick, every=every), (number - 2) * every
    for _ in range(5):
        following = schedule.next_time(moment)
        assert 0 < following - moment < every * 1.01
        assert schedule.last_time(following) == following
        moment = following


def test_the_last_time_is_the_one_before_the_next() -> None:
    moment = datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC).timestamp()
    for schedule in (planned(tick, cron="0 */6 * * *"), planned(tick, every=6 * HOUR)):
        assert schedule.last_time(moment) == moment
        assert schedule.last_time(moment - 0.5) == moment - 6 * HOUR
        assert schedule.last_time(moment + 0.5) == moment
        assert schedule.next_time(moment) == moment + 6 * HOUR


def test_jobs_of_the_schedule_library() -> None:
    import schedule

    async def job() -> None: ...

    plain = planned(job, job=schedule.every().day.at("10:30"), scope="service")
    assert time.time() < plain.next_time(time.time()) <= time.time() + 25 * HOUR
    ended = schedule.every(7).seconds.until(timedelta(seconds=1))
    assert planned(job, job=ended, scope="process").next_time(0) == float("inf")


def test_plain_intervals_of_the_schedule_library_are_those_of_every(bench: Bench) -> None:
    import schedule

    client = bench.host().client
    client.schedule(schedule.every(90).minutes, scope="service", name="x", missed="run_once")(tick)
    assert client.parts.declarations.recurring["x"].every == 5400.0


def _jobs() -> dict[str, Any]:
    import schedule

    return {
        "random": schedule.every(5).to(10).seconds,
        "whatever time of day": schedule.every().monday,
        "every other day": schedule.every(2).days.at("10:30"),
        "no unit": schedule.every(5),
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"job": _jobs()["random"]}, "processes can't agree on the times of "),
        ({"job": _jobs()["whatever time of day"]}, "processes can't agree"),
        ({"job": _jobs()["every other day"]}, "processes can't agree"),
        ({"job": _jobs()["no unit"]}, "can't be used: Invalid unit"),
        ({"every": 1, "missed": "run_once", "scope": "process"}, "missed='run_once' needs scope='service'"),
        ({"every": 1, "timezone": "UTC"}, "a timezone, which means nothing without cron"),
        ({"cron": "0 2 * * *", "timezone": "Mars/Olympus"}, "there is no time zone 'Mars/Olympus'"),
        ({"cron": "0 2 * *"}, "'0 2 \\* \\*' is not the five fields of cron"),
        ({"every": 1, "scope": "world"}, "'world' is neither 'service' nor 'process'"),
        ({"every": 1, "missed": "never"}, "'never' is neither 'skip' nor 'run_once'"),
        ({}, "x has no times"),
    ],
)
def test_what_means_nothing_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSchedule, match=said):
        planned(tick, **options)


def test_in_the_manifest_it_is_refused_where_it_stands(bench: Bench) -> None:
    with pytest.raises(InvalidManifest, match=r"lightbus.yaml:1:\d+  schedules.tick.missed: run_once needs"):
        bench.host(ticking(scope="process", missed="run_once"))


def test_schedules_of_a_service_have_names_of_their_own(bench: Bench) -> None:
    client = bench.host().client
    client.every(seconds=1)(tick)
    client.every(seconds=2)(tick)
    assert sorted(client.parts.declarations.recurring) == ["tick", "tick (2)"]
    with pytest.raises(InvalidSchedule, match="two schedules are named 'tick'"):
        client.every(seconds=3, scope="service")(tick)
    with pytest.raises(InvalidSchedule, match="two schedules are named 'mine'"):
        for _ in range(2):
            client.every(seconds=1, name="mine")(tick)


async def test_a_name_of_the_code_is_not_free_in_the_manifest(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.host() as host:
        host.client.every(seconds=1, name="tick")(tick)
        bench.write(ticking())
        assert not await host.reloader.reload()
    assert host.client.parts.declarations.schedules == {}
    assert "schedules.tick: the code has a schedule of that name too; rename one of them" in caplog.text
