"""The APIs that one bus may serve and fire, by name."""

from __future__ import annotations

import sys
from typing import Any

from lightbus.declared.definition import Definition, where
from lightbus.exceptions import DuplicateApi, MisconfiguredApiOptions, UnknownApi


def _same_source(one: type, other: type) -> bool:
    """Tell whether one file was imported twice, as ``bus`` and as ``package.bus``, or run again."""
    files = [getattr(sys.modules.get(c.__module__), "__file__", c.__module__) for c in (one, other)]
    return one.__qualname__ == other.__qualname__ and files[0] == files[1]


class Registry:
    """The APIs that one bus may serve and fire, by name, in the order of their registration.

    Args:
        base: Another registry that lies beneath this one.
    """

    def __init__(self, base: Registry | None = None) -> None:
        self._base = base
        self._definitions: dict[str, Definition] = {}
        self._instances: dict[str, Any] = {}

    def add(self, api: Any) -> None:
        """Register a class, or an object of one.

        Args:
            api: The class, which is made into an object without arguments, or an object.

        Raises:
            MisconfiguredApiOptions: It is neither.
            DuplicateApi: Another class already has this name.
        """
        new = getattr(api, "__lightbus__", None)
        if not isinstance(new, Definition):
            raise MisconfiguredApiOptions(
                f"register_api() takes a class derived from lightbus.Api, or an object of one, not {api!r}"
            )
        known = self.find(new.name)
        if known is not None and known.cls is not new.cls and not _same_source(known.cls, new.cls):
            raise DuplicateApi(
                f"two classes are the API {new.name!r}: {known.cls.__qualname__} in {where(known.cls)} and "
                f"{new.cls.__qualname__} in {where(new.cls)}; rename one, or import only one of them"
            )
        self._definitions[new.name] = new
        self._instances.pop(new.name, None)
        if not isinstance(api, type):
            self._instances[new.name] = api

    def alone(self) -> Registry:
        """Return a copy without the registry that lies beneath."""
        copy = Registry()
        copy._definitions.update(self._definitions)
        copy._instances.update(self._instances)
        return copy

    def find(self, name: str) -> Definition | None:
        """Return the definition of that name, or None."""
        return self._definitions.get(name) or (self._base.find(name) if self._base else None)

    def get(self, name: str) -> Definition:
        """Return the definition of that name.

        Raises:
            UnknownApi: No such class is registered here.
        """
        definition = self.find(name)
        if definition is None:
            raise UnknownApi(f"no API named {name!r} is defined in this process")
        return definition

    def instance(self, name: str) -> Any:
        """Return the one object that serves the API of that name.

        Raises:
            UnknownApi: No such class is registered here.
            MisconfiguredApiOptions: The class can't be made into an object without arguments.
        """
        cls = self.get(name).cls
        if name not in self._instances:
            try:
                self._instances[name] = cls()
            except TypeError as e:
                raise MisconfiguredApiOptions(
                    f"{where(cls)}: {cls.__name__}() can't be made without arguments ({e}); set "
                    "Meta.auto_register = False and call bus.client.register_api() with an object"
                ) from e
        return self._instances[name]

    def names(self) -> list[str]:
        """Return the names of all registered APIs, the lower registry's first."""
        return list(dict.fromkeys([*(self._base.names() if self._base else ()), *self._definitions]))

    def public(self) -> list[str]:
        """Return the names of those that do not describe the bus itself."""
        return [name for name in self.names() if not self.get(name).internal]


#: Every API class that was defined in this process with ``Meta.auto_register`` on.
auto_registered = Registry()
