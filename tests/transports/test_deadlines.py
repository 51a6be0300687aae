"""Deadlines of messages: told in time, soon after it, and to nobody who waits no longer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lightbus.transports.redis.link.deadlines import Deadlines


@pytest.mark.parametrize("seconds", [0.01, 0.2])
def test_a_deadline_is_told_when_it_has_come_and_not_before(seconds: float) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        deadline = loop.time() + seconds
        Deadlines(loop).add(future, deadline, seconds)
        with pytest.raises(TimeoutError):
            await future
        # asyncio's own timers may come by their resolution too early.
        assert loop.time() >= deadline - 0.002

    asyncio.run(scenario())


def test_who_waits_no_longer_is_not_told_and_those_beside_him_are() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        deadlines, deadline = Deadlines(loop), loop.time() + 0.05
        gone, done, waits = (loop.create_future() for _ in range(3))
        for future in (gone, done, waits):
            kept = deadlines.add(future, deadline, 0.05)
        kept.discard(gone)
        done.set_result(1)
        with pytest.raises(TimeoutError):
            await waits
        assert not gone.done() and done.result() == 1

    asyncio.run(scenario())


def test_a_deadline_that_is_over_already_is_told_too() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        deadlines, deadline = Deadlines(loop), loop.time() + 0.01
        for _ in range(2):
            future: asyncio.Future[Any] = loop.create_future()
            deadlines.add(future, deadline, 0.01)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(future), 60)
            assert future.done(), "not only given up by this test"

    asyncio.run(scenario())


def test_deadlines_of_different_lengths_do_not_wait_for_each_other() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        deadlines, now = Deadlines(loop), loop.time()
        futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in range(3)]
        for future, seconds in zip(futures, (60.0, 0.02, 60.0), strict=True):
            deadlines.add(future, now + seconds, seconds)
        with pytest.raises(TimeoutError):
            await futures[1]
        assert not futures[0].done() and not futures[2].done()

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
        deadlines.add(loop.create_future(), 100.0 + number / 1_000, 5.0)
    loop.close()
    assert loop.timers < 40
