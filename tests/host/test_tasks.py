"""Whatever ends one of Lightbus's own tasks: it is told, and the work goes on."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lightbus
from lightbus.exceptions import NoWorker
from lightbus.host.processes import ending
from lightbus.host.processes.overseer import Overseer
from lightbus.host.processes.supervisor import Supervisor
from lightbus.host.shutdown import ENDING
from lightbus.runtime.obstacles import Obstacles
from lightbus.runtime.tasks import Kept
from tests.guide.project import Project
from tests.host.conftest import Bench, Hosted
from tests.host.shop import ledger
from tests.support.eventually import eventually_async
from tests.support.sabotage import How, Sabotage
from tests.support.servers import Server

MANIFEST = """
plugins: {internal_state: {enabled: true, ping_interval: 0.1}}
listeners:
  note: {events: [shop.sold], handler: 'tests.host.shop:note', dedupe: 1m}
  list: {events: [shop.sold], handler: 'tests.host.shop:note_list', batch: 2, batch_wait: 20ms}
schedules: {tick: {every: 100ms, scope: service, call: 'tests.host.shop:doze'}}
apis: {default: {event_transport: {redis: {acknowledgement_timeout: 0.4}}}}
"""

#: What a host, and a client that calls it, have running; each with what the log says where it ends.
TOLD = {
    **dict.fromkeys(("lightbus worker of the API shop",), "a worker of the API shop ended unasked"),
    **dict.fromkeys(("lightbus worker of the listener note",), "a worker of the listener note ended unasked"),
    "lightbus list": "the task 'lightbus listener list' ended unasked",
    "lightbus acknowledging": "acknowledging events as shop-note",
}
KINDS = [
    *TOLD,
    *("lightbus rpc shop", "lightbus listener note", "lightbus listener list"),
    *("lightbus contracts", "lightbus ownership", "lightbus outlook", "lightbus clock"),
    *("lightbus card", "lightbus pauses"),
    "lightbus reading of contracts",
    *("lightbus schedule tick", "lightbus run of the schedule tick", "lightbus lease of the schedule tick"),
    *("lightbus leases shop-note", "lightbus retries shop-note", "lightbus sweep shop-note"),
    *("lightbus presence", "lightbus replies", "lightbus lookout", "lightbus trim shop.*:stream"),
    *("lightbus redis pipe", "lightbus ping", "lightbus internal.state", "lightbus settling shop-note"),
]


async def works(host: Hosted, bench: Bench) -> None:
    """See that calls are answered, events handled, and schedules run."""
    ticks = ledger.counts["tick"]
    async with bench.client() as other:
        assert await other.shop.price.call_async(sku="teapot") == 6
        with pytest.raises(NoWorker):
            await other.nobody.there.call_async()
        noted, listed = ledger.counts["cup"], ledger.counts["lists"]
        await host.fire("cup")
        # What is no event is settled in the background.
        host.server.execute("XADD", "shop.*:stream", "*", "no", "event")
        await eventually_async(lambda: ledger.counts["cup"] > noted and ledger.counts["lists"] > listed)
        await eventually_async(lambda: ledger.counts["tick"] > ticks)


@pytest.mark.parametrize("how", ["cancel", "raise"])
@pytest.mark.parametrize("name", KINDS)
async def test_a_task_that_ends_unasked_is_told_and_its_work_goes_on(
    bench: Bench, name: str, how: How, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.gate.set()
    sabotage = Sabotage(name, how)
    async with bench.host(MANIFEST) as host:
        assert host.client.parts.hooks.before_worker_start
        await host.client.parts.hooks.before_worker_start()
        await works(host, bench)
        await eventually_async(lambda: sabotage.is_done)
        told = TOLD.get(name, f"the task {name!r} ended unasked")
        if name == "lightbus redis pipe" and how == "raise":
            told = "its task was ended from outside"
        await eventually_async(lambda: told in caplog.text)
        assert ("it broke" if how == "raise" else "something cancelled it") in caplog.text
        await works(host, bench)
        await eventually_async(lambda: not list(host.client.parts.obstacles))
    unasked = [record for record in caplog.records if "ended unasked" in record.getMessage()]
    assert {record.levelno for record in unasked} <= {logging.ERROR}
    assert len(unasked) == told.endswith("unasked"), "the end of the host is no accident"


def was_told(caplog: pytest.LogCaptureFixture, name: str, how: How) -> bool:
    """Whether the log says once that a task has ended, and why."""
    told = [r.getMessage() for r in caplog.records if "ended unasked" in r.getMessage()]
    assert len(told) <= 1
    reason = "it broke" if how == "raise" else "something cancelled it"
    return bool(told) and told[0].startswith(f"the task {name!r} ended unasked: ") and reason in told[0]


@pytest.mark.parametrize("how", ["cancel", "raise"])
async def test_who_waits_for_room_waits_on_where_the_look_for_it_ends_unasked(
    bench: Bench, how: How, caplog: pytest.LogCaptureFixture
) -> None:
    name = "lightbus room shop.*:stream"
    sabotage = Sabotage(name, how)
    stream = "event_transport: {redis: {max_stream_length: 5}}"
    text = f"apis: {{default: {{event_fire_timeout: 60s, {stream}}}}}\n"
    stay = "listeners: {stay: {events: [shop.sold], handler: 'tests.host.shop:stay', concurrency: 1}}"
    async with bench.host(text + stay) as host:
        firing = []
        while not sabotage.is_done:
            firing.append(asyncio.create_task(host.fire("cup")))
            await asyncio.wait(firing, timeout=0.01)
        await eventually_async(lambda: was_told(caplog, name, how))
        ledger.gate.set()
        await asyncio.gather(*firing)
        await eventually_async(lambda: ledger.counts["cup"] == len(firing))


@pytest.mark.parametrize("how", ["cancel", "raise"])
@pytest.mark.parametrize("turn", ["start", "end"])
async def test_a_listener_starts_or_ends_by_a_reload_though_the_task_for_that_ends_unasked(
    bench: Bench, turn: str, how: How, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"lightbus {turn} of the listener note"
    sabotage = Sabotage(name, how)
    note = "note: {events: [shop.sold], handler: 'tests.host.shop:note', since: earliest, enabled"
    on, off = (f"listeners: {{{note}: {is_on}}}}}" for is_on in ("true", "false"))
    before, after = (off, on) if turn == "start" else (on, off)
    async with bench.host(before) as host:
        bench.write(after)
        assert await host.reloader.reload()
        await eventually_async(lambda: sabotage.is_done and was_told(caplog, name, how))
        if turn == "end":
            # It has left its group, and is there again when it is wanted.
            consumers = ("XINFO", "CONSUMERS", "shop.*:stream", "shop-note")
            nobody = b"lightbus:nobody"
            await eventually_async(lambda: {each[1] for each in host.server.execute(*consumers)} <= {nobody})
            bench.write(before)
            assert await host.reloader.reload()
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts["cup"] == 1)
        await eventually_async(lambda: not list(host.client.parts.obstacles))
    assert was_told(caplog, name, how)


@pytest.mark.parametrize("how", ["cancel", "raise"])
async def test_a_renamed_listener_takes_over_though_its_wait_for_that_ends_unasked(
    bench: Bench, how: How, caplog: pytest.LogCaptureFixture
) -> None:
    name, stream, reader = "lightbus wait of the listener note", "shop.*:stream", "another"
    bench.server.execute("XGROUP", "CREATE", stream, "shop-before", "0", "MKSTREAM")
    bench.server.execute("XREADGROUP", "GROUP", "shop-before", reader, "STREAMS", stream, ">")
    sabotage = Sabotage(name, how)
    note = "note: {events: [shop.sold], handler: 'tests.host.shop:note', renamed_from: before}"
    async with bench.host(f"listeners: {{{note}}}") as host:
        await eventually_async(lambda: sabotage.is_done and was_told(caplog, name, how))
        await host.fire("cup")
        host.server.execute("XGROUP", "DELCONSUMER", stream, "shop-before", reader)
        await eventually_async(lambda: ledger.counts["cup"] == 1)
        assert [each[1] for each in host.server.execute("XINFO", "GROUPS", stream)] == [b"shop-note"]
        await eventually_async(lambda: not list(host.client.parts.obstacles))


async def test_a_taker_that_is_cancelled_while_all_slots_are_full_takes_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    name = "lightbus listener stay"
    stay = "listeners: {stay: {events: [shop.sold], handler: 'tests.host.shop:stay', concurrency: 1}}"
    async with bench.host(stay) as host:
        for _ in range(3):
            await host.fire("cup")
        await eventually_async(lambda: bool(ledger.running))
        (taker,) = (task for task in asyncio.all_tasks() if task.get_name() == name)
        taker.cancel()
        await eventually_async(lambda: was_told(caplog, name, "cancel"))
        assert ledger.running == 1, "what was handled is handled on, and nothing beside it"
        ledger.gate.set()
        await eventually_async(lambda: ledger.counts["cup"] == 3)
        await eventually_async(lambda: not list(host.client.parts.obstacles))
    assert ledger.counts["cup"] == 3


@pytest.mark.parametrize("how", ["cancel", "raise"])
async def test_the_lease_of_a_tick_is_renewed_though_its_task_ends_unasked(
    bench: Bench, how: How, caplog: pytest.LogCaptureFixture
) -> None:
    name = "lightbus lease of the schedule linger"
    Sabotage(name, how)
    schedule = "schedules: {linger: {every: 3s, scope: service, call: 'tests.host.shop:linger'}}"
    async with bench.host(schedule) as host:
        await eventually_async(lambda: was_told(caplog, name, how))
        until = ("HGET", "lightbus:schedule:shop:linger", "until")
        before = int(host.server.execute(*until))
        await eventually_async(lambda: int(host.server.execute(*until)) > before, what="it is renewed")
        ledger.gate.set()
        await eventually_async(lambda: not ledger.running)


ROOT = Path(__file__).parents[2]
RELOADED = """
import lightbus
from tests.support.sabotage import Sabotage

