"""The measures of the floor program, for Lightbus: a real `lightbus run` and the public interface.

``python -m benchmarks.bus URL`` is the client; it starts and stops the host itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

import benchmarks.bus_module  # noqa: F401  (who fires an event must have its class)
import lightbus
from benchmarks import measures
from benchmarks.measures import Latencies, Measures
from tests.eventually import eventually, eventually_async
from tests.processes import Process, lightbus_process

CREDENTIALS: dict[str, Any] = {"username": measures.USERNAME, "password": measures.PASSWORD}
MANIFEST = "bus:\n  redis:\n    url: {url}\n"


@contextlib.contextmanager
def host(url: str, folder: Path, events: int = measures.BACKLOG, more: str = "") -> Iterator[Process]:
    """A `lightbus run` of the benchmark's service, which expects so many events; `more` ends its manifest."""
    manifest = folder / "lightbus.yaml"
    manifest.write_text(MANIFEST.format(url=url) + more)
    args = [
        "--bus",
        "benchmarks.bus_module",
        "-c",
        str(manifest),
        "--service-name",
        "bench",
        "--log-level",
        "warning",
    ]
    env = {"BENCH_EVENTS": str(events), "BENCH_REPORT": str(folder / "seconds")}
    with lightbus_process("run", *args, env=env) as process:
        yield process


async def measure(url: str, folder: Path) -> Measures:
    """All measures but the synchronous one."""
    bus = lightbus.create(config={"bus": {"redis": {"url": url}}})
    result = Measures()

    def call() -> Any:
        return bus.auth.check_password.call_async(**CREDENTIALS)

    def call_def() -> Any:
        return bus.auth.check_password_def.call_async(**CREDENTIALS)

    def fire() -> Any:
        return bus.auth.user_registered.fire_async(**CREDENTIALS)

    with host(url, folder) as process:
        await eventually_async(lambda: answers(call, process), timeout=20)
        await measures.warm_up(call)
        latencies = await measures.one_by_one(call, measures.RPC_ONE_BY_ONE)
        result.rpc_p50_ms, result.rpc_p99_ms = latencies.p50_ms, latencies.p99_ms
        result.rpc_one_by_one = latencies.rate
        result.rpc_in_flight = await measures.in_flight(call, measures.RPC_IN_FLIGHT)
        await measures.warm_up(call_def)
        result.rpc_in_flight_def = await measures.in_flight(call_def, measures.RPC_IN_FLIGHT)
        await asyncio.to_thread(process.terminate)

    # The group exists, its host does not run: what is fired now is the backlog.
    result.fire_one_by_one = (await measures.one_by_one(fire, measures.FIRE_ONE_BY_ONE)).rate
    result.fire_in_flight = await measures.in_flight(fire, measures.FIRE_IN_FLIGHT)
    await bus.client.close_async()

    report = folder / "seconds"
    with host(url, folder) as process:
        await eventually_async(lambda: alive(process) and report.exists() and report.read_text(), timeout=120)
        result.consume = measures.BACKLOG / float(report.read_text())
        await asyncio.to_thread(process.terminate)
    return result


async def answers(call: measures.Operation, process: Process) -> bool:
    """Whether the host has come up so far that it answers."""
    alive(process)
    try:
        await call()
    except lightbus.LightbusException:
        return False
    return True


def alive(process: Process) -> bool:
    """True, or an error that shows what the host said before it ended."""
    if process.status is not None:
        raise RuntimeError(f"the host ended with status {process.status}:\n{process.output()}")
    return True


def measure_sync(url: str, folder: Path) -> Latencies:
    """Calls as a synchronous program makes them."""
    bus = lightbus.create(config={"bus": {"redis": {"url": url}}})
    seconds = []

    def call() -> bool:
        try:
            return bool(bus.auth.check_password(**CREDENTIALS))
        except lightbus.LightbusException:
            return False

    with host(url, folder) as process:
        eventually(lambda: alive(process) and call(), timeout=20)
        for _ in range(measures.RPC_ONE_BY_ONE):
            started = time.perf_counter()
            bus.auth.check_password(**CREDENTIALS)
            seconds.append(time.perf_counter() - started)
    bus.client.close()
    return Latencies(seconds)


def main(url: str) -> None:
    """Measure once and print one line of JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(measure(url, folder))
        result.rpc_sync_p50_ms = measure_sync(url, folder).p50_ms
    print(result.to_json())


if __name__ == "__main__":
    main(*sys.argv[1:])
