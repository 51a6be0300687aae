"""Schedules that somebody runs by hand: in one process, where the service allows it, noted and marked."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from lightbus.exceptions import LightbusTimeout, ScheduleRefused
from lightbus.insight.audit import Actor, acts
from lightbus.insight.cards import last_runs, read_cards
from lightbus.insight.control.schedules import Run, run_now, service_of
from lightbus.transports.redis.schema import RedisSchemaTransport
from tests.guide.project import Project
from tests.host.conftest import Bench
from tests.host.shop import ledger
from tests.host.test_schedules import come_now, remembered, ticking
from tests.support.eventually import eventually_async
from tests.support.servers import Server

ANN = Actor(user="ann@box", role="cli", origin="cli")
TOLD = "bus: {remote_control: true}\n"


async def run(bench: Bench, name: str = "tick", wait: float | None = 30, service: str = "") -> Run:
    """Run a schedule from another service's bus, as the command does."""
    async with bench.client() as other:
        found = await service_of(other.client, name, service=service)
        return await run_now(other.client, found, name, by=ANN, wait=wait)


async def shown(bench: Bench, run: tuple[str, str, str]) -> None:
    """Wait until cards show a run as the last one: its process, who wanted it, and its outcome."""
    async with bench.client() as other:

        async def is_so() -> bool:
            ((card, it),) = last_runs(await read_cards(other.client)).values()
            return (card.process, it.by, it.outcome) == run

        await eventually_async(is_so)


async def noted(bench: Bench) -> list[tuple[str, str, str]]:
    async with bench.client() as other:
        return [(act.action, act.target, act.outcome) for act in await acts(other.client)]


@pytest.mark.parametrize("scope", ["service", "process"])
@pytest.mark.parametrize("features", ["[rpcs, events, tasks]", "[tasks]"])
async def test_one_process_of_the_service_runs_it(
    bench: Bench, redis_server: Server, scope: str, features: str
) -> None:
    text = f"{TOLD}features: {features}\n{ticking(scope=scope)}"
    hosts = [bench.host(f"process_name: {name}\n{text}") for name in ("one", "two")]
    async with hosts[0], hosts[1]:
        done = await run(bench)
        assert ledger.counts["tick"] == 1
        assert (done.service, done.name, done.outcome, done.error) == ("shop", "tick", "ok", "")
        assert done.process in ("one", "two") and abs(done.started - time.time()) < 60
        assert done.seconds is not None and done.seconds < 30
        await shown(bench, (done.process, "ann@box", "ok"))
        counted = [host.client.parts.metrics.schedule_runs_by_hand.total("tick") for host in hosts]
        assert sorted(counted) == [0, 1]
        assert await noted(bench) == [("schedule.run", "shop:tick", "done")]


async def test_it_runs_again_at_its_next_time_as_ever(bench: Bench, redis_server: Server) -> None:
    async with bench.host(f"{TOLD}{ticking()}") as host:
        await run(bench)
        moment = come_now(host)
        await eventually_async(lambda: ledger.counts["tick"] == 2)
        assert remembered(redis_server, "tick") == round(moment, 3)
        await eventually_async(lambda: host.worker.schedules.pasts["tick"].outcome == "ok")
        assert host.worker.schedules.pasts["tick"].by == "", "the last one was at its time"


async def test_a_clock_that_is_ahead_keeps_nobody_from_it(bench: Bench, redis_server: Server) -> None:
    ahead = str(int((time.time() + 5) * 1000))
    redis_server.execute("HSET", "lightbus:schedule:shop:tick", "tick", ahead)
    async with bench.host(f"{TOLD}{ticking()}"):
        assert (await run(bench)).outcome == "ok"


@pytest.mark.parametrize("scope", ["service", "process"])
async def test_it_waits_for_no_run_that_may_not_overlap_but_is_refused(bench: Bench, scope: str) -> None:
    text = f"{TOLD}{ticking(scope=scope, call='linger')}"
    async with bench.host(text):
        begun = await run(bench, wait=None)
        assert (begun.outcome, begun.seconds) == (None, None)
        with pytest.raises(
            ScheduleRefused, match=r"tick is not run by .*: it still runs, and overlap is off"
        ):
            await run(bench)
        assert ledger.counts["linger"] == 1
        ledger.gate.set()
    assert [outcome for _, _, outcome in await noted(bench)] == ["refused", "done"]


async def test_another_process_that_runs_it_is_no_reason_to_run_it_twice(
    bench: Bench, redis_server: Server
) -> None:
    runner = ("runner", "somebody", "until", str(int((time.time() + 20) * 1000)))
    redis_server.execute("HSET", "lightbus:schedule:shop:tick", "tick", "1", *runner)
    async with bench.host(f"{TOLD}{ticking()}"):
        with pytest.raises(ScheduleRefused, match="it still runs in another process, and overlap is off"):
            await run(bench)
    assert ledger.counts["tick"] == 0


async def test_with_overlap_it_runs_beside_another_run(bench: Bench) -> None:
    schedule = "{every: 1000h, overlap: true, call: 'tests.host.shop:linger'}"
    async with bench.host(f"{TOLD}schedules: {{tick: {schedule}}}"):
        for _ in range(2):
            await run(bench, wait=None)
        await eventually_async(lambda: ledger.counts["linger"] == 2)
        ledger.gate.set()


