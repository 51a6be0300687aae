"""The classes of a project's own APIs, which a module of typed clients imports instead of writing them."""

from __future__ import annotations

import enum
import operator
import sys
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from lightbus import values
from lightbus.declared.definition import EMPTY, Definition
from lightbus.values import shapes


def classes_of(definition: Definition) -> dict[tuple[str, str], tuple[str, str]]:
    """Return the classes that an API's procedures and events mention.

    Args:
        definition: The API, as its class defines it.

    Returns:
        The module of each and its name there, by API and title in the contract. Those that can't be imported
        by that name, or share it with another class, are left out.
    """
    found: dict[str, set[type]] = {}
    seen: set[shapes.Shape] = set()
    for hint in _hints(definition):
        for cls in _classes(values.read(hint), seen):
            found.setdefault(cls.__name__, set()).add(cls)
    alone = [classes.pop() for classes in found.values() if len(classes) == 1]
    return {
        (definition.name, cls.__name__): (cls.__module__, cls.__qualname__) for cls in alone if _is_there(cls)
    }


def _hints(definition: Definition) -> Iterator[Any]:
    for procedure in definition.procedures.values():
        yield from values.hints_of(procedure.function).values()
    for event in definition.events.values():
        yield from (p.type for p in event.parameters if p.type is not EMPTY)


def _classes(shape: shapes.Shape, seen: set[shapes.Shape]) -> Iterator[type]:
    """Go through the classes of a shape and of those in it whose values the module makes objects of."""
    if shape in seen:
        return
    seen.add(shape)
    if isinstance(shape, shapes.Choice):
        yield from {type(each) for _, each in shape.members if isinstance(each, enum.Enum)}
    elif isinstance(shape, shapes.Model):
        yield from _models(shape.cls, set())
    elif isinstance(shape, shapes.ObjectOf) and isinstance(shape.make, type) and shape.make is not dict:
        yield shape.make
    for inner in _inner(shape):
        yield from _classes(inner, seen)


def _inner(shape: shapes.Shape) -> Iterator[shapes.Shape]:
    if isinstance(shape, shapes.ListOf):
        yield shape.item
    elif isinstance(shape, shapes.TupleOf):
        yield from shape.items
    elif isinstance(shape, shapes.MapOf):
        yield from (shape.key, shape.item)
    elif isinstance(shape, shapes.UnionOf):
        yield from shape.members
    elif isinstance(shape, shapes.Constrained | shapes.Hidden):
        yield shape.shape
    elif isinstance(shape, shapes.Fielded):
        yield from (values.read(field.hint) for field in shape.fields)
    elif isinstance(shape, shapes.Alias):
        yield values.read(shape.target)


def _models(hint: Any, seen: set[Any]) -> Iterator[type]:
    """Go through a pydantic model and the models in its fields; a generic one is written again."""
    for inner in get_args(hint) if get_origin(hint) is not None else ():
        yield from _models(inner, seen)
    if isinstance(hint, type) and hint not in seen and hasattr(hint, "model_fields"):
        seen.add(hint)
        yield hint
        for field in hint.model_fields.values():
            yield from _models(field.annotation, seen)


def _is_there(cls: type) -> bool:
    module = sys.modules.get(cls.__module__)
    if module is None or cls.__module__ in ("__main__", "builtins") or "<" in cls.__qualname__:
        return False
    try:
        return operator.attrgetter(cls.__qualname__)(module) is cls
    except AttributeError:
        return False
