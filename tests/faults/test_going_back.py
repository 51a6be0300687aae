"""A service goes back to a real 1.x and comes again; longer journeys are part of ``make soak``."""

from __future__ import annotations

import pytest

from tests.conftest import missing, require
from tests.wire.peer_1x import find_peer

from .going_back import run


@pytest.mark.timeout(180)
def test_a_service_goes_back_to_1x_and_comes_again_and_no_event_is_stranded() -> None:
    require("redis7")
    if find_peer() is None:
        missing("no Lightbus 1.x: `make pytest` makes its venv")
    outcome = run(2, 0.7, 7)
    assert outcome.is_good and outcome.waited, outcome
