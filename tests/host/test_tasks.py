"""Whatever ends one of Lightbus's own tasks: it is told, and the work goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Literal

import pytest

from lightbus.exceptions import NoWorker
from lightbus.runtime.obstacles import Obstacles
from lightbus.runtime.tasks import Kept
from tests.guide.project import Project
from tests.host.conftest import Bench, Hosted
from tests.host.shop import ledger
from tests.support.eventually import eventually_async
from tests.support.servers import Server

How = Literal["cancel", "raise"]

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
    *("lightbus contracts", "lightbus ownership", "lightbus outlook", "lightbus reading of contracts"),
    *("lightbus schedule tick", "lightbus run of the schedule tick", "lightbus lease of the schedule tick"),
    *("lightbus leases shop-note", "lightbus retries shop-note", "lightbus sweep shop-note"),
    *("lightbus presence shop", "lightbus replies", "lightbus lookout", "lightbus trim shop.*:stream"),
    *("lightbus redis pipe", "lightbus ping", "lightbus internal.state", "lightbus settling shop-note"),
]


class Sabotage:
    """Ends the first task of a name as soon as it runs.

    Args:
        name: The task's name.
        how: Whether it is cancelled, or raises.
    """

    def __init__(self, name: str, how: How) -> None:
        self._name = name
        self._how = how
        self.is_done = False
        factory: Any = self._make
        asyncio.get_running_loop().set_task_factory(factory)

    def _make(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **more: Any
    ) -> asyncio.Task[Any]:
        return asyncio.Task(self._run(work), loop=loop, **more)

    async def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.current_task()
        assert task is not None
        if task.get_name() == self._name and not self.is_done:
            self.is_done = True
            if self._how == "raise":
                work.close()
                raise RuntimeError("it broke")
            # A worker that is cancelled while it handles a message is a handler that fails; one that connects
            # connects again.
            is_later = self._name.startswith(("lightbus worker", "lightbus redis pipe"))
            task.get_loop().call_later(0.05 if is_later else 0, task.cancel)
        return await work


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
        await host.client.hooks.run(host.client.hooks.before_worker_start, client=host.client)
        await works(host, bench)
        await eventually_async(lambda: sabotage.is_done)
        told = TOLD.get(name, f"the task {name!r} ended unasked")
        if name == "lightbus redis pipe" and how == "raise":
            told = "its task was ended from outside"
        await eventually_async(lambda: told in caplog.text)
        assert ("it broke" if how == "raise" else "something cancelled it") in caplog.text
        await works(host, bench)
        await eventually_async(lambda: not list(host.client.obstacles))
    unasked = [record for record in caplog.records if "ended unasked" in record.getMessage()]
    assert {record.levelno for record in unasked} <= {logging.ERROR}
    assert len(unasked) == told.endswith("unasked"), "the end of the host is no accident"


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
    worker = Worker(bus.client)
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
