"""A short campaign of all faults. `make soak` runs long ones."""

from __future__ import annotations

import random

import pytest

from .campaign import run
from .report import told

SECONDS = 10
#: Chosen so that the faults come in another order each time; printed where the campaign fails.
SEED = random.randrange(1_000_000)


@pytest.mark.timeout(180)
def test_nothing_is_lost_stuck_or_invented_while_everything_goes_wrong() -> None:
    # As users who may do no more than they need: what they can do, one who may do everything can, too.
    result = run("valkey", SEED, SECONDS, acl=True)
    assert result.verdict.is_good, told(result)
