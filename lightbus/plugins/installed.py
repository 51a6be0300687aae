"""Making the plugins that are installed by entry points."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lightbus.exceptions import ConfigurationError

from . import LightbusPlugin, PluginOptions

#: The group of entry points by which packages offer plugins.
GROUP = "lightbus_plugins"


def find_plugin(name: str) -> type[LightbusPlugin]:
    """Look a plugin's class up by the name of its entry point.

    Raises:
        ConfigurationError: It is not installed, can't be imported, or is no plugin.
    """
    # Not at the top: it is slow to import, and most processes have no plugin.
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP):
        if entry.name == name:
            try:
                cls = entry.load()
            except ConfigurationError:
                raise
            except Exception as e:
                what = f"the plugin {entry.value} can't be imported: {type(e).__name__}: {e}"
                raise ConfigurationError(what) from e
            if isinstance(cls, type) and issubclass(cls, LightbusPlugin):
                return cls
            raise ConfigurationError(f"the plugin {entry.value} is not a class derived from LightbusPlugin")
    raise ConfigurationError(f"no plugin named {name!r} is installed")


def make_plugin(name: str, options: PluginOptions, config: Any) -> LightbusPlugin:
    """Make a plugin, of which the name of its entry point is given, by its class's ``from_config``.

    Raises:
        ConfigurationError: It can't be made.
    """
    cls = find_plugin(name)
    given = {f.name: getattr(options, f.name) for f in fields(options) if f.name != "enabled"}
    try:
        plugin = cls.from_config(config=config, **given)
    except ConfigurationError:
        raise
    except Exception as e:
        raise ConfigurationError(
            f"{cls.__module__}.{cls.__name__}.from_config() failed: {type(e).__name__}: {e}"
        ) from e
    if not isinstance(plugin, LightbusPlugin):
        raise ConfigurationError(
            f"{cls.__module__}.{cls.__name__}.from_config() returned {type(plugin).__name__}, not a plugin"
        )
    return plugin
