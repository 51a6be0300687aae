"""The oracle's own proof: a planted bug must not pass. `make soak` plants all of them."""

from __future__ import annotations

import pytest

from .plants import find, found_by
from .report import table


@pytest.mark.timeout(180)
@pytest.mark.parametrize("plant", ["acknowledge_first", "trimming_by_length"])
def test_the_oracle_finds_a_planted_bug(plant: str) -> None:
    result = find(plant, "lost")
    assert "lost" in found_by(result), table([result])
