"""A question to the bus that many ask: it is asked once in a while, and again whatever has ended it."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest

from lightbus.runtime import tasks
from lightbus.runtime.tasks import Precedence
from lightbus.web import reading as module
from lightbus.web.reading import Reading
from tests.support.eventually import eventually_async
from tests.support.sabotage import How, Sabotage
from tests.support.timers import HOUR


@pytest.mark.parametrize("how", ["cancel", "raise"])
async def test_the_bus_is_read_again_after_the_task_that_reads_it_has_ended_unasked(how: How) -> None:
    asked: list[int] = []
    answers = asyncio.Event()

    async def ask() -> int:
        await answers.wait()
        asked.append(len(asked))
        return len(asked)

    reading = Reading(ask, 0)
    sabotage = Sabotage("lightbus console reading", how)
    assert (await reading.look()).value is None
    assert sabotage.is_done
    answers.set()
    assert (await reading.look()).value == 1
    assert (await reading.look()).value == 2
    await reading.stop()


class Bus:
    """A bus that is asked, by a clock that stands unless it is set; an answer may be kept back.

    Args:
        monkeypatch: Sets the clock.
        precedence: Knows when pages are made.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, precedence: Precedence | None = None) -> None:
        self.now = 1_000.0
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()
        clock = SimpleNamespace(monotonic=lambda: self.now, time=time.time)
        monkeypatch.setattr(module, "time", clock)
        self.reading = Reading(self._ask, 10, precedence)

    async def _ask(self) -> int:
        self.asked += 1
        number = self.asked
        await self.answers.wait()
        return number

    async def value(self) -> int | None:
        """What a page is given."""
        return (await asyncio.wait_for(self.reading.look(), 30)).value


async def test_a_page_does_not_wait_for_a_new_answer_where_that_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An answer that takes no time by the clock is long, too.
    monkeypatch.setattr(module, "_SHORT", -1.0)
    bus = Bus(monkeypatch)
    assert await bus.value() == 1
    bus.now += 15
    bus.answers.clear()
    assert await bus.value() == 1, "the new answer is on its way, and kept back"
    assert await bus.value() == 1
    await eventually_async(lambda: bus.asked == 2)
    bus.answers.set()

    async def is_there() -> bool:
        return await bus.value() == 2

    await eventually_async(is_there)
    assert bus.asked == 2, "however many pages asked meanwhile"
    await bus.reading.stop()


async def test_a_page_waits_for_a_new_answer_where_that_is_soon_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_SHORT", 30.0)
    bus = Bus(monkeypatch)
    assert await bus.value() == 1
    bus.now += 9
    assert await bus.value() == 1, "it is good for ten seconds"
    bus.now += 5
    assert await bus.value() == 2
    await bus.reading.stop()


async def test_a_page_waits_for_a_new_answer_after_something_was_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_SHORT", -1.0)
    bus = Bus(monkeypatch)
    assert await bus.value() == 1
    bus.now += 15
    bus.answers.clear()
    assert await bus.value() == 1
    await eventually_async(lambda: bus.asked == 2)
    bus.reading.renew()
    pages = [asyncio.create_task(bus.value()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(page.done() for page in pages)
    bus.answers.set()
    assert await asyncio.gather(*pages) == [3, 3, 3], "the second was asked for before it was done"
    assert bus.asked == 3
    await bus.reading.stop()


async def test_what_is_asked_for_makes_way_for_pages_that_do_not_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_SHORT", -1.0)
    monkeypatch.setattr(tasks, "_LONGEST_WAY", HOUR)
    precedence = Precedence()
    bus = Bus(monkeypatch, precedence)
    with precedence.urgent():
        assert await bus.value() == 1, "a page that has nothing to show waits for it"
        bus.now += 15
        assert await bus.value() == 1
        for _ in range(50):
            await asyncio.sleep(0)
        assert bus.asked == 1
    await eventually_async(lambda: bus.asked == 2)
    await bus.reading.stop()
