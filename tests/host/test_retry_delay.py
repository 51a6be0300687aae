"""How soon answers are looked for again after an error."""

from __future__ import annotations

import asyncio

import pytest

from lightbus.runtime import retrying
from tests.host.conftest import Bench
from tests.support.eventually import eventually_async


@pytest.mark.parametrize("delay", [0.1, 0.7])
async def test_the_longest_wait_for_answers_is_configured(
    bench: Bench, delay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def backoff(failures: int, most: float = 5.0) -> float:
        asked.append(most)
        return 0.01

    monkeypatch.setattr(retrying, "backoff", backoff)
    text = f"apis: {{shop: {{rpc_transport: {{redis: {{rpc_retry_delay: {delay}}}}}}}}}"
    async with bench.host(text) as host:
        call = asyncio.create_task(host.bus.shop.stay.call_async())
        await eventually_async(lambda: host._waiting() >= 2)
        bench.server.execute("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await eventually_async(lambda: delay in asked)
        call.cancel()
        await asyncio.wait([call])
