"""``bus[AuthApi.check_password]``: what an API's class has, by itself, so that type checkers follow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import FunctionType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, get_args, get_origin

from lightbus.declared.api import Api
from lightbus.declared.definition import Definition, Event, Procedure
from lightbus.exceptions import InvalidParameters, UnknownApi
from lightbus.values import hints_of

from .results import converter

P = ParamSpec("P")
T = TypeVar("T")


class Calls(Protocol):
    """A path, as far as it is needed to call what has its name."""

    def call(self, /, *args: object, **kwargs: Any) -> Any:
        """Call it and wait for the result."""

    async def call_async(self, /, *args: object, **kwargs: Any) -> Any:
        """Call it and await the result."""


@dataclass(frozen=True, slots=True)
class Member:
    """What a class, a method or an event of one is on the bus.

    Args:
        path: Its name, with that of the API.
        procedure: The procedure, where it is one.
    """

    path: str
    procedure: Procedure | None = None


class MethodPath(Generic[P, T]):
    """A procedure that is called as its method is, from afar.

    Args:
        path: Calls the procedure.
        procedure: The procedure, as the class of its API has it.
    """

    def __init__(self, path: Calls, procedure: Procedure) -> None:
        self._path = path
        self._procedure = procedure

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the procedure and wait for its result, which is what the hint of its method says."""
        result: T = self._cast(self._path.call(**self._by_name(args, kwargs)))
        return result

    __call__ = call

    async def call_async(self, /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the procedure and await its result, which is what the hint of its method says."""
        result: T = self._cast(await self._path.call_async(**self._by_name(args, kwargs)))
        return result

    def __repr__(self) -> str:
        return f"<MethodPath {self._procedure.api_name}.{self._procedure.name}>"

    def _by_name(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        if not args:
            return kwargs
        signature = self._procedure.signature
        names = [p.name for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        twice = next((name for name in names[: len(args)] if name in kwargs), None)
        if twice is not None or len(args) > len(names):
            wrong = f"{twice} is given twice" if twice else f"it takes {len(names)} arguments without a name"
            raise InvalidParameters(f"{self._procedure.api_name}.{self._procedure.name}: {wrong}")
        return {**dict(zip(names, args, strict=False)), **kwargs}

    @cached_property
    def _cast(self) -> Callable[[Any], Any]:
        procedure = self._procedure
        hint = hints_of(procedure.function).get("return", Any)
        if get_origin(hint) in (Awaitable, Coroutine):
            hint = get_args(hint)[-1]
        function = procedure.function
        other = f"{function.__module__}.{function.__qualname__}() says otherwise here than where it runs"
        return converter(hint, f"{procedure.api_name}.{procedure.name}", f"{other}; install the same version")


def member_of(thing: Any) -> Member:
    """Return what a class derived from :class:`Api`, one of its methods or one of its events is on the bus.

    Raises:
        UnknownApi: It is none of these, or several APIs have it.
    """
    if isinstance(thing, type) and issubclass(thing, Api) and thing is not Api:
        return Member(thing.__lightbus__.name)
    function = getattr(thing, "__func__", thing)
    found = _members_of(function) if isinstance(function, FunctionType | Event) else ()
    if not found:
        raise UnknownApi(
            "bus[...] takes a name, a class derived from lightbus.Api, or a method or an event of one, as in "
            f"bus[AuthApi.check_password], not {_shown(thing)}"
        )
    if len(found) > 1:
        names = ", ".join(sorted(f"bus.{member.path}" for member in found))
        raise UnknownApi(f"several APIs have {_shown(thing)}; write which one is meant: {names}")
    return found[0]


def _shown(thing: Any) -> str:
    return getattr(thing, "__qualname__", None) or repr(thing)[:80]


@lru_cache(maxsize=4096)
def _members_of(has: FunctionType | Event) -> tuple[Member, ...]:
    found = {path: Member(path, procedure) for path, procedure, each in _members() if each is has}
    return tuple(found.values())


def _members() -> Iterator[tuple[str, Procedure | None, Any]]:
    """Go through the procedures and events of all classes; the class derived from another comes later."""
    left: list[type[Any]] = Api.__subclasses__()
    for cls in left:
        left += cls.__subclasses__()
        definition: Definition = cls.__lightbus__
        for name, procedure in definition.procedures.items():
            yield f"{definition.name}.{name}", procedure, procedure.function
        for name in definition.events:
            yield f"{definition.name}.{name}", None, getattr(cls, name)
