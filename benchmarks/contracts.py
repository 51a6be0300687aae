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

from benchmarks import measures, tally
from benchmarks.bus import Client, Service, answers, create
from benchmarks.measures import Figures

OFF = {"validate": False, "cast_values": False}
OFF_TEXT = "apis:\n  default:\n    validate: false\n    cast_values: false\n"


async def measure(url: str, folder: Path, *, is_on: bool) -> Figures:
    """Calls, firing and consuming, many at a time."""
    apis: dict[str, Any] = {} if is_on else {"apis": {"default": OFF}}
    service = Service(url, folder, "" if is_on else OFF_TEXT)
    client = Client(url, service, create(url, **apis))
    figures = {}
    async with service.host() as process:
        await answers(client.call, process)
        await measures.warm_up(client.call)
        figures["rpc_50"] = await measures.in_flight(client.call, measures.RPC_IN_FLIGHT)
    figures["fire_50"] = await measures.in_flight(client.fire, measures.BACKLOG)
    await client.bus.client.close_async()
    async with service.host(measures.BACKLOG) as process:
        figures["consume"] = tally.rate(await service.outcome(process), measures.BACKLOG)
    return figures


def main(url: str, switch: str) -> None:
    """Measure once and print the figures."""
    with (
        tempfile.TemporaryDirectory() as name,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        measures.report(runner.run(measure(url, Path(name), is_on=switch == "on")))


if __name__ == "__main__":
    main(*sys.argv[1:])
