"""The definition of an API, fixed with its class: its procedures, its events and their parameters."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightbus.exceptions import (
    EventNotFound,
    InvalidEventArguments,
    InvalidName,
    InvalidParameters,
    MisconfiguredApiOptions,
    ProcedureNotFound,
)
from lightbus.options import Duration, parse_duration

from .names import listed

EMPTY = inspect.Parameter.empty

_IMMUTABLE = (type(None), bool, int, float, str, bytes)

#: The names of APIs, and the same in words.
API_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*", re.ASCII)
API_NAME_RULE = "use letters, digits and _, with dots between words, each beginning with a letter"
#: The names of procedures, events and parameters.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)

#: The largest version of an event: listeners refuse longer numbers.
MOST_VERSIONS = 999_999_999
VERSION_RULE = f"give a whole number from 0 to {MOST_VERSIONS:,}"

#: The names that every path of the bus has of its own: no API, procedure or event can be reached by them.
RESERVED = frozenset(
    {
        *("call", "call_async", "client", "fire", "fire_async", "fire_many", "fire_many_async", "listen"),
        *("parameter_schema", "response_schema", "schema", "validate_parameters", "validate_response"),
    }
)
#: The argument that calling and firing take for themselves.
OPTIONS = "bus_options"


class Parameter:
    """One parameter of an event.

    Args:
        name: The keyword with which the event is fired.
        type: Its type hint; anything if not given.
        default: The value where the event is fired without it; required if not given.

    Raises:
        InvalidName: The name is not an identifier, or starts with an underscore.
    """

    __slots__ = ("default", "name", "type")

    def __init__(self, name: str, type: Any = EMPTY, default: Any = EMPTY) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name):
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
        version: Raise it when the parameters change their meaning; that of the API's ``Meta`` if not given.
        dedupe: For how long an id that was fired is not stored again: seconds, or text such as ``10m``.

    Raises:
        InvalidName: A parameter's name can't be used, or is there twice.
        MisconfiguredApiOptions: ``version`` is no number, or ``dedupe`` is no duration above zero.
    """

    def __init__(
        self,
        parameters: Sequence[str | Parameter] = (),
        version: int | None = None,
        dedupe: float | str | None = None,
    ) -> None:
        if isinstance(parameters, str):
            raise InvalidName(
                f"Event(parameters={parameters!r}) is a string; write a tuple: ({parameters!r},)"
            )
        self.parameters = tuple(p if isinstance(p, Parameter) else Parameter(p) for p in parameters)
        if version is not None and not is_version(version):
            raise MisconfiguredApiOptions(f"Event(version={version!r}): {VERSION_RULE}")
        self.version = 1 if version is None else version
        self._has_version = version is not None
        self.dedupe = _dedupe(dedupe)
        names = [p.name for p in self.parameters]
        for name in names:
            if names.count(name) > 1:
                raise InvalidName(f"an event can't have two parameters named {name!r}")
        self._names = frozenset(names)
        self._required = frozenset(p.name for p in self.parameters if p.is_required)
        self._defaults = {p.name: p.default for p in self.parameters if not p.is_required}
        # A hook that edits the default of one event must not edit that of the next.
        self._copied = {n for n, v in self._defaults.items() if not isinstance(v, _IMMUTABLE)}

    def of_api(self, version: int) -> Event:
        """Return the event as an API has it whose ``Meta`` gives its events this version."""
        if self._has_version:
            return self
        event = copy.copy(self)
        event.version = version
        return event

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
            unknown = [name for name in given if name not in self._names]
            names = [p.name for p in self.parameters]
            raise InvalidEventArguments(_explain_arguments(event, names, self._required, given, unknown))
        arguments = {**self._defaults, **kwargs}
        for name in self._copied:
            if name not in given:
                arguments[name] = copy.deepcopy(arguments[name])
        return arguments


def is_version(value: object) -> bool:
    """Tell whether an event may have this version."""
    return type(value) is int and 0 <= value <= MOST_VERSIONS


def _dedupe(value: float | str | None) -> float | None:
    try:
        seconds = parse_duration(value) if value is not None else None
    except ValueError:
        seconds = Duration(0)
    if seconds is not None and not seconds > 0:
        raise MisconfiguredApiOptions(f"Event(dedupe={value!r}): give seconds above 0, or text such as '10m'")
    return seconds


