"""Type hints to JSON Schema draft-07."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

from lightbus import values
from lightbus.exceptions import LightbusException, MisconfiguredApiOptions
from lightbus.values import shapes

_SCALARS: Final[dict[Any, dict[str, Any]]] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string", "format": "time"},
    timedelta: {"type": "string", "format": "duration"},
    Decimal: {"type": "string", "pattern": values.DECIMAL_PATTERN},
    UUID: {"type": "string", "format": "uuid"},
    **{cls: {"type": "string", "contentEncoding": "base64"} for cls in (bytes, bytearray)},
}
#: The class of a result, whose title is that of the message; the names in Python of the members of an enum.
CLASS: Final = "x-class"
MEMBERS: Final = "x-enum-varnames"
#: The values are shown to nobody who has no need to see them.
SENSITIVE: Final = "x-sensitive"
#: The names in JSON Schema of the types that JSON values have in Python.
TYPE_NAMES: Final = {
    str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null", list: "array",
    dict: "object",
}  # fmt: skip
Direction = Literal["events", "answers", "arguments"]
_LENGTHS: Final = {"string": "Length", "array": "Items", "object": "Properties"}
_NUMERIC: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")


class SchemaWriter:
    """Writes the schemas of the hints of one procedure or event, which share their definitions.

    Every class is written where it is used; one that contains itself is written once under ``definitions``.

    Args:
        direction: The way of the values. The owner of an API sends events and answers, but no arguments.
    """

    def __init__(self, direction: Direction = "arguments") -> None:
        self._direction = direction
        self.definitions: dict[str, Any] = {}
        #: The hints of which values are not converted, each with what is done with them.
        self.unknown: dict[str, str] = {}
        self._open: list[shapes.Shape] = []
        self._names: dict[shapes.Shape, str] = {}

    def schema(self, hint: Any, default: Any = shapes.EMPTY) -> dict[str, Any]:
        """Return the schema of one hint.

        Args:
            hint: A type hint.
            default: The value where none is given; noted where it can be sent.

        Returns:
            The schema, which may refer to ``definitions``.

        Raises:
            MisconfiguredApiOptions: The hint stands for values that can't travel over the bus.
        """
        schema = self._of(values.read(values.optional(hint, default)))
        if default is shapes.EMPTY:
            return schema
        try:
            note = {"default": values.dump(default)}
        except LightbusException:
            return schema
        # A contract is read by others, too: it is JSON by its standard, which has no infinity.
        if not values.is_finite(note):
            return schema
        if "anyOf" in schema:
            return {**schema, "anyOf": [{**branch, **note} for branch in schema["anyOf"]]}
        return {**schema, **note}

    def finish(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return a complete schema: one with the definitions that it refers to."""
        return {**schema, "definitions": self.definitions} if self.definitions else schema

    def _of(self, shape: shapes.Shape) -> dict[str, Any]:
        if not isinstance(shape, shapes.Fielded | shapes.Alias):
            write = getattr(self, f"_{type(shape).__name__.lower()}")
            return dict(write(shape))
        if shape in self._open and shape not in self._names:
            self._names[shape] = self._free_name(shape.name)
        if shape in self._names:
            return {"$ref": f"#/definitions/{self._names[shape]}"}
        self._open.append(shape)
        schema: dict[str, Any] = getattr(self, f"_{type(shape).__name__.lower()}")(shape)
        self._open.pop()
        if shape not in self._names:
            return schema
        self.definitions[self._names[shape]] = schema
        return {"$ref": f"#/definitions/{self._names[shape]}"}

    def _free_name(self, name: str) -> str:
        name = re.sub(r"\W+", "_", name).strip("_")
        taken = {*self.definitions, *self._names.values()}
        return next(n for n in (name, *(f"{name}_{i}" for i in range(2, 10_000))) if n not in taken)

    def _anything(self, shape: shapes.Anything) -> dict[str, Any]:
        return {}

    def _unknown(self, shape: shapes.Unknown) -> dict[str, Any]:
        self.unknown[shape.name] = shape.told
        return self._anything(shape)

    def _plain(self, shape: shapes.Plain) -> dict[str, Any]:
        self.unknown[shape.name] = shape.told
        return self._objectof(shape)

    def _scalar(self, shape: shapes.Scalar) -> dict[str, Any]:
        return _SCALARS.get(shape.type, {"type": "string"})

    def _listof(self, shape: shapes.ListOf) -> dict[str, Any]:
        item = self._of(shape.item)
        return {"type": "array", "items": item} if item else {"type": "array"}

    def _tupleof(self, shape: shapes.TupleOf) -> dict[str, Any]:
        count = {"minItems": len(shape.items), "maxItems": len(shape.items)}
        items = {"items": [self._of(i) for i in shape.items]} if shape.items else {}
        return {"type": "array", **items, **count}

    def _mapof(self, shape: shapes.MapOf) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "object"}
        item = self._of(shape.item)
        if item:
            schema["additionalProperties"] = item
        names = _names_schema(self._of(shape.key))
        if names:
            schema["propertyNames"] = names
        return schema

    def _choice(self, shape: shapes.Choice) -> dict[str, Any]:
        allowed = [values.dump(sent) for sent, _ in shape.members]
        if not values.is_finite(allowed):
            return {}
        kinds = {TYPE_NAMES[type(a)] for a in allowed}
        schema = {"enum": allowed, "type": kinds.pop()} if len(kinds) == 1 else {"enum": allowed}
        members = [member for _, member in shape.members]
        cls = type(members[0]) if members else None
        if cls is not None and issubclass(cls, enum.Enum) and members == list(cls):
            schema |= {"title": cls.__name__, MEMBERS: [member.name for member in members]}
        return schema

    def _unionof(self, shape: shapes.UnionOf) -> dict[str, Any]:
        return {"anyOf": [self._of(m) for m in shape.members]}

    def _constrained(self, shape: shapes.Constrained) -> dict[str, Any]:
        schema = self._of(shape.shape)
        if "anyOf" in schema:
            return {**schema, "anyOf": [_constrain(branch, shape.rules) for branch in schema["anyOf"]]}
        return _constrain(schema, shape.rules)

    def _hidden(self, shape: shapes.Hidden) -> dict[str, Any]:
        return {**self._of(shape.shape), SENSITIVE: True}

    def _objectof(self, shape: shapes.Fielded) -> dict[str, Any]:
        return {
            "type": "object",
            "title": shape.name,
            "properties": {f.name: self.schema(f.hint, f.default) for f in shape.fields},
            "required": [f.name for f in shape.fields if f.required],
            "additionalProperties": False,
        }

    def _alias(self, shape: shapes.Alias) -> dict[str, Any]:
        return self.schema(shape.target)

    def _model(self, shape: shapes.Model) -> dict[str, Any]:
        schema: dict[str, Any] = shape.cls.model_json_schema()
        # Callers may write arguments by hand, as a dict.
        if self._direction != "arguments":
            lost = values.losses_of(shape.cls).of(answer=self._direction == "answers")
            if lost is not None:
                raise MisconfiguredApiOptions(f"{'.'.join((shape.name, *lost.path))} {lost.reason}")
        inner: dict[str, Any] = schema.pop("$defs", {})
        places = {}
        for name in inner:
            places[name] = self._free_name(name)
            self.definitions[places[name]] = {}
        names = {f"#/$defs/{name}": f"#/definitions/{place}" for name, place in places.items()}
        for name, place in places.items():
            self.definitions[place] = repointed(inner[name], names)
        return dict(repointed(schema, names))


