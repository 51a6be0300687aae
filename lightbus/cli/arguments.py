"""Arguments of calls and events as they are typed in a shell."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import click

from lightbus.values.typed import NamedTwice, fields_once


def parse(pairs: Sequence[str], whole: str | None) -> dict[str, Any]:
    """Read ``name=value`` pairs; a value is JSON where it parses, else a string.

    Args:
        pairs: The text that was typed.
        whole: All arguments as one JSON object, which may have ``NaN`` and ``Infinity``; the pairs are added
            to it.

    Returns:
        The arguments by name.

    Raises:
        UsageError: A pair has no ``=``, a name stands twice, or ``whole`` is not a JSON object.
    """
    named = set()
    values: dict[str, Any] = {}
    if whole is not None:
        try:
            # The bus carries NaN and Infinity, and `lightbus call` prints them.
            values = json.loads(whole, parse_float=_finite, object_pairs_hook=fields_once)
        except (ValueError, RecursionError) as e:
            raise click.UsageError(f"--json is not JSON: {e}") from e
        if not isinstance(values, dict):
            raise click.UsageError('--json takes an object, such as \'{"username": "admin"}\'')
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{pair!r} is not an argument; write name=value")
        if name in named:
            raise click.UsageError(f"{name!r} is given twice")
        named.add(name)
        try:
            values[name] = _loads(value)
        except NamedTwice as e:
            raise click.UsageError(f"{name}: {e}") from e
        except (ValueError, RecursionError):
            values[name] = value
    return values


def split(name: str) -> tuple[str, str]:
    """Split ``api.name`` at its last dot.

    Raises:
        UsageError: There is no dot.
    """
    api_name, _, last = name.rpartition(".")
    if not api_name or not last:
        raise click.UsageError(f"{name!r} has no API; write api.name, such as auth.check_password")
    return api_name, last


def _loads(text: str) -> Any:
    """Read JSON as its standard has it: ``NaN`` may be a name, and Python makes infinity of ``1e999``."""
    return json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=fields_once)


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is not a number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _refuse(text)
    return value
