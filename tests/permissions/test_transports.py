"""Tests of transports as a user with the rules of ``lightbus acl``: a few; ``make soak`` has them all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import require

ROOT = Path(__file__).parents[2]
PART = (
    "tests/transports/test_notes.py::test_a_listener_notes_what_it_does_for_its_own_group_alone",
    "tests/transports/test_dead_letters.py",
    "tests/transports/test_group_moves.py::test_everything_goes_along_and_nothing_is_left",
    "tests/transports/test_rpc.py::test_a_call_is_answered",
)


def test_transports_do_with_these_rules_and_redis_refuses_them_nothing() -> None:
    require("redis7")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "redis7 or cluster", *PART],
        cwd=ROOT,
        env={**os.environ, "LIGHTBUS_TEST_ACL": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "skipped" not in done.stdout
