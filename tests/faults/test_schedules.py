"""A schedule of a whole service, whose processes are killed; 60 s of it are part of ``make soak``."""

from __future__ import annotations

import pytest

from .schedules import run


@pytest.mark.timeout(180)
def test_each_tick_runs_once_while_processes_are_killed() -> None:
    outcome = run(11)
    assert outcome.is_good and outcome.ticks >= 10 and len(outcome.kills) >= 3, outcome
