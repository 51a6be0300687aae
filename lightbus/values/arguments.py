"""The casters that the rest of Lightbus calls: of one value, and of all arguments of a handler."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .casting import Compiler
from .misfit import Misfit
from .scalars import Converter
from .shapes import Plain, Unknown, optional

_TOO_DEEP = "is nested too deep"


def cast(value: Any, hint: Any) -> Any:
    """Turn a JSON value into a value of a hint, strictly.

    Returns:
        The value; the same object where nothing had to be converted.

    Raises:
        ValidationError: It doesn't fit; the message has the path.
        MisconfiguredApiOptions: The hint stands for values that can't travel over the bus.
    """
    return _caster_of_one(Compiler().converter(hint))(value)


def tolerant_caster(hint: Any) -> Callable[[Any], Any]:
    """Return the function that turns JSON values into those of a hint, without fields that the hint lacks.

    Raises:
        MisconfiguredApiOptions: As with :func:`cast`.
    """
    return _caster_of_one(Compiler(is_tolerant=True).converter(hint))


def _caster_of_one(converter: Converter) -> Callable[[Any], Any]:
    def cast_one(value: Any) -> Any:
        if type(value) in converter.exact:
            return value
        try:
            return converter.call(value)
        except Misfit as e:
            raise e.error() from e.__cause__
        except RecursionError:
            raise Misfit(_TOO_DEEP).error() from None

    return cast_one


def arguments_caster(
    signature: inspect.Signature, hints: Mapping[str, Any]
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function that casts the arguments of one handler; make it once per handler.

    Args:
        signature: The handler's signature. Missing arguments are not noticed here.
        hints: Its resolved hints by parameter name, as ``hints_of()`` returns them.

    Returns:
        A function from arguments as JSON values to arguments as the hints say. Parameters without a hint
        pass as they are; so do names that are no parameters, save for ``**kwargs: hint``.

    Raises:
        MisconfiguredApiOptions: A hint stands for values that can't travel over the bus.
    """
    compiler = Compiler()
    known: dict[str, Converter] = {}
    others: Converter | None = None
    for parameter, hint in _hinted(signature, hints):
        if parameter.kind is parameter.VAR_KEYWORD:
            others = compiler.converter(hint)
        else:
            known[parameter.name] = compiler.converter(hint)
    return _caster(known, others)


def unconverted(
    signature: inspect.Signature, hints: Mapping[str, Any]
) -> Iterator[tuple[str, Unknown | Plain]]:
    """Return the parameters of one handler whose values its caster hands over as they come, at least in part.

    Args:
        signature: The handler's signature.
        hints: Its resolved hints by parameter name.

    Returns:
        The names, each with what its hint mentions that says nothing here.
    """
    for parameter, hint in _hinted(signature, hints):
        compiler = Compiler()
        compiler.converter(hint)
        yield from ((parameter.name, shape) for shape in compiler.unconverted())


def _hinted(
    signature: inspect.Signature, hints: Mapping[str, Any]
) -> Iterator[tuple[inspect.Parameter, Any]]:
    """Return the parameters that are given by name, each with its hint, where it has one."""
    for parameter in signature.parameters.values():
        hint = hints.get(parameter.name, Any)
        if hint is not Any and parameter.kind is not parameter.VAR_POSITIONAL:
            yield parameter, optional(hint, parameter.default)


def named_caster(hints: Mapping[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function that casts arguments of these names, which may be words of Python such as ``from``.

    Raises:
        MisconfiguredApiOptions: As with :func:`arguments_caster`.
    """
    compiler = Compiler()
    return _caster({name: compiler.converter(hint) for name, hint in hints.items()}, None)


def _caster(
    known: Mapping[str, Converter], others: Converter | None
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    exact = {name: converter.exact for name, converter in known.items()}
    rest = others.exact if others else None

    def cast_arguments(kwargs: dict[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] | None = None
        name = ""
        try:
            for name, value in kwargs.items():
                stays = exact.get(name, rest)
                if stays is None or type(value) in stays:
                    continue
                converter = known.get(name) or others
                if converter is not None:
                    if changed is None:
                        changed = kwargs.copy()
                    changed[name] = converter.call(value)
        except Misfit as e:
            e.path.append(name)
            raise e.error() from e.__cause__
        except RecursionError:
            raise Misfit(_TOO_DEEP, name).error() from None
        return kwargs if changed is None else changed

    return cast_arguments
