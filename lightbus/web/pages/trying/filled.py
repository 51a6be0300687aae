"""A form that was filled in, read as the arguments of a call or an event."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from lightbus.exceptions import InvalidParameters
from lightbus.values.typed import NamedTwice, fields_once

from .fields import Field, Kind

#: Stands for what was left out.
_NOTHING = object()
#: The name of the field that takes all arguments as JSON.
WHOLE = "json"


def filled_in(fields: Sequence[Field], given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the arguments.

    Args:
        fields: The fields of the form.
        given: What each has, by its path; :data:`WHOLE` has all arguments instead, if it has something.

    Raises:
        InvalidParameters: A field has what it can't have; the contract is not asked yet.
    """
    whole = _text(WHOLE, given).strip()
    if whole:
        value = _json(whole, "the JSON of all arguments")
        if not isinstance(value, dict):
            raise InvalidParameters('the arguments as JSON are an object, such as {"username": "ann"}')
        return value
    return _group(fields, given)


def _group(fields: Sequence[Field], given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    found = {}
    for field in fields:
        value = _value(field, given)
        if value is not _NOTHING:
            found[field.name] = value
    return found


def _value(field: Field, given: Mapping[str, Sequence[str]]) -> Any:
    if field.kind == "group":
        if not _is_blank(field, given) or (field.is_required and not field.is_nullable):
            return _group(field.fields, given)
        return None if field.is_required else _NOTHING
    text = _text(field.path, given)
    if field.kind == "lines":
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines and not field.is_required:
            return _NOTHING
        return [_read(line.strip(), field.of, field.path) for line in lines]
    if text.strip():
        return _read(text if field.kind == "text" else text.strip(), field.kind, field.path)
    if not field.is_required:
        return _NOTHING
    if field.is_nullable:
        return None
    if field.kind == "text":
        return text
    raise InvalidParameters(f"{_place(field.path)} is required; fill it in")


def _is_blank(field: Field, given: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether nothing was filled in, in a field and in those beneath it."""
    if field.kind == "group":
        return all(_is_blank(each, given) for each in field.fields)
    return not _text(field.path, given).strip()


def _read(text: str, kind: Kind, path: str) -> Any:
    """Read what was filled in."""
    if kind == "text":
        return text
    if kind == "any":
        try:
            return json.loads(text, object_pairs_hook=fields_once)
        except NamedTwice as e:
            raise InvalidParameters(f"{_place(path)}: {e}") from None
        except (ValueError, RecursionError):
            return text
    if kind in ("json", "choice"):
        return _json(text, _place(path))
    if kind == "boolean":
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise InvalidParameters(f"{_place(path)}: write true or false")
    try:
        if kind == "integer":
            return int(text)
        number = float(text)
    except ValueError:
        raise InvalidParameters(f"{_place(path)}: that is no {kind}") from None
    if not math.isfinite(number):
        raise InvalidParameters(f"{_place(path)}: that is no number in JSON")
    return int(text) if text.lstrip("-").isdecimal() else number


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=fields_once)
    except NamedTwice as e:
        raise InvalidParameters(f"{place}: {e}") from None
    except (ValueError, RecursionError) as e:
        told = "it is too deep" if isinstance(e, RecursionError) else getattr(e, "msg", str(e))
        where = f" at line {e.lineno}, column {e.colno}" if isinstance(e, json.JSONDecodeError) else ""
        raise InvalidParameters(f"{place}: that is no JSON{where}: {told}") from None


def _place(path: str) -> str:
    """Return a field as people name it, such as ``address.city``."""
    return ".".join(step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:])


def _text(name: str, given: Mapping[str, Sequence[str]]) -> str:
    return next(iter(given.get(name, ())), "")
