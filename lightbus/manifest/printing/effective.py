"""The effective manifest as text, with where each value was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightbus.manifest.keys.entries import Entry
from lightbus.manifest.keys.forms import Key, Leaves
from lightbus.manifest.keys.scalars import Leaf
from lightbus.manifest.model import Manifest
from lightbus.manifest.text.nodes import Node
from lightbus.options import HIDDEN

from .yaml_text import yaml_text, yaml_value

#: A line of text, and where its value was written.
_Line = tuple[str, str]


def show(manifest: Manifest, *, origin: bool = False) -> str:
    """Return the effective manifest as YAML; secrets print as ``***``.

    Args:
        manifest: The manifest.
        origin: Whether to add the file and line of each value, or ``default``.

    Returns:
        YAML with every key, what lies beneath an API or a policy merged into it.
    """
    lines = list(_below(Entry(value=manifest), manifest.tree))
    if not origin:
        return "\n".join(text for text, _ in lines) + "\n"
    width = min(60, max(len(text) for text, _ in lines))
    return "\n".join(f"{text:<{width}}  # {place}" if place else text for text, place in lines) + "\n"


def _below(entry: Entry, node: Node | None) -> Iterator[_Line]:
    for each in entry.below():
        if each.path != ("include",):
            yield from _lines(each, node.get(each.name) if node else None)


def _lines(entry: Entry, node: Node | None) -> Iterator[_Line]:
    start = f"{'  ' * (len(entry.path) - 1)}{yaml_text(entry.name)}:"
    if isinstance(entry.key.form, Leaf | Leaves) or entry.is_left_out:
        yield f"{start} {_written(entry.key, entry.value, node)}", _origin(node)
    else:
        below = list(_below(entry, node))
        yield start if below else f"{start} {{}}", ""
        yield from below


def _written(key: Key, value: Any, node: Node | None) -> str:
    if node is not None and node.is_hidden:
        return yaml_text(HIDDEN)
    if key.name == "on_error" and node is not None and isinstance(node.value, str):
        return yaml_text(node.value)
    return yaml_value(key, value)


def _origin(node: Node | None) -> str:
    return str(node.place) if node is not None and node.value is not None else "default"
