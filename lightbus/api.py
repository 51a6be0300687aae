"""What a service offers: classes derived from :class:`Api`.

Everything that may be reached from the bus is collected into a table when the class is defined. Nothing
is ever looked up on an object by a name that came over the wire.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, ClassVar

from .exceptions import (
    DuplicateApi,
    EventNotFound,
    InvalidEventArguments,
    InvalidName,
    InvalidParameters,
    MisconfiguredApiOptions,
    ProcedureNotFound,
    UnknownApi,
)
from .options import Duration, option

EMPTY = inspect.Parameter.empty

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
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


class Parameter:
    """One parameter of an event.

    Args:
        name: The keyword with which the event is fired.
        type: Its type hint; anything where not given.
        default: The value where the event is fired without it; required where not given.

    Raises:
        InvalidName: The name is not an identifier, or starts with an underscore.
    """

    __slots__ = ("default", "name", "type")

    def __init__(self, name: str, type: Any = EMPTY, default: Any = EMPTY) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidName(
                f"a parameter can't be named {name!r}; use letters, digits and _, beginning with a letter"
            )
        self.name = name
        self.type = type
        self.default = default

    @property
    def is_required(self) -> bool:
        """Whether the event can't be fired without it."""
        return self.default is EMPTY

    def __repr__(self) -> str:
        return f"Parameter({self.name!r})"


class Event:
    """Declares an event as an attribute of an :class:`Api` class.

    Args:
        parameters: Names, or :class:`Parameter` objects where types or defaults are wanted.
        version: Raise it when the parameters change their meaning.

    Raises:
        InvalidName: A parameter's name can't be used, or is there twice.
    """

    def __init__(self, parameters: Sequence[str | Parameter] = (), version: int = 1) -> None:
        if isinstance(parameters, str):
            raise InvalidName(
                f"Event(parameters={parameters!r}) is a string; write a tuple: ({parameters!r},)"
            )
        self.parameters = tuple(p if isinstance(p, Parameter) else Parameter(p) for p in parameters)
        self.version = version
        names = [p.name for p in self.parameters]
        for name in names:
            if names.count(name) > 1:
                raise InvalidName(f"an event can't have two parameters named {name!r}")
        self._names = frozenset(names)
        self._required = frozenset(p.name for p in self.parameters if p.is_required)
        self._defaults = {p.name: p.default for p in self.parameters if not p.is_required}

    def bind(self, event: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Check the arguments with which an event is fired and add the defaults.

        Args:
            event: The event's full name, for the error.
            kwargs: The arguments as they were given.

        Returns:
            The arguments to send.

        Raises:
            InvalidEventArguments: One is missing, or not declared.
        """
        given = kwargs.keys()
        if not (self._required <= given and given <= self._names):
            raise InvalidEventArguments(
                _explain_arguments(event, [p.name for p in self.parameters], self._required, given)
            )
        return {**self._defaults, **kwargs}


class Procedure:
    """One public method of an API, as it may be called from the bus.

    Args:
        api_name: The API it belongs to.
        name: The method's name.
        function: The function as the class defines it.
        bound: Whether it takes the API object (or its class) as first argument.
    """

    __slots__ = ("_names", "_required", "api_name", "function", "is_async", "name", "signature", "takes_any")

    def __init__(self, api_name: str, name: str, function: Callable[..., Any], *, bound: bool) -> None:
        self.api_name = api_name
        self.name = name
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())[1 if bound else 0 :]
        self.signature = signature.replace(parameters=parameters)
        for parameter in parameters:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise MisconfiguredApiOptions(
                    f"{where(function)}: {api_name}.{name}() has the positional-only parameter "
                    f"{parameter.name!r}; calls over the bus are by keyword, so remove the /"
                )
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        self.takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        self._names = frozenset(p.name for p in named)
        self._required = frozenset(p.name for p in named if p.default is EMPTY)

    def check_arguments(self, kwargs: Mapping[str, Any]) -> None:
        """Check that the procedure can be called with these names.

        Raises:
            InvalidParameters: One is missing, or is none of the procedure's.
        """
        given = kwargs.keys()
        if self._required <= given and (self.takes_any or given <= self._names):
            return
        names = [p.name for p in self.signature.parameters.values() if p.name in self._names]
        raise InvalidParameters(
            _explain_arguments(
                f"{self.api_name}.{self.name}", names, self._required, given, takes_any=self.takes_any
            )
        )


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """What one API offers, fixed when its class is defined.

    Args:
        name: The API's name on the bus.
        internal: Whether the API describes the bus itself.
        cls: The class.
        procedures: What may be called, by name.
        events: What may be fired, by name.
    """

    name: str
    internal: bool
    cls: type[Api]
    procedures: Mapping[str, Procedure]
    events: Mapping[str, Event]

    def event(self, name: str) -> Event:
        """Return an event.

        Raises:
            EventNotFound: The class declares no such event; the message lists those that it does.
        """
        event = self.events.get(name)
        if event is None:
            known = ", ".join(sorted(self.events)) or "none at all"
            raise EventNotFound(f"the API {self.name!r} has no event {name[:80]!r}; it has: {known}")
        return event

    def procedure(self, name: str) -> Procedure:
        """Return a procedure.

        Raises:
            ProcedureNotFound: It is not in the table made when the class was defined.
        """
        procedure = self.procedures.get(name)
        if procedure is None:
            known = ", ".join(sorted(self.procedures)) or "none at all"
            raise ProcedureNotFound(f"the API {self.name!r} has no procedure {name[:80]!r}; it has: {known}")
        return procedure


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
        if meta is None:
            raise MisconfiguredApiOptions(
                f"{where(cls)}: class {cls.__name__} has no Meta; "
                f"add: class Meta: name = '{cls.__name__.removesuffix('Api').lower() or 'my_api'}'"
            )
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
            members.update((k, v) for k, v in vars(base).items() if not k.startswith("_"))
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
        if not _NAME.fullmatch(name):
            raise InvalidName(f"{where(cls)}: {api_name}.{name}: use letters, digits and _ only")
    return procedures, events


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
            DuplicateApi: Another class already has this name.
        """
        new = api.__lightbus__
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


#: Every API class that was defined in this process with ``Meta.auto_register`` on.
auto_registered = Registry()


def where(thing: Any) -> str:
    """Return ``file:line`` of a class or function, as far as Python knows it."""
    try:
        return f"{inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError):
        return getattr(thing, "__module__", None) or "an unknown place"


def _same_source(one: type, other: type) -> bool:
    """Tell whether one file was imported twice, as ``bus`` and as ``package.bus``, or run again."""
    files = [getattr(sys.modules.get(c.__module__), "__file__", c.__module__) for c in (one, other)]
    return one.__qualname__ == other.__qualname__ and files[0] == files[1]


def _explain_arguments(
    target: str,
    names: Sequence[str],
    required: frozenset[str],
    given: Any,
    *,
    takes_any: bool = False,
) -> str:
    missing = [n for n in names if n in required and n not in given]
    unknown = [] if takes_any else [repr(str(n)[:80]) for n in list(given)[:10] if n not in names]
    parts = []
    if missing:
        parts.append(f"missing: {', '.join(missing)}")
    if unknown:
        parts.append(f"unknown: {', '.join(unknown)}")
    takes = ", ".join(n if n in required else f"{n}=..." for n in names) or "no arguments"
    return f"{target} takes {takes}; {'; '.join(parts)}"
