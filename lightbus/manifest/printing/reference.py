"""A manifest with every key, its default and what it does."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields, replace
from typing import Any

from lightbus.manifest.keys.entries import Entry
from lightbus.manifest.keys.forms import Block, Leaves, OneOf
from lightbus.manifest.keys.scalars import Leaf
from lightbus.manifest.model import Manifest, WebOptions
from lightbus.plugins.own_options import OWN_PLUGINS
from lightbus.transports.redis.options import RedisOptions

from .yaml_text import yaml_value

#: As wide as the code of a page of the docs, where it is shown.
_WIDTH = 88
_HEADER = """\
# yaml-language-server: $schema=./lightbus.schema.json
#
# Every key of a manifest, once, with its default. Nothing is required: write down what
# differs. Durations are 500ms, 30s, 5m, 2h, 7d or a number of seconds. null removes what
# a lower layer set.
# ${NAME}, ${NAME:-default}, ${NAME:?message} and ${file:/path} may stand in any value.
# Generated from the definitions in lightbus/.
"""

# The values in the example entries: they have keys without a default, or stand for nothing without one.
_EXAMPLES: dict[str, str] = {
    "events": "[shop.orders.placed]",
    "handler": "shop.handlers:send_receipt",
    "call": "shop.jobs:beat",
    "every": "30s",
    "service": "main",
    "sentinel.nodes": '["sentinel-1:26379", "sentinel-2:26379", "sentinel-3:26379"]',
    "cluster.nodes": '["redis-1:6379", "redis-2:6379", "redis-3:6379"]',
}
_CONNECTION = {f.name for f in fields(RedisOptions)}


def reference() -> str:
    """Return the reference as YAML that loads and, but for its example entries, changes nothing."""
    return _HEADER + "\n".join(_lines(everything().below(), 0)) + "\n"


def everything() -> Entry:
    """Return a manifest with an entry wherever a user may name some."""
    entries: dict[str, Any] = {
        **{key: {"example": None} for key in ("policies", "listeners", "schedules")},
        "plugins": {name: cls() for name, cls in OWN_PLUGINS.items()},
        "web": replace(WebOptions(), roles={"example": ()}),
    }
    return Entry(value=replace(Manifest(), **entries))


def _lines(entries: Iterable[Entry], indent: int) -> Iterator[str]:
    for entry in entries:
        if len(entry.path) == 1:
            yield ""
        yield from _comment(entry.key.description, indent)
        yield from _entry(entry, indent)


def _entry(entry: Entry, indent: int) -> Iterator[str]:
    form, space = entry.key.form, "  " * indent
    start = f"{space}{entry.name}:"
    if isinstance(form, Leaf | Leaves):
        default = "null" if entry.value is MISSING else yaml_value(entry.key, entry.value)
        example = _EXAMPLES.get(".".join(entry.path[-2:]), default)
        yield f"{start} {_EXAMPLES.get(entry.name, example)}"
    elif entry.is_left_out:
        yield from (f"{space}# {line}" for line in (f"{entry.name}:", *_lines(entry.below(), 1)))
    elif isinstance(form, Block) and form.cls is RedisOptions:
        yield f"{start} {{}}  # every key of bus.redis but embedded"
    elif isinstance(form, OneOf):
        chosen = next(entry.below())
        own = [each for each in chosen.below() if each.name not in _CONNECTION]
        yield start
        yield f"{space}  {chosen.name}:{'' if own else ' {}'}  # and every key of bus.redis but embedded"
        yield from _lines(own, indent + 2)
    else:
        yield start
        yield from _lines(entry.below(), indent + 1)


def _comment(description: str, indent: int) -> Iterator[str]:
    space = "  " * indent
    for line in textwrap.wrap(description, _WIDTH - len(f"{space}# ")):
        yield f"{space}# {line}"
