"""Counts and times as people read them."""

from __future__ import annotations

import pytest

from lightbus.values.wording import ago, counted, duration, in_short, listed


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 dead letters"), (1, "1 dead letter"), (1_204, "1,204 dead letters")]
)
def test_what_is_counted_has_the_right_plural_and_commas(count: int, words: str) -> None:
    assert counted(count, "dead letter") == words


def test_a_plural_that_is_not_regular_can_be_given() -> None:
    assert [counted(n, "process", "processes") for n in (1, 2)] == ["1 process", "2 processes"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.4, "3 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (260_000, "3 days")]
)
def test_a_time_is_told_in_the_unit_that_people_use(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "just now"), (5, "5 s ago"), (200, "3 min ago"), (9_000, "2 h ago"), (400_000, "5 days ago")],
)
def test_how_long_ago_something_was_is_told_in_that_unit_too(seconds: float, words: str) -> None:
    assert ago(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.0123, "12 ms"), (1.5, "1.5 s"), (123.4, "123 s")])
def test_what_something_took_is_told_in_few_characters(seconds: float, words: str) -> None:
    assert in_short(seconds) == words


@pytest.mark.parametrize(
    ("names", "words"), [((), ""), (("a",), "a"), (("a", "b"), "a and b"), (("a", "b", "c"), "a, b and c")]
)
def test_names_are_listed_as_in_a_sentence(names: tuple[str, ...], words: str) -> None:
    assert listed(names) == words