class ShopApi(lightbus.Api):
    class Meta:
        name = "shop"

async def before_server_start(bus):
    Sabotage("lightbus reload", "{how}")
"""


@pytest.mark.parametrize("how", ["cancel", "raise"])
def test_a_manifest_is_read_again_though_the_task_for_that_ends_unasked(
    project: Project, redis_server: Server, how: How
) -> None:
    project.write("bus.py", RELOADED.format(how=how))
    text = f"bus: {{log_format: text, log_level: info, redis: {{url: '{redis_server.url}'}}}}\n"
    project.write("lightbus.yaml", text)
    host = project.host(PYTHONPATH=str(ROOT))
    project.write("lightbus.yaml", text.replace("info", "debug"))
    os.kill(host.pid, signal.SIGHUP)
    host.wait_for_line("the manifest was applied: bus.log_level")
    assert host.output().count("the task 'lightbus reload' ended unasked") == 1
    assert host.terminate() == 0


PROCESS = """
import os, sys
with open("started", "a") as file:
    file.write(os.environ["LIGHTBUS_CHILD"])
sys.stdin.read()
"""


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process of the tests heeds signals afterwards as it did before."""
    before = {number: signal.getsignal(number) for number in (*ENDING, signal.SIGHUP)}
    monkeypatch.setattr(ending, "heed_no_more", lambda: None)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("how", ["cancel", "raise"])
