"""Prints what the installed Lightbus 1.x offers as JSON: run it with its Python.

``names_1x.py`` prints the public names of each module; ``names_1x.py members`` those of the objects of a bus.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import sys
import typing
from types import ModuleType
from typing import Any

import lightbus


def is_public(module: ModuleType, name: str, value: Any) -> bool:
    """Whether a module offers a name: not what it imports from elsewhere for itself."""
    if name.startswith("_") or inspect.ismodule(value) or isinstance(value, typing.TypeVar):
        return False
    if name in getattr(module, "__all__", ()):
        return True
    home = getattr(value, "__module__", None)
    if hasattr(module, "__path__") and module.__name__ not in ("lightbus.plugins", "lightbus.commands"):
        return (home or "").startswith("lightbus.")  # a package shows what its modules have
    return home == module.__name__ or name == "ALL_FEATURES"


def names() -> dict[str, str]:
    """The names of each module, with spaces between."""
    found: dict[str, str] = {}
    for name in ["lightbus", *(each.name for each in pkgutil.walk_packages(lightbus.__path__, "lightbus."))]:
        module = importlib.import_module(name)
        found[name] = " ".join(sorted(n for n, value in vars(module).items() if is_public(module, n, value)))
    return found


def members() -> dict[str, str]:
    """The names that objects of a bus have, by today's name of their class."""

    class ShopApi(lightbus.Api):
        class Meta:
            name = "shop"

    bus: Any = lightbus.create(config={})
    # Before the client, there is what hands out one for each thread.
    things = [("BusClient", bus.client), ("BusClient", bus.client.proxied_client)]
    things += [("BusPath", bus), ("Api", ShopApi()), ("BusSchema", bus.client.schema)]
    found: dict[str, set[str]] = {}
    for of, thing in things:
        ours = [cls for cls in type(thing).__mro__ if cls.__module__.startswith("lightbus.")]
        known = {*vars(thing), *(name for cls in ours for name in vars(cls))}
        found.setdefault(of, set()).update(name for name in known if not name.startswith("_"))
    found["Api"].add("meta")  # Each class below has it by its metaclass.
    return {of: " ".join(sorted(known)) for of, known in found.items()}


if __name__ == "__main__":
    found = members() if sys.argv[1:] == ["members"] else names()
    json.dump(found, sys.stdout, indent=1, sort_keys=True)
    print()