async def test_what_it_raises_is_told(bench: Bench) -> None:
    async with bench.host(f"{TOLD}{ticking(call='break_down')}"):
        done = await run(bench)
        assert (done.outcome, done.error) == ("error", "ValueError('no till')")
        await shown(bench, (done.process, "ann@box", "error"))


async def test_where_the_service_does_not_allow_it_it_is_refused(bench: Bench, redis_server: Server) -> None:
    async with bench.host(ticking()):
        with pytest.raises(
            ScheduleRefused, match=r"lets nobody run its schedules .* write bus.remote_control"
        ):
            await run(bench)
        assert redis_server.execute("KEYS", "*internal.host*") == []
    assert ledger.counts["tick"] == 0


async def test_a_process_that_runs_no_schedules_is_not_asked(bench: Bench, redis_server: Server) -> None:
    async with bench.host(f"{TOLD}features: [rpcs]\n{ticking()}"):
        with pytest.raises(ScheduleRefused, match="there is no schedule 'tick'"):
            await run(bench)
        assert redis_server.execute("KEYS", "*internal.host*") == []


async def test_a_name_that_nobody_has_gets_the_one_that_is_meant(bench: Bench) -> None:
    async with bench.host(f"{TOLD}{ticking()}"):
        for name, service, told in (
            ("tic", "", "there is no schedule 'tic'; did you mean tick?"),
            ("tick", "shops", "no process of the service 'shops' is alive; did you mean shop?"),
            ("tic", "shop", "the service 'shop' has no schedule 'tic'; did you mean tick?"),
        ):
            with pytest.raises(ScheduleRefused) as caught:
                await run(bench, name, service=service)
            assert str(caught.value) == told


async def test_without_a_process_it_is_said_what_to_start(bench: Bench) -> None:
    async with bench.client() as other:
        with pytest.raises(ScheduleRefused, match=r"no process of other is alive .*; start one"):
            await service_of(other.client, "tick", ["tick"])
        with pytest.raises(ScheduleRefused, match="no process of shop runs tick now"):
            await run_now(other.client, "shop", "tick", by=ANN)


async def test_of_several_services_one_has_to_be_named(bench: Bench) -> None:
    bakery = f"service_name: bakery\napis: {{shop: {{owner: shop}}}}\n{TOLD}{ticking()}"
    async with bench.host(f"{TOLD}{ticking()}"), bench.host(bakery):
        with pytest.raises(ScheduleRefused, match="several services have a schedule 'tick': bakery and shop"):
            await run(bench)
        assert (await run(bench, service="bakery")).service == "bakery"


async def test_a_run_that_takes_longer_than_one_waits_goes_on(bench: Bench) -> None:
    async with bench.host(f"{TOLD}{ticking(call='linger')}") as host:
        with pytest.raises(LightbusTimeout, match=r"nothing is known of the end of tick after 2 s: it may"):
            await run(bench, wait=2)
        ledger.gate.set()
        await eventually_async(lambda: host.worker.schedules.pasts["tick"].outcome == "ok")


async def test_a_broker_that_is_silent_is_not_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightbus.worker.schedules.schedules._PATIENCE_BY_HAND", 0.1)
    monkeypatch.setattr(RedisSchemaTransport, "claim", lambda *_, **__: asyncio.sleep(60))
    async with bench.host(f"{TOLD}{ticking()}"):
        with pytest.raises(ScheduleRefused, match="the broker does not say whether it runs elsewhere"):
            await run(bench)


def test_the_command_runs_it_and_says_so_when_its_process_is_killed(
    tmp_path: Path, redis_server: Server
) -> None:
    project = Project(tmp_path, redis_server.url)
    project.write("jobs.py", "import time\ndef close():\n    pass\ndef sleep():\n    time.sleep(60)\n")
    nightly = "{{cron: '0 2 * * *', call: 'jobs:{0}'}}".format
    schedules = f"{{close: {nightly('close')}, sleep: {nightly('sleep')}}}"
    project.write("lightbus.yaml", f"service_name: shop-1\nmodules: []\n{TOLD}schedules: {schedules}\n")
    try:
        host = project.host("--process-name", "p1")
        done = project.run("schedule", "run", "close", "--because", "the night was missed")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("done: shop-1:close in p1, ")
        begun = project.run("schedule", "run", "close", "--no-wait")
        assert begun.returncode == 0 and begun.stdout.startswith(("begun: shop-1:close in p1", "done:"))
        listed = project.run("schedule", "list").stdout
        assert "p1 (by " in listed
        assert "internal.host.shop-1" in project.run("status").stdout
        asking = project.start("schedule", "run", "sleep")
        host.wait_for_line("the schedule sleep runs now, since ")
        host.kill()
        asking.wait_for_line("WorkerLost: the process of shop-1 that ran sleep died in the middle of it")
        assert asking.wait() == 1
        last = project.run("audit", "--action", "schedule").stdout.splitlines()[-1]
        assert last.startswith("failed") and "its outcome is not known" in last
    finally:
        project.close()
