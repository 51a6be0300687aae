"""Numbers that are infinite or none: JSON by its standard has none, Python and Lightbus 1.x write them."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from lightbus.serializers import NotFinite, json_bytes

#: Stand for infinity where only finite numbers can be checked: larger than any float, and no integers.
_ABOVE: Final = Decimal(f"1{'0' * 400}.3")
_BELOW: Final = Decimal(f"-1{'0' * 400}.3")


def is_finite(value: Any) -> bool:
    """Tell whether no number in a JSON value is infinite or none."""
    return marked(value) is value


def marked(value: Any) -> Any:
    """Return a JSON value ready for the encoder: with NotFinite for numbers that are infinite or none."""
    return _replaced(value, NotFinite)


def written(value: Any) -> bytes:
    """Return a JSON value of any origin as JSON: one that was received, or made by somebody else's code."""
    blob = json_bytes(value)
    # The encoder writes null for infinity, unless that is marked.
    return blob if b"null" not in blob else json_bytes(marked(value))


def stand_ins(value: Any) -> list[Any]:
    """Return copies of a value to check instead: with large numbers for infinite ones.

    Returns:
        One copy; two where there is a nan, which lies within no bounds: with a large number of either sign.
        None where all numbers are finite.
    """
    if is_finite(value):
        return []
    copies = [_replaced(value, lambda number: _ABOVE if number > 0 else _BELOW)]
    if _replaced(value, lambda number: number if number == number else _ABOVE) is not value:
        copies.append(_replaced(value, lambda number: _BELOW if number < 0 else _ABOVE))
    return copies


def _replaced(value: Any, replace: Callable[[float], Any]) -> Any:
    """Return a JSON value with other numbers for those that are not finite; the same object without such."""
    if isinstance(value, float):
        return value if math.isfinite(value) else replace(value)
    if isinstance(value, dict):
        entries = {key: _replaced(item, replace) for key, item in value.items()}
        return entries if any(entries[key] is not item for key, item in value.items()) else value
    if isinstance(value, list):
        items = [_replaced(item, replace) for item in value]
        return items if any(map(_differ, items, value)) else value
    return value


def _differ(one: Any, other: Any) -> bool:
    return one is not other
