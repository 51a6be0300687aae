"""Prints the public names of the installed Lightbus 1.x as JSON, module by module: run it with its Python."""

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


if __name__ == "__main__":
    json.dump(names(), sys.stdout, indent=1, sort_keys=True)
    print()
