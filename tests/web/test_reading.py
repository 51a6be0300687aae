"""A question to the bus that many ask: it is asked once in a while, and again whatever has ended it."""

from __future__ import annotations

import asyncio

import pytest

from lightbus.web.reading import Reading
from tests.support.sabotage import How, Sabotage


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
