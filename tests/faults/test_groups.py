"""A listener that is renamed, rewound and removed; 100,000 events of it are part of ``make soak``."""

from __future__ import annotations

import pytest

from .groups import run


@pytest.mark.timeout(180)
def test_a_listener_is_renamed_rewound_and_removed_and_each_event_runs_as_often_as_was_said() -> None:
    outcome = run("valkey", 1_000)
    assert outcome.is_good, outcome
    *_, seek, _, remove = outcome.said
    assert "run again" in seek and "removed: shop-new" in remove
