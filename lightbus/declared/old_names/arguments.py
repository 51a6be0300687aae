"""The arguments of Lightbus 1.x that ``lightbus.create()`` has no more."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any, TypedDict

from lightbus.exceptions import ConfigurationError

_INSTEAD = {
    "config_file": "give the file as the first argument: lightbus.create({})",
    "flask": "leave it out: create() connects to nothing, so that Flask's reloader may call it, too",
}
_GONE = {
    "client_class": "the client is always lightbus.BusClient",
    "node_class": "the bus is always a lightbus.BusPath",
}
#: The arguments that were told; each is told once.
_told: set[str] = set()


class OldArguments(TypedDict, total=False):
    """The arguments of 1.x that are accepted still."""

    config_file: str | os.PathLike[str] | None
    flask: bool


def with_old_arguments(
    config: str | os.PathLike[str] | Mapping[str, Any] | None, old: OldArguments
) -> str | os.PathLike[str] | Mapping[str, Any] | None:
    """Return the configuration that code of 1.x means, and warn of each old argument once.

    Args:
        config: The configuration as it is given today.
        old: The arguments that are not today's, as the caller of ``create()`` has given them.

    Raises:
        TypeError: One of them never was an argument of ``create()``, or is gone.
        ConfigurationError: It is given a configuration and a file with one.
    """
    for name in old:
        if name not in _INSTEAD:
            why = f"; {_GONE[name]}" if name in _GONE else ""
            raise TypeError(f"create() got an unexpected keyword argument {name!r}{why}")
        if name not in _told:
            _told.add(name)
            instead = _INSTEAD[name].format(repr(old.get("config_file")))
            what = f"{name} is an argument of lightbus.create() in Lightbus 1.x; {instead}"
            # Above this function is create(), and above that the code which called it.
            warnings.warn(what, DeprecationWarning, stacklevel=3)
    file = old.get("config_file")
    if file is not None and config is not None:
        raise ConfigurationError(
            "lightbus.create() got a configuration and a config_file; give one of them, as the first argument"
        )
    return config if file is None else file
