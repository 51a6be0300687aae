"""The names in a generated module: those of its imports, and those that it gives its classes."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterable
from typing import Any, Final

from lightbus.declared.definition import RESERVED

#: What functions of a client take besides a procedure's or an event's own parameters.
_TAKEN: Final = frozenset({"self", "bus_options"})


def is_word(name: str) -> bool:
    """Tell whether a name can stand in Python code; those from the bus may be anything."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name)


def is_attribute(name: str) -> bool:
    """Tell whether ``bus.<name>`` leads to what has this name on the bus."""
    return is_word(name) and not name.startswith("_") and name not in RESERVED


def is_parameter(name: str) -> bool:
    """Tell whether a client's function can have a parameter of this name."""
    return is_word(name) and name not in _TAKEN and not name.startswith("__")


def camel(text: str) -> str:
    """Return ``ShopOrders`` for ``shop.orders``."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", text) if part)


def words_in(schema: Any) -> set[str]:
    """Return the names of the fields that a schema has anywhere."""
    found: set[str] = set()
    left = [schema]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            found.update(node.get("properties") or ())
            left.extend(node.values())
        elif isinstance(node, list):
            left.extend(node)
    return found


class Names:
    """Gives each name once.

    Args:
        members: The names of fields, procedures and events: a class that has one of them can't use anything
            else of that name.
    """

    def __init__(self, members: Iterable[str]) -> None:
        self._taken = {*members, "Bus", "create", "get_bus", "typed"}
        self._imported: dict[tuple[str, str], str] = {}
        self._last: dict[str, str] = {}

    def new(self, wanted: str) -> str:
        """Return the name, with a number if it is taken."""
        name, number = wanted, 2
        while name in self._taken or keyword.iskeyword(name):
            name, number = f"{wanted}{number}", number + 1
        self._taken.add(name)
        return name

    def imported(self, module: str, name: str) -> str:
        """Return the name by which the module has something that it imports."""
        known = self._imported.get((module, name))
        if known is not None:
            return known
        if module == "builtins" and name not in self._taken:
            return name
        alias = name
        while alias in self._taken:
            alias += "_"
        self._taken.add(alias)
        self._imported[module, name] = alias
        return alias

    def imported_last(self, module: str) -> str:
        """Return the name of a module that is imported at the end, since it may import this one."""
        if module not in self._last:
            words = module.split(".")
            self._last[module] = self.new("_".join(words) if len(words) > 1 else f"{module}_module")
        return self._last[module]

    def count(self) -> int:
        """Return how many imports were asked for."""
        return len(self._imported)

    def forget_after(self, count: int) -> None:
        """Forget the imports that were asked for after the first so many."""
        while len(self._imported) > count:
            self._taken.discard(self._imported.popitem()[1])

    def imports(self) -> list[str]:
        """Return the lines that import what was asked for, in the order of linters."""
        lines: dict[tuple[bool, str], tuple[list[str], list[str]]] = {}
        for (module, name), alias in sorted(self._imported.items()):
            key = (module.partition(".")[0] not in sys.stdlib_module_names, module)
            plain, renamed = lines.setdefault(key, ([], []))
            if alias == name:
                plain.append(name)
            else:
                renamed.append(f"from {module} import {name} as {alias}")
        found: list[str] = []
        for (is_ours, module), (plain, renamed) in sorted(lines.items()):
            if is_ours and "import lightbus" not in found:
                found += ["", "import lightbus"]
            found += renamed + ([f"from {module} import {', '.join(plain)}"] if plain else [])
        return found

    def last_imports(self) -> list[str]:
        """Return the lines at the end of the module."""
        return [f"import {module} as {alias}" for module, alias in sorted(self._last.items())]
