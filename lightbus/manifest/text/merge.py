"""Laying one layer of a manifest over another."""

from __future__ import annotations

from .nodes import Node

_CHOICES = {"rpc_transport", "event_transport", "result_transport"}


def merge(lower: Node | None, upper: Node | None, path: tuple[str, ...] = ()) -> Node | None:
    """Lay one node over another: maps merge, lists and scalars replace, null stays to remove.

    Args:
        lower: The layer beneath.
        upper: The layer above.
        path: The keys that lead here, since a transport replaces another one instead of merging with it.

    Returns:
        A new node; neither argument changes.
    """
    if upper is None or lower is None:
        return upper if lower is None else lower
    if not isinstance(upper.value, dict) or not isinstance(lower.value, dict):
        return upper
    if _is_choice(path) and upper.value and upper.value.keys() != lower.value.keys():
        return upper
    children = dict(lower.value)
    for key, node in upper.value.items():
        merged = merge(children.get(key), node, (*path, key))
        if merged is not None:
            children[key] = merged
    return Node(children, upper.place, upper.key, upper.hidden, upper.literal)


def _is_choice(path: tuple[str, ...]) -> bool:
    return (len(path) == 3 and path[0] == "apis" and path[2] in _CHOICES) or path == (
        "bus",
        "schema",
        "transport",
    )
