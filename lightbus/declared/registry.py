"""The APIs that one bus may serve and fire, by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from lightbus.declared.definition import Definition, where
from lightbus.exceptions import DuplicateApi, MisconfiguredApiOptions, UnknownApi


def _same_source(one: type, other: type) -> bool:
    """Tell whether one file was imported twice, as ``bus`` and as ``package.bus``, or run again."""
    files = [getattr(sys.modules.get(c.__module__), "__file__", c.__module__) for c in (one, other)]
    return one.__qualname__ == other.__qualname__ and files[0] == files[1]


def _stands_for(one: Definition, other: Definition) -> bool:
    """Tell whether a class is another one, or is derived from it to implement it."""
    return any(each is other.cls or _same_source(each, other.cls) for each in one.cls.__mro__)


def _duplicate(one: Definition, other: Definition) -> DuplicateApi:
    return DuplicateApi(
        f"two classes are the API {other.name!r}: {one.cls.__qualname__} in {where(one.cls)} and "
        f"{other.cls.__qualname__} in {where(other.cls)}; rename one, or import only one of them"
    )


class Registry:
    """The APIs that one bus may serve and fire, by name, in the order of their registration.

    Args:
        base: Another registry that lies beneath this one, with classes that nobody registered on this bus.
    """

    def __init__(self, base: Registry | None = None) -> None:
        self._base = base
        #: Several of one name only among classes that were imported, of which nobody has chosen one.
        self._definitions: dict[str, list[Definition]] = {}
        self._instances: dict[str, Any] = {}
        #: Tells whether a class that nobody registered on this bus is offered, too; a host has a rule for it.
        self.offers: Callable[[type], bool] | None = None

    def add(self, api: Any) -> None:
        """Register a class, or an object of one.

        Args:
            api: The class, which is made into an object without arguments, or an object.

        Raises:
            MisconfiguredApiOptions: It is neither.
            DuplicateApi: Another class is registered by this name.
        """
        new = getattr(api, "__lightbus__", None)
        if not isinstance(new, Definition):
            raise MisconfiguredApiOptions(
                f"register_api() takes a class derived from lightbus.Api, or an object of one, not {api!r}"
            )
        for known in self._definitions.get(new.name, ()):
            if not _stands_for(new, known):
                raise _duplicate(known, new)
        self._definitions[new.name] = [new]
        self._instances.pop(new.name, None)
        if not isinstance(api, type):
            self._instances[new.name] = api

    def know(self, new: Definition) -> None:
        """Know a class that was defined. Others of its name stay: which one is meant shows later."""
        known = self._definitions.setdefault(new.name, [])
        if not any(_stands_for(each, new) and not _stands_for(new, each) for each in known):
            known[:] = [*(each for each in known if not _stands_for(new, each)), new]

    def alone(self) -> Registry:
        """Return a copy without the registry that lies beneath."""
        copy = Registry()
        copy._definitions.update(self._definitions)
        copy._instances.update(self._instances)
        return copy

    def is_registered(self, name: str) -> bool:
        """Tell whether the API was registered on this very bus."""
        return name in self._definitions

    def registered(self) -> set[str]:
        """Return the names of the APIs that were registered on this very bus."""
        return set(self._definitions)

    def classes(self) -> set[type]:
        """Return the classes of all APIs that are known here."""
        below = self._base.classes() if self._base else set()
        return below | {each.cls for known in self._definitions.values() for each in known}

    def is_offered(self, name: str) -> bool:
        """Tell whether this bus offers an API of that name, unless the manifest says otherwise."""
        return bool(self._offered(name))

    def find(self, name: str) -> Definition | None:
        """Return the definition of that name, or None; one that is offered comes first."""
        found = self._offered(name) or (self._base._definitions.get(name, ()) if self._base else ())
        return found[-1] if found else None

    def get(self, name: str) -> Definition:
        """Return the definition of that name.

        Raises:
            UnknownApi: No such class is registered here.
        """
        definition = self.find(name)
        if definition is None:
            raise UnknownApi(f"no API named {name!r} is defined in this process")
        return definition

    def offered(self, name: str) -> Definition | None:
        """Return the definition that this bus offers by that name, unless the manifest says otherwise.

        Raises:
            DuplicateApi: Several classes have the name, and nobody has registered one.
        """
        found = self._offered(name)
        if len(found) > 1:
            raise _duplicate(*found[-2:])
        return found[0] if found else None

    def instance(self, name: str) -> Any:
        """Return the one object that serves the API of that name.

        Raises:
            UnknownApi: No such class is registered here.
            DuplicateApi: Several classes have the name, and nobody has registered one.
            MisconfiguredApiOptions: The class can't be made into an object without arguments.
        """
        cls = (self.offered(name) or self.get(name)).cls
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
        """Return the names of all APIs that are known here, the lower registry's first."""
        return list(dict.fromkeys([*(self._base.names() if self._base else ()), *self._definitions]))

    def public(self) -> list[str]:
        """Return the names of those that do not describe the bus itself."""
        return [name for name in self.names() if not self.get(name).internal]

    def _offered(self, name: str) -> Sequence[Definition]:
        found: Sequence[Definition] = self._definitions.get(name, ())
        if not found and self._base is not None:
            found = self._base._definitions.get(name, ())
            if self.offers is not None:
                found = [each for each in found if self.offers(each.cls)]
        return found


#: Every API class that was defined in this process with ``Meta.auto_register`` on.
auto_registered = Registry()
