"""Short campaigns in which primaries are replaced, by Sentinel or a cluster. `make soak` runs long ones."""

from __future__ import annotations

import random

import pytest

from .campaign import run
from .report import told
from .spread import run_spread

#: Chosen so that the faults come in another order each time; printed where the campaign fails.
SEED = random.randrange(1_000_000)


@pytest.mark.timeout(180)
def test_nothing_that_a_replica_had_is_lost_when_sentinel_promotes_it() -> None:
    result = run("valkey", SEED, 1, ("kill_primary",), replicated=True)
    assert result.verdict.is_good and result.verdict.kept, told(result)


@pytest.mark.timeout(180)
def test_nothing_confirmed_is_lost_with_a_primary_whose_replica_lags_where_firing_waits_for_it() -> None:
    result = run("valkey", SEED, 1, ("kill_lagging",), replicated=True, promised=True)
    assert result.verdict.is_good and result.verdict.kept, told(result)


@pytest.mark.timeout(180)
def test_nothing_confirmed_is_lost_on_a_cluster_while_primaries_die_and_slots_move() -> None:
    result = run_spread("valkey", SEED, 1, ("kill_unread", "move_slot"))
    assert result.verdict.is_good and result.verdict.kept, told(result)
