"""Reading a type hint: which form do its values have as JSON?"""

from __future__ import annotations

import collections
import collections.abc as abc
import enum
import sys
import types
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Literal, NewType, NotRequired, Required, TypeVar, Union, get_args, get_origin

from lightbus.exceptions import MisconfiguredApiOptions

from .dumping import dump
from .objects import read_object, read_plain, substitute
from .sensitive import is_mark
from .shapes import (
    EMPTY,
    SCALARS,
    Alias,
    Anything,
    Choice,
    Constrained,
    Hidden,
    ListOf,
    MapOf,
    Scalar,
    Shape,
    TupleOf,
    UnionOf,
    Unknown,
    hints_of,
)

_LISTS: Final[dict[Any, Callable[..., Any] | None]] = {
    list: None,
    abc.Sequence: None,
    abc.MutableSequence: None,
    abc.Collection: None,
    abc.Iterable: None,
    abc.Container: None,
    collections.deque: collections.deque,
    set: set,
    abc.Set: set,
    abc.MutableSet: set,
    frozenset: frozenset,
}
_MAPS: Final[dict[Any, Callable[..., Any] | None]] = {
    dict: None,
    abc.Mapping: None,
    abc.MutableMapping: None,
    collections.OrderedDict: collections.OrderedDict,
    collections.defaultdict: None,
}


def read(hint: Any) -> Shape:
    """Return the shape of a hint.

    Args:
        hint: Anything that may stand after the colon of a parameter.

    Returns:
        The shape; the same object each time, so that recursive types end.

    Raises:
        MisconfiguredApiOptions: It is a text that names nothing.
    """
    try:
        hash(hint)
    except TypeError:
        return _read(hint)
    # Unions are equal in any order, but are tried in theirs: hence the text beside the hint.
    return _read_once(hint, repr(hint))


@lru_cache(maxsize=4096)
def _read_once(hint: Any, text: str) -> Shape:
    return _read(hint)


def _read(hint: Any) -> Shape:
    if hint is None:
        return _scalar(type(None))
    if hint in (Any, object, EMPTY):
        return Anything("anything")
    if isinstance(hint, NewType):
        return read(hint.__supertype__)
    if isinstance(hint, TypeVar):
        allowed = hint.__constraints__ or ((hint.__bound__,) if hint.__bound__ is not None else (Any,))
        return read(Union[allowed])  # noqa: UP007
    origin, args = get_origin(hint), get_args(hint)
    alias = origin or hint
    if hasattr(alias, "__value__"):
        known = dict(zip(getattr(alias, "__type_params__", ()), args, strict=False))
        return Alias(alias.__name__, lambda: substitute(alias.__value__, known))
    if origin is typing.Annotated:
        return _annotated(read(args[0]), hint.__metadata__)
    if origin in (Union, types.UnionType):
        members = tuple(read(a) for a in args)
        return UnionOf(" or ".join(m.name for m in members), members)
    if origin is Literal:
        return _read_literal(args)
    if origin in (Required, NotRequired, Final, typing.ClassVar) or _is_read_only(origin):
        return read(args[0])
    if isinstance(alias, type):
        return _read_class(hint, alias, args)
    if isinstance(hint, str | typing.ForwardRef):
        raise _unresolved(hint)
    return _unknown(hint)


