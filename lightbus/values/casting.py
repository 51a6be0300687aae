"""``cast()``: JSON values to the types of a hint, strictly.

A hint is compiled once into a :class:`Converter`. If the value already has the right type, converting it
costs a set look-up. If it doesn't fit, the error says where and why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import shapes
from .constraints import checker
from .misfit import Misfit, shown
from .not_finite import written
from .reading import read
from .scalars import (
    INT_KEY,
    JSON_TYPES,
    LIST,
    MOST_DIGITS,
    NOTHING,
    OBJECT,
    Convert,
    Converter,
    identity,
    misfit,
    scalar,
)


class Compiler:
    """Makes the converters of one hint and of all that it mentions.

    Args:
        is_tolerant: Whether fields that a class does not have are left out, instead of refused.
    """

    def __init__(self, *, is_tolerant: bool = False) -> None:
        self._known: dict[shapes.Shape, Converter] = {}
        #: A union takes what fits one of its members as it is, before what fits without some fields.
        self._strict = Compiler() if is_tolerant else None

    def converter(self, hint: Any) -> Converter:
        """Return the converter of a hint."""
        return self._of(read(hint))

    def unconverted(self) -> list[shapes.Unknown | shapes.Plain]:
        """Return what was mentioned of which values are handed over as they come."""
        return [shape for shape in self._known if isinstance(shape, shapes.Unknown | shapes.Plain)]

    def _of(self, shape: shapes.Shape) -> Converter:
        known = self._known.get(shape)
        if known is None:
            make = getattr(self, f"_{type(shape).__name__.lower()}")
            if isinstance(shape, shapes.ObjectOf | shapes.Alias):
                # It may contain itself, so that it must be there before it is complete.
                known = self._known[shape] = Converter(identity, NOTHING, JSON_TYPES)
                made = make(shape)
                known.call, known.exact, known.takes = made.call, made.exact, made.takes
            else:
                known = self._known[shape] = make(shape)
        return known

    def _anything(self, shape: shapes.Anything) -> Converter:
        return Converter(identity, JSON_TYPES, JSON_TYPES)

    _unknown = _anything

    def _plain(self, shape: shapes.Plain) -> Converter:
        def convert(value: Any) -> Any:
            if type(value) is not dict:
                raise misfit(value, f"an object with the fields of {shape.name}")
            return value

        return Converter(convert, OBJECT, OBJECT)

    def _scalar(self, shape: shapes.Scalar) -> Converter:
        converter = scalar(shape.type, shape.name)
        if shape.cls is None:
            return converter
        return Converter(_then(converter.call, shape.cls, shape.name), NOTHING, converter.takes)

    def _listof(self, shape: shapes.ListOf) -> Converter:
        item = self._of(shape.item)
        make, name = shape.make, shape.name

        def convert(value: Any) -> Any:
            if type(value) is not list:
                raise misfit(value, name)
            call, exact = item.call, item.exact
            done: list[Any] = []
            try:
                for element in value:
                    done.append(element if type(element) in exact else call(element))
            except Misfit as e:
                e.path.append(len(done))
                raise
            if make is None:
                return done
            try:
                return make(done)
            except TypeError:
                raise Misfit(f"the items of a {make.__name__} must be hashable") from None

        return Converter(convert, NOTHING, LIST)

    def _tupleof(self, shape: shapes.TupleOf) -> Converter:
        items = [self._of(i) for i in shape.items]
        name = shape.name

        def convert(value: Any) -> Any:
            if type(value) is not list or len(value) != len(items):
                raise misfit(value, f"{name}, a list of {len(items)}")
            done: list[Any] = []
            try:
                for item, element in zip(items, value, strict=True):
                    done.append(item.call(element))
            except Misfit as e:
                e.path.append(len(done))
                raise
            return tuple(done)

        return Converter(convert, NOTHING, LIST)

    def _mapof(self, shape: shapes.MapOf) -> Converter:
        item, key_call = self._of(shape.item), self._key(shape.key)
        make, name = shape.make, shape.name

        def convert(value: Any) -> Any:
            if type(value) is not dict:
                raise misfit(value, name)
            call, exact = item.call, item.exact
            done: dict[Any, Any] = {}
            key: Any = ""
            try:
                for key, element in value.items():
                    if type(key) is not str:
                        raise misfit(key, "text as key")
                    new_key = key if key_call is None else key_call(key)
                    done[new_key] = element if type(element) in exact else call(element)
            except Misfit as e:
                e.path.append(key if type(key) is str else shown(key))
                raise
            if len(done) != len(value):
                raise Misfit(f"two keys stand for the same {shape.key.name}")
            return done if make is None else make(done)

        return Converter(convert, NOTHING, OBJECT)

    def _key(self, shape: shapes.Shape) -> Convert | None:
        """Return the function that makes a key of a name of a JSON object; None if it stays text."""
        converter = self._of(shape)
        if str in converter.exact:
            return None
        convert, by_number = converter.call, int in converter.takes

        def key(text: str) -> Any:
            sent: Any = text
            if by_number and INT_KEY.fullmatch(text) and len(text) < MOST_DIGITS:
                sent = int(text)
            try:
                return convert(sent)
            except Misfit as e:
                raise Misfit(f"as a key: {e.reason}") from None

        return key

    def _choice(self, shape: shapes.Choice) -> Converter:
        members = {_identify(sent): member for sent, member in shape.members}
        kinds: set[type] = {type(sent) for sent, _ in shape.members}
        takes: frozenset[type] = frozenset(kinds | ({int, float} if kinds & {int, float} else set()))
        allowed = ", ".join(shown(sent) for sent, _ in shape.members[:20])
        name = f"one of {allowed}{', ...' if len(shape.members) > 20 else ''}"
        same = all(sent is member for sent, member in shape.members) and kinds == {str}

        def convert(value: Any) -> Any:
            try:
                member = members.get(value if type(value) is str else _identify(value), members)
            except RecursionError:
                member = members
            if member is members:
                raise misfit(value, name)
            return value if same else member

        return Converter(convert, NOTHING, takes)

    def _unionof(self, shape: shapes.UnionOf) -> Converter:
        members = [self._of(m) for m in shape.members]
        if self._strict is not None:
            members = [*(self._strict._of(m) for m in shape.members), *members]
        table: dict[type, list[Converter]] = {}
        exact: set[type] = set()
        for kind in JSON_TYPES:
            fits = [m for m in members if kind in m.takes]
            plain = [m for m in fits if kind in m.exact]
            # Text may stand for many types, so that their order decides; a number is first of all itself.
            if plain and (kind is not str or plain[0] is fits[0]):
                exact.add(kind)
            table[kind] = fits
        known = frozenset(exact)

        def convert(value: Any) -> Any:
            if type(value) in known:
                return value
            furthest: Misfit | None = None
            for member in table.get(type(value), ()):
                try:
                    return member.call(value)
                except Misfit as e:
                    if e.path and (furthest is None or len(e.path) > len(furthest.path)):
                        furthest = e
            raise furthest or misfit(value, shape.name)

        return Converter(convert, known, frozenset(k for k, fits in table.items() if fits))

    def _constrained(self, shape: shapes.Constrained) -> Converter:
        inner = self._of(shape.shape)
        check = checker(shape.rules)

        def convert(value: Any) -> Any:
            converted = inner.call(value)
            problem = check(converted)
            if problem:
                raise Misfit(f"{shown(value)} {problem}")
            return converted

        return Converter(convert, NOTHING, inner.takes)

    def _hidden(self, shape: shapes.Hidden) -> Converter:
        return self._of(shape.shape)

    def _objectof(self, shape: shapes.ObjectOf) -> Converter:
        fields = {
            f.name: (f.keyword, self.converter(shapes.optional(f.hint, f.default))) for f in shape.fields
        }
        required = frozenset(f.name for f in shape.fields if f.required)
        make, name = shape.make, shape.name

        def convert(value: Any) -> Any:
            if type(value) is not dict:
                raise misfit(value, f"an object with the fields of {name}")
            given: dict[str, Any] = {}
            key = ""
            try:
                for key, item in value.items():
                    keyword, converter = fields[key]
                    given[keyword] = item if type(item) in converter.exact else converter.call(item)
            except Misfit as e:
                e.path.append(key)
                raise
            except KeyError:
                raise Misfit(f"{name} has no such field; it has: {', '.join(fields)}", str(key)) from None
            if not required <= value.keys():
                missing = next(f for f in fields if f in required and f not in value)
                raise Misfit(f"the field {missing} of {name} is missing")
            try:
                return make(**given)
            except (ValueError, TypeError, ArithmeticError, LookupError) as e:
                raise Misfit(f"{name} refuses it: {str(e)[:200]}") from e

        if self._strict is None:
            return Converter(convert, NOTHING, OBJECT)

        def convert_known(value: Any) -> Any:
            if type(value) is dict and not value.keys() <= fields.keys():
                value = {key: item for key, item in value.items() if key in fields}
            return convert(value)

        return Converter(convert_known, NOTHING, OBJECT)

    def _alias(self, shape: shapes.Alias) -> Converter:
        sent = self.converter(shape.target)
        if shape.make is None:
            return sent
        return Converter(_then(sent.call, shape.make, shape.name), NOTHING, sent.takes)

    def _model(self, shape: shapes.Model) -> Converter:
        validate, name = shape.cls.model_validate_json, shape.name

        def convert(value: Any) -> Any:
            try:
                return validate(written(value), strict=True)
            except (ValueError, TypeError) as e:
                errors = getattr(e, "errors", None)
                if not callable(errors):
                    raise misfit(value, name) from e
                first = errors(include_url=False, include_context=False, include_input=False)[0]
                raise Misfit(f"{name} refuses it: {first['msg'][:200]}", *reversed(first["loc"])) from e

        is_root = getattr(shape.cls, "__pydantic_root_model__", False)
        return Converter(convert, NOTHING, JSON_TYPES if is_root else OBJECT)


def _then(first: Convert, make: Callable[[Any], Any], name: str) -> Convert:
    """Convert, then hand the result to the user's own code, whose complaints are misfits too."""

    def convert(value: Any) -> Any:
        sent = first(value)
        try:
            return make(sent)
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as e:
            raise Misfit(f"{name} refuses {shown(value)}: {type(e).__name__}: {str(e)[:200]}") from e

    return convert


def _identify(value: Any) -> Any:
    """Return a key under which equal JSON values, and no others, are the same."""
    kind = type(value)
    if kind is str:
        return value
    if kind is float and value.is_integer():
        return (int, int(value))
    if kind is list or kind is tuple:
        return (list, tuple(_identify(v) for v in value))
    if kind is dict:
        return (dict, frozenset((k, _identify(v)) for k, v in value.items()))
    return (kind, value if kind in JSON_TYPES else id(value))
