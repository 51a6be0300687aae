"""What validation and casting cost: the same messages with both on, as by default, and with both off.

``python -m benchmarks.contracts URL on|off`` is one program; it starts and stops the host itself.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

import benchmarks.bus_module  # noqa: F401  (who fires an event must have its class)
import lightbus
from benchmarks import measures
from benchmarks.bus import CREDENTIALS, alive, answers, host
from benchmarks.measures import Measures
from tests.eventually import eventually_async

OFF = {"validate": False, "cast_values": False}
OFF_TEXT = "apis:\n  default:\n    validate: false\n    cast_values: false\n"


async def measure(url: str, folder: Path, *, is_on: bool) -> Measures:
    """Calls, firing and consuming, many at a time."""
    apis: dict[str, Any] = {} if is_on else {"apis": {"default": OFF}}
    more = "" if is_on else OFF_TEXT
    bus = lightbus.create(config={"bus": {"redis": {"url": url}}, **apis})
    result = Measures()

    def call() -> Any:
        return bus.auth.check_password.call_async(**CREDENTIALS)

    def fire() -> Any:
        return bus.auth.user_registered.fire_async(**CREDENTIALS)

    with host(url, folder, measures.FIRE_IN_FLIGHT, more) as process:
        await eventually_async(lambda: answers(call, process), timeout=20)
        await measures.warm_up(call)
        result.rpc_in_flight = await measures.in_flight(call, measures.RPC_IN_FLIGHT)
        await asyncio.to_thread(process.terminate)
    result.fire_in_flight = await measures.in_flight(fire, measures.FIRE_IN_FLIGHT)
    await bus.client.close_async()
    report = folder / "seconds"
    with host(url, folder, measures.FIRE_IN_FLIGHT, more) as process:
        await eventually_async(lambda: alive(process) and report.exists() and report.read_text(), timeout=60)
        result.consume = measures.FIRE_IN_FLIGHT / float(report.read_text())
        await asyncio.to_thread(process.terminate)
    return result


def main(url: str, switch: str) -> None:
    """Measure once and print one line of JSON."""
    with (
        tempfile.TemporaryDirectory() as name,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        print(runner.run(measure(url, Path(name), is_on=switch == "on")).to_json())


if __name__ == "__main__":
    main(*sys.argv[1:])
