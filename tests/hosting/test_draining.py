"""A host ends though its broker is away, which would keep its readers waiting."""

from __future__ import annotations

import asyncio

import pytest

from lightbus.worker import worker
from tests.eventually import eventually_async
from tests.hosting.conftest import Bench
from tests.proxy import Proxy

LISTENER = "listeners: {note: {events: [shop.sold], handler: 'tests.hosting.shop:note'}}"


async def test_nobody_waits_for_messages_of_a_broker_that_is_away(
    bench: Bench, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "_LAST_TAKE", 0.1)
    async with bench.host(f"bus: {{redis: {{url: '{proxy.url}'}}}}\n{LISTENER}") as host:
        proxy.set("refuse")
        try:
            await eventually_async(lambda: "can't be reached" in caplog.text)
            ending = asyncio.create_task(host.worker.drain(0.1))
            takers = host.worker._takers
            assert len(takers) == 2
            await eventually_async(lambda: all(taker.done() for taker in takers))
        finally:
            proxy.set("pass")
        await ending
