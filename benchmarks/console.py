"""How long each page of the console takes on a large bus: ``python -m benchmarks.console [PAGE ...]``.

There are 1,000 listeners of 300 APIs, 500 processes of 50 services, 30,000 dead letters and 20,000 events.
A page is asked for as a browser asks, from ``lightbus web``: once with a look at the bus that is still good,
and once with a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import lightbus
from benchmarks.dead_letters import FIELDS, MANY
from benchmarks.growth.many_cards import Shape, show
from benchmarks.process import used
from lightbus.insight.overview import overview
from lightbus.transports.audit import Act, write_act
from lightbus.transports.redis.keys import AUDIT, GroupKeys, queue_key, stream_key
from tests.support.processes import Process, lightbus_process
from tests.support.servers import Server, free_port

PROCESSES = 500
SHAPE = Shape(processes=10, apis=6, listeners=20, procedures=4)
API, GROUP = "service7.part1", "service7-listener1"
STREAM = stream_key(API, "happened", "per_api")
#: How often each page is asked for: with the look that is there, and with a new one.
TIMES, NEW = 15, 5
#: Longer than the looks of a console are good that looks anew for each page.
PAUSE = 1.1
EVENT = ("api_name", API, "event_name", "happened", "version", 1, ":field0", '"x"', ":email", '"a@b.example"')
EVENTS = "for i = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], '*', 'id', i, unpack(ARGV, 2)) end"
PAGES = {
    "overview": "/",
    "listeners": "/listeners",
    "listeners, the last page": "/listeners?page=10",
    "listeners, by name": "/listeners?find=service7-listener1",
    "a listener": f"/listeners/{GROUP}",
    "a service": "/services/service7",
    "an API": f"/apis/{API}",
    "calls": "/calls",
    "schedules": "/schedules",
    "graph": "/graph",
    "graph, one service": "/graph?focus=service7",
    "graph, one API": f"/graph?focus={API}",
    "events": "/events",
    "events, that none fits": "/events?where=field0%3Dnothing",
    "an event": "/events/5?at=NATIVE",
    "an event, by its id alone": "/events/5",
    "dead letters": "/dead",
    "dead letters, listed": "/dead/list",
    "dead letters, of one listener": f"/dead/list?listener={GROUP}",
    "try": f"/try/{API}.procedure1",
    "contract": f"/contracts/{API}",
    "audit": "/audit",
    "audit, of somebody": "/audit?user=nobody",
    "metrics": "/metrics",
}


@dataclass(frozen=True, slots=True)
class Took:
    """What a page took.

    Args:
        first: Milliseconds, at first.
        wall: Milliseconds, the median.
        cpu: Those of a processor that the console took, on average.
        commands: How many commands its Redis did, the median.
        size: How many bytes it has.
    """

    first: float
    wall: float
    cpu: float
    commands: int
    size: int


async def fill(server: Server) -> None:
    """Put all of that on the bus."""
    client = lightbus.create(server.url, service_name="bench").client
    transport: Any = client.transports().event(API)
    redis = transport.pipe
    await show(redis, PROCESSES, SHAPE, in_full=True)
    await client.close_async()
    act = write_act(Act(act="1", user="ann", action="dlq.replay", target="shop-mailer", outcome="done"))
    for _ in range(2_000):
        server.execute("XADD", AUDIT, "*", "act", act)
    server.execute("EVAL", EVENTS, 1, STREAM, 20_000, *EVENT)
    for number in range(30):
        stream = stream_key(f"service{number}.part1", "happened", "per_api")
        server.execute("EVAL", MANY, 1, GroupKeys(stream, f"service{number}-listener1").dead, 1_000, *FIELDS)
    for number in range(50):
        call = json.dumps({"metadata": {"id": "1", "api_name": f"service{number}.part0"}, "kwargs": {}})
        server.execute("RPUSH", queue_key(f"service{number}.part0"), *[call] * 20)


@contextlib.contextmanager
def console(server: Server, folder: Path, refresh: str) -> Iterator[tuple[Process, int]]:
    """A console whose looks are good for so long."""
    port = free_port()
    env = {"LIGHTBUS__BUS__REDIS__URL": server.url, "LIGHTBUS__WEB__REFRESH": refresh}
    with lightbus_process("web", "--listen", str(port), cwd=folder, env=env) as process:
        process.wait_for_line("the console: http://")
        get(port, "/static/icon.svg")
        yield process, port


def get(port: int, path: str) -> tuple[float, int]:
    """Ask for a page; return how long it took, in milliseconds, and its size."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as link:
        began = time.perf_counter()
        link.request("GET", path)
        answer = link.getresponse()
        size = len(answer.read())
        took = 1e3 * (time.perf_counter() - began)
    if answer.status != 200:
        raise RuntimeError(f"{path} has the status {answer.status}")
    return took, size


