"""A short campaign, and the oracle's own proof: a planted bug must not pass."""

from __future__ import annotations

import random

import pytest

from .campaign import run
from .plants import find, found_by
from .report import table

SECONDS = 10
#: Chosen so that the faults come in another order each time; printed where the campaign fails.
SEED = random.randrange(1_000_000)


@pytest.mark.timeout(180)
def test_nothing_is_lost_stuck_or_invented_while_everything_goes_wrong() -> None:
    result = run("valkey", SEED, SECONDS)
    report = [table([result]), repr(result.faults), repr(result.verdict), *result.outputs]
    assert result.verdict.is_good, "\n".join(report)


@pytest.mark.timeout(180)
def test_rolling_restarts_fail_no_call_and_run_no_event_twice() -> None:
    result = run("valkey", SEED, 5, ("roll",), kinds="flaky=2")
    verdict = result.verdict
    report = "\n".join([table([result]), repr(result.faults), repr(verdict), *result.outputs])
    assert result.faults["roll"] >= 1, report
    assert (verdict.is_good, verdict.duplicates, set(verdict.outcomes)) == (True, 0, {"result"}), report


@pytest.mark.timeout(180)
@pytest.mark.parametrize("plant", ["acknowledge_first", "trimming_by_length"])
def test_the_oracle_finds_a_planted_bug(plant: str) -> None:
    result = find(plant)
    assert "lost" in found_by(result), table([result])
