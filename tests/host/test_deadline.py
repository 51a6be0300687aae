"""A procedure that calls another one waits no longer than its own caller."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest

from lightbus import Api
from lightbus.exceptions import LightbusTimeout
from lightbus.runtime.deadline import Deadline, time_left
from tests.support.eventually import eventually_async

from . import conftest
from .conftest import Bench


class Nested(Api):
    """Calls itself over the bus."""

    bus: Any = None
    failures: list[LightbusTimeout]
    waited: float
    served: int
    left_behind: asyncio.Task[Any]

    class Meta:
        name = "shop"
        auto_register = False

    async def never(self) -> None:
        Nested.served += 1
        await asyncio.sleep(60)

    async def now(self) -> int:
        return 1

    async def ask(self) -> None:
        started = time.monotonic()
        try:
            await self.bus.shop.never.call_async(bus_options={"timeout": 20})
        except LightbusTimeout as e:
            self._note(e, started)

    def ask_from_a_thread(self) -> None:
        started = time.monotonic()
        try:
            self.bus.shop.never(bus_options={"timeout": 20})
        except LightbusTimeout as e:
            self._note(e, started)

    async def ask_too_late(self) -> None:
        await asyncio.sleep((time_left() or 0) + 0.05)
        await self.ask()

    async def leave_behind(self) -> None:
        async def later() -> Any:
            await asyncio.sleep(10.2)
            return await self.bus.shop.now.call_async()

        Nested.left_behind = asyncio.ensure_future(later())

    def _note(self, error: LightbusTimeout, started: float) -> None:
        self.failures.append(error)
        Nested.waited = time.monotonic() - started


@pytest.fixture(autouse=True)
def nested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "ShopApi", Nested)
    Nested.failures, Nested.waited, Nested.served = [], 0, 0


@pytest.mark.parametrize("procedure", ["ask", "ask_from_a_thread"])
async def test_a_nested_call_ends_with_the_one_that_it_is_made_for(bench: Bench, procedure: str) -> None:
    async with bench.host("bus: {drain_timeout: 1s}") as shop:
        Nested.bus, shop.client.parts.home = shop.bus, asyncio.get_running_loop()
        # The procedure catches what ends its own call, and its answer may just be in time.
        with contextlib.suppress(LightbusTimeout):
            await shop.bus.shop[procedure].call_async(bus_options={"timeout": 8})
        await eventually_async(lambda: Nested.failures)
        assert Nested.waited < 15  # Of itself, it would wait for 20 s.
        assert Nested.served == 1


async def test_where_no_time_is_left_nothing_is_sent(bench: Bench) -> None:
    async with bench.host("bus: {drain_timeout: 1s}") as shop:
        Nested.bus, shop.client.parts.home = shop.bus, asyncio.get_running_loop()
        # As above.
        with contextlib.suppress(LightbusTimeout):
            await shop.bus.shop.ask_too_late.call_async(bus_options={"timeout": 8})
        await eventually_async(lambda: Nested.failures)
        assert Nested.failures[0].executed == "no"
        assert "no time left" in str(Nested.failures[0])
        assert Nested.served == 0


async def test_what_a_procedure_leaves_behind_is_not_bound_any_more(bench: Bench) -> None:
    async with bench.host() as shop:
        Nested.bus, shop.client.parts.home = shop.bus, asyncio.get_running_loop()
        await shop.bus.shop.leave_behind.call_async(bus_options={"timeout": 10})
        assert await Nested.left_behind == 1


def test_a_deadline_holds_within_its_block_only() -> None:
    assert time_left() is None
    with Deadline(time.monotonic() + 10):
        with Deadline(time.monotonic() + 5):
            assert 4 < (time_left() or 0) <= 5
        assert 9 < (time_left() or 0) <= 10
    assert time_left() is None
