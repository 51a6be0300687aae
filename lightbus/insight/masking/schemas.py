"""Which values a contract marks as sensitive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from lightbus.contracts.safety import follow
from lightbus.contracts.writing import SENSITIVE
from lightbus.exceptions import InvalidMessage

#: The schemas that a value may be of. None at all: the contract does not have it.
Nodes = Sequence[Any]
_COMBINED: Final = ("allOf", "anyOf", "oneOf")
_STRUCTURE: Final = (
    "type",
    "properties",
    "patternProperties",
    "additionalProperties",
    "items",
    "propertyNames",
)
#: Keywords that are not followed step by step: a mark anywhere in them hides the value as a whole.
_UNFOLLOWED: Final = (
    "if", "then", "else", "not", "dependencies", "dependentSchemas", "contains", "additionalItems",
    "prefixItems", "unevaluatedProperties", "unevaluatedItems",
)  # fmt: skip
_DEEPEST: Final = 60


class Schema:
    """A complete schema of a contract.

    Args:
        root: The schema; it must not be changed.
    """

    def __init__(self, root: Any) -> None:
        self._root = root if isinstance(root, dict) else {}
        self.start: Nodes = (root,)
        self._holding: dict[int, bool] = {}

    def flat(self, nodes: Nodes) -> list[dict[str, Any]] | None:
        """Return the alternatives of a value without references; None if any of them is marked."""
        found: list[dict[str, Any]] = []
        for node in nodes:
            if not self._add(node, found, 0):
                return None
        return found

    def holds(self, nodes: Iterable[dict[str, Any]]) -> bool:
        """Tell whether anything in them is marked."""
        return any(self._holds(node) for node in nodes)

    def _add(self, node: Any, found: list[dict[str, Any]], depth: int) -> bool:
        """Add the alternatives of a schema; false if it is marked, or can't be followed."""
        if node is False:
            return True
        if not isinstance(node, dict):
            found.append({})
            return True
        if node.get(SENSITIVE) or depth > _DEEPEST:
            return False
        if isinstance(node.get("$ref"), str):
            try:
                return self._add(follow(self._root, node["$ref"]), found, depth + 1)
            except InvalidMessage:
                return False
        if any(key in node and self._holds(node[key]) for key in _UNFOLLOWED):
            return False
        parts = [each for key in _COMBINED for each in _listed(node.get(key))]
        if not parts or any(key in node for key in _STRUCTURE):
            found.append(node)
        return all(self._add(part, found, depth + 1) for part in parts)

    def _holds(self, start: Any) -> bool:
        known = self._holding.get(id(start))
        if known is None:
            known = self._holding[id(start)] = any(
                isinstance(node, dict) and node.get(SENSITIVE) for node in self._within(start)
            )
        return known

    def _within(self, start: Any) -> Iterator[Any]:
        """Go through all that a schema has in it, with what it refers to."""
        left, seen = [start], set()
        while left:
            node = left.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            yield node
            if isinstance(node, dict):
                left.extend(node.values())
                if isinstance(node.get("$ref"), str):
                    try:
                        left.append(follow(self._root, node["$ref"]))
                    except InvalidMessage:
                        left.append({SENSITIVE: True})
            elif isinstance(node, list):
                left.extend(node)


def objects(nodes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of the alternatives that may be objects."""
    return [node for node in nodes if _may_be(node, "object")]


def of_field(nodes: Iterable[dict[str, Any]], name: str) -> list[Any]:
    """Return what a field of an object may be; nothing if no schema has it."""
    found: list[Any] = []
    for node in objects(nodes):
        properties, patterns = node.get("properties"), node.get("patternProperties")
        if isinstance(properties, dict) and name in properties:
            found.append(properties[name])
            continue
        if isinstance(patterns, dict):
            found.extend(patterns.values())
        others = node.get("additionalProperties", True)
        if others is not False:
            found.append(others)
    return found


def of_item(nodes: Iterable[dict[str, Any]], index: int) -> list[Any]:
    """Return what an item of a list may be; nothing if no schema has it."""
    found: list[Any] = []
    for node in nodes:
        if not _may_be(node, "array"):
            continue
        items = node.get("items", True)
        if not isinstance(items, list):
            found.append(items)
        elif index < len(items):
            found.append(items[index])
    return found


def of_names(nodes: Iterable[dict[str, Any]]) -> list[Any]:
    """Return what the names of an object's fields may be."""
    return [node["propertyNames"] for node in nodes if "propertyNames" in node]


def _may_be(node: dict[str, Any], kind: str) -> bool:
    kinds = node.get("type", kind)
    return kinds == kind or (isinstance(kinds, list) and kind in kinds)


def _listed(node: Any) -> list[Any]:
    return node if isinstance(node, list) else []
