"""A host ends in good order, though its broker is away or more comes just then."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from lightbus.messages import RpcMessage
from lightbus.runtime.isolation import Isolation
from lightbus.runtime.threads.pool import HandlerPool
from lightbus.transports.redis.rpc.consumer import RedisRpcConsumer
from lightbus.worker import worker
from lightbus.worker.slots import Slots
from tests.host.conftest import Bench
from tests.host.shop import ledger
from tests.support.eventually import eventually_async
from tests.support.proxy import Proxy

LISTENER = "listeners: {note: {events: [shop.sold], handler: 'tests.host.shop:note'}}"


def takers() -> set[str]:
    """The tasks that take messages."""
    names = {task.get_name() for task in asyncio.all_tasks()}
    return {name for name in names if name.startswith(("lightbus rpc ", "lightbus listener "))}


async def test_nobody_waits_for_messages_of_a_broker_that_is_away(
    bench: Bench, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "_LAST_TAKE", 0.1)
    async with bench.host(f"bus: {{redis: {{url: '{proxy.url}'}}}}\n{LISTENER}") as host:
        proxy.set("refuse")
        try:
            await eventually_async(lambda: "can't be reached" in caplog.text)
            assert takers() == {"lightbus rpc shop", "lightbus listener note"}
            ending = asyncio.create_task(host.worker.drain(0.1))
            await eventually_async(lambda: takers() == set())
        finally:
            proxy.set("pass")
        await ending


async def test_a_call_that_comes_with_the_end_has_as_long_as_any_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = RedisRpcConsumer.take

    async def take_late(self: RedisRpcConsumer, limit: int) -> Sequence[RpcMessage]:
        calls = await take(self, limit)
        await eventually_async(lambda: self._stopping or not calls)
        return calls

    monkeypatch.setattr(RedisRpcConsumer, "take", take_late)
    monkeypatch.setattr(worker, "_LAST_TAKE", 0.1)
    async with bench.host() as host, bench.client() as other:
        calling = asyncio.create_task(other.shop.stay.call_async())
        await eventually_async(lambda: host.server.execute("KEYS", "{shop:rpc_queue}:taken:*"))
        ending = asyncio.create_task(host.worker.drain(60))
        await eventually_async(lambda: ledger.running == 1)
        await eventually_async(lambda: takers() == set())
        ledger.gate.set()
        assert await calling == 1
        assert await ending == 0


async def test_all_that_was_fetched_is_handed_back_at_once() -> None:
    all_together = asyncio.Barrier(3)
    gate = asyncio.Event()

    async def take(_: int) -> Sequence[int]:
        return [await asyncio.sleep(0, n) for n in range(4)] if not slots.running else ()

    async def handle(_: int) -> None:
        await gate.wait()

    async def leave(_: int) -> None:
        await all_together.wait()

    slots = Slots("test", Isolation(), HandlerPool(), take, handle, leave, 1, 4)
    running = asyncio.create_task(slots.run())
    await eventually_async(lambda: slots.running == 1)
    async with asyncio.timeout(60):
        await slots.stop()
    gate.set()
    assert await slots.finish(5) == 0
    await running
