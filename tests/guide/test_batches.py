"""Listeners that take lists: how long a list is, what becomes of a failure, the end, a death."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from typing import Any

import pytest

from tests.guide.project import Project, printed
from tests.host.conftest import Bench
from tests.support.eventually import eventually, eventually_async
from tests.support.processes import Process
from tests.support.servers import Server
from tests.support.timers import an_hour_passes, outlast_leases, until_an_hour_is_waited_for

STREAM, GROUP = "shop.*:stream", "shop-count"

BUS = """
    import asyncio, json, os, time
    from datetime import date
    import lightbus
    from lightbus import Api, Backoff, DeliveryPolicy, Event, OnError, Parameter

    class ShopApi(Api):
        sold = Event(parameters=(Parameter('number', int), Parameter('on', date, default=date(2026, 1, 1))))

        class Meta:
            name = 'shop'

    def say(word, messages):
        print(word, json.dumps([m.kwargs['number'] for m in messages]) + '\\n', end='', flush=True)

%s

    def before_server_start(bus):
        bus.shop.sold.listen(
            count, on_error=DeliveryPolicy(attempts=2, backoff=Backoff(initial=0.01, jitter=False)),
            bus_options=dict({'since': 'earliest', 'batch': 100, 'batch_wait': '20ms'}%s)
        )
"""
PLAIN = """
    def count(messages):
        say('got', messages)
"""
FIRE = """
    import lightbus
    from bus import ShopApi

    bus = lightbus.create()
    bus.shop.sold.fire_many([{'number': n} for n in range(%d)])
"""
#: A lease ends when a test says so; then another process takes over soon.
LEASES = """
    apis: {default: {event_transport: {redis: {acknowledgement_timeout: 1h, reclaim_interval: 50ms}}}}
    service_name: shop
    modules: [bus]
"""


def lists(host: Process, word: str = "got") -> list[list[int]]:
    """The lists that a host has got so far."""
    return [json.loads(line.partition(" ")[2]) for line in printed(host) if line.startswith(f"{word} ")]


def numbers(host: Process, word: str = "got") -> list[int]:
    return [number for each in lists(host, word) for number in each]


def pending(server: Server) -> int:
    count = server.execute("XPENDING", STREAM, GROUP)[0]
    assert isinstance(count, int)
    return count


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_lists_are_full_where_enough_waits_and_come_in_order(
    project: Project, redis_server: Server, kind: str
) -> None:
    project.write("bus.py", BUS % (PLAIN.replace("def", kind), ""))
    project.script(FIRE % 250)
    host = project.host()
    eventually(lambda: len(numbers(host)) == 250)
    assert [len(each) for each in lists(host)] == [100, 100, 50]
    assert numbers(host) == list(range(250))
    eventually(lambda: pending(redis_server) == 0)


def test_a_list_waits_for_more_until_it_is_full(project: Project, redis_server: Server) -> None:
    project.write("bus.py", BUS % (PLAIN, ", batch=5, batch_wait='1h'"))
    host = project.host()
    for number in range(5):
        project.fire("shop.sold", number=number, on="2026-01-01")
        eventually(lambda: pending(redis_server) > number or numbers(host))  # noqa: B023 - asked at once
    eventually(lambda: len(numbers(host)) == 5)
    assert lists(host) == [[0, 1, 2, 3, 4]]


def test_one_that_does_not_get_full_comes_after_its_wait(project: Project) -> None:
    project.write("bus.py", BUS % (PLAIN, ""))
    host = project.host()
    project.script(FIRE % 1)
    eventually(lambda: lists(host) == [[0]])


def test_one_bad_event_condemns_no_other(project: Project, redis_server: Server) -> None:
    bad = """
    def count(messages):
        say('got', messages)
        messages[0].kwargs['on'] = 'spoiled'
        if any(m.kwargs['number'] == 3 for m in messages):
            raise ValueError('three')
        say('done', messages)
