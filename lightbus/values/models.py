"""Pydantic models that would lose something on their way: found once per class, told when one is sent.

pydantic dumps for people as well as for programs. A ``SecretStr`` becomes asterisks, ``Field(exclude=True)``
is left out, an alias may be written and not read, and a serializer may do anything. The reader then gets a
valid model with other content. pydantic is never imported here.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import msgspec

from .misfit import Misfit
from .not_finite import written
from .objects import is_model, is_named_tuple
from .shapes import hints_of

#: Whether the answer to a call is dumped now. Nobody reads that back into a model.
answering: ContextVar[bool] = ContextVar("answering", default=False)

_REVEAL = (
    "give it a @field_serializer that sends what it hides, or make the field a str: whoever reads the bus "
    "sees it either way"
)
_SERIALIZERS = ("PlainSerializer", "WrapSerializer")


class Lost(msgspec.Struct, frozen=True):
    """One field that does not arrive as it is; ``in_answers``, not even in an answer to a call."""

    path: tuple[str, ...]
    reason: str
    in_answers: bool = False


class Losses(msgspec.Struct):
    """The losses of one class of models.

    Args:
        always: The fields that never arrive as they are.
        is_serialized: Whether code of the user's makes JSON of some field, so that nobody knows.
        is_open: Whether a field may hold anything, such as a secret.
    """

    always: list[Lost] = []
    is_serialized: bool = False
    is_open: bool = False

    def of(self, *, answer: bool) -> Lost | None:
        """Return the first field that is lost: in an answer, or in a value that is read into a model."""
        return next((lost for lost in self.always if lost.in_answers or not answer), None)


@lru_cache(maxsize=4096)
def losses_of(cls: Any) -> Losses:
    """Return the losses of the objects of a pydantic model when they are sent."""
    losses = Losses()
    _of_model(cls, (), losses, set())
    return losses


def dump_model(value: Any) -> Any:
    """Return what pydantic makes of a model.

    Raises:
        Misfit: Something in it would not arrive as it is, or can't be sent.
    """
    cls: Any = type(value)
    answer = answering.get()
    losses = losses_of(cls)
    lost = losses.of(answer=answer)
    if lost is not None:
        raise Misfit(lost.reason, *reversed(lost.path))
    if losses.is_open:
        for path in _secrets(value, ()):
            raise Misfit(f"would arrive as asterisks; {_REVEAL}", *reversed(path))
    try:
        dumped = value.model_dump(mode="json", by_alias=True)
    except ValueError as e:
        raise Misfit(f"{cls.__name__} can't be sent: {str(e)[:200]}") from e
    if losses.is_serialized and not answer:
        _read_back(value, dumped)
    return dumped


def _of_model(cls: Any, path: tuple[str, ...], losses: Losses, seen: set[Any]) -> None:
    if cls in seen:
        return
    seen.add(cls)
    decorators = cls.__pydantic_decorators__
    losses.is_serialized |= bool(decorators.model_serializers)
    serialized = {n for d in decorators.field_serializers.values() for n in d.info.fields}
    losses.is_serialized |= bool(serialized)
    for name, field in cls.model_fields.items():
        here = path if getattr(cls, "__pydantic_root_model__", False) else (*path, name)
        losses.is_serialized |= getattr(field, "exclude_if", None) is not None
        if field.exclude:
            losses.always.append(
                Lost(here, "is left out by Field(exclude=True), and its default would arrive")
            )
        sent = field.serialization_alias or name
        if sent not in _read_names(cls, name, field.validation_alias):
            reason = f"is sent as {sent!r} and read by another name; give both aliases the same name"
            losses.always.append(Lost(here, reason))
        if any(type(note).__name__ in _SERIALIZERS for note in field.metadata):
            losses.is_serialized = True
        elif name not in serialized and "*" not in serialized:
            _of_hint(field.annotation, here, losses, seen)


def _read_names(cls: Any, name: str, alias: Any) -> set[Any]:
    config = cls.model_config
    by_name = config.get("validate_by_name") or config.get("populate_by_name")
    found = {name} if alias is None or by_name or config.get("validate_by_alias") is False else set()
    if alias is not None and config.get("validate_by_alias") is not False:
        for one in getattr(alias, "choices", [alias]):
            path = getattr(one, "path", [one])
            found |= {path[0]} if len(path) == 1 else set()
    return found


def _of_hint(hint: Any, path: tuple[str, ...], losses: Losses, seen: set[Any]) -> None:
    args = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Annotated:
        if any(type(note).__name__ in _SERIALIZERS for note in args[1:]):
            losses.is_serialized = True
            return
        args = args[:1]
    if typing.get_origin(hint) is typing.Literal:
        return
    if hint in (Any, object, dict, list, tuple, set):
        losses.is_open = True
    cls = typing.get_origin(hint) or hint
    if isinstance(cls, type) and _is_secret(cls):
        losses.always.append(
            Lost(path, f"is a {cls.__name__}, which would arrive as asterisks; {_REVEAL}", True)
        )
    elif isinstance(cls, type) and is_model(cls):
        _of_model(cls, path, losses, seen)
    elif isinstance(cls, type) and _has_fields(cls) and cls not in seen:
        seen.add(cls)
        for name, each in hints_of(cls).items():
            _of_hint(each, (*path, name), losses, seen)
    for each in args:
        _of_hint(each, path, losses, seen)


def _has_fields(cls: type) -> bool:
    return dataclasses.is_dataclass(cls) or typing.is_typeddict(cls) or is_named_tuple(cls)


def _is_secret(cls: type) -> bool:
    """Tell whether pydantic shows asterisks for values of a class, such as SecretStr and Secret[...]."""
    return any(base.__name__ == "_SecretBase" for base in cls.__mro__)


def _secrets(value: Any, path: tuple[str | int, ...], depth: int = 0) -> Iterator[tuple[str | int, ...]]:
    """Yield the paths of secrets in fields that may hold anything."""
    if _is_secret(type(value)):
        yield path
    elif depth < 100:
        items: Any = ()
        if is_model(type(value)):
            items = vars(value).items()
        elif isinstance(value, dict):
            items = value.items()
        elif isinstance(value, list | tuple | set | frozenset):
            items = enumerate(value)
        for key, item in items:
            yield from _secrets(item, (*path, key if isinstance(key, int) else str(key)), depth + 1)


def _read_back(value: Any, dumped: Any) -> None:
    """Refuse a model that its own serializers change, so that another one would arrive."""
    cls = type(value)
    try:
        again = cls.model_validate_json(written(dumped), strict=True)
    except (ValueError, TypeError) as e:
        errors = getattr(e, "errors", None)
        first = errors(include_url=False)[0] if callable(errors) else {}
        reason = str(first.get("msg", e))[:200]
        raise Misfit(
            f"is made by a serializer into what {cls.__name__} does not read: {reason}",
            *reversed(first.get("loc", ())),
        ) from None
    path = difference(value, again)
    if path is not None:
        raise Misfit(
            "would arrive as another value, since its serializer makes something else of it; give the class "
            "__to_bus__() and __from_bus__(), or let the serializer keep the value",
            *reversed(path),
        )


def difference(one: Any, other: Any) -> tuple[str | int, ...] | None:
    """Return the path to the first thing in which two values differ; None if nothing can be told."""
    if is_model(type(one)) and type(one) is type(other):
        pairs: Any = ((name, (each, vars(other).get(name))) for name, each in vars(one).items())
    elif type(one) is list and type(other) is list and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
    elif type(one) is dict and type(other) is dict and one.keys() == other.keys():
        pairs = ((key, (each, other[key])) for key, each in one.items())
    else:
        # Objects that Python tells apart by their identity say nothing.
        told_by: Any = type(one).__eq__
        return () if told_by is not object.__eq__ and one != other and one == one else None
    for key, (each, its_copy) in pairs:
        path = difference(each, its_copy)
        if path is not None:
            return (key if isinstance(key, int) else str(key), *path)
    return None
