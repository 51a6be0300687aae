"""SIGHUP: a manifest that changed is applied as a whole, or refused as a whole."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest

from lightbus.manifest.differences import differences
from tests.guide.project import Project
from tests.host.conftest import Bench
from tests.host.shop import ledger
from tests.support.eventually import eventually_async
from tests.support.servers import Server

BEFORE = """
policies:
  mine: {attempts: 8}
listeners:
  stay: {events: [shop.sold], handler: "tests.host.shop:stay", on_error: mine, concurrency: 1}
"""


async def test_more_run_at_a_time_at_once(bench: Bench) -> None:
    async with bench.host(BEFORE) as host:
        for number in range(5):
            await host.fire(str(number))
        await eventually_async(lambda: ledger.running == 1)
        bench.write(BEFORE.replace("concurrency: 1", "concurrency: 3"))
        assert await host.reloader.reload()
        await eventually_async(lambda: ledger.running == 3)


async def test_fewer_run_at_a_time_as_soon_as_those_that_run_end(bench: Bench) -> None:
    text = BEFORE.replace("concurrency: 1", "concurrency: 3")
    async with bench.host(text) as host:
        for number in range(3):
            await host.fire(str(number))
        await eventually_async(lambda: ledger.running == 3)
        bench.write(BEFORE)
        assert await host.reloader.reload()
        ledger.gate.set()
        await eventually_async(lambda: ledger.running == 0)
        ledger.gate.clear()
        ledger.most = 0
        for number in range(3, 9):
            await host.fire(str(number))
        await eventually_async(lambda: ledger.running == 1)
        ledger.gate.set()
        await eventually_async(lambda: sum(ledger.counts.values()) == 9)
        assert ledger.most == 1


async def test_an_api_runs_more_calls_at_a_time(bench: Bench) -> None:
    async with bench.host("apis: {shop: {rpc_concurrency: 1}}") as host:
        calls = [asyncio.create_task(host.bus.shop.stay.call_async()) for _ in range(3)]
        await eventually_async(lambda: ledger.running == 1)
        bench.write("apis: {shop: {rpc_concurrency: 3}}")
        assert await host.reloader.reload()
        await eventually_async(lambda: ledger.running == 3)
        ledger.gate.set()
        await asyncio.gather(*calls)


async def test_a_listener_is_switched_off_and_on_and_misses_nothing(bench: Bench) -> None:
    text = "listeners: {note: {events: [shop.sold], handler: 'tests.host.shop:note', enabled: true}}"
    async with bench.host(text) as host:
        await host.fire("first")
        await eventually_async(lambda: ledger.counts["first"])
        bench.write(text.replace("true", "false"))
        assert await host.reloader.reload()
        assert host.worker.events == []
        await host.fire("second")
        await asyncio.sleep(0.1)
        assert "second" not in ledger.counts
        bench.write(text)
        assert await host.reloader.reload()
        await eventually_async(lambda: ledger.counts["second"] == 1)
        await host.fire("third")
        await eventually_async(lambda: ledger.counts["third"] == 1)
    assert ledger.counts["first"] == 1


async def test_a_listener_that_was_off_at_the_start_is_switched_on(bench: Bench) -> None:
    text = "listeners: {note: {events: [shop.sold], since: earliest, handler: 'tests.host.shop:note'"
    async with bench.host(text + ", enabled: false}}") as host:
        await host.fire("cup")
        bench.write(text + "}}")
        assert await host.reloader.reload()
        await eventually_async(lambda: ledger.counts["cup"] == 1)


async def test_policies_schedules_and_the_log_level_change(bench: Bench) -> None:
    async with bench.host(BEFORE) as host:
        bench.write(
            BEFORE.replace(
                "attempts: 8", "attempts: 3, max_deaths: 5, give_up_on: ['tests.host.shop:NoSuchSku']"
            )
            + "schedules: {tick: {every: 20ms, call: 'tests.host.shop:tick'}}\nbus: {log_level: debug}"
        )
        assert await host.reloader.reload()
        policy = host.client.listeners["stay"].on_error
        assert policy.attempts == 3 and [cls.__name__ for cls in policy.give_up_on] == ["NoSuchSku"]
        (consumer,) = next(e for e in host.worker.events if e.listener.name == "stay")._consumers
        assert consumer.max_deaths == 5
        assert logging.getLogger("lightbus").level == logging.DEBUG
        await eventually_async(lambda: ledger.counts["tick"] >= 2)
        bench.write(BEFORE)
        assert await host.reloader.reload()
        ticks = ledger.counts["tick"]
        await asyncio.sleep(0.1)
        assert ledger.counts["tick"] <= ticks + 1
    assert logging.getLogger("lightbus").level == logging.INFO


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("apis: {shop: {rpc_timeout: 1s}}", "apis.shop can't change while the host runs"),
        ("apis: {default: {rpc_timeout: 1s}}", "apis.default.rpc_timeout can't change"),
        ("service_name: other", "service_name can't change"),
        ("bus: {redis: {connect_timeout: 1s}}", "bus.redis.connect_timeout"),
        ("features: [rpcs]", "features can't change"),
        ("modules: [other]", "modules can't change"),
        ("processes: 2", "processes can't change"),
        ("foo: 1", "lightbus.yaml:6:1  foo: unknown key"),
        (
            "schedules: {x: {every: 1s, call: 'tests.host.shop:nothing'}}",
            "schedules.x.call: tests.host.shop has no 'nothing'",
        ),
        ("schedules: {x: {every: 1s, call: 'tests.host.shop:needs'}}", "is called without arguments"),
    ],
)
async def test_anything_else_is_refused_and_nothing_changes(
    bench: Bench, more: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.host(BEFORE) as host:
        bench.write(BEFORE.replace("concurrency: 1", "concurrency: 3") + more)
        assert not await host.reloader.reload()
        assert told in caplog.text and "the manifest was not applied" in caplog.text
        assert host.client.listeners["stay"].concurrency == 1
        assert host.client.parts.declarations.schedules == {}


async def test_a_listener_that_comes_or_goes_or_moves_is_refused(bench: Bench) -> None:
    async with bench.host(BEFORE) as host:
        for changed in (
            BEFORE.replace("stay:", "other:"),
            BEFORE.replace("on_error: mine", "on_error: shutdown"),
            BEFORE.replace("shop.sold", "shop.*"),
        ):
            bench.write(changed)
            assert not await host.reloader.reload()
        bench.write(BEFORE)
        assert await host.reloader.reload()


def test_what_means_the_same_is_no_difference(bench: Bench) -> None:
    one = bench.read("process_name: '{random8}'\napis: {a: {rpc_timeout: 5s}}\nbus: {drain_timeout: 25}")
    other = bench.read("process_name: '{random8}'\napis: {a: {}}\nbus: {drain_timeout: 25s}")
    assert one.process_name != other.process_name
    assert differences(one, other) == []


def test_a_signal_is_what_it_takes(project: Project, redis_server: Server) -> None:
    project.write("bus.py", "import lightbus\nclass A(lightbus.Api):\n    class Meta: name = 'a'\n")
    text = f"bus: {{log_format: text, log_level: info, redis: {{url: '{redis_server.url}'}}}}\nprocesses: 2\n"
    project.write("lightbus.yaml", text)
    supervisor = project.host()
    project.write("lightbus.yaml", text.replace("info", "debug"))
    os.kill(supervisor.pid, signal.SIGHUP)
    supervisor.wait_for_line("the manifest was applied: bus.log_level")
    project.write("lightbus.yaml", text.replace("a", "b"))
    os.kill(supervisor.pid, signal.SIGHUP)
    supervisor.wait_for_line("the manifest was not applied")
    status = supervisor.terminate()
    assert status == 0, supervisor.output()