def done_by(server: Server) -> int:
    """How many commands a Redis has done."""
    told = re.search(r"total_commands_processed:(\d+)", server.execute("INFO", "stats").decode())
    assert told is not None
    return int(told[1])


def asked(server: Server, process: Process, port: int, path: str, times: int, pause: float) -> Took:
    """Ask for a page so often."""
    found, cpu, commands = [], [], []
    for _ in range(times):
        time.sleep(pause)
        before, done = used(process.pid), done_by(server)
        took, size = get(port, path)
        cpu.append(1e3 * (used(process.pid) - before))
        # The question itself is one.
        commands.append(done_by(server) - done - 1)
        found.append(took)
    return Took(found[0], median(found), sum(cpu) / len(cpu), round(median(commands)), size)


async def status(server: Server) -> Took:
    """What ``lightbus status`` asks, in this process."""
    client = lightbus.create(server.url, service_name="bench").client
    found, cpu, commands = [], [], []
    for _ in range(NEW):
        began, before, done = time.perf_counter(), time.process_time(), done_by(server)
        await overview(client, (), {})
        found.append(1e3 * (time.perf_counter() - began))
        cpu.append(1e3 * (time.process_time() - before))
        commands.append(done_by(server) - done - 1)
    await client.close_async()
    return Took(found[0], median(found), sum(cpu) / len(cpu), round(median(commands)), 0)


def main(wanted: Sequence[str]) -> None:
    """Measure, and print a table."""
    pages = {name: path for name, path in PAGES.items() if not wanted or name in wanted}
    server = Server()
    try:
        asyncio.run(fill(server))
        seen = asyncio.run(status(server))
        fifth = server.execute("XRANGE", STREAM, "-", "+", "COUNT", 5)[-1][0].decode()
        pages = {name: path.replace("NATIVE", fifth) for name, path in pages.items()}
        with tempfile.TemporaryDirectory() as name:
            with console(server, Path(name), "1h") as (process, port):
                print(f"the very first page: {get(port, '/')[0]:.0f} ms")
                kept = {each: asked(server, process, port, path, TIMES, 0) for each, path in pages.items()}
            with console(server, Path(name), "1s") as (process, port):
                get(port, "/")
                new = {each: asked(server, process, port, path, NEW, PAUSE) for each, path in pages.items()}
    finally:
        server.close()
    print(f"an overview: {seen.wall:.0f} ms, {seen.cpu:.0f} ms of CPU, {seen.commands:,} commands")
    look = f"{'ms':>8} {'CPU':>7} {'commands':>9}"
    print(f"{'':32} {'at first':>9} {'KB':>7} {'with a kept look':>26} {'with a new look':>26}")
    print(f"{'':50} {look} {look}")
    for each in pages:
        a, b = kept[each], new[each]
        row = " ".join(f"{it.wall:8.1f} {it.cpu:7.1f} {it.commands:9,}" for it in (a, b))
        print(f"{each:32} {a.first:9.1f} {a.size / 1e3:7.1f} {row}")


if __name__ == "__main__":
    main(sys.argv[1:])
