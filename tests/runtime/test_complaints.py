"""Bad messages have a few lines in the log, and then a number."""

from __future__ import annotations

import asyncio
import logging

import pytest

from lightbus.runtime import complaints
from lightbus.runtime.complaints import Complaints
from tests.support.eventually import eventually_async
from tests.support.timers import HOUR, an_hour_passes

logger = logging.getLogger("lightbus.test")


def shown(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == logger.name]


def tell(many: Complaints, place: str, numbers: range) -> None:
    for number in numbers:
        many.tell(place, "%s is bad", number, message_id=str(number))


def test_the_first_have_lines_and_the_rest_are_counted_when_the_time_is_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(complaints, "INTERVAL", HOUR)

    async def run() -> None:
        many = Complaints(logger)
        tell(many, "the queue", range(100))
        tell(many, "another", range(2))
        assert shown(caplog) == [f"{number} is bad" for number in [0, 1, 2, 3, 4, 0, 1]]
        assert caplog.records[3].__dict__["message_id"] == "3"
        an_hour_passes()
        await eventually_async(lambda: len(shown(caplog)) == 8)
        assert shown(caplog)[7] == "bad messages in the queue without a line of their own, within 3600 s: 95"
        tell(many, "the queue", range(100, 101))
        assert shown(caplog)[8:] == ["100 is bad"]
        with pytest.raises(AssertionError, match="nothing waits for an hour"):
            an_hour_passes()

    asyncio.run(run())


def test_few_need_no_count(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complaints, "INTERVAL", 0.01)

    async def run() -> None:
        many = Complaints(logger)
        for number in range(20):
            tell(many, "the queue", range(number, number + 1))
            await asyncio.sleep(0.011)
        assert len(shown(caplog)) == 20

    asyncio.run(run())
