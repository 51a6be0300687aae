"""Lightbus 1.x reads contracts with all that ours notes in them, and validates by them as before."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from uuid import UUID

from lightbus import Api, Event, Parameter
from lightbus.contracts.contract import contract_of
from tests.conftest import missing
from tests.wire.peer_1x import SCRIPTS, find_peer

ID = "6f1c3f6e-8c1b-4a4e-9a57-3a2d6a3f0c11"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Car:
    colour: Colour
    seats: list[int] = field(default_factory=list)


class NotesApi(Api):
    """Cars."""

    painted = Event([Parameter("car", Car), Parameter("id", UUID)])
    """A car has another colour.

    Args:
        car: As it is now.
    """

    class Meta:
        name = "notes"
        auto_register = False

    def paint(self, id: UUID, colour: Colour, picture: bytes = b"") -> Car:
        """Paint a car.

        Args:
            id: The car.
            colour: What colour it gets.

        Returns:
            The car.
        """
        return Car(colour)


def test_a_1x_validates_by_a_contract_with_notes() -> None:
    python = find_peer()
    if python is None:
        missing("no Lightbus 1.x: `make pytest` makes its venv")
    contract = contract_of(NotesApi.__lightbus__)
    text = json.dumps(contract)
    for note in ("description", "x-class", "x-enum-varnames", '"uuid"', "contentEncoding"):
        assert note in text
    given: dict[str, Any] = {
        "contract": contract,
        "validate_parameters": [
            ("paint", {"id": ID, "colour": "red", "picture": "AAAA"}),
            ("painted", {"car": {"colour": "blue"}, "id": ID}),
            ("paint", {"id": ID, "colour": "green"}),
        ],
        "validate_response": [("paint", {"colour": "red", "seats": [1]}), ("paint", {"seats": []})],
    }
    done = subprocess.run(
        [str(python), "validating.py"],
        cwd=SCRIPTS,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "refused": [["validate_parameters", "paint"], ["validate_response", "paint"]],
        "events": [["notes", "painted"]],
        "rpcs": [["notes", "paint"]],
    }
