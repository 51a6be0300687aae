"""What people type as JSON: a name that stands twice is told, and never read as one of the two."""

from __future__ import annotations

import json

import click
import pytest

from lightbus.cli.arguments import parse
from lightbus.values.typed import NamedTwice, fields_once


def test_an_object_has_each_of_its_fields_once() -> None:
    assert json.loads('{"b": {"a": 1}, "a": [{}]}', object_pairs_hook=fields_once) == {
        "b": {"a": 1},
        "a": [{}],
    }
    with pytest.raises(NamedTwice, match="'a' stands twice in one object"):
        json.loads('[{"a": 1, "b": {"c": 1}, "a": 1}]', object_pairs_hook=fields_once)


@pytest.mark.parametrize(
    ("pairs", "whole", "told"),
    [
        (["a=1", "b=2", "a=2"], None, "'a' is given twice"),
        (['a={"x": 1, "x": 2}'], None, "a: 'x' stands twice in one object"),
        ([], '{"a": 1, "a": 2}', "--json is not JSON: 'a' stands twice in one object"),
    ],
)
def test_an_argument_of_a_command_is_given_once(pairs: list[str], whole: str | None, told: str) -> None:
    with pytest.raises(click.UsageError, match=told):
        parse(pairs, whole)


def test_a_pair_wins_over_the_same_name_in_the_whole() -> None:
    assert parse(["a=1"], '{"a": 2, "b": 3}') == {"a": 1, "b": 3}
