"""Deadlines of messages: told in time, soon after it, and to nobody who waits no longer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lightbus.transports.redis.deadlines import Deadlines
from tests.eventually import eventually_async


@pytest.mark.parametrize("seconds", [0.01, 0.2])
def test_a_deadline_is_told_when_it_has_come_and_not_before(seconds: float) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        told: list[float] = []
        deadline = loop.time() + seconds
        Deadlines(loop).add(lambda: told.append(loop.time()), deadline, seconds)
        await eventually_async(lambda: told)
        # asyncio's own timers may come by their resolution too early.
        assert told[0] >= deadline - 0.002

    asyncio.run(scenario())


def test_who_waits_no_longer_is_not_told_and_those_beside_him_are() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        deadlines, told = Deadlines(loop), list[str]()
        deadline = loop.time() + 0.05

        def gone() -> None:
            told.append("gone")

        deadlines.add(gone, deadline, 0.05).discard(gone)
        deadlines.add(lambda: told.append("waits"), deadline, 0.05)
        await eventually_async(lambda: told)
        assert told == ["waits"]

    asyncio.run(scenario())


def test_many_deadlines_need_few_timers() -> None:
    class Loop(asyncio.SelectorEventLoop):
        timers = 0

        def call_at(self, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:  # type: ignore[override]
            self.timers += 1
            return super().call_at(*args, **kwargs)

    loop = Loop()
    deadlines = Deadlines(loop)
    for number in range(1_000):
        deadlines.add(lambda: None, 100.0 + number / 1_000, 5.0)
    loop.close()
    assert loop.timers < 40
