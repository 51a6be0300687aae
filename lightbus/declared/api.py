"""What a service offers: classes derived from :class:`Api`.

Everything that may be reached from the bus is collected into a table when the class is defined. Nothing
is ever looked up on an object by a name that came over the wire.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from types import FunctionType
from typing import Any, ClassVar

from lightbus.exceptions import DuplicateApi, InvalidName, MisconfiguredApiOptions, UnknownApi
from lightbus.options import Duration, option

from .definition import (
    EMPTY,
    NAME,
    OPTIONS,
    RESERVED,
    Definition,
    Event,
    Parameter,
    Procedure,
    no_parameter,
    not_reached,
    where,
)

__all__ = [
    "EMPTY",
    "Api",
    "ApiOptions",
    "Definition",
    "Event",
    "Parameter",
    "Procedure",
    "Registry",
    "ValidateOptions",
    "auto_registered",
    "where",
]

_API_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class ValidateOptions:
    """Which messages are checked against the contract."""

    incoming: bool = option(True, "Check calls, answers and events that arrive.")
    outgoing: bool = option(True, "Check calls, answers and events before they are sent.")


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """How a process calls, serves and listens to one API."""

    owner: str | None = option(None, "The one service that answers this API's calls and fires its events.")
    rpc_timeout: Duration = option(Duration(5), "How long a caller waits for an answer.", minimum=0.001)
    event_fire_timeout: Duration = option(
        Duration(5), "How long firing waits for the broker to confirm.", minimum=0.001
    )
    event_listener_setup_timeout: Duration = option(
        Duration(1), "How long starting a listener may take before a warning says so.", minimum=0.001
    )
    rpc_concurrency: int = option(
        100, "How many calls of this API one process runs at a time.", minimum=1, maximum=10_000
    )
    validate: ValidateOptions = option(
        factory=ValidateOptions, description="Whether messages are checked against the contract."
    )
    strict_validation: bool = option(
        False, "Whether a message of an API without a known contract is an error."
    )
    cast_values: bool = option(True, "Whether arguments become the types of the handler's hints.")


class Api:
    """Base of every API. A subclass needs an inner class ``Meta`` with a ``name``.

    ``Meta.name``
        The API's name on the bus, such as ``auth`` or ``support.case``.
    ``Meta.internal``
        True for APIs that describe the bus itself; they are left out of listings. Default: False.
    ``Meta.auto_register``
        False for a class that is offered only where ``bus.client.register_api()`` is called. Default: True.

    Public functions of the class are its procedures; :class:`Event` attributes are its events.
    """

    __lightbus__: ClassVar[Definition]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        meta = cls.__dict__.get("Meta")
        if not isinstance(meta, type):
            example = f"class Meta: name = '{cls.__name__.removesuffix('Api').lower() or 'my_api'}'"
            is_what = "None" if meta is None else f"a {type(meta).__name__}"
            wrong = f"{cls.__name__}.Meta is {is_what}; write"
            if "Meta" not in cls.__dict__:
                wrong = f"class {cls.__name__} has no Meta; add"
            raise MisconfiguredApiOptions(f"{where(cls)}: {wrong}: {example}")
        options = {k: v for k, v in vars(meta).items() if not k.startswith("_")}
        name = _check_meta(cls, options)
        procedures, events = _collect(cls, name)
        cls.__lightbus__ = Definition(name, options.get("internal", False), cls, procedures, events)
        if options.get("auto_register", True):
            auto_registered.add(cls)


def _check_meta(cls: type[Api], options: dict[str, Any]) -> str:
    unknown = sorted(options.keys() - {"name", "internal", "auto_register"})
    if unknown:
        raise MisconfiguredApiOptions(
            f"{where(cls)}: {cls.__name__}.Meta has the unknown option {unknown[0]!r}; "
            "it may have name, internal and auto_register"
        )
    name = options.get("name")
    if name is None:
        raise MisconfiguredApiOptions(f"{where(cls)}: {cls.__name__}.Meta has no name; add: name = '...'")
    if not isinstance(name, str) or not _API_NAME.fullmatch(name):
        raise InvalidName(
            f"{where(cls)}: an API can't be named {name!r}; use letters, digits and _, "
            "with dots between words, each beginning with a letter"
        )
    if name == "default":
        raise InvalidName(
            f"{where(cls)}: an API can't be named 'default', which stands for every API in the manifest"
        )
    for word in name.split("."):
        if word in RESERVED:
            raise InvalidName(f"{where(cls)}: an API can't {not_reached(name, word)}")
    for flag in ("internal", "auto_register"):
        if not isinstance(options.get(flag, False), bool):
            raise MisconfiguredApiOptions(
                f"{where(cls)}: {cls.__name__}.Meta.{flag} is {options[flag]!r}; it is True or False"
            )
    return name


def _collect(cls: type[Api], api_name: str) -> tuple[dict[str, Procedure], dict[str, Event]]:
    """Fix the tables: what the class and its bases below Api define, the nearest definition winning."""
    members: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, Api) and base is not Api:
            members.update((k, v) for k, v in vars(base).items() if _is_public(cls, api_name, k, v))
    procedures: dict[str, Procedure] = {}
    events: dict[str, Event] = {}
    for name, member in members.items():
        if isinstance(member, Event):
            events[name] = member
        elif isinstance(member, FunctionType):
            procedures[name] = Procedure(api_name, name, member, bound=True)
        elif isinstance(member, staticmethod):
            procedures[name] = Procedure(api_name, name, member.__func__, bound=False)
        elif isinstance(member, classmethod):
            procedures[name] = Procedure(api_name, name, member.__func__, bound=True)
    for name in (*procedures, *events):
        if not NAME.fullmatch(name):
            raise InvalidName(f"{where(cls)}: {api_name}.{name}: use letters, digits and _ only")
        if name in RESERVED:
            kind = "an event" if name in events else "a procedure"
            raise InvalidName(f"{where(cls)}: {kind} of the API {api_name!r} can't {not_reached(name, name)}")
    for name, event in events.items():
        if any(p.name == OPTIONS for p in event.parameters):
            raise InvalidName(f"{where(cls)}: {api_name}.{name} can't have a parameter {no_parameter()}")
    return procedures, events


def _is_public(cls: type[Api], api_name: str, name: str, member: Any) -> bool:
    if name.startswith("_") and isinstance(member, Event):
        raise InvalidName(f"{where(cls)}: the event {api_name}.{name} can't begin with an underscore")
    return not name.startswith("_")


class Registry:
    """The APIs that one bus may serve and fire, by name, in the order of their registration.

    Args:
        base: Another registry that lies beneath this one.
    """

    def __init__(self, base: Registry | None = None) -> None:
        self._base = base
        self._definitions: dict[str, Definition] = {}
        self._instances: dict[str, Api] = {}

    def add(self, api: type[Api] | Api) -> None:
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

    def instance(self, name: str) -> Api:
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


def _same_source(one: type, other: type) -> bool:
    """Tell whether one file was imported twice, as ``bus`` and as ``package.bus``, or run again."""
    files = [getattr(sys.modules.get(c.__module__), "__file__", c.__module__) for c in (one, other)]
    return one.__qualname__ == other.__qualname__ and files[0] == files[1]
