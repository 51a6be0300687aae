"""Buses in the test's own process: hosted for as long as a test lasts."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from lightbus import Api, BusClient
from lightbus.bus.path import BusPath
from lightbus.declared.registry import Registry
from lightbus.manifest.load import load
from lightbus.manifest.wiring import wiring_of
from lightbus.worker import Worker
from tests.support.timers import HOUR


def bus_of(
    *apis: type[Api], url: str | None = None, service: str = "shop", **settings: Mapping[str, Any]
) -> BusPath:
    """A bus with these APIs, over Redis where there is a url; settings are those of ``apis`` by name.

    Contracts last for hours: where they are short, those of a process that is held up for a moment lapse.
    """
    kind = "memory" if url is None else "redis"
    bus: dict[str, Any] = {"schema": {"transport": {kind: {}}, "ttl": 2 * HOUR}}
    if url is not None:
        bus["redis"] = {"url": url}
    default = {"rpc_transport": {kind: {}}, "event_transport": {kind: {}}, **settings.pop("default", {})}
    config = {
        "service_name": service,
        "process_name": service,
        "bus": {**bus, **settings.pop("bus", {})},
        "apis": {"default": default, **settings},
    }
    registry = Registry()
    for api in apis:
        registry.add(api)
    return BusPath(
        BusClient(wiring_of(load(create_arguments=config, environ={}, look_around=False), registry), registry)
    )


@contextlib.asynccontextmanager
async def hosted(bus: BusPath) -> AsyncIterator[Worker]:
    """Serve the bus's APIs and run its listeners, then drain."""
    worker = Worker(bus.client.parts)
    worker.prepare(bus.client.registry.names())
    await worker.join()
    await worker.publish_contracts()
    worker.start()
    try:
        yield worker
    finally:
        await worker.drain(5)
        await bus.client.close_async()
