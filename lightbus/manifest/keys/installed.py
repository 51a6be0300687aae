"""The transports and plugins that are installed, and the options they take."""

from __future__ import annotations

import functools
from dataclasses import is_dataclass
from importlib.metadata import entry_points
from typing import Any, get_args

from lightbus.exceptions import ConfigurationError, TransportNotFound
from lightbus.plugins import PluginOptions
from lightbus.plugins.installed import GROUP, find_plugin
from lightbus.plugins.own_options import OWN_PLUGINS
from lightbus.transports.port import Kind
from lightbus.transports.redis.options import (
    RedisEventOptions,
    RedisResultOptions,
    RedisRpcOptions,
    RedisSchemaOptions,
)

# Known without importing the transports, so that checking a manifest imports no broker's library.
_BUILT_IN: dict[tuple[str, str], type[Any] | None] = {
    ("rpc", "redis"): RedisRpcOptions,
    ("event", "redis"): RedisEventOptions,
    ("result", "redis"): RedisResultOptions,
    ("schema", "redis"): RedisSchemaOptions,
    **{(kind, name): None for kind in get_args(Kind) for name in ("memory", "debug")},
}


@functools.cache
def transport_names(kind: Kind) -> tuple[str, ...]:
    """Return the names of the installed transports of a kind."""
    offered = {e.name for e in entry_points(group=f"lightbus_{kind}_transports")}
    return tuple(sorted(offered | {name for each, name in _BUILT_IN if each == kind}))


@functools.cache
def plugin_names() -> tuple[str, ...]:
    """Return the names of the installed plugins, Lightbus's own included."""
    return tuple(sorted({e.name for e in entry_points(group=GROUP)} | OWN_PLUGINS.keys()))


def options_class(kind: Kind, name: str) -> type[Any] | None:
    """Return the class of a transport's options; None if it takes none.

    Only a transport that is not Lightbus's own is imported for that, by its installed entry point.

    Raises:
        TransportNotFound: It is not installed; the text says what is.
    """
    if (kind, name) in _BUILT_IN:
        return _BUILT_IN[kind, name]
    for entry in entry_points(group=f"lightbus_{kind}_transports"):
        if entry.name == name:
            return _options_of(entry, kind)
    names = ", ".join(transport_names(kind))
    raise TransportNotFound(f"no {kind} transport of that name is installed; there are: {names}")


@functools.cache
def plugin_options(name: str) -> type[PluginOptions] | None:
    """Return the class of a plugin's options; None if no such plugin is installed.

    Only a plugin that is not Lightbus's own is imported for that.

    Raises:
        ConfigurationError: It can't be imported, or its options are no frozen dataclass of options.
    """
    if name in OWN_PLUGINS:
        return OWN_PLUGINS[name]
    if name not in plugin_names():
        return None
    options: Any = find_plugin(name).options
    if not (isinstance(options, type) and issubclass(options, PluginOptions) and is_dataclass(options)):
        raise ConfigurationError(
            f"the plugin {name} has as options {options!r}; it takes a frozen dataclass derived from "
            "lightbus.plugins.PluginOptions"
        )
    return options


def _options_of(entry: Any, kind: str) -> type[Any] | None:
    try:
        options: type[Any] | None = getattr(entry.load(), "options", None)
    except Exception as e:
        raise TransportNotFound(f"the {kind} {entry.value} can't be imported: {type(e).__name__}") from e
    return options
