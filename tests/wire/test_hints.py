"""Hints mean to us what they mean to Lightbus 1.x: both make the same contract of one module."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from lightbus.contracts.compare import compare
from lightbus.contracts.contract import contract_of
from tests.conftest import missing
from tests.wire.peer.hints import HintsApi
from tests.wire.peer_1x import SCRIPTS, find_peer


@pytest.fixture(scope="module")
def theirs() -> Any:
    """The contract that a real Lightbus 1.x makes of the module."""
    python = find_peer()
    if python is None:
        missing("no Lightbus 1.x: `make pytest` makes its venv")
    command = [str(python), "contract.py"]
    done = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_both_contracts_accept_the_same_values(theirs: Any) -> None:
    assert compare(theirs, contract_of(HintsApi.__lightbus__), "hints") == []
    assert compare(contract_of(HintsApi.__lightbus__), theirs, "hints") == []


def test_a_default_of_none_is_told_as_1x_tells_it(theirs: Any) -> None:
    ours = contract_of(HintsApi.__lightbus__)
    for kind, name, parameter in (("events", "seen", "x"), ("rpcs", "optional", "n")):
        schema = ours[kind][name]["parameters"]["properties"][parameter]
        assert schema == theirs[kind][name]["parameters"]["properties"][parameter]
        assert schema == {"anyOf": [{"type": "integer", "default": None}, {"type": "null", "default": None}]}
