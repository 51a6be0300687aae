"""A call or an event as it is written elsewhere: as a command, and as Python."""

from __future__ import annotations

import json
import keyword
from collections.abc import Mapping
from shlex import quote
from typing import Any


def as_command(verb: str, name: str, kwargs: Mapping[str, Any]) -> str:
    """Return the command that does the same.

    Args:
        verb: ``call`` or ``fire``.
        name: Such as ``auth.check_password``.
        kwargs: The arguments.
    """
    if any("=" in each or not each for each in kwargs):
        return f"lightbus {verb} {quote(name)} --json {quote(json.dumps(dict(kwargs), ensure_ascii=False))}"
    pairs = [quote(f"{each}={_value(value)}") for each, value in kwargs.items()]
    return " ".join([f"lightbus {verb} {quote(name)}", *pairs])


def as_python(verb: str, name: str, kwargs: Mapping[str, Any]) -> str:
    """Return the Python that does the same, with a bus of the name ``bus``."""
    called = f"bus.{name}" if verb == "call" else f"bus.{name}.fire"
    if all(each.isidentifier() and not keyword.iskeyword(each) for each in kwargs):
        return f"{called}({', '.join(f'{each}={value!r}' for each, value in kwargs.items())})"
    return f"{called}(**{dict(kwargs)!r})"


def _value(value: Any) -> str:
    """Return a value as a command takes it: as JSON where it would be read as such, else as it is."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            return value
    return json.dumps(value, ensure_ascii=False)