async def test_a_process_is_kept_running_though_what_keeps_it_ends_unasked(
    bench: Bench,
    how: How,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    signals: None,
) -> None:
    name = "lightbus process 1"
    monkeypatch.chdir(bench.folder)
    if how == "raise":
        Sabotage(name, how)
    it = Supervisor(bench.read("processes: 2"), [sys.executable, "-c", PROCESS], bench.folder)
    supervising = asyncio.create_task(it._supervise())
    started = bench.folder / "started"
    started.touch()
    await eventually_async(lambda: sorted(started.read_text()) == ["1", "2"], what="both have started")
    before = dict(it._crew.running)
    if how == "cancel":
        (keeper,) = (task for task in asyncio.all_tasks() if task.get_name() == name)
        keeper.cancel()
        await eventually_async(lambda: sorted(started.read_text()) == ["1", "1", "2"])
        assert await asyncio.wait_for(before[1].wait(), 60) == 0, "it has ended with its standard input"
    assert was_told(caplog, name, how)
    assert it._crew.running.keys() == {1, 2} and it._crew.running[2] is before[2]
    it._ending._on_signal("SIGTERM")
    await supervising
    assert it._crew.running == {} and it._crew.status == 0


@pytest.mark.parametrize("how", ["cancel", "raise"])
async def test_the_watchdog_hears_of_processes_though_the_task_for_that_ends_unasked(
    bench: Bench,
    how: How,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    signals: None,
) -> None:
    monkeypatch.chdir(bench.folder)
    said: list[bytes] = []
    name = "lightbus reports"
    Sabotage(name, how)
    overseer = Overseer(said.append, 0.2)
    it = Supervisor(bench.read("processes: 2"), [sys.executable, "-c", PROCESS], bench.folder, overseer)
    supervising = asyncio.create_task(it._supervise())
    await eventually_async(lambda: was_told(caplog, name, how))
    said.clear()
    await eventually_async(lambda: b"WATCHDOG=1" in said)
    it._ending._on_signal("SIGTERM")
    await supervising


