"""The transports and plugins that are installed, and the options they take."""

from __future__ import annotations

import functools
from importlib.metadata import entry_points
from typing import Any, Literal

from lightbus.exceptions import TransportNotFound
from lightbus.transports.redis.options import (
    RedisEventOptions,
    RedisResultOptions,
    RedisRpcOptions,
    RedisSchemaOptions,
)

from .model import InternalStateOptions, PluginOptions

Group = Literal["rpc", "event", "result", "schema"]

# Known without importing the transports, so that checking a manifest imports no broker's library.
_BUILT_IN: dict[tuple[str, str], type[Any] | None] = {
    ("rpc", "redis"): RedisRpcOptions,
    ("event", "redis"): RedisEventOptions,
    ("result", "redis"): RedisResultOptions,
    ("schema", "redis"): RedisSchemaOptions,
    ("rpc", "memory"): None,
    ("event", "memory"): None,
    ("result", "memory"): None,
    ("schema", "memory"): None,
}
_BUILT_IN_PLUGINS: dict[str, type[Any]] = {
    "internal_state": InternalStateOptions,
    "internal_metrics": PluginOptions,
}


@functools.cache
def transport_names(group: Group) -> tuple[str, ...]:
    """Return the names of the installed transports of a kind."""
    offered = {e.name for e in entry_points(group=f"lightbus_{group}_transports")}
    return tuple(sorted(offered | {name for kind, name in _BUILT_IN if kind == group}))


@functools.cache
def plugin_names() -> tuple[str, ...]:
    """Return the names of the installed plugins, Lightbus's own included."""
    return tuple(sorted({e.name for e in entry_points(group="lightbus_plugins")} | _BUILT_IN_PLUGINS.keys()))


def options_class(group: Group, name: str) -> type[Any] | None:
    """Return the class of a transport's options; None where it takes none.

    Only a transport that is not Lightbus's own is imported for that, by its installed entry point.

    Raises:
        TransportNotFound: It is not installed; the text says what is.
    """
    if (group, name) in _BUILT_IN:
        return _BUILT_IN[group, name]
    for entry in entry_points(group=f"lightbus_{group}_transports"):
        if entry.name == name:
            return _options_of(entry, group)
    names = ", ".join(transport_names(group))
    raise TransportNotFound(f"no {group} transport of that name is installed; there are: {names}")


@functools.cache
def plugin_options(name: str) -> type[Any] | None:
    """Return the class of a plugin's options; None where no such plugin is installed.

    Raises:
        TransportNotFound: It is installed but can't be imported.
    """
    if name in _BUILT_IN_PLUGINS:
        return _BUILT_IN_PLUGINS[name]
    for entry in entry_points(group="lightbus_plugins"):
        if entry.name == name:
            return _options_of(entry, "plugin") or PluginOptions
    return None


def _options_of(entry: Any, kind: str) -> type[Any] | None:
    try:
        options: type[Any] | None = getattr(entry.load(), "options", None)
    except Exception as e:
        raise TransportNotFound(f"the {kind} {entry.value} can't be imported: {type(e).__name__}") from e
    return options
