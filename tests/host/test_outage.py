"""Redis is away and comes back: callers are told of the outage, and soon all are at work again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from lightbus.exceptions import LightbusException
from tests.host.conftest import Bench
from tests.host.shop import ledger
from tests.support.eventually import eventually_async
from tests.support.proxy import Proxy

#: So many seconds after Redis is back, everybody is at work again.
LATE = 0.5
#: Attempts after which a wait that doubles each time is many times longer than that.
MANY = 8
#: Those who try to connect to Redis, in a host and in one who calls it.
TRYING = {"lightbus redis pipe", "lightbus replies"}
#: With those who wait for them.
TASKS = {*TRYING, "lightbus rpc shop", "lightbus listener note"}
LISTENER = "listeners: {note: {events: [shop.sold], handler: 'tests.host.shop:note'}}"


class Waits:
    """The seconds that each task of :data:`TASKS` wants to wait from now on; each waits all the same."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._of: dict[asyncio.Task[Any], list[float]] = defaultdict(list)
        self._sleep = asyncio.sleep
        monkeypatch.setattr(asyncio, "sleep", self._note)

    async def _note(self, seconds: float, result: object = None) -> object:
        task = asyncio.current_task()
        if task is not None and task.get_name() in TASKS:
            self._of[task].append(seconds)
        return await self._sleep(seconds, result)

    @property
    def longest(self) -> float:
        return max((max(waits) for waits in self._of.values()), default=0.0)

    def are_enough(self) -> bool:
        """Whether all have tried often enough to see that they wait no longer, or one would be late."""
        tried = {task.get_name(): len(waits) for task, waits in self._of.items()}
        return self.longest > LATE or all(tried.get(name, 0) >= MANY for name in TRYING)


async def test_all_work_again_soon_after_redis_is_back_and_calls_are_told_of_the_outage(
    bench: Bench, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = f"bus: {{redis: {{url: '{proxy.url}'}}}}"
    async with bench.host(f"{away}\n{LISTENER}") as host, bench.client(away) as other:
        assert await other.shop.price.call_async(sku="teapot") == 6
        proxy.set("refuse")
        waits = Waits(monkeypatch)
        clients = host.client, other.client
        await eventually_async(
            lambda: all(list(client.parts.obstacles) for client in clients), what="it is known"
        )
        patience = {"timeout": 60}
        calling = asyncio.create_task(other.shop.price.call_async(sku="cup", bus_options=patience))
        firing = asyncio.create_task(host.bus.shop.sold.fire_async(sku="pot", bus_options=patience))
        with pytest.raises(LightbusException, match=r"Redis at \S+ (can't be reached|has been away)") as told:
            await other.shop.price.call_async(sku="cup", bus_options={"timeout": 0.3})
        assert "busy" not in str(told.value)
        await eventually_async(waits.are_enough)
        assert waits.longest <= LATE
        proxy.set("pass")
        # Those that have waited, and those who come by now.
        assert await calling == 3
        await firing
        assert await other.shop.price.call_async(sku="teapot") == 6
        await host.fire("jug")
        await eventually_async(lambda: ledger.counts["pot"] == ledger.counts["jug"] == 1)