"""
    project.write("bus.py", BUS % (bad, ""))
    project.script(FIRE % 6)
    host = project.host()
    eventually(lambda: redis_server.execute("XLEN", f"{{{STREAM}}}:dead:{GROUP}") == 1)
    assert lists(host)[0] == [0, 1, 2, 3, 4, 5]
    assert sorted(lists(host)[1:]) == [[0], [1], [2], [3], [3], [4], [5]]
    assert numbers(host, "done") == [0, 1, 2, 4, 5]
    failure = "raised on a list of 6 events, and gets each of them alone now: ValueError('three')"
    assert failure in host.output()
    ((_, letter),) = redis_server.execute("XRANGE", f"{{{STREAM}}}:dead:{GROUP}", "-", "+")
    assert letter[letter.index(b"attempts") + 1] == b"2"
    eventually(lambda: pending(redis_server) == 0)


def test_an_event_that_does_not_fit_is_left_out_and_put_aside(project: Project, redis_server: Server) -> None:
    project.write("bus.py", BUS % (PLAIN, ""))
    project.script(FIRE % 2)
    fields = ("id", "x1", "api_name", "shop", "event_name", "sold", "version", "1")
    redis_server.execute("XADD", STREAM, "*", *fields, ":number", '"three"')
    project.script(FIRE % 1)
    host = project.host()
    eventually(lambda: redis_server.execute("XLEN", f"{{{STREAM}}}:dead:{GROUP}") == 1)
    eventually(lambda: len(numbers(host)) == 3)
    assert lists(host) == [[0, 1, 0]]
    ((_, letter),) = redis_server.execute("XRANGE", f"{{{STREAM}}}:dead:{GROUP}", "-", "+")
    assert letter[letter.index(b"reason") + 1] == b"invalid"


def test_arguments_are_as_the_event_declares_them(project: Project) -> None:
    typed = """
    def count(messages):
        for m in messages:
            print('type', type(m.kwargs['on']).__name__ + '\\n', end='', flush=True)
"""
    project.write("bus.py", BUS % (typed, ""))
    project.script((FIRE % 2).replace("'number': n", "'number': n, 'on': '2026-01-0' + str(n + 1)"))
    host = project.host()
    eventually(lambda: printed(host).count("type date") == 2)


def test_concurrency_counts_lists(project: Project) -> None:
    slow = """
    running = []

    async def count(messages):
        running.append(1)
        print('most', str(len(running)) + '\\n', end='', flush=True)
        await asyncio.sleep(0.2)
        running.pop()
        say('got', messages)
"""
    project.write("bus.py", BUS % (slow, ", batch=10, concurrency=3"))
    project.script(FIRE % 60)
    host = project.host()
    eventually(lambda: len(numbers(host)) == 60)
    assert max(int(line.split()[1]) for line in printed(host) if line.startswith("most ")) == 3
    assert {len(each) for each in lists(host)} == {10}


def test_hooks_run_for_each_event(project: Project) -> None:
    hooks = (
        PLAIN
        + """
    def listened(bus):
        @bus.client.before_event_execution
        def before(client, event_message):
            print('before', str(event_message.kwargs['number']) + '\\n', end='', flush=True)

        @bus.client.after_event_execution
        def after(client, event_message):
            print('after', str(event_message.kwargs['number']) + '\\n', end='', flush=True)
"""
    )
    source = BUS % (hooks, "")
    project.write(
        "bus.py",
        source.replace(
            "        bus.shop.sold.listen(", "        listened(bus)\n        bus.shop.sold.listen("
        ),
    )
    project.script(FIRE % 3)
    host = project.host()
    eventually(lambda: "after 2" in printed(host))
    lines = [line for line in printed(host) if line.partition(" ")[0] in ("before", "got", "after")]
    assert lines == ["before 0", "before 1", "before 2", "got [0, 1, 2]", "after 0", "after 1", "after 2"]


HOLD = """
    def count(messages):
        say('begun', messages)
        while os.path.exists('hold'):
            time.sleep(0.02)
        say('got', messages)
