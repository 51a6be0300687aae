"""Trying again: how long it waits, and what it tells."""

import asyncio
import logging

import pytest

from lightbus.runtime import retrying
from lightbus.runtime.obstacles import Obstacles
from lightbus.runtime.retrying import Retrying, backoff

logger = logging.getLogger("lightbus.test")


def test_nobody_waits_for_half_a_second_while_an_outage_is_young() -> None:
    waited, failures = 0.0, 0
    while waited < 25:
        failures += 1
        wait = backoff(failures)
        assert 0.025 <= wait < 0.5
        waited += wait
    assert max(backoff(failures) for failures in range(150, 200)) > 2.5
    assert all(backoff(10**n) <= 5 for n in range(9))
    assert backoff(1000, 0.01) <= 0.01


def test_a_failure_is_told_once_until_it_works_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    obstacles = Obstacles()
    reading = Retrying(logger, "reading", level=logging.ERROR, obstacles=obstacles, message_id="m")
    for number in range(3):
        reading.failed(OSError(f"gone {number}"))
    assert (reading.failures, reading.trouble, list(obstacles)) == (3, "gone 2", ["reading: gone 2"])
    assert caplog.messages == ["reading: gone 0; trying again"]
    assert (caplog.records[0].levelname, vars(caplog.records[0])["message_id"]) == ("ERROR", "m")

    reading.clear()
    assert (reading.failures, reading.trouble, list(obstacles)) == (0, "", [])
    reading.failed(OSError("gone again"))
    assert len(caplog.messages) == 2


def test_a_failure_that_somebody_else_tells_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    Retrying(logger, "reading").failed(OSError("gone"), is_told=True)
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


def test_it_is_tried_until_it_works_and_an_error_of_another_kind_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, float]] = []

    def no_wait(failures: int, longest: float = 5.0) -> float:
        asked.append((failures, longest))
        return 0.0

    monkeypatch.setattr(retrying, "backoff", no_wait)
    outcomes: list[Exception | str] = [OSError("gone"), OSError("gone"), "done"]

    async def attempt() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    reading = Retrying(logger, "reading", longest=0.5)
    assert asyncio.run(reading.until_done(attempt, OSError)) == "done"
    assert (asked, reading.failures) == ([(1, 0.5), (2, 0.5)], 0)
    outcomes.append(KeyError("x"))
    with pytest.raises(KeyError):
        asyncio.run(reading.until_done(attempt, OSError))
