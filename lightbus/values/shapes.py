"""The forms that Python values have as JSON: casting and the JSON Schema are both made from them."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec

from lightbus.exceptions import MisconfiguredApiOptions

EMPTY: Final = inspect.Parameter.empty

#: Types whose values are one JSON number, string, boolean or null.
SCALARS: Final = (
    str, int, float, bool, type(None), datetime, date, time, timedelta, UUID, Decimal, bytes, bytearray,
    complex,
)  # fmt: skip


class Shape(msgspec.Struct, eq=False, dict=True, weakref=True):
    """The form that the values of a hint have as JSON; ``name`` is for people."""

    name: str


class Anything(Shape):
    """No hint, or one that says nothing."""


class Unknown(Anything):
    """A hint that says nothing here: its values are neither checked nor converted."""

    told: ClassVar[str] = "can not be checked: its values pass as they are"


class Scalar(Shape):
    """One of :data:`SCALARS`; ``cls`` makes the value from it where that is a class of its own."""

    type: Any
    cls: Any = None


class ListOf(Shape):
    """A JSON list of any length; ``make`` turns it into a set or the like."""

    item: Shape
    make: Callable[..., Any] | None = None


class TupleOf(Shape):
    """A JSON list with a shape for each place."""

    items: tuple[Shape, ...]


class MapOf(Shape):
    """A JSON object whose names are data."""

    key: Shape
    item: Shape
    make: Callable[..., Any] | None = None


class Choice(Shape):
    """An enum or a Literal: pairs of the value on the wire and the value in Python."""

    members: tuple[tuple[Any, Any], ...]


class UnionOf(Shape):
    """One of several."""

    members: tuple[Shape, ...]


class Constrained(Shape):
    """A shape under rules such as ``("minimum", 0)``, named as JSON Schema does."""

    shape: Shape
    rules: tuple[tuple[str, Any], ...]


class Hidden(Shape):
    """A shape whose values are sensitive."""

    shape: Shape


class Model(Shape):
    """A pydantic model, which knows its own schema and converts itself."""

    cls: Any


class Field(msgspec.Struct, eq=False):
    """One field of an object: its name on the wire, the keyword that sets it, and its default if constant."""

    name: str
    keyword: str
    hint: Any
    required: bool
    default: Any = EMPTY


class Fielded(Shape):
    """A class with named fields, which are read when they are first wanted."""

    read_fields: Callable[[], list[Field]]

    @cached_property
    def fields(self) -> list[Field]:
        """The fields, in their order."""
        return self.read_fields()


class ObjectOf(Fielded):
    """A class that is made of its fields; ``make`` takes them as keywords."""

    make: Callable[..., Any]


class Plain(Fielded):
    """A class whose annotations alone say what it has: its values stay what JSON has for them, a dict."""

    told: ClassVar[str] = "is a class without a way to make it: a dict with its fields is handed over"


class Alias(Shape):
    """A hint whose values travel as those of another one, which may mention it.

    It is a ``type`` statement, or a class with ``__to_bus__()`` or ``__from_bus__()``, which ``make``
    then is.
    """

    read_target: Callable[[], Any]
    make: Callable[..., Any] | None = None

    @cached_property
    def target(self) -> Any:
        """The hint that it stands for."""
        return self.read_target()


def optional(hint: Any, default: Any) -> Any:
    """Return the hint of what has a default: with None as default, None is one of its values.

    Args:
        hint: The hint as it is written, such as the ``int`` of ``n: int = None``.
        default: The default, or :data:`EMPTY`.
    """
    if default is not None or hint in (Any, object, EMPTY):
        return hint
    try:
        return typing.Optional[hint]  # noqa: UP045 - any object may be a hint
    except TypeError:
        return hint


def hints_of(thing: Any) -> dict[str, Any]:
    """Return the resolved type hints of a function or class, ``Annotated`` included.

    Args:
        thing: A class, a function, or anything else that can be called.

    Returns:
        Hints by name; ``return`` for the result of a function.

    Raises:
        MisconfiguredApiOptions: A hint names something that doesn't exist where it is written.
    """
    while isinstance(thing, functools.partial):
        thing = thing.func
    if not inspect.isroutine(thing) and not isinstance(thing, type):
        thing = type(thing).__call__
    # Python 3.12 does not look for these itself.
    names = {p.__name__: p for p in getattr(thing, "__type_params__", ())}
    try:
        return typing.get_type_hints(thing, localns=names or None, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as e:
        raise MisconfiguredApiOptions(
            f"{thing.__module__}.{thing.__qualname__}: a type hint can't be read ({e}); hints must name "
            "things that exist at the top of the module, not only under TYPE_CHECKING"
        ) from e
