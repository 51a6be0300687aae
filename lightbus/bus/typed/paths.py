"""A path whose results are objects: what the functions of a module of ``lightbus types`` return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import Any, ParamSpec, TypeVar, get_args, get_overloads, get_type_hints

from lightbus.bus.client import BusClient
from lightbus.bus.path import BusPath

from .results import converter

P = ParamSpec("P")
T = TypeVar("T")


class TypedPath(BusPath):
    """A path whose results become what a view says: the protocols in a module of ``lightbus types``.

    Args:
        client: The client that does the work.
        name: The name so far; empty for the bus itself.
        view: The protocol of what has this name; None where there is none.
    """

    def __init__(self, client: BusClient, name: str = "", view: Any = None) -> None:
        super().__init__(client, name)
        self._view = view

    @classmethod
    def of(cls, bus: BusPath, view: Any) -> TypedPath:
        """Return a bus with the types of a view: the same one each time, which keeps what it has found."""
        known: dict[Any, TypedPath] = bus.__dict__.setdefault("_typed", {})
        if view not in known:
            known[view] = cls(bus.client, view=view)
        return known[view]

    def _below(self, name: str) -> TypedPath:
        view = _views_below(self._view).get(name) if self._view is not None else None
        return TypedPath(self._client, f"{self._name}.{name}" if self._name else name, view)

    def call(self, /, *args: object, bus_options: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
        """Call the procedure and wait for its result, as its hint says; see :meth:`BusPath.call`."""
        return self._cast(super().call(*args, bus_options=bus_options, **kwargs))

    __call__ = call

    async def call_async(
        self, /, *args: object, bus_options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        """Call the procedure and await its result, as its hint says."""
        return self._cast(await super().call_async(*args, bus_options=bus_options, **kwargs))

    @cached_property
    def _cast(self) -> Callable[[Any], Any]:
        call = getattr(self._view, "call", None)
        hint = get_type_hints(call, include_extras=True).get("return", Any) if call is not None else Any
        where = getattr(self._view, "__module__", "the module of its types")
        wrong = f"{where} was written for another contract, so write it again with `lightbus types`"
        return converter(hint, self._name, wrong)


@lru_cache(maxsize=4096)
def _views_below(view: Any) -> dict[str, Any]:
    """Return the protocols of what a protocol has, by name."""
    views = get_type_hints(view)
    by_name = view.__dict__.get("__getitem__")
    if by_name is not None:
        for function in get_overloads(by_name) or [by_name]:
            hints = get_type_hints(function)
            views |= dict.fromkeys(get_args(hints["name"]), hints["return"])
    return views


def returning(function: Callable[P, BusPath], typed: Callable[[BusPath], T]) -> Callable[P, T]:
    """Return a function that takes the same arguments and returns its bus as a module has it.

    Args:
        function: Makes or finds a bus.
        typed: Returns it with its types.
    """

    def make(*args: P.args, **kwargs: P.kwargs) -> T:
        return typed(function(*args, **kwargs))

    return make
