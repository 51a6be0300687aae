"""Where a name of Lightbus 1.x ends, imported or asked of an object, once nothing of today has that name.

Nothing here costs a process that uses today's names: the tables are read with the first old name.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_PACKAGE = "lightbus"
#: Modules of 1.x that are there today, with other names in them; they are imported with the package.
_SHARED = (_PACKAGE, "lightbus.exceptions", "lightbus.plugins", "lightbus.serializers", "lightbus.transports")


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
        know_old_names_of(module.__name__)


def _and_above(name: str) -> Iterator[str]:
    """Return a module's name, and those of the packages that it is in."""
    while name:
        yield name
        name = name.rpartition(".")[0]


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


class _GoneMember:
    """What a class and its objects had in 1.x: asking for it says what to write instead."""

    def __init__(self, of: str, name: str) -> None:
        self._of, self._name = of, name

    def __get__(self, instance: object, owner: type) -> Any:
        _refuse_member(self._of, self._name, owner if instance is None else instance)


def _refuse_member(of: str, name: str, thing: object) -> None:
    """Refuse what objects of a class had in 1.x; what they never had, as Python does.

    Raises:
        AttributeError: In any case.
    """
    from .members import MEMBERS

    said = f"{type(thing).__name__!r} object has no attribute {name!r}"
    if name in MEMBERS[of]:
        said = _gone(f"{name!r} of {of}", MEMBERS[of][name])
    raise AttributeError(said, name=name, obj=thing)


def _refusing(of: str) -> Callable[[Any, str], Any]:
    """Make the last resort of a class of which objects are asked for what they do not have."""
    return lambda self, name: _refuse_member(of, name, self)


def _paths(find: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """Make the last resort of paths, on which nearly all names lead further down.

    Nothing is below a procedure or an event, so those of 1.x are meant there.
    """
    told = frozenset(("ancestors", "api_name", "fully_qualified_name", "name", "parent"))

    def find_or_refuse(path: Any, name: str) -> Any:
        if name in told and _is_complete(path):
            _refuse_member("BusPath", name, path)
        return find(path, name)

    return find_or_refuse


def _is_complete(path: Any) -> bool:
    """Tell whether a path is that of a procedure or an event, as far as its API is known."""
    parts, whole = path.client.parts, str(path)
    api_name, _, name = whole.rpartition(".")
    if parts.registry.find(whole) is not None or parts.contracts.get(whole) is not None:
        return False
    definition, contract = parts.registry.find(api_name), parts.contracts.get(api_name) or {}
    known = [*contract.get("rpcs", ()), *contract.get("events", ())]
    return name in known or (
        definition is not None and (name in definition.procedures or name in definition.events)
    )


def know_old_names_of(module: str) -> None:
    """Let a module that is imported look up those names of 1.x which it has no more."""
    vars(sys.modules[module])["__getattr__"] = partial(_old_name, module)


def know_old_names(api: type, client: type, path: Any, schema: type) -> None:
    """Make the names of 1.x known to imports, to the modules that have others today, and to classes.

    Args:
        api: The base of APIs.
        client: The class of ``bus.client``.
        path: The class of the bus and the names on it.
        schema: The class of ``bus.schema``.
    """
    sys.meta_path.append(OldModules())
    for name in _SHARED:
        know_old_names_of(name)
    # Its modules of 1.x are looked for as those of a package are.
    vars(sys.modules["lightbus.serializers"])["__path__"] = []
    for of in (client, schema):
        setattr(of, "__getattr__", _refusing(of.__name__))  # noqa: B010
    for name in ("get_event", "meta"):
        setattr(api, name, _GoneMember(api.__name__, name))
    path.__getattr__ = _paths(path.__getattr__)
