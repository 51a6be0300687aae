"""Where an event is, in words."""

from __future__ import annotations

import pytest

from lightbus.insight.traffic.where import Place, where
from lightbus.messages import EventMessage
from lightbus.testing import hosted
from lightbus.transports.events import Standing
from lightbus.transports.groups import State
from tests.testing.shop import StoreApi


def at(state: State, **about: object) -> Standing:
    """A standing of the group shop-mail."""
    return Standing("shop-mail", "auth.*:stream", state, **about)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("place", "words", "word"),
    [
        (Place(at("unread")), "not read yet", "not read"),
        (
            Place(at("unread"), paused="paused since noon by ann"),
            "not read yet; paused since noon by ann",
            "not read",
        ),
        (Place(at("passed"), paused="paused since noon"), "handled", "handled"),
        (Place(at("unread"), is_wanted=False), "the listener does not ask for such events", "passed over"),
        (Place(at("held", process="p1", attempts=2, idle=0.1)), "held by p1; attempt 2", "in work"),
        (
            Place(at("held", process="p1", attempts=1, idle=90.0)),
            "held by p1, which was heard of 90 s ago; attempt 1",
            "in work",
        ),
        (
            Place(at("waiting", attempts=1, due=1_000_012.4)),
            "tried again in 12 s, at 1970-01-12 13:46:52 UTC, after 1 attempt",
            "retrying",
        ),
        (Place(at("waiting", attempts=3)), "waits for its next attempt, after 3 attempts", "retrying"),
        (Place(at("due", attempts=2)), "waits for a process to take it again, after 2 attempts", "retrying"),
        (
            Place(at("dead", attempts=8, reason="failed", letter="5-0")),
            "put aside after 8 attempts (failed); lightbus dlq has it as 5-0",
            "dead",
        ),
        (Place(at("before")), "fired before the listener began", "before it"),
    ],
)
def test_where_it_is_is_said_in_words(place: Place, words: str, word: str) -> None:
    assert (place.in_words(1_000_000.0), place.verdict.word) == (words, word)


async def test_a_transport_that_can_not_tell_says_nothing() -> None:
    async with hosted(StoreApi, config={"service_name": "store"}) as host:
        assert await where(host.bus.client, ["default"], EventMessage("store", "sold", native_id="1-1")) == []
