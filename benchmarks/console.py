"""How long each page of the console takes on a large bus: ``python -m benchmarks.console [PAGE ...]``.

There are 1,000 listeners of 300 APIs, 500 processes of 50 services, 30,000 dead letters and 20,000 events;
``--letters`` and ``--events`` take other numbers of these. A page is asked for as a browser asks, from
``lightbus web``: with a look at the bus that is still good, with one that is stale, so that a new one is
made, and with one that is as old as if nobody had looked for long.
"""

from __future__ import annotations

import argparse
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
from urllib.parse import urlencode

import lightbus
from benchmarks.dead_letters import FIELDS, MANY
from benchmarks.growth.many_cards import Shape, show
from benchmarks.process import used
from lightbus.insight.dead_letters import Filter, page, sample
from lightbus.insight.overview import overview
from lightbus.transports.audit import Act, write_act
from lightbus.transports.redis.keys import AUDIT, GroupKeys, queue_key, stream_key
from tests.support.processes import Process, lightbus_process
from tests.support.servers import Server, free_port

PROCESSES = 500
SHAPE = Shape(processes=10, apis=6, listeners=20, procedures=4)
API, GROUP = "service7.part1", "service7-listener1"
STREAM = stream_key(API, "happened", "per_api")
LETTERS, EVENTS_FIRED = 30_000, 20_000
#: For each kind of look: how long looks are good, how often a page is asked for, and the seconds before.
KINDS = {"kept": ("1h", 15, 0.0), "stale": ("1s", 5, 1.1), "old": ("1s", 5, 3.2)}
#: How often an overview is asked for.
OVERVIEWS = 5
AT_ONCE = 20_000
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
    "dead letters, that none fits": "/dead/list?error=KeyError",
    "dead letters, of one kind": "/dead/list?fingerprint=KIND",
    "dead letters, a later page": "/dead/list?BEFORE",
    "a dead letter": "/dead/letter?PLACE",
    "replay all of a listener, asked": f"/actions/replay_many?listener={GROUP}",
    "seek, asked": f"/actions/seek?target={GROUP}&to=end",
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
        worst: Milliseconds, the most.
        cpu: Those of a processor that the console took, on average.
        commands: How many commands its Redis did, the median.
        size: How many bytes it has.
    """

    first: float
    wall: float
    worst: float
    cpu: float
    commands: int
    size: int


async def fill(server: Server, letters: int = LETTERS, events: int = EVENTS_FIRED) -> None:
    """Put all of that on the bus: of so many dead letters, most are of one listener."""
    client = lightbus.create(server.url, service_name="bench").client
    transport: Any = client.transports().event(API)
    redis = transport.pipe
    await show(redis, PROCESSES, SHAPE, in_full=True)
    await client.close_async()
    act = write_act(Act(act="1", user="ann", action="dlq.replay", target="shop-mailer", outcome="done"))
    for _ in range(2_000):
        server.execute("XADD", AUDIT, "*", "act", act)
    for start in range(0, events, AT_ONCE):
        server.execute("EVAL", EVENTS, 1, STREAM, min(AT_ONCE, events - start), *EVENT)
    each = min(1_000, letters // 30)
    for number in range(30):
        stream = stream_key(f"service{number}.part1", "happened", "per_api")
        dead = GroupKeys(stream, f"service{number}-listener1").dead
        count = each if dead != GroupKeys(STREAM, GROUP).dead else letters - 29 * each
        for start in range(0, count, AT_ONCE):
            server.execute("EVAL", MANY, 1, dead, min(AT_ONCE, count - start), *FIELDS)
    for number in range(50):
        call = json.dumps({"metadata": {"id": "1", "api_name": f"service{number}.part0"}, "kwargs": {}})
        server.execute("RPUSH", queue_key(f"service{number}.part0"), *[call] * 20)


@contextlib.contextmanager
def console(server: Server, folder: Path, refresh: str) -> Iterator[tuple[Process, int]]:
    """A console whose looks are good for so long."""
    port = free_port()
    env = {"LIGHTBUS__BUS__REDIS__URL": server.url, "LIGHTBUS__WEB__REFRESH": refresh}
    may = ("--allow", "replay,seek")
    with lightbus_process("web", "--listen", str(port), *may, cwd=folder, env=env) as process:
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
    # The form of an action says so if it can't be done.
    if answer.status != 200 and not (path.startswith("/actions/") and answer.status < 500):
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
    return Took(found[0], median(found), max(found), sum(cpu) / len(cpu), round(median(commands)), size)


async def placed(server: Server) -> dict[str, str]:
    """Return what stands for words in the addresses of pages."""
    client = lightbus.create(server.url, service_name="bench").client
    (kind, *_) = (await sample(client, ["default"])).kinds
    later = await page(client, ["default"], Filter(), limit=200)
    for _ in range(20):
        later = await page(client, ["default"], Filter(), before=later.next, limit=200)
    await client.close_async()
    letter = later.letters[0]
    return {
        "NATIVE": server.execute("XRANGE", STREAM, "-", "+", "COUNT", 5)[-1][0].decode(),
        "KIND": kind.fingerprint.digest,
        "BEFORE": urlencode({"before": later.next}),
        "PLACE": urlencode({"place": letter.place, "id": letter.id}),
    }


async def status(server: Server) -> Took:
    """What ``lightbus status`` asks, in this process."""
    client = lightbus.create(server.url, service_name="bench").client
    found, cpu, commands = [], [], []
    for _ in range(OVERVIEWS):
        began, before, done = time.perf_counter(), time.process_time(), done_by(server)
        await overview(client, (), {})
        found.append(1e3 * (time.perf_counter() - began))
        cpu.append(1e3 * (time.process_time() - before))
        commands.append(done_by(server) - done - 1)
    await client.close_async()
    return Took(found[0], median(found), max(found), sum(cpu) / len(cpu), round(median(commands)), 0)


def measure(server: Server, pages: dict[str, str], kind: str) -> None:
    """Measure pages with one kind of look, and print a table of them."""
    refresh, times, pause = KINDS[kind]
    with tempfile.TemporaryDirectory() as name, console(server, Path(name), refresh) as (process, port):
        print(f"with a look that is {kind}; the very first page: {get(port, '/')[0]:.0f} ms")
        print(f"{'':32} {'KB':>7} {'at first':>9} {'ms':>8} {'worst':>8} {'CPU':>7} {'commands':>9}")
        for each, path in pages.items():
            it = asked(server, process, port, path, times, pause)
            figures = f"{it.first:9.1f} {it.wall:8.1f} {it.worst:8.1f} {it.cpu:7.1f} {it.commands:9,}"
            print(f"{each:32} {it.size / 1e3:7.1f} {figures}", flush=True)


def main(arguments: Sequence[str]) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description="Measures the console.")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=", ".join(PAGES))
    parser.add_argument("--letters", type=int, default=LETTERS, help="how many dead letters there are")
    parser.add_argument("--events", type=int, default=EVENTS_FIRED, help="how many events there are")
    wanted = parser.parse_args(arguments)
    pages = {name: path for name, path in PAGES.items() if not wanted.pages or name in wanted.pages}
    server = Server()
    try:
        asyncio.run(fill(server, wanted.letters, wanted.events))
        seen = asyncio.run(status(server))
        for word, text in asyncio.run(placed(server)).items():
            pages = {name: path.replace(word, text) for name, path in pages.items()}
        print(f"an overview: {seen.wall:.0f} ms, {seen.cpu:.0f} ms of CPU, {seen.commands:,} commands")
        for kind in KINDS:
            measure(server, pages, kind)
    finally:
        server.close()


if __name__ == "__main__":
    main(sys.argv[1:])
