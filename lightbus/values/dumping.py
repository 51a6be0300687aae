"""``dump()``: Python values to JSON values.

There is one encoder per class, made when the first object of that class is sent.
"""

from __future__ import annotations

import base64
import cmath
import enum
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

import msgspec

from lightbus.exceptions import ValidationError
from lightbus.serializers import NotFinite

from .misfit import Misfit, shown
from .models import answering, difference, dump_model
from .objects import is_model, keywords_of, sent_fields, struct_tag, unsent_fields

#: The most levels that lists and objects may have: a message may have 64, and two of these are its own.
MAX_DEPTH: Final = 62

_LEAST_INT: Final = -(2**63)
_GREATEST_INT: Final = 2**64 - 1
_MOST_DIGITS: Final = 4000
_MOST_BITS: Final = int(_MOST_DIGITS * math.log2(10))

_Encoder = Callable[[Any, int], Any]


def dump(value: Any) -> Any:
    """Turn a value into what JSON can hold; lists and objects are copied.

    Args:
        value: Plain values, and whatever ``WIRE.md`` lists: dataclasses, enums, datetimes and so on.

    Returns:
        None, a bool, int, float or str, or a list or dict of such.

    Raises:
        ValidationError: Something in it can't be sent; the message has the path to it.
    """
    try:
        return (_ENCODERS.get(type(value)) or _encoder(type(value)))(value, 0)
    except Misfit as e:
        raise e.error() from e.__cause__
    except RecursionError:
        raise Misfit("is nested too deep to be sent, or contains itself").error() from None


def dump_arguments(arguments: Mapping[str, Any], kind: str, api_name: str, name: str) -> dict[str, Any]:
    """Turn the arguments of a call or an event into what JSON can hold; an error says of which.

    Args:
        arguments: The arguments.
        kind: ``call`` or ``event``.
        api_name: The API.
        name: The procedure or event.

    Raises:
        ValidationError: As with :func:`dump`.
    """
    try:
        return cast("dict[str, Any]", dump(arguments))
    except ValidationError as e:
        raise ValidationError(f"the {kind} {api_name}.{name}: {e}") from e.__cause__


def dump_answer(value: Any) -> Any:
    """Turn what a procedure returns into what JSON can hold; as nobody casts it, it may leave things out.

    Raises:
        ValidationError: As with :func:`dump`.
    """
    token = answering.set(True)
    try:
        return dump(value)
    finally:
        answering.reset(token)


def _dump(value: Any, depth: int) -> Any:
    return (_ENCODERS.get(type(value)) or _encoder(type(value)))(value, depth)


def _str(value: str, depth: int) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Misfit("is text with half a surrogate pair, which UTF-8 can't hold") from None
    return value


def _int(value: int, depth: int) -> int:
    # The comparison is quicker than the question for bits.
    if not _LEAST_INT <= value <= _GREATEST_INT and value.bit_length() > _MOST_BITS:
        raise Misfit(f"{shown(value)} has more than {_MOST_DIGITS} digits; send it as a str")
    return value


def _float(value: float, depth: int) -> float:
    return value if math.isfinite(value) else NotFinite(value)


def _decimal(value: Decimal, depth: int) -> str:
    if not value.is_finite():
        raise Misfit(f"{value!r} can't be sent; send None, or leave it out")
    if abs(value.adjusted()) > _MOST_DIGITS or len(value.as_tuple().digits) > _MOST_DIGITS:
        raise Misfit(f"is a Decimal of more than {_MOST_DIGITS} digits")
    return format(value, "f")


def _complex(value: complex, depth: int) -> str:
    if not cmath.isfinite(value):
        raise Misfit(f"{value!r} can't be sent; send None, or leave it out")
    return str(value)


