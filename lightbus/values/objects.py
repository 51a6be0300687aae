"""Classes with named fields: dataclasses, NamedTuples, TypedDicts, attrs, msgspec.Struct, pydantic.

attrs and pydantic are never imported here: a class of theirs is known by what it carries.
"""

from __future__ import annotations

import collections
import dataclasses
import typing
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NotRequired, Required, TypeVar, get_args, get_origin

import msgspec

from .shapes import EMPTY, Field, Model, ObjectOf, Plain, Shape, hints_of

#: Factories whose values are always the same: empty.
_EMPTY_MAKERS = (list, dict, set, frozenset, tuple, str, bytes, collections.deque, collections.OrderedDict)
_Fields = Callable[[type, Mapping[str, Any]], list[Field]]


def read_object(hint: Any, cls: type, args: tuple[Any, ...]) -> Shape | None:
    """Return the shape of a class with named fields.

    Args:
        hint: The hint, such as ``Page[Item]``.
        cls: The class itself, such as ``Page``.
        args: Its type arguments, such as ``(Item,)``.

    Returns:
        The shape, or None if the class has no fields.
    """
    if is_model(cls):
        return Model(cls.__name__, hint)
    reader = _reader(cls)
    if reader is None:
        return None
    name = cls.__name__
    if args:
        name += f"[{', '.join(getattr(a, '__name__', None) or str(a) for a in args)}]"
    make: Any = dict if typing.is_typeddict(cls) else cls
    if (tag := struct_tag(cls)) is not None:
        make = partial(_make_tagged, cls, tag[0])
    return ObjectOf(name, lambda: reader(cls, _field_hints(cls, args)), make)


def read_plain(cls: type) -> Plain | None:
    """Return the shape of a class that has annotations and nothing that makes it of fields.

    Args:
        cls: A class that is of no other kind.

    Returns:
        The shape, or None if it has no annotations.
    """
    annotations = getattr(cls, "__annotations__", None)
    if not isinstance(annotations, dict) or all(name.startswith("_") for name in annotations):
        return None
    return Plain(cls.__name__, lambda: _annotated_fields(cls))


def is_model(cls: type) -> bool:
    """Tell whether the class is a pydantic model."""
    return hasattr(cls, "__pydantic_validator__") and hasattr(cls, "model_validate_json")


def is_named_tuple(cls: type) -> bool:
    """Tell whether the class is a NamedTuple."""
    return issubclass(cls, tuple) and hasattr(cls, "_fields") and hasattr(cls, "_field_defaults")


def struct_tag(cls: type) -> tuple[str, str | int] | None:
    """Return the name and value of the field by which a msgspec.Struct says which one it is."""
    config = getattr(cls, "__struct_config__", None)
    return (config.tag_field, config.tag) if config is not None and config.tag is not None else None


def sent_fields(cls: type) -> list[tuple[str, str]] | None:
    """Return pairs of name on the wire and attribute for a class whose objects travel as JSON objects.

    Args:
        cls: Any class but a pydantic model.

    Returns:
        The pairs, or None if the class has no fields.
    """
    reader = _reader(cls)
    if reader is None:
        return None
    if hasattr(cls, "__struct_fields__"):
        return [(f.name, f.keyword) for f in reader(cls, {})[struct_tag(cls) is not None :]]
    return [(f.name, f.name) for f in reader(cls, {})]


def unsent_fields(cls: Any) -> list[str]:
    """Return the fields of a dataclass or attrs class that are not among the arguments that make it."""
    if dataclasses.is_dataclass(cls):
        return [f.name for f in dataclasses.fields(cls) if not f.init]
    return [a.name for a in getattr(cls, "__attrs_attrs__", ()) if not a.init]


def keywords_of(cls: Any) -> list[tuple[str, str]]:
    """Return pairs of attribute and argument for a dataclass or attrs class."""
    reader = _reader(cls)
    return [(f.name, f.keyword) for f in reader(cls, {})] if reader is not None else []


def substitute(hint: Any, known: Mapping[Any, Any]) -> Any:
    """Put types in the place of type variables.

    Args:
        hint: A hint that may mention type variables.
        known: The type that each stands for.

    Returns:
        The hint without those that are known.
    """
    if isinstance(hint, TypeVar):
        return known.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if not parameters or isinstance(hint, type):
        return hint
    return hint[tuple(known.get(p, p) for p in parameters)]


