"""Where imports of a name of Lightbus 1.x end, once nothing of today has that name.

Nothing here costs a process that uses today's names: the table is read when the first old name is asked for.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_PACKAGE = "lightbus"
#: Modules of 1.x that are there today, with other names in them; they are imported with the package.
_SHARED = (_PACKAGE, "lightbus.exceptions", "lightbus.plugins", "lightbus.transports")


class OldModules(MetaPathFinder, Loader):
    """Finds the modules that only 1.x had, such as ``lightbus.utilities.testing``.

    It is the last of the finders, so it is asked for nothing that anybody else has.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how a module of 1.x is made; None for any other.

        Raises:
            ModuleNotFoundError: It was internal to 1.x.
        """
        if not fullname.startswith(f"{_PACKAGE}."):
            return None
        from .table import INTERNAL, MODULES

        for name in _and_above(fullname):
            if name in INTERNAL:
                raise ModuleNotFoundError(_gone(fullname, INTERNAL[name]), name=fullname)
        return ModuleSpec(fullname, self, is_package=True) if fullname in MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        """Let a module of 1.x look its names up."""
        _look_up_in(module)


def _and_above(name: str) -> Iterator[str]:
    """Return a module's name, and those of the packages that it is in."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _look_up_in(module: ModuleType) -> None:
    vars(module)["__getattr__"] = partial(_old_name, module.__name__)


def _old_name(module: str, name: str) -> Any:
    """Return what a name of 1.x stands for, and warn; the module keeps it, so it warns once.

    Raises:
        ImportError: It was a name of 1.x and is gone.
        AttributeError: It never was one.
    """
    full = f"{module}.{name}"
    if not name.startswith("__"):
        from .table import INNER, MODULES, NAMES

        if full in MODULES:
            return import_module(full)
        old = NAMES.get(full, INNER if module in MODULES else None)
        if old is not None:
            if old.place is None:
                raise ImportError(_gone(full, old.instead), name=module)
            # The frame above is that of the import: those of importlib itself are not counted.
            warnings.warn(
                f"{full} is a name of Lightbus 1.x; {old.instead}", DeprecationWarning, stacklevel=2
            )
            where, _, what = old.place.rpartition(".")
            value = vars(sys.modules[module])[name] = getattr(import_module(where), what)
            return value
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


def _gone(name: str, instead: str) -> str:
    return f"{name} was a part of Lightbus 1.x and is gone; {instead} (see the page 'Names of Lightbus 1.x')"


def know_old_names() -> None:
    """Make the names of 1.x known to the import system, and to the modules that have others today."""
    sys.meta_path.append(OldModules())
    for name in _SHARED:
        _look_up_in(sys.modules[name])
