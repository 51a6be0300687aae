"""Short campaigns, and the oracle's own proof: a planted bug must not pass. `make soak` runs long ones."""

from __future__ import annotations

import random

import pytest

from tests.conftest import missing, require
from tests.wire.peer_1x import find_peer

from .campaign import run
from .frameworks import SERVED, serve
from .mixed import mix
from .plants import find, found_by
from .report import Result, table
from .rolling import roll
from .spread import run_spread

SECONDS = 10
#: Chosen so that the faults come in another order each time; printed where the campaign fails.
SEED = random.randrange(1_000_000)


def report(result: Result) -> str:
    return "\n".join([table([result]), result.text()])


@pytest.mark.timeout(180)
def test_nothing_is_lost_stuck_or_invented_while_everything_goes_wrong() -> None:
    # As users who may do no more than they need: what they can do, one who may do everything can, too.
    result = run("valkey", SEED, SECONDS, acl=True)
    assert result.verdict.is_good, report(result)


@pytest.mark.timeout(180)
def test_nothing_that_a_replica_had_is_lost_when_sentinel_promotes_it() -> None:
    result = run("valkey", SEED, 1, ("kill_primary",), replicated=True)
    assert result.verdict.is_good and result.verdict.kept, report(result)


@pytest.mark.timeout(180)
def test_nothing_confirmed_is_lost_with_a_primary_whose_replica_lags_where_firing_waits_for_it() -> None:
    result = run("valkey", SEED, 1, ("kill_lagging",), replicated=True, promised=True)
    assert result.verdict.is_good and result.verdict.kept, report(result)


@pytest.mark.timeout(180)
def test_nothing_confirmed_is_lost_on_a_cluster_while_primaries_die_and_slots_move() -> None:
    result = run_spread("valkey", SEED, 1, ("kill_unread", "move_slot"))
    assert result.verdict.is_good and result.verdict.kept, report(result)


@pytest.mark.timeout(180)
def test_rolling_restarts_fail_no_call_run_no_event_twice_and_leave_none_waiting() -> None:
    result = roll("valkey", SEED, restarts=5, rate=100)
    assert result.verdict.is_good, report(result)


@pytest.mark.timeout(180)
def test_a_lightbus_1x_loses_nothing_while_hosts_beside_it_are_killed_and_restarted() -> None:
    require("redis7")
    if find_peer() is None:
        missing("no Lightbus 1.x: `make pytest` makes its venv")
    result = mix(SEED, SECONDS)
    assert result.verdict.is_good, report(result)


@pytest.mark.timeout(180)
def test_a_page_of_a_framework_loses_and_doubles_nothing_while_redis_stops_and_is_killed() -> None:
    # How soon all is well again says something on a quiet machine only: `make soak` looks at that.
    result = serve(
        sorted(SERVED)[SEED % len(SERVED)],
        SEED,
        stopped=1.0,
        quiet=1.0,
        grace=10,
        clients=20,
        between=0.2,
        met=20,
    )
    assert result.verdict.is_good, report(result)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("plant", ["acknowledge_first", "trimming_by_length"])
def test_the_oracle_finds_a_planted_bug(plant: str) -> None:
    result = find(plant)
    assert "lost" in found_by(result), table([result])
