"""Checks of a schema before it is compiled: from the bus, it is data from strangers.

Nothing is ever fetched, nothing is executed, and neither size nor references can make validating slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

from lightbus.exceptions import InvalidMessage

DRAFT_07: Final = "http://json-schema.org/draft-07/schema#"

MAX_SIZE: Final = 1024 * 1024  # characters of text in all
MAX_NODES: Final = 20_000
MAX_DEPTH: Final = 60
MAX_PATTERNS: Final = 200
MAX_STEPS: Final = 10_000  # schemas that one value may have to pass at one place

_DATA: Final = frozenset({"default", "const", "enum", "examples"})
_BESIDE: Final = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")


def check_schema(schema: Any) -> list[str]:
    """Refuse a schema that is too large, fetches something, or would be slow to validate with.

    Returns:
        Its patterns, each once.

    Raises:
        InvalidMessage: It can't be used; the message says why.
    """
    if not isinstance(schema, dict):
        raise InvalidMessage("a schema must be an object")
    size = count = 0
    patterns: set[str] = set()
    schemas: list[dict[str, Any]] = []
    stack: list[tuple[Any, int, bool]] = [(schema, 0, False)]
    while stack:
        node, depth, is_data = stack.pop()
        count += 1
        if isinstance(node, str):
            size += len(node)
        elif isinstance(node, dict):
            if not is_data:
                _check_references(node)
                schemas.append(node)
                patterns.update(_patterns(node))
            for key, value in node.items():
                size += len(key)
                stack.append((value, depth + 1, is_data or key in _DATA))
        elif isinstance(node, list):
            stack.extend((item, depth + 1, is_data) for item in node)
        if size > MAX_SIZE or count + len(stack) > MAX_NODES or depth > MAX_DEPTH:
            raise InvalidMessage("the schema is too large or too deep")
        if len(patterns) > MAX_PATTERNS:
            raise InvalidMessage(f"the schema has more than {MAX_PATTERNS} patterns")
    _check_steps(schema, schemas)
    return sorted(patterns)


def check_form(schema: dict[str, Any]) -> None:
    """Refuse what is not a JSON Schema at all, such as one whose ``properties`` are a number.

    Args:
        schema: A schema that ``check_schema()`` lets pass.

    Raises:
        InvalidMessage: It isn't one.
    """
    from jsonschema_rs import meta

    try:
        meta.validate({**schema, "$schema": DRAFT_07})
    except ValueError as e:
        raise InvalidMessage(f"not a JSON Schema: {str(getattr(e, 'message', e))[:200]}") from None


def follow(root: dict[str, Any], ref: str) -> Any:
    """Return what a local reference such as ``#/definitions/Node`` points to.

    Raises:
        InvalidMessage: There is nothing there.
    """
    node: Any = root
    for part in unquote(ref[1:]).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        try:
            node = node[int(name)] if isinstance(node, list) else node[name]
        except (LookupError, TypeError, ValueError):
            raise InvalidMessage(f"the schema refers to {ref[:80]!r}, which it does not have") from None
    return node


def _patterns(node: dict[str, Any]) -> Iterator[str]:
    if isinstance(node.get("pattern"), str):
        yield node["pattern"]
    if isinstance(node.get("patternProperties"), dict):
        yield from node["patternProperties"]


def _check_references(node: dict[str, Any]) -> None:
    ref = node.get("$ref")
    if isinstance(ref, str) and ref != "#" and not ref.startswith("#/"):
        raise InvalidMessage(f"the schema refers to {ref[:80]!r}, outside of itself; nothing is fetched")
    if isinstance(node.get("$id"), str):
        raise InvalidMessage("the schema has an $id, which would move its references")


def _check_steps(root: dict[str, Any], schemas: list[dict[str, Any]]) -> None:
    """Count how many schemas one value must pass at one place; references may multiply them."""
    steps: dict[int, int | None] = {}

    def count(node: Any) -> int:
        if not isinstance(node, dict):
            return 1
        if id(node) in steps:
            known = steps[id(node)]
            if known is None:
                raise InvalidMessage("the schema refers to itself without end")
            return known
        steps[id(node)] = None
        total = 1 + sum(count(beside) for beside in _beside(root, node))
        if total > MAX_STEPS:
            raise InvalidMessage("the schema multiplies itself by its references")
        steps[id(node)] = total
        return total

    try:
        for schema in schemas:
            count(schema)
    except RecursionError:
        raise InvalidMessage("the schema's references form too long a chain") from None


def _beside(root: dict[str, Any], node: dict[str, Any]) -> Iterator[Any]:
    """Yield the schemas that the same value must pass too."""
    if isinstance(node.get("$ref"), str):
        yield follow(root, node["$ref"])
        return
    for key in _BESIDE:
        found = node.get(key, [])
        yield from found if isinstance(found, list) else [found]
    if isinstance(node.get("dependencies"), dict):
        yield from node["dependencies"].values()
