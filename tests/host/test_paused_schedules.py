"""Schedules that are paused: they begin no run, and what came meanwhile is not made up for."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any

import pytest

import lightbus
from lightbus.exceptions import TransportUnavailable
from lightbus.insight.audit import Actor
from lightbus.insight.cards import Heeded
from lightbus.insight.control import pauses, schedules
from lightbus.testing import VirtualClock
from lightbus.testing import hosted as in_memory
from lightbus.transports.cards import Pause
from lightbus.transports.redis.schema import RedisSchemaTransport
from tests.guide.project import Project
from tests.host.conftest import Bench, Hosted
from tests.host.shop import ledger, tick
from tests.host.test_run_now import TOLD, run
from tests.host.test_schedules import HOUR, KEY, RARELY, last_time, remembered, ticking
from tests.support.eventually import eventually_async
from tests.support.servers import Server

ANN = Actor(user="ann@box")
OFTEN = "50ms"


async def pause(bench: Bench, seconds: float | None = None) -> Heeded:
    async with bench.client() as other:
        target = await schedules.find(other.client, "tick", ["tick"], "shop")
        ends = await pauses.end_in(other.client, seconds)
        return await schedules.pause(other.client, target, ends, ANN)


async def resume(bench: Bench) -> Heeded:
    async with bench.client() as other:
        target = await schedules.find(other.client, "tick", service="shop")
        assert target.pause is not None and target.pause.by == "ann@box"
        return await schedules.resume(other.client, target, ANN)


async def paused(bench: Bench, since: float, until: float | None = None) -> None:
    """Note a pause, as somebody did while no process was there."""
    async with bench.client() as other:
        it = Pause(since=since, until=until, by="ann@box")
        await other.client.transports().schema().pause_schedule("shop", "tick", it)


async def times_pass(host: Hosted, number: int = 3) -> None:
    """Wait until so many times of the schedule have come."""
    past = host.worker.schedules.pasts
    await eventually_async(lambda: "tick" in past and past["tick"].next_run is not None)
    for _ in range(number):
        before = past["tick"].next_run
        await eventually_async(lambda: past["tick"].next_run != before)  # noqa: B023 - asked in this round


async def quiet(host: Hosted) -> int:
    """How often it has run, once nothing that had begun before goes on."""
    await eventually_async(lambda: host.worker.schedules.runs_of("tick") == 0)
    return ledger.counts["tick"]


@pytest.mark.parametrize("scope", ["service", "process"])
async def test_a_paused_schedule_runs_in_no_process_until_it_is_resumed(
    bench: Bench, caplog: pytest.LogCaptureFixture, scope: str
) -> None:
    text = ticking(every=OFTEN, scope=scope)
    hosts = [bench.host(f"process_name: {name}\n{text}") for name in ("one", "two")]
    caplog.set_level(logging.INFO)
    async with hosts[0], hosts[1]:
        await eventually_async(lambda: ledger.counts["tick"] >= 2)
        assert (await pause(bench)).by == ("one", "two")
        for host in hosts:
            await quiet(host)
        runs = ledger.counts["tick"]
        for host in hosts:
            await times_pass(host)
        assert ledger.counts["tick"] == runs
        assert hosts[0]._life.obstacles() == [], "the process stays ready"
        assert any("the schedule tick is paused since" in each for each in hosts[0]._life.waits())
        assert (await resume(bench)).by == ("one", "two")
        await eventually_async(lambda: ledger.counts["tick"] > runs)
        assert hosts[0]._life.waits() == []
    assert caplog.text.count("the schedule tick is paused since") == 2
    assert caplog.text.count("the schedule tick is not paused any more") == 2


async def test_what_runs_is_finished(bench: Bench) -> None:
    async with bench.host(f"process_name: p1\n{ticking(call='linger', every=OFTEN)}") as host:
        await eventually_async(lambda: ledger.running == 1)
        heeded = await pause(bench)
        assert (heeded.by, heeded.running) == (("p1",), 1)
        ledger.gate.set()
        await eventually_async(lambda: host.worker.schedules.pasts["tick"].outcome == "ok")
        await times_pass(host)
    assert ledger.counts["linger"] == 1


@pytest.mark.parametrize("scope", ["service", "process"])
async def test_somebody_may_have_it_run_all_the_same(bench: Bench, scope: str) -> None:
    await paused(bench, time.time())
    async with bench.host(f"{TOLD}{ticking(scope=scope)}"):
        assert (await run(bench)).outcome == "ok"
    assert ledger.counts["tick"] == 1


async def test_a_pause_ends_by_itself(bench: Bench) -> None:
    async with bench.host(ticking(every=OFTEN)) as host:
        await eventually_async(lambda: ledger.counts["tick"] >= 1)
        await pause(bench, 2.0)
        runs = await quiet(host)
        await eventually_async(lambda: ledger.counts["tick"] > runs)
        await eventually_async(lambda: host._life.waits() == [])


async def test_what_was_missed_is_not_made_up_for_by_a_process_that_starts_while_it_is_paused(
    bench: Bench, redis_server: Server
) -> None:
    redis_server.execute("HSET", KEY, "tick", str(int(last_time() - 5 * RARELY) * 1000))
    await paused(bench, time.time())
    async with bench.host(ticking(missed="run_once")) as host:
        await eventually_async(lambda: remembered(redis_server, "tick") >= last_time())
        await resume(bench)
        assert await quiet(host) == 0
    async with bench.host(ticking(missed="run_once")) as host:
        await eventually_async(lambda: "tick" in host.worker.schedules.pasts)
        await eventually_async(lambda: not host.worker.schedules.running)
    assert ledger.counts["tick"] == 0


@pytest.mark.parametrize(
    ("since", "until", "runs"),
    [(-RARELY, None, 0), (-RARELY, 0.001, 0), (-2 * RARELY, -RARELY, 1), (0.001, None, 1)],
    ids=["resumed", "ended by itself", "ended before", "begun after it"],
)
async def test_a_time_within_a_pause_that_is_over_is_not_made_up_for_though_no_process_was_there(
    bench: Bench, redis_server: Server, since: float, until: float | None, runs: int
) -> None:
    last = last_time()
    redis_server.execute("HSET", KEY, "tick", str(int(last - 5 * RARELY) * 1000))
    await paused(bench, last + since, None if until is None else last + until)
    if until is None:
        await resume(bench)
    async with bench.host(ticking(missed="run_once")):
        await eventually_async(lambda: remembered(redis_server, "tick") >= last)
        await eventually_async(lambda: ledger.counts["tick"] == runs)
    assert ledger.counts["tick"] == runs


@pytest.mark.parametrize("scope", ["service", "process"])
async def test_what_runs_at_the_start_does_not_while_it_is_paused(bench: Bench, scope: str) -> None:
    await paused(bench, time.time())
    host = bench.host()
    every: Any = host.client.every
    every(hours=1000, scope=scope, name="tick", also_run_immediately=True)(tick)
    async with host:
        await eventually_async(lambda: "tick" in host.worker.schedules.pasts)
        await eventually_async(lambda: not host.worker.schedules.running)
    assert ledger.counts["tick"] == 0


async def test_a_schedule_that_a_reload_brings_is_known_to_be_paused(bench: Bench) -> None:
    await paused(bench, time.time())
    async with bench.host("features: [tasks]") as host:
        bench.write("features: [tasks]\n" + ticking(every=OFTEN, scope="process"))
        assert await host.reloader.reload()
        await times_pass(host)
    assert ledger.counts["tick"] == 0


async def test_it_does_not_run_before_the_broker_has_said_whether_it_is_paused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, is_away = [0], [True]
    all_pauses = RedisSchemaTransport.all_pauses

    async def away(*arguments: Any) -> Any:
        asked[0] += 1
        if is_away[0]:
            raise TransportUnavailable("Redis is away")
        return await all_pauses(*arguments)

    monkeypatch.setattr(RedisSchemaTransport, "all_pauses", away)
    async with bench.host(ticking(every=OFTEN, scope="process")) as host:
        await eventually_async(lambda: asked[0] >= 3)
        assert ledger.counts["tick"] == 0
        assert any("the pauses of listeners and schedules can't be read" in o for o in host._life.obstacles())
        is_away[0] = False
        await eventually_async(lambda: ledger.counts["tick"] >= 1)
        await eventually_async(lambda: host._life.obstacles() == [])


async def test_one_that_is_paused_while_the_broker_gives_its_time_out_does_not_run(
    bench: Bench, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, is_asked, may_answer = RedisSchemaTransport.claim, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any, **more: Any) -> Any:
        outcome = await claim(*arguments, **more)
        is_asked.set()
        await may_answer.wait()
        return outcome

    monkeypatch.setattr(RedisSchemaTransport, "claim", slow)
    monkeypatch.setattr("lightbus.worker.schedules.schedules._PAUSE", HOUR)
    async with bench.host(ticking(every=OFTEN)) as host:
        await is_asked.wait()
        await pause(bench)
        may_answer.set()
        await eventually_async(lambda: not float(redis_server.execute("HGET", KEY, "until") or 0))
        assert await quiet(host) == 0


async def test_a_listener_of_the_same_name_is_not_meant(bench: Bench) -> None:
    listening = "listeners: {tick: {events: [shop.sold], handler: 'tests.host.shop:note'}}\n"
    async with bench.host(listening + ticking(every=OFTEN)) as host, bench.client() as other:
        await pause(bench)
        runs = await quiet(host)
        schema = other.client.transports().schema()
        assert await schema.pauses(["shop"]) == {}
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts["cup"] == 1)
        assert ledger.counts["tick"] == runs
        target = await pauses.find(other.client, ["shop"], "shop-tick", ())
        assert target.pause is None
        await pauses.pause(other.client, target, None, ANN)
        await resume(bench)
        await eventually_async(lambda: ledger.counts["tick"] > runs)
        assert (await schema.pauses(["shop"])).keys() == {("shop", "tick")}, "the listener stays paused"


@pytest.mark.parametrize("scope", ["service", "process"])
async def test_in_memory_its_times_pass_and_are_not_made_up_for(scope: str) -> None:
    log: list[str] = []
    bus = lightbus.create({"service_name": "jobs"})
    every: Any = bus.client.every
    missed = {"missed": "run_once"} if scope == "service" else {}
    every(hours=1, scope=scope, name="tick", **missed)(lambda: log.append("tick"))
    async with in_memory(bus, clock=VirtualClock(datetime(2026, 7, 1, 12, 1, tzinfo=UTC))) as host:
        client = host.bus.client
        await host.advance_async(3 * HOUR)
        assert len(log) == 3
        target = await schedules.find(client, "tick")
        assert (await schedules.pause(client, target, None, ANN)).not_by == ()
        await host.advance_async(3 * HOUR)
        assert len(log) == 3
        await schedules.resume(client, await schedules.find(client, "tick"), ANN)
        assert len(log) == 3
        await host.advance_async(2 * HOUR)
        assert len(log) == 5


def test_the_commands_pause_it_beyond_kill_9_and_resume_it(project: Project, redis_server: Server) -> None:
    project.write("jobs.py", "def close():\n    print('closed', flush=True)\n")
    text = f"service_name: shop\nmodules: []\nbus: {{redis: {{url: '{redis_server.url}'}}}}\n"
    project.write("lightbus.yaml", f"{text}schedules: {{close: {{every: 200ms, call: 'jobs:close'}}}}\n")
    host = project.host("--process-name", "p1")
    host.wait_for_line("closed")
    done = project.run("schedule", "pause", "close", "--because", "a move", SUDO_USER="ann")
    assert (done.returncode, done.stdout) == (0, "paused: shop:close\n")
    # One may be under way in this moment.
    assert done.stderr in ("", "1 run of it had begun, and may end\n")
    host.kill()
    # By the same name, so that the card of the one that was killed is that of the new one.
    host = project.host("--process-name", "p1")
    host.wait_for_line("the schedule close is paused since")
    listed = project.run("schedule", "list")
    assert listed.returncode == 0 and "paused" in listed.stdout.splitlines()[1]
    told = " ".join(listed.stderr.split())
    assert "the schedule close of shop is paused since " in told and " by ann@" in told
    assert told.endswith("it runs again with lightbus schedule resume close --service shop")
    assert "closed" not in host.output()
    done = project.run("schedule", "resume", "close")
    assert (done.returncode, done.stdout, done.stderr) == (0, "resumed: shop:close\n", "")
    host.wait_for_line("closed")
    assert host.terminate() == 0
