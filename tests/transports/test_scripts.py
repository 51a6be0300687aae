"""The names of what scripts are given: the same ones in Lua and in Python, in the same order."""

from __future__ import annotations

import inspect
import re

import pytest

from lightbus.transports.redis import scripts
from lightbus.transports.redis.scripts import Script

SCRIPTS = [script for script in vars(scripts).values() if isinstance(script, Script)]
_HEAD = re.compile(r"^local ([\w, ]+) = ((?:(?:KEYS|ARGV)\[\d+\](?:, )?)+)$", re.MULTILINE)
_ANY_NUMBER = re.compile(
    r"for i = (\d+), #(KEYS|ARGV)(?:, \d+)? do -- (\w+)$|unpack\((ARGV)\)\) -- (\w+)$", re.MULTILINE
)


def names_in_lua(script: Script[...]) -> dict[str, str]:
    """The names at the head of a script, each with what it stands for, such as "KEYS[1]" and "ARGV[3..]"."""
    found: dict[str, str] = {}
    for names, places in _HEAD.findall(script.text):
        found |= dict(zip(names.split(", "), places.split(", "), strict=True))
    for start, of, name, all_of, all_names in _ANY_NUMBER.findall(script.text):
        found[name or all_names] = f"{of or all_of}[{start or 1}..]"
    return found


def names_in_python(script: Script[...]) -> dict[str, str]:
    """What the names stand for that callers use."""
    # Each value is a list: it stays one where it is put in as one value, else its only item is put in.
    given = {name: [name] for name in inspect.signature(script.in_order).parameters}
    found = {}
    for of, values in zip(("KEYS", "ARGV"), script.in_order(**given), strict=True):
        for number, value in enumerate(values, start=1):
            if isinstance(value, list):
                found[value[0]] = f"{of}[{number}]"
            else:
                found[value] = f"{of}[{number}..]"
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_names_what_it_is_given_as_its_callers_do(script: Script[...]) -> None:
    assert names_in_lua(script) == names_in_python(script)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_below_its_head_a_script_uses_the_names(script: Script[...]) -> None:
    assert re.findall(r"(?:KEYS|ARGV)\[\d+\]", _HEAD.sub("", script.text)) == []


def test_values_are_put_in_order_by_their_names() -> None:
    run = scripts.FINISH(
        ids=["1-1", "1-2"], is_retry=0, milliseconds=9, group="g", handled=["a", "b"], source="s"
    )
    assert run.by_name()[2:] == (3, "s", "a", "b", "g", 9, 0, "1-1", "1-2")
    assert run.by_text()[1] == scripts.FINISH.text


def test_a_value_that_is_missing_or_unknown_is_an_error() -> None:
    with pytest.raises(TypeError, match="mine"):
        scripts.TAKE(queue="q", most=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="min"):
        scripts.TAKE(queue="q", min="m", most=1)  # type: ignore[call-arg]
