"""JSON numbers, strings, booleans and null: their hints in Python, and the expressions of their defaults."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from lightbus.exceptions import ValidationError
from lightbus.values import DECIMAL_PATTERN, cast

from .names import Names

_PLAIN: Final = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
_FORMATS: Final[dict[str, type]] = {
    "date-time": datetime, "date": date, "time": time, "duration": timedelta, "uuid": UUID,
}  # fmt: skip
_LONGEST: Final = 60


def rich_type(schema: dict[str, Any]) -> type | None:
    """Return the type that text stands for; None where it is only text, or no text."""
    if schema.get("type") != "string":
        return None
    if schema.get("pattern") == DECIMAL_PATTERN:
        return Decimal
    if schema.get("contentEncoding") == "base64":
        return bytes
    form = schema.get("format")
    return _FORMATS.get(form) if isinstance(form, str) else None


def scalar_hint(schema: dict[str, Any], names: Names, *, rich: bool) -> str:
    """Return the hint of one JSON value that is neither a list nor an object.

    Args:
        schema: Its schema, with one type.
        names: Imports what the hint needs.
        rich: Whether text is the type that it stands for, such as ``datetime``.
    """
    cls = rich_type(schema) if rich else None
    if cls is not None:
        return names.imported(cls.__module__, cls.__name__)
    plain = _PLAIN.get(str(schema.get("type")))
    if plain is None:
        return names.imported("typing", "Any")
    return plain if plain == "None" else names.imported("builtins", plain)


def is_of(value: Any, schema: dict[str, Any]) -> bool:
    """Tell whether a JSON value has the type of a schema with one type."""
    return type(value) in _KINDS.get(str(schema.get("type")), ())


def scalar_text(value: Any, schema: dict[str, Any], names: Names, *, rich: bool) -> str | None:
    """Return the expression of a value; None if it is none of the schema, or can't be written in a line.

    Args:
        value: The value as JSON has it.
        schema: Its schema, with one type.
        names: Imports what the expression needs.
        rich: Whether text is the type that it stands for.
    """
    if not is_of(value, schema) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    cls = rich_type(schema) if rich else None
    if type(value) is int and schema["type"] == "number":
        value = float(value)
    text = repr(value) if cls is None else _rich_text(value, cls, names)
    return text if text is not None and len(text) <= _LONGEST else None


def _rich_text(value: str, cls: type, names: Names) -> str | None:
    try:
        made: Any = cast(value, cls)
    except ValidationError:
        return None
    if cls is bytes:
        return repr(made)
    name = names.imported(cls.__module__, cls.__name__)
    if cls is timedelta:
        return f"{name}(days={made.days}, seconds={made.seconds}, microseconds={made.microseconds})"
    if cls in (UUID, Decimal):
        return f"{name}({value!r})"
    return f"{name}.fromisoformat({value!r})"
