"""The rules of ``Annotated`` hints: bounds, lengths and patterns."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

_RULES: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "minimum": (operator.ge, "is less than {!r}"),
    "exclusiveMinimum": (operator.gt, "is not greater than {!r}"),
    "maximum": (operator.le, "is greater than {!r}"),
    "exclusiveMaximum": (operator.lt, "is not less than {!r}"),
    "minLength": (lambda value, limit: len(value) >= limit, "is shorter than {!r}"),
    "maxLength": (lambda value, limit: len(value) <= limit, "is longer than {!r}"),
    "multipleOf": (lambda value, of: _is_multiple(value, of), "is not a multiple of {!r}"),
    "pattern": (lambda value, pattern: pattern.search(value), "does not match {.pattern!r:.100}"),
    "predicate": (lambda value, fits: fits(value), "is refused by {}"),
}


def checker(rules: Sequence[tuple[str, Any]]) -> Callable[[Any], str]:
    """Compile rules into one function.

    Args:
        rules: Pairs such as ``("minimum", 0)``, named as in JSON Schema, or ``("predicate", function)``.

    Returns:
        A function that returns what is wrong with a value, or an empty text. A rule that doesn't apply to
        the type of a value, such as a length to a number, is passed over.
    """
    checks = [(*_RULES[r], re.compile(limit) if r == "pattern" else limit) for r, limit in rules]

    def check(value: Any) -> str:
        for fits, words, limit in checks:
            try:
                if not fits(value, limit):
                    return words.format(getattr(limit, "__name__", limit))
            except TypeError:
                continue
        return ""

    return check


def _is_multiple(value: Any, of: Any) -> bool:
    if isinstance(value, float) or isinstance(of, float):
        quotient = value / of
        if not math.isfinite(quotient):
            return False
        return math.isclose(quotient, round(quotient), rel_tol=1e-9, abs_tol=1e-9)
    return bool(value % of == 0)
