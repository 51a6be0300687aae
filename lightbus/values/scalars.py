"""Values that are one JSON number, string, boolean or null, and how they become Python values."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from .misfit import Misfit, shown

#: The types that JSON values have in Python.
JSON_TYPES: Final[frozenset[type]] = frozenset({str, int, float, bool, type(None), list, dict})
NOTHING: Final[frozenset[type]] = frozenset()
NUMBER: Final[frozenset[type]] = frozenset({int, float})
LIST: Final[frozenset[type]] = frozenset({list})
OBJECT: Final[frozenset[type]] = frozenset({dict})

#: A Decimal as text; the contract says the same.
DECIMAL_PATTERN: Final = r"^-?\d+(\.\d+)?$"

_DECIMAL = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
#: An int as a key, which is text.
INT_KEY: Final = re.compile(r"-?\d+", re.ASCII)
#: Python refuses to read longer numbers.
MOST_DIGITS: Final = 4300

Convert = Callable[[Any], Any]


@dataclass(slots=True, eq=False)
class Converter:
    """Turns JSON values into the values of one hint.

    Args:
        call: Converts one value, or raises Misfit.
        exact: Types whose values stay what they are.
        takes: Types of which some values may fit.
    """

    call: Convert
    exact: frozenset[type]
    takes: frozenset[type]


def misfit(value: Any, name: str) -> Misfit:
    """Say what was expected and what came."""
    return Misfit(f"expected {name}, got {shown(value)}")


def identity(value: Any) -> Any:
    """Return the value."""
    return value


def whole_number(value: Any) -> int:
    """Take an int, or a float such as 1.0, which JSON Schema calls an integer too."""
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    raise misfit(value, "int")


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            pass
    raise misfit(value, "float")


def _exactly(kind: type, name: str) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise misfit(value, name)

    return convert


def _from_text(parse: Callable[[str], Any], name: str) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is str:
            try:
                return parse(value)
            except (ValueError, ArithmeticError):
                pass
        raise misfit(value, name)

    return convert


def _parse_datetime(text: str) -> datetime:
    if len(text) < 11 or text[8:10] == "" or not re.search("[Tt ]", text[8:11]):
        raise ValueError(text)
    return datetime.fromisoformat(text)


def _parse_uuid(text: str) -> UUID:
    if len(text) != 36:
        raise ValueError(text)
    return UUID(text)


def _parse_decimal(text: str) -> Decimal:
    if len(text) > 2 * MOST_DIGITS or not _DECIMAL.fullmatch(text):
        raise ValueError(text)
    return Decimal(text)


def _parse_bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as e:
        raise ValueError(text) from e


_TEXT: Final[dict[Any, tuple[Callable[[str], Any], str]]] = {
    datetime: (_parse_datetime, "a datetime such as 2026-01-31T12:00:00+00:00"),
    date: (date.fromisoformat, "a date such as 2026-01-31"),
    time: (time.fromisoformat, "a time such as 12:00:00"),
    timedelta: (lambda text: msgspec.convert(text, timedelta), "a duration such as P1DT2.5S"),
    UUID: (_parse_uuid, "a UUID"),
    Decimal: (_parse_decimal, "a decimal number as text, such as '1.50'"),
    bytes: (_parse_bytes, "base64 text"),
    bytearray: (lambda text: bytearray(_parse_bytes(text)), "base64 text"),
    complex: (complex, "a complex number as text"),
}


def scalar(kind: Any, name: str) -> Converter:
    """Return the converter of a type whose values are one JSON number, string, boolean or null.

    Args:
        kind: One of ``shapes.SCALARS``.
        name: How a person would write it.
    """
    if kind in _TEXT:
        return Converter(_from_text(*_TEXT[kind]), NOTHING, frozenset({str}))
    if kind is int:
        return Converter(whole_number, frozenset({int}), NUMBER)
    if kind is float:
        return Converter(_float, frozenset({float}), NUMBER)
    return Converter(_exactly(kind, name), frozenset({kind}), frozenset({kind}))
