"""A link breaks at each step of what it carries; another sample each time. `make soak` takes all of them."""

from __future__ import annotations

import random

import pytest

from tests.conftest import StartServer
from tests.faults.links import ALL, COMMANDS, LOOPS, Case, broken_by, in_flight_of
from tests.support.breaking import STEPS

SEED = random.randrange(1_000_000)


def sample() -> list[Case]:
    """One of each command and step, with few under way; and for each step one with many on each loop."""
    choice = random.Random(SEED)
    few = [
        Case(
            command, step, choice.choice([n for n in in_flight_of(command) if n <= 50]), choice.choice(LOOPS)
        )
        for command in COMMANDS
        for step in STEPS
        if command not in ("BRPOP", "RPOP")
    ]
    many = [
        Case(choice.choice(("XADD", "XACK", "LPUSH")), step, 600, loop) for step in STEPS for loop in LOOPS
    ]
    # Here a call waits for its answer in vain, which takes its time.
    answers = choice.sample([case for case in ALL if case.command in ("BRPOP", "RPOP")], 2)
    return [*few, *many, *answers]


@pytest.mark.parametrize("group", range(4))
def test_a_link_that_breaks_at_any_step_loses_nothing_and_does_nothing_twice(
    group: int, start_server: StartServer
) -> None:
    """In a few groups, so that the numbers of cases, which are chosen anew, name no tests."""
    server = start_server()
    wrong = {str(case): found for case in sample()[group::4] if (found := broken_by(case, server).wrong)}
    assert wrong == {}, f"with the seed {SEED}"
