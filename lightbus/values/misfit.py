"""Saying where a value is wrong, and why, without printing the whole of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lightbus.exceptions import ValidationError

#: The most characters of a value that an error shows.
SHOWN = 60


class Misfit(Exception):
    """A value that doesn't fit; every container that it passes on its way up adds its own key.

    Args:
        reason: The fault of the innermost value.
        path: The keys that are known so far, from the innermost outwards.
    """

    def __init__(self, reason: str, *path: str | int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str | int] = list(path)

    def error(self) -> ValidationError:
        """Return the error that users see, with the path from the outside inwards."""
        return ValidationError(located(reversed(self.path), self.reason))


def located(path: Iterable[str | int], reason: str) -> str:
    """Say where something is wrong, as Python would write it: ``order.lines[3].qty: is missing``.

    Args:
        path: Keys and indexes, from the outside inwards; long ones are cut.
        reason: The fault at that place.

    Returns:
        The text; the reason alone if the path is empty.
    """
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        elif key.isidentifier():
            text += f".{_cut(key)}" if text else _cut(key)
        else:
            text += f"[{_cut(key)!r}]"
        if len(text) > 300:
            return f"{text[:300]}...: {reason}"
    return f"{text}: {reason}" if text else reason


def shown(value: Any) -> str:
    """Return a short text for a value of any size, for an error."""
    if type(value) is str:
        return repr(value) if len(value) <= SHOWN else f"{value[:SHOWN]!r}... ({len(value)} characters)"
    if type(value) is list:
        return "an empty list" if not value else f"a list of {len(value)}"
    if type(value) is dict:
        return "an empty object" if not value else f"an object of {len(value)}"
    if value is None or type(value) is bool or isinstance(value, float):
        return repr(value)
    if type(value) is int:
        return repr(value) if value.bit_length() < 200 else f"an int of {value.bit_length()} bits"
    return f"a value of type {type(value).__qualname__}"


def _cut(key: str) -> str:
    return key if len(key) <= SHOWN else key[:SHOWN] + "..."
