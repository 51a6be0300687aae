"""Transports that are closed by somebody who is cancelled meanwhile: no connection stays open."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

import lightbus
from lightbus.bus.parts import Parts
from lightbus.declared.registry import Registry
from lightbus.exceptions import NoWorker
from tests.support.eventually import eventually_async
from tests.support.servers import Server


class ShopApi(lightbus.Api):
    sold = lightbus.Event()

    class Meta:
        name = "shop"
        auto_register = False


@pytest.mark.parametrize("turns", range(10))
async def test_a_bus_whose_closing_is_cancelled_leaves_no_connection_and_no_task(
    redis_server: Server, turns: int
) -> None:
    before = asyncio.all_tasks()
    bus = lightbus.create(redis_server.url, service_name="shop", plugins=[])
    bus.client.parts = Parts(bus.client.parts.wiring, Registry(), bus.client)
    bus.client.register_api(ShopApi)
    with contextlib.suppress(NoWorker):
        await bus.other.anything.call_async()
    await bus.shop.sold.fire_async()
    assert redis_server.connections() > 1
    closing: asyncio.Task[Any] = asyncio.create_task(bus.client.close_async())
    for _ in range(turns):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    if not turns:
        await bus.client.close_async()  # It was cancelled before it began.
    await eventually_async(lambda: asyncio.all_tasks() == before)
    await eventually_async(lambda: redis_server.connections() == 0)
