"""Printing a contract as a person would write it in Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from lightbus.exceptions import InvalidMessage
from lightbus.values import DECIMAL_PATTERN

from .safety import follow
from .writing import SENSITIVE

_TYPES: Final = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_FORMATS: Final = {
    "date-time": "datetime", "date": "date", "time": "time", "duration": "timedelta", "uuid": "UUID",
}  # fmt: skip
_WIDTH: Final = 100


def show(api_name: str, contract: dict[str, Any]) -> str:
    """Print an API.

    Returns:
        One signature per procedure and event, below what it is for, then the classes that they mention.
    """
    lines = _comment(contract)
    lines += [""] if lines else []
    classes: dict[str, list[str]] = {}
    for name, entry in sorted(contract["rpcs"].items()):
        returned = type_text(entry["response"], entry["response"], top=True)
        arrow = "" if returned == "Any" else f" -> {returned}"
        lines += _comment(entry["parameters"])
        lines.append(_signature(f"{api_name}.{name}", entry["parameters"], arrow))
        _collect(entry["parameters"], entry["parameters"], classes)
        _collect(entry["response"], entry["response"], classes, top=True)
    for name, entry in sorted(contract["events"].items()):
        lines += _comment(entry["parameters"])
        lines.append(_signature(f"event {api_name}.{name}", entry["parameters"], ""))
        _collect(entry["parameters"], entry["parameters"], classes)
    for name in sorted(classes):
        lines += ["", f"class {name}:", *(f"    {line}" for line in classes[name] or ["pass"])]
    return "\n".join(lines) + "\n"


def type_text(schema: Any, root: dict[str, Any], *, top: bool = False) -> str:
    """Return a schema as the type hint that it most likely comes from.

    Args:
        schema: A schema.
        root: The complete schema that it is part of.
        top: Whether its title is that of a message and not that of a class.

    Returns:
        Such as ``list[Item] | None``.
    """
    if not isinstance(schema, dict):
        return "Never" if schema is False else "Any"
    text = _type_text(schema, root, top)
    return f"Annotated[{text}, Sensitive]" if schema.get(SENSITIVE) else text


def _type_text(schema: dict[str, Any], root: dict[str, Any], top: bool) -> str:
    if isinstance(schema.get("$ref"), str):
        return str(_target(schema, root).get("title") or schema["$ref"].rpartition("/")[2])
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return " | ".join(dict.fromkeys(type_text(s, root) for s in options))
    if "enum" in schema or "const" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        return f"Literal[{', '.join(repr(a) for a in allowed[:12])}{', ...' if len(allowed) > 12 else ''}]"
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_type_text({**schema, "type": k}, root, top) for k in kind)
    if kind == "array":
        return _array_text(schema, root)
    if kind == "object":
        if "title" in schema and "properties" in schema and not top:
            return str(schema["title"])
        item = schema.get("additionalProperties")
        return f"dict[str, {type_text(item, root)}]" if isinstance(item, dict) else "dict"
    if schema.get("pattern") == DECIMAL_PATTERN:
        return "Decimal"
    if schema.get("contentEncoding") == "base64":
        return "bytes"
    return _FORMATS.get(schema.get("format", ""), _TYPES.get(str(kind), "Any"))


def default_of(schema: Any) -> tuple[bool, Any]:
    """Tell whether a schema notes a default, and which."""
    if isinstance(schema, dict):
        for noted in (schema, *(schema.get("anyOf") or ())):
            if isinstance(noted, dict) and "default" in noted:
                return True, noted["default"]
    return False, None


def _target(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    try:
        target = follow(root, schema["$ref"])
    except InvalidMessage:
        return {}
    return target if isinstance(target, dict) else {}


def _array_text(schema: dict[str, Any], root: dict[str, Any]) -> str:
    items = schema.get("items")
    if isinstance(items, list):
        return f"tuple[{', '.join(type_text(i, root) for i in items)}]"
    if schema.get("maxItems") == 0:
        return "tuple[()]"
    return f"list[{type_text(items, root)}]" if items else "list"


def _parameter(name: str, schema: Any, root: dict[str, Any], required: bool) -> str:
    kind = type_text(schema, root)
    text = name if kind == "Any" else f"{name}: {kind}"
    has_default, default = default_of(schema)
    if has_default:
        return f"{text}{'=' if kind == 'Any' else ' = '}{_short(default)}"
    return text if required else f"{text}{'=' if kind == 'Any' else ' = '}..."


def _comment(described: Mapping[str, Any]) -> list[str]:
    """Return the first paragraph of a description."""
    text = described.get("description")
    first = text.partition("\n\n")[0] if isinstance(text, str) else ""
    return [f"# {line.strip()}" for line in first.splitlines()]


def _with_comment(parameter: str, schema: Any) -> str:
    text = schema.get("description") if isinstance(schema, dict) else None
    return f"    {parameter},  # {' '.join(text.split())}" if isinstance(text, str) else f"    {parameter},"


def _signature(name: str, schema: dict[str, Any], arrow: str) -> str:
    required, properties = schema.get("required", ()), schema.get("properties", {})
    parts = [_parameter(n, s, schema, n in required) for n, s in properties.items()]
    lines = [_with_comment(part, properties[n]) for part, n in zip(parts, properties, strict=True)]
    others = schema.get("additionalProperties", True)
    if others is not False:
        parts.append("**kwargs" if others is True else f"**kwargs: {type_text(others, schema)}")
        lines.append(f"    {parts[-1]},")
    line = f"{name}({', '.join(parts)}){arrow}"
    if len(line) <= _WIDTH and not any("  # " in line for line in lines):
        return line
    return "\n".join([f"{name}(", *lines, f"){arrow}"])


def _collect(schema: Any, root: dict[str, Any], classes: dict[str, list[str]], *, top: bool = True) -> None:
    """Add the classes that a schema mentions; the first of each name stands for all."""
    if isinstance(schema, list):
        for item in schema:
            _collect(item, root, classes, top=False)
    if not isinstance(schema, dict):
        return
    properties = schema.get("properties")
    if not top and isinstance(properties, dict) and schema.get("type") == "object" and "title" in schema:
        if schema["title"] in classes:
            return
        required = schema.get("required", ())
        classes[schema["title"]] = [_parameter(n, s, root, n in required) for n, s in properties.items()]
    for inner in (*(properties or {}).values(), *schema.get("definitions", {}).values()):
        _collect(inner, root, classes, top=False)
    for key in ("items", "anyOf", "oneOf", "allOf", "additionalProperties"):
        _collect(schema.get(key), root, classes, top=False)


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, dict | list) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
