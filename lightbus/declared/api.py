"""The APIs that a service offers: classes derived from :class:`Api`.

Everything that may be reached from the bus is collected into a table when the class is defined. Nothing
is ever looked up on an object by a name that came over the wire.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any, ClassVar

from lightbus.declared.registry import auto_registered
from lightbus.exceptions import InvalidName, MisconfiguredApiOptions

from .definition import (
    API_NAME,
    API_NAME_RULE,
    NAME,
    OPTIONS,
    RESERVED,
    VERSION_RULE,
    Definition,
    Event,
    Procedure,
    is_version,
    no_parameter,
    not_reached,
    where,
)


class Api:
    """Base of every API. A subclass needs an inner class ``Meta`` with a ``name``.

    ``Meta.name``
        The API's name on the bus, such as ``auth`` or ``support.case``.
    ``Meta.version``
        The version of those of its events that have none of their own. Default: 1.
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
        if "version" in options:
            events = {each: event.of_api(options["version"]) for each, event in events.items()}
        cls.__lightbus__ = Definition(name, options.get("internal", False), cls, procedures, events)
        if options.get("auto_register", True):
            auto_registered.know(cls.__lightbus__)


def _check_meta(cls: type[Api], options: dict[str, Any]) -> str:
    unknown = sorted(options.keys() - {"name", "version", "internal", "auto_register"})
    if unknown:
        raise MisconfiguredApiOptions(
            f"{where(cls)}: {cls.__name__}.Meta has the unknown option {unknown[0]!r}; "
            "it may have name, version, internal and auto_register"
        )
    name = options.get("name")
    if name is None:
        raise MisconfiguredApiOptions(f"{where(cls)}: {cls.__name__}.Meta has no name; add: name = '...'")
    if not isinstance(name, str) or not API_NAME.fullmatch(name):
        raise InvalidName(f"{where(cls)}: an API can't be named {name!r}; {API_NAME_RULE}")
    if name == "default":
        raise InvalidName(
            f"{where(cls)}: an API can't be named 'default', which stands for every API in the manifest"
        )
    for word in name.split("."):
        if word in RESERVED:
            raise InvalidName(f"{where(cls)}: an API can't {not_reached(name, word)}")
    if not is_version(options.get("version", 1)):
        raise MisconfiguredApiOptions(
            f"{where(cls)}: {cls.__name__}.Meta.version is {options['version']!r}; {VERSION_RULE}"
        )
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
