"""Listeners and procedures by ``def`` take many messages for one way to a thread, and keep every promise."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lightbus import Api, Event, EventMessage, Parameter
from lightbus.runtime.deadline import time_left
from lightbus.runtime.threads import pool
from lightbus.testing import hosted
from tests.host.conftest import Bench
from tests.support.eventually import eventually_async
from tests.support.timers import HOUR, an_hour_passes, outlast_leases, until_an_hour_is_waited_for

PATIENCE = 60.0
STREAM, GROUP = "shop.*:stream", "shop-note"
#: Enough to be fetched many at a time, since they are quick; the one after them blocks or fails.
QUICK = 150
LAST = QUICK + 20


class Notes:
    """What the listeners below have done."""

    def reset(self) -> None:
        self.begun: list[str] = []
        self.told: list[str] = []
        self.may_end = threading.Event()
        self.blocked_at = 0.0


notes = Notes()


def note(event: EventMessage, sku: str) -> None:
    notes.begun.append(sku)


def block(event: EventMessage, sku: str) -> None:
    notes.begun.append(sku)
    if sku == str(QUICK):
        notes.blocked_at = time.perf_counter()
        notes.may_end.wait(PATIENCE)


def fail(event: EventMessage, sku: str) -> None:
    notes.begun.append(sku)
    if sku == str(QUICK):
        raise ValueError(sku)


@pytest.fixture(autouse=True)
def blank() -> Iterator[None]:
    notes.reset()
    yield
    notes.may_end.set()


def manifest(handler: str, more: str = "") -> str:
    """Of a host with one listener."""
    handler = f"tests.host.test_plain_functions:{handler}"
    return f"listeners: {{note: {{events: [shop.sold], handler: '{handler}'{more}}}}}"


def names(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last)]


async def fire(host: Any, first: int = 0, last: int = LAST) -> None:
    await host.bus.shop.sold.fire_many_async([{"sku": sku} for sku in names(first, last)])


def pending(bench: Bench) -> int:
    return int(bench.server.execute("XPENDING", STREAM, GROUP)[0])


async def begun(*skus: str) -> None:
    """Wait until these are begun, and nothing else is."""
    await eventually_async(lambda: notes.begun == [*skus])


async def test_a_backlog_is_handled_in_order_and_acknowledged(bench: Bench) -> None:
    async with bench.host(manifest("note")) as host:
        await fire(host)
        await begun(*names(0, LAST))
        await eventually_async(lambda: pending(bench) == 0)
        series = host.client.parts.metrics.event_handlings
        await eventually_async(lambda: series.total("note", outcome="ok") == LAST)


async def test_those_that_have_ended_are_acknowledged_while_one_blocks(bench: Bench) -> None:
    async with bench.host(manifest("block")) as host:
        await fire(host)
        await begun(*names(0, QUICK + 1))
        await eventually_async(lambda: pending(bench) <= LAST - QUICK)
        notes.may_end.set()
        await begun(*names(0, LAST))


async def test_the_time_of_each_in_metrics_is_that_in_its_thread(bench: Bench) -> None:
    async with bench.host(manifest("block")) as host:
        await fire(host)
        await begun(*names(0, QUICK + 1))
        series = host.client.parts.metrics.event_handlings
        await eventually_async(lambda: series.total(outcome="ok") == QUICK)
        [of_listener] = series.series.values()
        before = of_listener.seconds
        await asyncio.sleep(0.3)
        notes.may_end.set()
        await eventually_async(lambda: series.total(outcome="ok") == LAST)
        # Those behind the one that has blocked have waited as long, but that does not count.
        assert 0.3 <= of_listener.seconds - before <= time.perf_counter() - notes.blocked_at


async def test_those_that_have_not_begun_go_to_another_process_at_the_end(bench: Bench) -> None:
    async with bench.host(manifest("block")) as host:
        await fire(host)
        await begun(*names(0, QUICK + 1))
        await eventually_async(lambda: pending(bench) == LAST - QUICK)
        ending = asyncio.create_task(host.worker.drain(PATIENCE))
        # Handed back: they are in the stream of retries, with no attempt more than before.
        await eventually_async(
            lambda: bench.server.execute("XLEN", f"{{{STREAM}}}:retry:{GROUP}") == LAST - QUICK - 1
        )
        notes.may_end.set()
        assert await ending == 0
    assert notes.begun == names(0, QUICK + 1)
    async with bench.host(manifest("note")):
        await eventually_async(lambda: sorted(notes.begun, key=int) == names(0, LAST))


async def test_one_that_does_not_end_goes_to_another_process_too(bench: Bench) -> None:
    async with bench.host(manifest("block")) as host:
        await fire(host)
        await begun(*names(0, QUICK + 1))
        assert await host.worker.drain(0.05) == 1
    notes.begun.clear()
    async with bench.host(manifest("note")):
        await eventually_async(lambda: sorted(notes.begun, key=int) == names(QUICK, LAST))


async def test_nothing_is_begun_after_a_failure_that_stops_the_listener(bench: Bench) -> None:
    async with bench.host(manifest("fail", ", on_error: stop_listener")) as host:
        await fire(host)
        await begun(*names(0, QUICK + 1))
        await eventually_async(lambda: not host.worker.events[0].running)
        await eventually_async(lambda: pending(bench) == 0)
    assert notes.begun == names(0, QUICK + 1)
    async with bench.host(manifest("note")):
        await eventually_async(lambda: sorted(set(notes.begun), key=int) == names(0, LAST))
    assert len(notes.begun) == LAST + 1


async def test_a_failure_is_retried_and_the_others_go_on(bench: Bench) -> None:
    policies = "policies: {twice: {attempts: 2, backoff: {initial: 20ms}}}"
    async with bench.host(f"{policies}\n{manifest('fail', ', on_error: twice')}") as host:
        await fire(host)
        await eventually_async(lambda: len(notes.begun) == LAST + 1)
        dead = f"{{{STREAM}}}:dead:{GROUP}"
        await eventually_async(lambda: bench.server.execute("XLEN", dead) == 1)
    assert notes.begun.count(str(QUICK)) == 2
    assert [sku for sku in notes.begun if sku != str(QUICK)] == [*names(0, QUICK), *names(QUICK + 1, LAST)]


async def test_leases_of_those_that_wait_are_renewed(bench: Bench) -> None:
    lease = f"acknowledgement_timeout: {3 * HOUR}, reclaim_interval: 50ms"
    text = f"{manifest('block')}\napis: {{shop: {{event_transport: {{redis: {{{lease}}}}}}}}}"

    def are_renewed() -> bool:
        held = bench.server.execute("XPENDING", STREAM, GROUP, "-", "+", LAST)
        return all(idle < 60_000 for _, _, idle, _ in held)

    async with bench.host(text) as host:
        await fire(host)
        await begun(*names(0, QUICK + 1))
        (holder,) = [name.decode() for name, _ in bench.server.execute("XPENDING", STREAM, GROUP)[3]]
        async with bench.host(text):
            for _ in range(3):
                await until_an_hour_is_waited_for("lightbus leases", by=2)
                outlast_leases(bench.server, STREAM, GROUP, holder)
                assert not are_renewed()
                an_hour_passes()  # Leases are renewed after each third of their time.
                await eventually_async(are_renewed)
            notes.may_end.set()
            await eventually_async(lambda: sorted(notes.begun, key=int) == names(0, LAST))


async def test_what_came_twice_is_handled_once(bench: Bench) -> None:
    async with bench.host(manifest("note", ", dedupe: 60")) as host:
        for _ in range(2):
            await fire(host, 0, 5)
        for sku in (*names(0, 5), *names(0, 5)):
            await host.bus.shop.sold.fire_async(sku=sku, bus_options={"id": f"the same {sku}"})
        await eventually_async(lambda: len(notes.begun) == 15)
        await eventually_async(lambda: pending(bench) == 0)
    assert sorted(notes.begun) == sorted(names(0, 5) * 3)


async def test_hooks_of_one_message_come_before_the_next_begins(bench: Bench) -> None:
    tasks = []

    async def before(**_: Any) -> None:
        tasks.append(asyncio.current_task())
        notes.begun.append("before")

    async def after(**_: Any) -> None:
        assert tasks.pop() is asyncio.current_task()
        notes.begun.append("after")

    async with bench.host(manifest("note")) as host:
        host.client.parts.hooks.add("before_event_execution", before)
        host.client.parts.hooks.add("after_event_execution", after)
        await fire(host, 0, 50)
        await begun(*(what for sku in names(0, 50) for what in ("before", sku, "after")))


class Plain(Api):
    """Procedures by ``def``."""

    told = Event((Parameter("number", int),))

    class Meta:
        name = "plain"
        auto_register = False

    def double(self, number: int) -> int:
        if number == 7:
            raise ValueError("seven")
        return 2 * number

    def stay(self, number: int) -> int:
        notes.begun.append(str(number))
        if number == 0:
            notes.may_end.wait(PATIENCE)
        return number

    def left(self) -> float | None:
        return time_left()


async def test_each_call_has_its_own_answer() -> None:
    async with hosted(Plain()) as host:
        calls = [host.bus.plain.double.call_async(number=n) for n in range(50)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert "seven" in str(answers.pop(7))
    assert answers == [2 * n for n in range(50) if n != 7]


async def test_each_call_has_its_own_deadline() -> None:
    async with hosted(Plain()) as host:
        calls = [host.bus.plain.left.call_async(bus_options={"timeout": n}) for n in range(100, 600, 50)]
        left = await asyncio.gather(*calls)
    assert [round(seconds / 50) for seconds in left] == [n / 50 for n in range(100, 600, 50)]


async def test_the_time_of_each_call_in_metrics_is_that_in_its_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "MAX_THREADS", 1)
    async with hosted(Plain()) as host:
        since = time.perf_counter()
        calls = [asyncio.create_task(host.bus.plain.stay.call_async(number=n)) for n in range(20)]
        await begun("0")
        await asyncio.sleep(0.3)
        notes.may_end.set()
        await asyncio.gather(*calls)
        [series] = host.bus.client.parts.metrics.rpc_executions.series.values()
        assert 0.3 <= series.seconds <= time.perf_counter() - since


async def test_calls_that_wait_for_a_thread_are_answered_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_THREADS", 1)
    async with hosted(Plain()) as host:
        calls = [asyncio.create_task(host.bus.plain.stay.call_async(number=n)) for n in range(2)]
        await begun("0")
        worker = host._life.worker
        assert worker is not None
        ending = asyncio.create_task(worker.drain(PATIENCE))
        await eventually_async(lambda: not worker.schedules.running)
        notes.may_end.set()
        assert await asyncio.gather(*calls) == [0, 1]
        assert await ending == 0
