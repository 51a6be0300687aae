"""The arguments of Lightbus 1.x that ``create()`` and ``add_background_task()`` have no more."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from lightbus.exceptions import ConfigurationError, InvalidSchedule

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


class OldTaskArguments(TypedDict, total=False):
    """The argument of 1.x that is accepted still where it says what is done anyway."""

    cancel_on_close: bool


def check_task_arguments(old: OldTaskArguments, discard: Callable[[], None]) -> None:
    """Warn of the old argument once, or refuse what it asks for.

    Args:
        old: The arguments that are not today's, as the caller of ``add_background_task()`` has given them.
        discard: Forgets the coroutine that is refused.

    Raises:
        TypeError: One of them never was an argument of it.
        InvalidSchedule: The task is not to be cancelled.
    """
    for name in old:
        if name != "cancel_on_close":
            discard()
            raise TypeError(f"add_background_task() got an unexpected keyword argument {name!r}")
    if not old.get("cancel_on_close", True):
        discard()
        raise InvalidSchedule(
            "add_background_task(cancel_on_close=False) was a part of Lightbus 1.x and is gone; leave it "
            "out: a task is cancelled once all else has finished, and may finish its work in "
            "`except asyncio.CancelledError`"
        )
    if old and "cancel_on_close" not in _told:
        _told.add("cancel_on_close")
        what = "cancel_on_close is an argument of add_background_task() in Lightbus 1.x; leave it out"
        # Above this function are those of the declarations and of the client.
        warnings.warn(what, DeprecationWarning, stacklevel=4)