def _read_class(hint: Any, cls: type, args: tuple[Any, ...]) -> Shape:
    if is_mark(cls):
        raise MisconfiguredApiOptions("Sensitive is a mark and no type; write Annotated[str, Sensitive]")
    if hasattr(cls, "__from_bus__") or hasattr(cls, "__to_bus__"):
        return Alias(cls.__name__, lambda: _sent_hint(cls), getattr(cls, "__from_bus__", None))
    if issubclass(cls, enum.Flag):
        return _scalar(int, cls)
    if issubclass(cls, enum.Enum):
        return Choice(cls.__name__, tuple((dump(member), member) for member in cls))
    if cls in SCALARS:
        return _scalar(cls)
    if cls in _LISTS:
        return _list(read(args[0] if args else Any), _LISTS[cls])
    if cls in _MAPS:
        key, item = read(args[0] if args else str), read(args[1] if args else Any)
        return MapOf(f"dict[{key.name}, {item.name}]", key, item, _MAPS[cls])
    if cls is tuple:
        if hint in (tuple, typing.Tuple):  # noqa: UP006 - bare, in either spelling; tuple[()] is the empty one
            return _list(read(Any), tuple)
        if len(args) == 2 and args[1] is ...:
            return _list(read(args[0]), tuple)
        items = tuple(read(a) for a in args)
        return TupleOf(f"tuple[{', '.join(i.name for i in items) or '()'}]", items)
    shape = read_object(hint, cls, args)
    if shape is not None:
        return shape
    for base in (str, int, float):
        if issubclass(cls, base):
            return _scalar(base, cls)
    return read_plain(cls) or _unknown(hint)


def _scalar(kind: Any, cls: Any = None) -> Scalar:
    return Scalar("None" if kind is type(None) else (cls or kind).__name__, kind, cls)


def _list(item: Shape, make: Callable[..., Any] | None) -> ListOf:
    return ListOf(f"{getattr(make, '__name__', 'list')}[{item.name}]", item, make)


def _sent_hint(cls: Any) -> Any:
    """Return the hint of what travels: what ``__from_bus__()`` takes, else what ``__to_bus__()`` returns."""
    if hasattr(cls, "__from_bus__"):
        taken = [hint for name, hint in hints_of(cls.__from_bus__).items() if name != "return"]
        if taken:
            return taken[0]
    return hints_of(cls.__to_bus__).get("return", Any) if hasattr(cls, "__to_bus__") else Any


def _read_literal(args: tuple[Any, ...]) -> Choice | Unknown:
    members = tuple((a.value if isinstance(a, enum.Enum) else a, a) for a in args)
    if any(type(sent) not in (str, int, bool, type(None)) for sent, _ in members):
        return _unknown(Literal[args])
    return Choice(" or ".join(repr(sent) for sent, _ in members), members)


_RULES = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
    "min_length": "minLength",
    "max_length": "maxLength",
}


def _annotated(shape: Shape, metadata: tuple[Any, ...]) -> Shape:
    """Apply what annotated-types, msgspec.Meta, pydantic.Field and Sensitive say; ignore others' notes."""
    rules: list[tuple[str, Any]] = []
    for note in metadata:
        if type(note).__module__.partition(".")[0] not in ("annotated_types", "msgspec", "pydantic"):
            continue
        for part in (note, *getattr(note, "metadata", ())):
            for attribute, rule in _RULES.items():
                value = getattr(part, attribute, None)
                if value is not None:
                    rules.append((rule, getattr(value, "pattern", value)))
            if type(part).__name__ == "Predicate":
                rules.append(("predicate", part.func))
    if rules:
        shape = Constrained(shape.name, shape, tuple(dict.fromkeys(rules)))
    return Hidden(shape.name, shape) if any(map(is_mark, metadata)) else shape


def _is_read_only(origin: Any) -> bool:
    """Tell whether this is ReadOnly, which Python has from 3.13 on and typing_extensions before."""
    return origin is not None and any(
        origin is getattr(sys.modules.get(m), "ReadOnly", EMPTY) for m in ("typing", "typing_extensions")
    )


def _unknown(hint: Any) -> Unknown:
    return Unknown((getattr(hint, "__qualname__", None) or repr(hint))[:100])


def _unresolved(hint: Any) -> MisconfiguredApiOptions:
    return MisconfiguredApiOptions(
        f"the type hint {str(hint)[:100]!r} is a text that names no type; hints must name things that exist "
        "at the top of the module"
    )
