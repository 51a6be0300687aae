"""Work in the background makes way for what somebody waits for."""

from __future__ import annotations

import asyncio

import pytest

from lightbus.runtime import tasks
from lightbus.runtime.tasks import Background, Precedence, make_way
from tests.support.eventually import eventually_async


class Work:
    """Work of two tasks, which takes many steps."""

    def __init__(self, first: Precedence) -> None:
        self.background = Background(first)
        self.steps = 0
        self.task = asyncio.create_task(self._do())

    async def _do(self) -> None:
        self.background.begin()
        await asyncio.gather(self._go(), self._go())

    async def _go(self) -> None:
        while True:
            await make_way()
            self.steps += 1
            await asyncio.sleep(0)


async def turns(number: int = 50) -> None:
    """Let everything that can go on do so, for so many turns of the loop."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_work_stands_while_something_is_more_urgent_and_goes_on_after_it() -> None:
    first = Precedence()
    work = Work(first)
    await turns()
    assert work.steps > 2
    with first.urgent():
        with first.urgent():
            await turns()
        before = work.steps
        await turns()
        assert work.steps == before, "one of two is still urgent"
    await turns()
    assert work.steps > before
    assert work.background.stood > 0
    work.task.cancel()


async def test_work_goes_on_at_once_if_somebody_waits_for_the_work_itself() -> None:
    first = Precedence()
    with first.urgent():
        work = Work(first)
        await turns()
        assert work.steps == 0
        with work.background.awaited():
            await turns()
            assert work.steps > 2
        before = work.steps
        await turns()
        assert work.steps <= before + 2, "each of its tasks may have been on its way"
    work.task.cancel()


async def test_work_comes_to_its_end_however_much_is_more_urgent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_LONGEST_WAY", 0.05)
    first = Precedence()
    with first.urgent():
        work = Work(first)
        await eventually_async(lambda: work.steps > 100)
        assert work.background.stood >= 0.05
    work.task.cancel()


async def test_what_is_no_work_in_the_background_makes_way_for_nothing() -> None:
    with Precedence().urgent():
        await asyncio.wait_for(make_way(), 30)