def _dict(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    if depth >= MAX_DEPTH:
        raise _too_deep()
    dumped: dict[str, Any] = {}
    for key, item in value.items():
        kind = type(item)
        if not ((kind is str and item.isascii()) or item is None or kind is bool):
            try:
                item = (_ENCODERS.get(kind) or _encoder(kind))(item, depth + 1)
            except Misfit as e:
                e.path.append(key if type(key) is str else str(key))
                raise
        dumped[key if type(key) is str and key.isascii() else _key(key)] = item
    if len(dumped) != len(value):
        raise Misfit("has two keys that are the same text")
    return dumped


def _list(value: Any, depth: int) -> list[Any]:
    if depth >= MAX_DEPTH:
        raise _too_deep()
    dumped: list[Any] = []
    depth += 1
    try:
        for item in value:
            dumped.append((_ENCODERS.get(type(item)) or _encoder(type(item)))(item, depth))
    except Misfit as e:
        e.path.append(len(dumped))
        raise
    return dumped


def _key(key: Any) -> str:
    """Return the name that a key has in a JSON object."""
    sent = key
    if type(key) is not str and (type(key) is int or isinstance(key, _KEYS)):
        sent = _dump(key, 0)
    if type(sent) is int:
        return str(sent)
    if type(sent) is not str:
        raise Misfit(f"has the key {shown(key)}, which can't be a name in a JSON object; use text")
    try:
        return _str(sent, 0)
    except Misfit as e:
        raise Misfit(f"has a key that {e.reason}") from None


def _too_deep() -> Misfit:
    return Misfit(f"is nested more than {MAX_DEPTH} deep, or contains itself")


def _refuse(value: Any, depth: int) -> Any:
    raise Misfit(
        f"{shown(value)} can't be sent over the bus; send a dataclass or another supported type, "
        "or give its class __to_bus__()"
    )


def _own(value: Any, depth: int) -> Any:
    if depth >= MAX_DEPTH:
        raise _too_deep()
    return _dump(value.__to_bus__(), depth + 1)


_KEYS: Final = (str, int, UUID, enum.Enum, Decimal, date, time)

_ENCODERS: Final[dict[type, _Encoder]] = {
    str: _str,
    int: _int,
    float: _float,
    bool: lambda value, depth: value,
    type(None): lambda value, depth: None,
    dict: _dict,
    list: _list,
    tuple: _list,
}
_BY_BASE: Final[list[tuple[Any, _Encoder]]] = [
    (enum.Enum, lambda value, depth: _dump(value.value, depth)),
    ((datetime, date, time), lambda value, depth: value.isoformat()),
    (timedelta, lambda value, depth: msgspec.to_builtins(value)),
    (UUID, lambda value, depth: str(value)),
    (Decimal, _decimal),
    (complex, _complex),
    ((bytes, bytearray, memoryview), lambda value, depth: base64.b64encode(value).decode()),
    (str, lambda value, depth: _str(str.__str__(value), depth)),
    (int, lambda value, depth: _int(int(value), depth)),
    (float, lambda value, depth: _float(float(value), depth)),
    (Mapping, _dict),
    ((Set, Sequence, deque), _list),
]


def _encoder(cls: type) -> _Encoder:
    """Make the encoder of a class, and keep it."""
    encoder = _ENCODERS[cls] = _make_encoder(cls)
    return encoder


def _make_encoder(cls: type) -> _Encoder:
    if hasattr(cls, "__to_bus__"):
        return _own
    if is_model(cls):
        return lambda value, depth: _dump(dump_model(value), depth)
    fields = sent_fields(cls)
    if fields is not None and not issubclass(cls, enum.Enum):
        unsent = unsent_fields(cls)
        encoder = _object_encoder(cls, fields)
        return _checked_encoder(cls, encoder, unsent) if unsent else encoder
    for base, encoder in _BY_BASE:
        if issubclass(cls, base) and cls not in (bool, type):
            return encoder
    return _refuse


def _object_encoder(cls: type, fields: list[tuple[str, str]]) -> _Encoder:
    tag = struct_tag(cls)
    fixed: dict[str, Any] = {tag[0]: tag[1]} if tag else {}

    def encode(value: Any, depth: int) -> dict[str, Any]:
        if depth >= MAX_DEPTH:
            raise _too_deep()
        dumped = dict(fixed)
        for name, attribute in fields:
            item = getattr(value, attribute)
            try:
                dumped[name] = (_ENCODERS.get(type(item)) or _encoder(type(item)))(item, depth + 1)
            except Misfit as e:
                e.path.append(name)
                raise
        return dumped

    return encode


def _checked_encoder(cls: type, encoder: _Encoder, unsent: list[str]) -> _Encoder:
    """Refuse objects whose fields of ``init=False`` would be something else once they are made again."""
    keywords = keywords_of(cls)

    def encode(value: Any, depth: int) -> Any:
        dumped = encoder(value, depth)
        if answering.get():
            return dumped
        try:
            again = cls(**{keyword: getattr(value, name) for name, keyword in keywords})
        except Exception as e:
            raise Misfit(f"{cls.__name__} can't be made again from its fields: {str(e)[:200]}") from e
        for name in unsent:
            if difference(getattr(value, name, None), getattr(again, name, None)) is not None:
                raise Misfit(
                    "would arrive as another value: it is init=False, so that it is not sent, and whoever "
                    f"makes a {cls.__name__} of the other fields gets something else",
                    name,
                )
        return dumped

    return encode
