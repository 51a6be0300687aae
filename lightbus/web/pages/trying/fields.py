"""A form made from the JSON Schema of a call's or an event's arguments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lightbus.contracts.printing import type_text
from lightbus.contracts.safety import follow
from lightbus.exceptions import InvalidMessage

#: Objects within objects, beyond which a field takes JSON, and the most fields of a form.
_DEEPEST, _MOST = 4, 200
#: The most values of a list that may be chosen from.
_MOST_CHOICES = 100
_SIMPLE = ("string", "integer", "number", "boolean")
#: Texts that fit a format.
_FORMATS = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00",
    "duration": "PT15M",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "email": "ann@example.com",
}

Kind = Literal["text", "integer", "number", "boolean", "choice", "lines", "json", "any", "group"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form.

    Args:
        path: Names it in the form: the names that lead to it, as a JSON pointer has them.
        name: Its own name.
        kind: How it is filled in: ``lines`` has a value of ``of`` on each line, ``json`` takes JSON, and
            ``any`` takes JSON where it parses, else it is a string.
        type: Its type, as Python has it.
        is_required: Whether it can't be left out.
        is_nullable: Whether it may be null.
        description: What it is for.
        example: What could be filled in.
        choices: What may be chosen, as JSON.
        of: What each line of ``lines`` is.
        fields: Those of a ``group``.
    """

    path: str
    name: str
    kind: Kind
    type: str
    is_required: bool = False
    is_nullable: bool = False
    description: str = ""
    example: str = ""
    choices: tuple[str, ...] = ()
    of: Kind = "text"
    fields: tuple[Field, ...] = ()


def fields_of(schema: Mapping[str, Any]) -> tuple[Field, ...]:
    """Return the fields for the arguments that a schema describes; none where it describes no object."""
    root = dict(schema)
    left = iter(range(_MOST))
    return _children(root, root, "", 0, left)


def example_of(schema: Any, root: Mapping[str, Any], depth: int = 0) -> Any:
    """Return a value that most likely fits a schema.

    Args:
        schema: The schema.
        root: The whole that it is part of.
        depth: How many objects and lists it lies in.
    """
    node, _ = _meant(schema, dict(root))
    for known in ("examples", "default", "const", "enum"):
        if known in node:
            found = node[known]
            return (found[0] if found else None) if known in ("examples", "enum") else found
    options = node.get("anyOf") or node.get("oneOf") or node.get("allOf")
    if options:
        return example_of(options[0], root, depth + 1) if depth < _DEEPEST else None
    kind = node.get("type")
    if kind == "object" or "properties" in node:
        return _example_object(node, root, depth)
    if kind == "array":
        items = node.get("items", {})
        wanted = items if isinstance(items, list) else [items]
        return [example_of(each, root, depth + 1) for each in wanted] if depth < _DEEPEST else []
    return _example_simple(kind, node)


def _example_object(node: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties = node.get("properties", {})
    required = node.get("required", [])
    wanted = [name for name in properties if depth == 0 or name in required or not required]
    return {name: example_of(properties[name], root, depth + 1) for name in wanted if depth < _DEEPEST}


def _example_simple(kind: Any, node: Mapping[str, Any]) -> Any:
    if kind in ("integer", "number"):
        least = node.get("minimum", node.get("exclusiveMinimum"))
        if least is None:
            return 1 if kind == "integer" else 1.5
        return least + 1 if "minimum" not in node else least
    if kind == "boolean":
        return True
    return _FORMATS.get(str(node.get("format")), "text") if kind in ("string", None) else None


def _children(
    node: Mapping[str, Any], root: dict[str, Any], path: str, depth: int, left: Iterator[int]
) -> tuple[Field, ...]:
    required = node.get("required", ())
    found = []
    for name, schema in node.get("properties", {}).items():
        if next(left, None) is None:
            break
        step = name.replace("~", "~0").replace("/", "~1")
        found.append(_field(schema, root, f"{path}/{step}", name, name in required, depth, left))
    return tuple(found)


def _field(
    schema: Any,
    root: dict[str, Any],
    path: str,
    name: str,
    is_required: bool,
    depth: int,
    left: Iterator[int],
) -> Field:
    node, is_nullable = _meant(schema, root)
    kind, of, choices = _kind(node, root, depth)
    about: dict[str, Any] = {
        "is_required": is_required,
        "is_nullable": is_nullable,
        "description": str(node.get("description", "")),
        "choices": choices,
        "of": of,
    }
    text = type_text(schema, root)
    if kind == "group":
        return Field(path, name, kind, text, fields=_children(node, root, path, depth + 1, left), **about)
    example = example_of(schema, root, depth + 1)
    return Field(path, name, kind, text, example=_written(example, kind), **about)


def _kind(node: Mapping[str, Any], root: dict[str, Any], depth: int) -> tuple[Kind, Kind, tuple[str, ...]]:
    """Return how something is filled in, each of its lines, and what may be chosen."""
    if "const" in node or "enum" in node:
        allowed = node.get("enum", [node.get("const")])
        if isinstance(allowed, list) and len(allowed) <= _MOST_CHOICES:
            return "choice", "text", tuple(json.dumps(each, ensure_ascii=False) for each in allowed)
        return "json", "text", ()
    kind = node.get("type")
    if kind == "array" and isinstance(node.get("items"), dict):
        item, is_nullable = _meant(node["items"], root)
        if item.get("type") in _SIMPLE and "enum" not in item and not is_nullable:
            return "lines", _simple(item), ()
    if kind in ("object", None) and node.get("properties") and depth < _DEEPEST and not _is_open(node):
        return "group", "text", ()
    if kind is None and not {"anyOf", "oneOf", "allOf", "properties"} & node.keys():
        return "any", "text", ()
    return (_simple(node) if kind in _SIMPLE else "json"), "text", ()


def _is_open(node: Mapping[str, Any]) -> bool:
    """Tell whether an object may have more than its named fields, so that a form of these is too little."""
    return isinstance(node.get("additionalProperties"), dict) or "patternProperties" in node


def _simple(node: Mapping[str, Any]) -> Kind:
    kinds: dict[Any, Kind] = {"integer": "integer", "number": "number", "boolean": "boolean"}
    return kinds.get(node.get("type"), "text")


def _meant(schema: Any, root: dict[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Follow references, and tell apart whether something may be null; what it is else is returned."""
    node, is_nullable, described = schema, False, ""
    for _ in range(20):
        if not isinstance(node, dict):
            return {}, is_nullable
        described = described or str(node.get("description", ""))
        if isinstance(node.get("$ref"), str):
            try:
                node = follow(root, node["$ref"])
            except InvalidMessage:
                return {}, is_nullable
            continue
        options = node.get("anyOf") or node.get("oneOf")
        kinds = node.get("type")
        given = [each for each in options if not _is_null(each)] if isinstance(options, list) else []
        if isinstance(options, list) and len(options) == 2 and len(given) == 1:
            is_nullable, node = True, given[0]
        elif isinstance(kinds, list) and "null" in kinds and len(kinds) == 2:
            is_nullable, node = True, {**node, "type": next(each for each in kinds if each != "null")}
        else:
            break
    return {"description": described, **node}, is_nullable


def _is_null(schema: Any) -> bool:
    """Tell whether something may only be null, with whatever else is said of that, such as its default."""
    return isinstance(schema, dict) and schema.get("type") == "null"


def _written(value: Any, kind: Kind) -> str:
    """Return a value as it is filled into a field."""
    if kind == "lines" and isinstance(value, list):
        return "\n".join(each if isinstance(each, str) else json.dumps(each) for each in value)
    if kind in ("text", "any") and isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
