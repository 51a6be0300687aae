"""The rules of ``Annotated`` hints: bounds, lengths and patterns."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

_Check = Callable[[Any], bool]


def checker(rules: Sequence[tuple[str, Any]]) -> Callable[[Any], str]:
    """Compile rules into one function.

    Args:
        rules: Pairs such as ``("minimum", 0)``, named as in JSON Schema, or ``("predicate", function)``.

    Returns:
        A function that returns what is wrong with a value, or an empty text. A rule that doesn't apply to
        the type of a value, such as a length to a number, is passed over.
    """
    checks = [(_check(rule, limit), _words(rule, limit)) for rule, limit in rules]

    def check(value: Any) -> str:
        for fits, words in checks:
            try:
                if not fits(value):
                    return words
            except TypeError:
                continue
        return ""

    return check


def _check(rule: str, limit: Any) -> _Check:
    if rule == "pattern":
        search = re.compile(limit).search
        return lambda value: search(value) is not None
    if rule == "predicate":
        return lambda value: bool(limit(value))
    return {
        "minimum": lambda value: value >= limit,
        "exclusiveMinimum": lambda value: value > limit,
        "maximum": lambda value: value <= limit,
        "exclusiveMaximum": lambda value: value < limit,
        "minLength": lambda value: len(value) >= limit,
        "maxLength": lambda value: len(value) <= limit,
        "multipleOf": lambda value: _is_multiple(value, limit),
    }[rule]


def _is_multiple(value: Any, of: Any) -> bool:
    if isinstance(value, float) or isinstance(of, float):
        quotient = value / of
        return math.isclose(quotient, round(quotient), rel_tol=1e-9, abs_tol=1e-9)
    return bool(value % of == 0)


def _words(rule: str, limit: Any) -> str:
    return {
        "minimum": f"is less than {limit!r}",
        "exclusiveMinimum": f"is not greater than {limit!r}",
        "maximum": f"is greater than {limit!r}",
        "exclusiveMaximum": f"is not less than {limit!r}",
        "minLength": f"is shorter than {limit!r}",
        "maxLength": f"is longer than {limit!r}",
        "multipleOf": f"is not a multiple of {limit!r}",
        "pattern": f"does not match {str(limit)[:100]!r}",
        "predicate": f"is refused by {getattr(limit, '__name__', 'a predicate')}",
    }[rule]
