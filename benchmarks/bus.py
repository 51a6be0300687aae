"""The measures of the floor program, for Lightbus: a real `lightbus run` and the public interface.

``python -m benchmarks.bus URL PARTS...`` is the client; it starts and stops the host itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

import benchmarks.bus_module  # noqa: F401  (who fires an event must have its class)
import lightbus
from benchmarks import measures, tally
from benchmarks.measures import Figures
from benchmarks.process import Stopwatch, import_seconds, resident_mb
from tests.support.eventually import eventually, eventually_async
from tests.support.processes import Process, lightbus_process

CREDENTIALS: dict[str, Any] = {"username": measures.USERNAME, "password": measures.PASSWORD}
MANIFEST = "bus:\n  redis:\n    url: {url}\n"
MODULE = "benchmarks.bus_module"
#: The kinds of handlers, by the name of their figure.
HANDLERS = {"consume": "count", "consume_def": "count_def", "consume_batch": "count_list"}
RUN = ("--service-name", "bench", "--bus")


class Service:
    """The hosts of the benchmark's service on one Redis, and what they wrote down.

    Args:
        url: Of Redis.
        folder: For the manifest and the outcome.
        more: What ends the manifest.
    """

    def __init__(self, url: str, folder: Path, more: str = "") -> None:
        self.manifest = folder / "lightbus.yaml"
        self.manifest.write_text(MANIFEST.format(url=url) + more)
        self._file = folder / "outcome"

    def environment(self, events: int = 1, handler: str = "count") -> dict[str, str]:
        """For a host which expects so many events."""
        return tally.environment(events, self._file) | {"BENCH_HANDLER": handler}

    def start(
        self, events: int = 1, handler: str = "count", module: str = MODULE, more: Sequence[str] = ()
    ) -> Process:
        """A `lightbus run`, with more options where they are given, for code that closes it."""
        arguments = (*RUN, module, "--log-level", "warning", "-c", str(self.manifest), *more)
        return lightbus_process("run", *arguments, env=self.environment(events, handler))

    @contextlib.asynccontextmanager
    async def host(self, *args: Any, **kwargs: Any) -> AsyncIterator[Process]:
        """As `start`, and ended as an operator would."""
        with self.start(*args, **kwargs) as process:
            yield process
            await asyncio.to_thread(process.terminate)

    async def outcome(self, process: Process) -> Any:
        """What the host writes when it has handled all."""
        await eventually_async(lambda: alive(process) and self._file.exists(), timeout=120)
        return json.loads(self._file.read_text())


class Client:
    """The client's side of everything, by async code."""

    def __init__(self, url: str, service: Service, bus: Any) -> None:
        self.url = url
        self.service = service
        self.bus = bus

    def call(self) -> Any:
        """One call."""
        return self.bus.auth.check_password.call_async(**CREDENTIALS)

    def fire(self, username: str = measures.USERNAME) -> Any:
        """One event."""
        return self.bus.auth.user_registered.fire_async(username=username, password=measures.PASSWORD)

    async def rpc(self) -> Figures:
        """Calls, one by one and many at a time; the procedure by `async def` and by `def`."""
        call = self.call

        def call_def() -> Any:
            return self.bus.auth.check_password_def.call_async(**CREDENTIALS)

        async with self.service.host() as process:
            await answers(call, process)
            await measures.warm_up(call)
            latencies = await measures.one_by_one(call, measures.RPC_ONE_BY_ONE)
            figures = latencies.figures("rpc") | {"rpc": latencies.rate}
            figures["rpc_8"] = await measures.in_flight(call, measures.RPC_IN_FLIGHT, measures.THREADS)
            figures["rpc_50"] = await measures.in_flight(call, measures.RPC_IN_FLIGHT)
            await measures.warm_up(call_def)
            figures["rpc_50_def"] = await measures.in_flight(call_def, measures.RPC_IN_FLIGHT)
        return figures

    async def firing(self) -> Figures:
        """Events, one by one, many at a time and in batches."""
        await self.join()
        fire, many = self.fire, measures.FIRE_IN_FLIGHT
        figures = {
            "fire": (await measures.one_by_one(fire, measures.FIRE_ONE_BY_ONE)).rate,
            "fire_50": await measures.in_flight(fire, many),
        }
        batch = [CREDENTIALS] * measures.BATCH

        def fire_batch() -> Any:
            return self.bus.auth.user_registered.fire_many_async(batch)

        batches = await measures.one_by_one(fire_batch, many // measures.BATCH)
        figures["fire_batch"] = batches.rate * measures.BATCH
        return figures

    async def consuming(self) -> Figures:
        """A backlog, by each kind of handler."""
        figures = {}
        for name, handler in HANDLERS.items():
            await self.join()
            await measures.in_flight(self.fire, measures.BACKLOG)
            async with self.service.host(measures.BACKLOG, handler) as process:
                figures[name] = tally.rate(await self.service.outcome(process), measures.BACKLOG)
        return figures

    async def latency(self) -> Figures:
        """Events end to end: what goes through at most, then at rest and at half of that."""
        async with self.service.host(measures.BACKLOG) as process:
            await answers(self.call, process)
            started = time.monotonic()
            await measures.in_flight(self.fire, measures.BACKLOG)
            capacity = measures.BACKLOG / ((await self.service.outcome(process))["ended"] - started)
        figures = {"capacity": capacity}
        for name, pace in (("latency", measures.PACE), ("half", capacity / 2)):
            total = measures.timed(pace)
            async with self.service.host(total) as process:
                await answers(self.call, process)
                await measures.paced(self.fire, total, pace)
                figures |= tally.latencies(await self.service.outcome(process), name)
        return figures

    async def flight(self) -> Figures:
        """The memory of a host at rest, and of many calls that wait for their answers."""

        def patient() -> Any:
            return self.bus.auth.check_password.call_async(**CREDENTIALS, bus_options={"timeout": 60})

        async with self.service.host() as process:
            await answers(self.call, process)
            figures = {"rest_mb": resident_mb(process.pid)}
            process.pause()
            before = resident_mb()
            calls = [asyncio.ensure_future(patient()) for _ in range(measures.WAITING)]
            await asyncio.sleep(0.5)
            figures["flight_mb"] = resident_mb() - before
            process.resume()
            await asyncio.gather(*calls)
        return figures

    async def join(self) -> None:
        """Have the listener's group made, by a host that ends again: what is fired then is a backlog."""
        async with self.service.host() as process:
            await answers(self.call, process)
        link = self.bus.client.transports().event("auth").pipe
        await link.send("XTRIM", "auth.*:stream", "MAXLEN", 0)


async def answers(call: measures.Operation, process: Process) -> None:
    """Wait until the host has come up so far that it answers."""

    async def attempt() -> bool:
        alive(process)
        try:
            await call()
        except lightbus.LightbusException:
            return False
        return True

    await eventually_async(attempt, timeout=120)


def alive(process: Process) -> bool:
    """True, or an error that shows what the host said before it ended."""
    if process.status is not None:
        raise RuntimeError(f"the host ended with status {process.status}:\n{process.output()}")
    return True


def create(url: str, **more: Any) -> Any:
    """A bus that only calls and fires."""
    return lightbus.create(config={"bus": {"redis": {"url": url}}, **more})


async def measure(url: str, folder: Path, parts: list[str]) -> Figures:
    """All parts that are wanted of async code."""
    client = Client(url, Service(url, folder), create(url))
    programs = {"rpc": client.rpc, "fire": client.firing, "consume": client.consuming}
    programs |= {"latency": client.latency, "memory": client.flight}
    figures: Figures = {}
    for part in parts:
        if part in programs:
            figures |= await programs[part]()
    await client.bus.client.close_async()
    return figures


def measure_sync(url: str, folder: Path, parts: list[str]) -> Figures:
    """Calls and events as a synchronous program makes them, from one thread and from several."""
    service, bus = Service(url, folder), create(url)
    figures: Figures = {}

    def call() -> Any:
        return bus.auth.check_password(**CREDENTIALS)

    def is_up() -> bool:
        try:
            return bool(call())
        except lightbus.LightbusException:
            return False

    def fire() -> Any:
        return bus.auth.user_registered.fire(**CREDENTIALS)

    if "rpc" in parts:
        with service.start() as process:
            eventually(lambda: alive(process) and is_up(), timeout=120)
            measures.in_threads(call, measures.WARM_UP)
            figures |= measures.one_by_one_sync(call, measures.RPC_ONE_BY_ONE).figures("rpc_sync")
            figures["rpc_threads"] = measures.in_threads(call, measures.RPC_IN_FLIGHT)
    if "fire" in parts:
        figures["fire_sync"] = measures.one_by_one_sync(fire, measures.FIRE_ONE_BY_ONE).rate
        figures["fire_threads"] = measures.in_threads(fire, measures.FIRE_IN_FLIGHT)
    bus.client.close()
    return figures


def start(url: str, folder: Path) -> Figures:
    """Seconds until a host is ready, and until the package is imported."""
    service = Service(url, folder)
    command = [sys.executable, "-m", "lightbus", "run", *RUN, MODULE, "-c", str(service.manifest)]
    seconds = []
    for _ in range(measures.STARTS):
        with Stopwatch(command, service.environment()) as stopwatch:
            seconds.append(stopwatch.until("ready: "))
    return {"ready_s": median(seconds), "import_s": import_seconds("lightbus")}


def main(url: str, *parts: str) -> None:
    """Measure once and print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures = runner.run(measure(url, folder, list(parts)))
        figures |= measure_sync(url, folder, list(parts))
        if "start" in parts:
            figures |= start(url, folder)
    measures.report(figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
