"""A manifest with every key, its default and what it does."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator
from dataclasses import MISSING, fields
from typing import Any

from lightbus.declared.settings import ChosenTransport
from lightbus.manifest.keys.shapes import ROOT, Block, Choice, Key, Named, Plugins, keys_of
from lightbus.manifest.model import Manifest
from lightbus.plugins.own_options import OWN_PLUGINS
from lightbus.transports.redis.options import RedisOptions

from .yaml_text import yaml_value

_HEADER = """\
# yaml-language-server: $schema=./lightbus.schema.json
#
# Every key of a manifest, once, with its default. Nothing is required: write down what differs.
# Durations are 500ms, 30s, 5m, 2h, 7d or a number of seconds. null removes what a lower layer set.
# ${NAME}, ${NAME:-default}, ${NAME:?message} and ${file:/path} may stand in any value.
# Generated from the definitions in lightbus/.
"""

# What is given in the example entries: they have keys without a default, or stand for nothing without one.
_EXAMPLES: dict[str, str] = {
    "events": "[shop.orders.placed]",
    "handler": "shop.handlers:send_receipt",
    "call": "shop.jobs:beat",
    "every": "30s",
    "service": "main",
    "nodes": '["sentinel-1:26379", "sentinel-2:26379", "sentinel-3:26379"]',
}
_CONNECTION = {f.name for f in fields(RedisOptions)}


def reference() -> str:
    """Return the reference as YAML that loads and, but for its example entries, changes nothing."""
    return _HEADER + "\n".join(_block(ROOT.cls, 0)) + "\n"


def _block(cls: type[Any], indent: int, without: Collection[str] = ()) -> Iterator[str]:
    for name, key in keys_of(cls).items():
        if name in without:
            continue
        if cls is Manifest:
            yield ""
        yield from _comment(key.description, indent)
        yield from _key(key, indent)


def _key(key: Key, indent: int) -> Iterator[str]:
    shape = key.shape
    space = "  " * indent
    if isinstance(shape, Block):
        if key.default is None:
            yield from (f"{space}# {line}" for line in (f"{key.name}:", *_block(shape.cls, 1)))
        elif shape.cls is RedisOptions:
            yield f"{space}{key.name}: {{}}  # every key of bus.redis but embedded"
        else:
            yield f"{space}{key.name}:"
            yield from _block(shape.cls, indent + 1)
    elif isinstance(shape, Named):
        yield f"{space}{key.name}:"
        yield f"{space}  {'default' if key.name == 'apis' else 'example'}:"
        yield from _block(shape.value.cls, indent + 2)
    elif isinstance(shape, Plugins):
        yield f"{space}{key.name}:"
        for name, cls in OWN_PLUGINS.items():
            yield f"{space}  {name}:"
            yield from _block(cls, indent + 2)
    elif isinstance(shape, Choice):
        yield from _choice(key, shape, indent)
    else:
        default = "null" if key.default is MISSING else yaml_value(key, key.default)
        yield f"{space}{key.name}: {_EXAMPLES.get(key.name, default)}"


def _choice(key: Key, shape: Choice, indent: int) -> Iterator[str]:
    space = "  " * indent
    transport: ChosenTransport = key.default
    cls = shape.options(transport.name)
    own = list(_block(cls, indent + 2, _CONNECTION)) if cls else []
    yield f"{space}{key.name}:"
    yield f"{space}  {transport.name}:{'' if own else ' {}'}  # and every key of bus.redis but embedded"
    yield from own


def _comment(description: str, indent: int) -> Iterator[str]:
    space = "  " * indent
    for line in textwrap.wrap(description, 100 - len(space)):
        yield f"{space}# {line}"
