"""The effective manifest as text, with where each value was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lightbus.declared.settings import ChosenTransport
from lightbus.manifest.keys.shapes import ROOT, Block, Choice, Key, Named, Plugins, keys_of
from lightbus.manifest.model import Manifest, Policy
from lightbus.manifest.text.nodes import Node
from lightbus.options import HIDDEN

from .yaml_text import yaml_text, yaml_value

#: A line of text, and where its value was written.
_Line = tuple[str, str]


def show(manifest: Manifest, *, origin: bool = False) -> str:
    """Return the effective manifest as YAML; secrets print as ``***``.

    Args:
        manifest: What was loaded.
        origin: Whether to add the file and line of each value, or ``default``.

    Returns:
        YAML with every key, what lies beneath an API or a policy merged into it.
    """
    lines = list(_block(ROOT.cls, manifest, manifest.tree, 0))
    if not origin:
        return "\n".join(text for text, _ in lines) + "\n"
    width = min(60, max(len(text) for text, _ in lines))
    return "\n".join(f"{text:<{width}}  # {place}" if place else text for text, place in lines) + "\n"


def _block(cls: type[Any], value: Any, node: Node | None, indent: int) -> Iterator[_Line]:
    for name, key in keys_of(cls).items():
        if name == "include" and indent == 0:
            continue
        child = node.get(name) if node else None
        held = _held(value, name)
        if name == "apis" and indent == 0:
            held = {"default": value.default_api, **value.apis}
        yield from _key(key, held, child, indent)


def _held(value: Any, name: str) -> Any:
    if isinstance(value, Policy) and name == "give_up_on":
        return (*value.give_up_on, *value.give_up_on_names)
    return getattr(value, name)


def _key(key: Key, value: Any, node: Node | None, indent: int) -> Iterator[_Line]:
    shape = key.shape
    if isinstance(shape, Block) and value is not None:
        yield _text(indent, key.name), ""
        yield from _block(shape.cls, value, node, indent + 1)
    elif isinstance(shape, Named | Plugins):
        yield from _named(key.name, value, node, indent)
    elif isinstance(shape, Choice):
        transport: ChosenTransport = value
        options = node.get(transport.name) if node else None
        yield _text(indent, key.name), ""
        yield from _options(transport.name, transport.options, options, indent + 1)
    else:
        yield _text(indent, key.name, _written(key, value, node)), _origin(node)


def _named(name: str, values: Mapping[str, Any], node: Node | None, indent: int) -> Iterator[_Line]:
    yield _text(indent, name, "" if values else "{}"), ""
    for each, value in values.items():
        yield from _options(each, value, node.get(each) if node else None, indent + 1)


def _options(name: str, options: Any, node: Node | None, indent: int) -> Iterator[_Line]:
    keys = keys_of(type(options)) if options is not None else {}
    yield _text(indent, yaml_text(name), "" if keys else "{}"), ""
    if keys:
        yield from _block(type(options), options, node, indent + 1)


def _written(key: Key, value: Any, node: Node | None) -> str:
    if node is not None and node.is_hidden:
        return yaml_text(HIDDEN)
    if key.name == "on_error" and node is not None and isinstance(node.value, str):
        return yaml_text(node.value)
    return yaml_value(key, value)


def _origin(node: Node | None) -> str:
    return str(node.place) if node is not None and node.value is not None else "default"


def _text(indent: int, name: str, value: str = "") -> str:
    return f"{'  ' * indent}{name}: {value}" if value else f"{'  ' * indent}{name}:"