"""


def test_at_the_end_the_list_that_runs_is_finished_and_the_rest_handed_back(
    project: Project, redis_server: Server
) -> None:
    project.write("bus.py", BUS % (HOLD, ", batch=10"))
    hold = project.write("hold", "")
    project.script(FIRE % 35)
    first = project.host()
    eventually(lambda: numbers(first, "begun"))
    os.kill(first.pid, signal.SIGTERM)
    first.wait_for_line("SIGTERM")
    hold.unlink()
    assert first.wait() == 0
    assert pending(redis_server) == 0
    second = project.host()
    eventually(lambda: len(numbers(first)) + len(numbers(second)) == 35)
    assert sorted(numbers(first) + numbers(second)) == list(range(35))


def test_a_list_whose_process_was_killed_is_handled_by_another_one_event_by_event(
    project: Project, redis_server: Server
) -> None:
    project.write("bus.py", BUS % (HOLD, ", batch=10"))
    project.write("lightbus.yaml", LEASES)
    hold = project.write("hold", "")
    project.script(FIRE % 10)
    first = project.host("--process-name", "first")
    eventually(lambda: numbers(first, "begun"))
    first.kill()
    outlast_leases(redis_server, STREAM, GROUP, "first")
    hold.unlink()
    second = project.host()
    eventually(lambda: len(numbers(second)) == 10)
    assert sorted(lists(second)) == [[n] for n in range(10)]


SLOW = """
process_name: first
apis: {shop: {event_transport: {redis: {acknowledgement_timeout: 3h, reclaim_interval: 50ms}}}}
listeners: {slow: {events: [shop.sold], handler: "tests.guide.test_batches:slow", batch: 10, batch_wait: 1h}}
"""
begun: list[Sequence[Any]] = []


async def slow(event_messages: Sequence[Any]) -> None:
    """Handle a list for as long as the host runs."""
    begun.append(event_messages)
    await asyncio.Event().wait()


async def test_the_leases_of_a_slow_list_are_renewed(bench: Bench) -> None:
    begun.clear()

    def idle() -> list[int]:
        """For how many milliseconds nothing has been heard of each event that is held."""
        return [entry[2] for entry in bench.server.execute("XPENDING", STREAM, "shop-slow", "-", "+", 100)]

    async with bench.host(SLOW) as host:
        await host.bus.shop.sold.fire_many_async([{"sku": str(n)} for n in range(10)])
        await eventually_async(lambda: [len(each) for each in begun] == [10])
        for _ in range(2):
            outlast_leases(bench.server, STREAM, "shop-slow", "first")
            assert min(idle()) > 3_600_000
            await until_an_hour_is_waited_for("lightbus leases")
            an_hour_passes()  # Leases are renewed after each third of their time.
            await eventually_async(lambda: max(idle()) < 60_000)
        assert len(idle()) == 10
        await host.worker.drain(0)


def test_with_dedupe_an_id_is_handled_once_also_within_one_list(
    project: Project, redis_server: Server
) -> None:
    project.write("bus.py", BUS % (PLAIN, ", dedupe='10m', concurrency=2"))
    ids = "bus_options={'ids': ['a', 'b', 'a', 'c', 'b', 'd']}"
    project.script((FIRE % 6).replace("range(6)])", f"range(6)], {ids})"))
    host = project.host()
    eventually(lambda: len(numbers(host)) >= 4)
    eventually(lambda: pending(redis_server) == 0)
    ids = ids.replace("'d'", "'end'")
    project.script((FIRE % 6).replace("range(6)])", f"range(6)], {ids})"))
    eventually(lambda: len(numbers(host)) >= 5)
    assert sorted(numbers(host)) == [0, 1, 3, 5, 5]


@pytest.mark.parametrize(
    ("handler", "options", "said"),
    [
        ("def count(message, number): pass", "", "demands number, but with batch it is called with a list"),
        ("def count(*, messages): pass", "", "write: def count(event_messages)"),
        ("def count(messages): pass", ", batch=0", "batch is 0; give a number from 1 to 10000"),
        ("def count(messages): pass", ", batch='many'", "batch is 'many'; give a number"),
        ("def count(messages): pass", ", batch_wait='soon'", "batch_wait is 'soon'; give seconds from 0 on"),
        ("def count(messages, number, on): pass", ", batch=None", "batch_wait is for lists; give batch, too"),
    ],
)
def test_what_cannot_take_lists_is_refused_at_the_start(
    project: Project, handler: str, options: str, said: str
) -> None:
    project.write("bus.py", BUS % (f"    {handler}", options))
    status, log = project.refused()
    assert status != 0
    assert said in log


def test_a_list_that_still_waits_for_more_keeps_the_end_from_nothing(
    project: Project, redis_server: Server
) -> None:
    project.write("bus.py", BUS % (PLAIN, ", batch_wait='1h'"))
    host = project.host("--set", "bus.drain_timeout=1h")
    project.script(FIRE % 3)
    eventually(lambda: pending(redis_server) == 3)
    assert host.terminate() == 0
    assert pending(redis_server) == 0
    project.write("bus.py", BUS % (PLAIN, ""))
    second = project.host()
    eventually(lambda: sorted(numbers(second)) == [0, 1, 2])
    assert numbers(host) == []