#: Tasks that have no row here, each with the reason.
ELSEWHERE = {
    "lightbus permissions": "it has its row in tests/transports/test_permissions.py",
    "lightbus lost events": "it has its row in tests/transports/test_lost_events.py",
    "lightbus background NAME": "its coroutine is the user's, and runs once",
    **dict.fromkeys(
        ("lightbus redis tls", "lightbus redis tls doubt"), "who connects awaits both, and fails with them"
    ),
    "lightbus recovery": "it has its row in tests/transports/test_heartbeat.py",
    "lightbus console reading": "it has its row in tests/web/test_reading.py",
    "lightbus console following": "it has its row in tests/web/test_events.py",
    "lightbus console errands": "it has its row in tests/web/test_dead.py",
    "lightbus redis topology": "it has its row in tests/transports/cluster/test_redirects.py",
    "lightbus outbox NAME": "it has its row in tests/outbox/test_relay.py",
    "lightbus redis bells": "it has its row in tests/transports/cluster/test_bells.py",
    "lightbus redis bells that close": "nobody hears them any more",
    "lightbus redis to all": "who sends awaits it, and fails with it",
    "lightbus redis pipe that closes": "nobody uses that pipe any more",
    "lightbus following": "who follows awaits it, and ends with it",
    **dict.fromkeys(("lightbus host", "lightbus hosted"), "it is the life itself"),
    **dict.fromkeys(("lightbus start", "lightbus stop"), "it is a part of the life, which ends with it"),
}
OWN_ROWS = [
    *(
        "lightbus room shop.*:stream",
        "lightbus start of the listener note",
        "lightbus end of the listener note",
        "lightbus wait of the listener note",
    ),
    *("lightbus reload", "lightbus process 1", "lightbus reports"),
]


#: Folders whose texts speak of commands of that name.
SPEAK_OF_COMMANDS = {"cli", "clients", "old_names", "trying"}


def names_of_tasks() -> Iterator[re.Pattern[str]]:
    """What each task is called that Lightbus begins; threads and commands are not meant."""
    for file in Path(lightbus.__file__).parent.rglob("*.py"):
        lines = [] if SPEAK_OF_COMMANDS & {*file.parts} else file.read_text().splitlines()
        code = "\n".join(line for line in lines if "Thread(" not in line)
        for name in re.findall(r'"(lightbus (?!group |plan |inspect )[^"]+)"', code):
            yield re.compile(re.sub(r"\\{.*?\\}", ".+", re.escape(name)))


def test_no_task_is_without_a_row() -> None:
    names = set(names_of_tasks())
    assert len(names) > 25
    rows = [*KINDS, *OWN_ROWS, *ELSEWHERE]
    assert [name.pattern for name in names if not any(map(name.fullmatch, rows))] == []
    assert [row for row in rows if not any(name.fullmatch(row) for name in names)] == []


async def test_what_does_not_run_is_an_obstacle_for_as_long(caplog: pytest.LogCaptureFixture) -> None:
    obstacles, runs = Obstacles(), 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs < 4:
            raise RuntimeError("it broke")
        await asyncio.sleep(3600)

    kept = Kept(work, "lightbus test", "nothing is tested", obstacles).start()
    await eventually_async(lambda: list(obstacles))
    (obstacle,) = obstacles
    assert obstacle == "nothing is tested, since the task 'lightbus test' has ended: RuntimeError('it broke')"
    await eventually_async(lambda: runs == 4 and not list(obstacles))
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3
    assert "Traceback" in caplog.text
    kept.end()
    assert await kept.ended(5)
    assert len(caplog.records) == 3, "an end that was asked for is no accident"


async def test_one_that_waits_to_be_begun_again_can_be_ended() -> None:
    obstacles = Obstacles()

    async def work() -> None:
        raise RuntimeError("it broke")

    kept = Kept(work, "lightbus test", "nothing is tested", obstacles).start()
    await eventually_async(lambda: list(obstacles))
    kept.end()
    assert await kept.ended(5)
    assert not list(obstacles)


LEFT_OPEN = """
import asyncio
import lightbus
from lightbus import Api, Event
from lightbus.runtime.tasks import begin
from lightbus.worker import Worker

class ShopApi(Api):
    sold = Event(parameters=("sku",))
    class Meta:
        name = "shop"
    async def price(self, sku: str) -> int:
        return 1

async def note(event, sku: str) -> None:
    await asyncio.sleep(5)

async def leave_it_open() -> None:
    bus = lightbus.create(service_name="shop")
    bus.shop.sold.listen(note)
    bus.client.every(seconds=0.01)(lambda: None)
    worker = Worker(bus.client.parts)
    worker.prepare(["shop"])
    await worker.sign_on()
    worker.start()
    await bus.shop.price.call_async(sku="cup")
    await bus.shop.sold.fire_async(sku="cup")
    await asyncio.sleep(0.1)
    begin(asyncio.sleep(3600), "lightbus test")

asyncio.run(leave_it_open())
"""


def test_the_end_of_an_event_loop_is_no_accident(project: Project, redis_server: Server) -> None:
    done = project.python("-c", LEFT_OPEN, LIGHTBUS__BUS__REDIS__URL=redis_server.url)
    assert (done.returncode, done.stdout) == (0, "")
    assert "unasked" not in done.stderr