def _made_by(factory: Any) -> Any:
    """Return the default that a factory makes, if it is always the same; code of the user's is not run."""
    return factory() if factory in _EMPTY_MAKERS else EMPTY


def _make_tagged(cls: type, tag_field: str, **fields: Any) -> Any:
    del fields[tag_field]
    return cls(**fields)


def _reader(cls: type) -> _Fields | None:
    if hasattr(cls, "__struct_fields__"):
        return _struct_fields
    if dataclasses.is_dataclass(cls):
        return _dataclass_fields
    if typing.is_typeddict(cls):
        return _typed_dict_fields
    if is_named_tuple(cls):
        return _named_tuple_fields
    if hasattr(cls, "__attrs_attrs__"):
        return _attrs_fields
    return None


def _field_hints(cls: type, args: tuple[Any, ...]) -> dict[str, Any]:
    known = _type_variables(cls, args)
    return {name: substitute(hint, known) for name, hint in hints_of(cls).items()}


def _type_variables(cls: type, args: tuple[Any, ...]) -> dict[Any, Any]:
    """Return what each type variable of a generic class and its bases stands for."""
    known: dict[Any, Any] = dict(zip(getattr(cls, "__parameters__", ()), args, strict=False))
    for base in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(base)
        if isinstance(origin, type) and origin is not typing.Generic:
            below = tuple(substitute(a, known) for a in get_args(base))
            known = {**_type_variables(origin, below), **known}
    return known


def _annotated_fields(cls: type) -> list[Field]:
    fields = []
    for name, hint in hints_of(cls).items():
        default = getattr(cls, name, EMPTY)
        if not name.startswith("_") and (default is EMPTY or not callable(default)):
            fields.append(Field(name, name, hint, default is EMPTY, default))
    return fields


def _dataclass_fields(cls: Any, hints: Mapping[str, Any]) -> list[Field]:
    missing = dataclasses.MISSING
    # pydantic's own dataclasses are made by the alias.
    aliases = {name: f.alias for name, f in getattr(cls, "__pydantic_fields__", {}).items() if f.alias}
    return [
        Field(
            f.name,
            aliases.get(f.name, f.name),
            hints.get(f.name, Any),
            f.default is missing and f.default_factory is missing,
            f.default if f.default is not missing else _made_by(f.default_factory),
        )
        for f in dataclasses.fields(cls)
        if f.init
    ]


def _named_tuple_fields(cls: Any, hints: Mapping[str, Any]) -> list[Field]:
    defaults = {name: cls._field_defaults.get(name, EMPTY) for name in cls._fields}
    return [
        Field(name, name, hints.get(name, Any), default is EMPTY, default)
        for name, default in defaults.items()
    ]


def _typed_dict_fields(cls: Any, hints: Mapping[str, Any]) -> list[Field]:
    fields = []
    for name, hint in hints.items():
        required = name in cls.__required_keys__
        while (origin := get_origin(hint)) is not None:
            if origin in (Required, NotRequired):
                required = origin is Required
            elif getattr(origin, "_name", "") != "ReadOnly":
                break
            hint = get_args(hint)[0]
        fields.append(Field(name, name, hint, required))
    return fields


def _attrs_fields(cls: Any, hints: Mapping[str, Any]) -> list[Field]:
    fields = []
    for a in cls.__attrs_attrs__:
        nothing = type(a.default).__name__ == "_Nothing" or getattr(a.default, "name", "") == "NOTHING"
        factory = type(a.default).__name__ == "Factory"
        default = _made_by(a.default.factory) if factory else EMPTY if nothing else a.default
        if a.init:
            fields.append(Field(a.name, a.alias, hints.get(a.name, Any), nothing, default))
    return fields


def _struct_fields(cls: Any, hints: Mapping[str, Any]) -> list[Field]:
    fields = []
    if (tag := struct_tag(cls)) is not None:
        fields.append(Field(tag[0], tag[0], Literal[tag[1]], True))
    for f in msgspec.structs.fields(cls):
        default = f.default if f.default is not msgspec.NODEFAULT else _made_by(f.default_factory)
        fields.append(Field(f.encode_name, f.name, hints.get(f.name, Any), f.required, default))
    return fields