class Procedure:
    """One public method of an API, as it may be called from the bus.

    Args:
        api_name: The API it belongs to.
        name: The method's name.
        function: The function as the class defines it.
        bound: Whether it takes the API object (or its class) as first argument.
    """

    __slots__ = (
        *("_names", "_receiver", "_required", "api_name", "function", "is_async", "name", "signature"),
        "takes_any",
    )

    def __init__(self, api_name: str, name: str, function: Callable[..., Any], *, bound: bool) -> None:
        self.api_name = api_name
        self.name = name
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        first = parameters.pop(0) if bound and parameters else None
        self.signature = signature.replace(parameters=parameters)
        for parameter in parameters:
            self._check_parameter(parameter)
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        self.takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        #: The parameter that ``**`` can't fill: Python has given it the API object already.
        self._receiver = frozenset(
            {first.name} if first and first.kind is first.POSITIONAL_OR_KEYWORD else ()
        )
        self._names = frozenset(p.name for p in named)
        self._required = frozenset(p.name for p in named if p.default is EMPTY)

    def _check_parameter(self, parameter: inspect.Parameter) -> None:
        place = f"{where(self.function)}: {self.api_name}.{self.name}()"
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise MisconfiguredApiOptions(
                f"{place} has the positional-only parameter {parameter.name!r}; calls over the bus are by "
                "keyword, so remove the /"
            )
        if parameter.name == OPTIONS:
            raise InvalidName(f"{place} can't have a parameter {no_parameter()}")

    def check_arguments(self, kwargs: Mapping[str, Any]) -> None:
        """Check that the procedure can be called with these names.

        Raises:
            InvalidParameters: One is missing, or is none of the procedure's.
        """
        given = kwargs.keys()
        if self._required <= given and (
            given.isdisjoint(self._receiver) if self.takes_any else given <= self._names
        ):
            return
        names = [p.name for p in self.signature.parameters.values() if p.name in self._names]
        unknown = [n for n in given if (n in self._receiver if self.takes_any else n not in names)]
        target = f"{self.api_name}.{self.name}"
        raise InvalidParameters(_explain_arguments(target, names, self._required, given, unknown))


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """The definition of one API, fixed with its class.

    Args:
        name: The API's name on the bus.
        internal: Whether the API describes the bus itself.
        cls: The class.
        procedures: Its procedures, by name.
        events: Its events, by name.
    """

    name: str
    internal: bool
    cls: type
    procedures: Mapping[str, Procedure]
    events: Mapping[str, Event]

    @property
    def only_tells(self) -> bool:
        """Whether it describes the bus itself, and there is nothing in it to be called."""
        return self.internal and not self.procedures

    def event(self, name: str) -> Event:
        """Return an event.

        Raises:
            EventNotFound: The class declares no such event; the message lists those that it does.
        """
        event = self.events.get(name)
        if event is None:
            known = listed(name, self.events)
            raise EventNotFound(f"the API {self.name!r} has no event {name[:80]!r}; it has: {known}")
        return event

    def procedure(self, name: str) -> Procedure:
        """Return a procedure.

        Raises:
            ProcedureNotFound: It is not in the table made when the class was defined.
        """
        procedure = self.procedures.get(name)
        if procedure is None:
            known = listed(name, self.procedures)
            raise ProcedureNotFound(f"the API {self.name!r} has no procedure {name[:80]!r}; it has: {known}")
        return procedure


def where(thing: Any) -> str:
    """Return ``file:line`` of a class or function beneath its decorators, as far as Python knows it."""
    try:
        thing = inspect.unwrap(thing)
        return f"{inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError, ValueError):
        return getattr(thing, "__module__", None) or "an unknown place"


def not_reached(name: str, word: str) -> str:
    """Say why nothing on the bus can have a name with a word of :data:`RESERVED`."""
    return f"be named {name!r}, since bus.<api>.{word} is Lightbus's own; choose another name"


def no_parameter() -> str:
    """Say why no parameter can be named :data:`OPTIONS`."""
    return f"named {OPTIONS!r}, which calling and firing take for their own options; choose another name"


def _explain_arguments(
    target: str, names: Sequence[str], required: frozenset[str], given: Collection[str], wrong: Sequence[str]
) -> str:
    missing = [n for n in names if n in required and n not in given]
    unknown = [repr(str(n)[:80]) for n in wrong[:10]]
    parts = []
    if missing:
        parts.append(f"missing: {', '.join(missing)}")
    if unknown:
        parts.append(f"unknown: {', '.join(unknown)}")
    takes = ", ".join(n if n in required else f"{n}=..." for n in names) or "no arguments"
    return f"{target} takes {takes}; {'; '.join(parts)}"
