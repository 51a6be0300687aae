"""Short campaigns of processes that end and begin beside others. `make soak` runs long ones."""

from __future__ import annotations

import random

import pytest

from tests.conftest import missing, require
from tests.wire.peer_1x import find_peer

from .frameworks import SERVED, serve
from .mixed import mix
from .report import told
from .rolling import roll

SECONDS = 10
#: Chosen so that the faults come in another order each time; printed where the campaign fails.
SEED = random.randrange(1_000_000)


@pytest.mark.timeout(180)
def test_rolling_restarts_fail_no_call_run_no_event_twice_and_leave_none_waiting() -> None:
    result = roll("valkey", SEED, restarts=5, rate=50)
    assert result.verdict.is_good, told(result)


@pytest.mark.timeout(180)
def test_a_lightbus_1x_loses_nothing_while_hosts_beside_it_are_killed_and_restarted() -> None:
    require("redis7")
    if find_peer() is None:
        missing("no Lightbus 1.x: `make pytest` makes its venv")
    result = mix(SEED, SECONDS)
    assert result.verdict.is_good, told(result)


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
    assert result.verdict.is_good, told(result)