def repointed(schema: Any, names: Mapping[str, str]) -> Any:
    """Point the references of a schema to where its definitions are now.

    Args:
        schema: The schema.
        names: The new reference for each old one.

    Returns:
        A copy.
    """
    if isinstance(schema, list):
        return [repointed(s, names) for s in schema]
    if not isinstance(schema, dict):
        return schema
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref in names:
        return {**schema, "$ref": names[ref]}
    return {key: repointed(value, names) for key, value in schema.items()}


def _names_schema(key: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of the names of an object, if its keys may not be any text."""
    rules = _names_rules(key)
    return {**rules, SENSITIVE: True} if SENSITIVE in key else rules


def _names_rules(key: Mapping[str, Any]) -> dict[str, Any]:
    if "enum" in key:
        # The members of an enum of numbers can't be told from their names here, which are text.
        notes = {n: key[n] for n in ("title", MEMBERS) if n in key and key.get("type") == "string"}
        return {"enum": [str(sent) for sent in key["enum"]], **notes}
    if key.get("type") == "integer":
        return {"pattern": r"^-?\d+$"}
    if key.get("type") == "string":
        return {rule: limit for rule, limit in key.items() if rule != "type"}
    return {}


def _constrain(schema: Mapping[str, Any], rules: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """Add those rules that JSON Schema knows for this type."""
    constrained = dict(schema)
    kind = schema.get("type", "")
    for rule, limit in rules:
        if not values.is_finite(limit):
            continue
        if rule in _NUMERIC and kind in ("integer", "number") and isinstance(limit, int | float):
            constrained[rule] = limit
        elif rule in ("minLength", "maxLength") and kind in _LENGTHS and _is_measured(schema):
            constrained[rule[:3] + _LENGTHS[kind]] = limit
        elif rule == "pattern" and kind == "string" and "pattern" not in schema:
            constrained[rule] = limit
    return constrained


def _is_measured(schema: Mapping[str, Any]) -> bool:
    """Tell whether the length of the value is also the length of what is sent."""
    return schema.get("type") != "string" or schema.keys() <= {
        "type",
        "minLength",
        "maxLength",
        "pattern",
        SENSITIVE,
    }
