"""Validators: compiled once per schema, then some 0.2 µs for a small message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import reduce
from operator import getitem
from typing import Any, Final, NoReturn

from lightbus.exceptions import InvalidMessage, ValidationError
from lightbus.values import located, shown, stand_ins

from .safety import check_schema

#: Bytes that one pattern may take once it is compiled, and all of a schema. Some 15 ms go by for each MiB, in
#: which nothing else runs: the compiler does not let other threads work.
_REGEX_SIZE: Final = 2 * 1024 * 1024
_ALL_REGEX_SIZE: Final = 4 * 1024 * 1024
_LEAST_REGEX_SIZE: Final = 16 * 1024
_LEAST_CACHE: Final = 64 * 1024
_SHOWN: Final = 120


class Validator:
    """Checks values against one schema.

    Args:
        check: Raises ValueError for a value that doesn't fit.
        what: Names the values in the error, such as ``the result of auth.check_password``.
    """

    __slots__ = ("_check", "_what")

    def __init__(self, check: Callable[[Any], None], what: str) -> None:
        self._check = check
        self._what = what

    def validate(self, value: Any) -> None:
        """Check one value.

        Raises:
            ValidationError: It doesn't fit; the message has the path and the reason, but not the whole value.
        """
        try:
            self._check(value)
        except ValueError as e:
            error = self._misfit(value, e)
            if error is not None:
                raise ValidationError(f"{self._what}: {_explain(error, value)}") from None

    def _misfit(self, value: Any, error: ValueError) -> ValueError | None:
        """Return what is wrong with a value that was refused, perhaps for a number that is infinite or none.

        The compiled schema takes such a number for null, or for no value at all.
        """
        copies = stand_ins(value)
        try:
            for copy in copies:
                self._check(copy)
        except ValueError as e:
            return e
        return None if copies else error


def compile(schema: dict[str, Any], what: str = "the value") -> Validator:
    """Compile a schema, which may come from a stranger.

    Args:
        schema: A JSON Schema; draft-07 whatever it says.
        what: Names the values in errors.

    Raises:
        InvalidMessage: The schema is wrong, too large, refers to something outside of itself, or has a
            pattern that can't be matched in linear time.
    """
    patterns = check_schema(schema)
    body = {key: value for key, value in schema.items() if key != "$schema"}
    try:
        try:
            compiled = _compile(body, _ALL_REGEX_SIZE // max(1, len(patterns)))
        except ValueError:
            # Wrong, or patterns of very different sizes, or too large a one.
            compiled = _compile(body, _largest_of(patterns))
    except ValueError as e:
        reason = str(getattr(e, "message", e)).replace('is not a "regex"', "is not a usable pattern")
        raise InvalidMessage(f"{what}: the schema can't be used: {reason[:300]}") from None
    return Validator(compiled.validate, what)


def _compile(schema: dict[str, Any], regex_size: int) -> Any:
    import jsonschema_rs

    size = min(regex_size, _REGEX_SIZE)
    return jsonschema_rs.Draft7Validator(
        schema,
        validate_formats=False,
        retriever=_never,
        mask="the value",
        pattern_options=jsonschema_rs.RegexOptions(size_limit=size, dfa_size_limit=max(size, _LEAST_CACHE)),
    )


def _largest_of(patterns: Sequence[str]) -> int:
    """Return the bytes that the largest of these patterns takes once it is compiled, rounded up.

    Raises:
        ValueError: One of them can't be used, or all together are too large.
    """
    largest, total = _LEAST_REGEX_SIZE, 0
    for pattern in patterns:
        size = _LEAST_REGEX_SIZE
        while True:
            try:
                _compile({"pattern": pattern}, size)
                break
            except ValueError:
                if size >= _REGEX_SIZE:
                    raise
                size *= 2
        largest, total = max(largest, size), total + size
        if total > _ALL_REGEX_SIZE:
            raise ValueError(
                f"its {len(patterns)} patterns take more than {_ALL_REGEX_SIZE // 1024**2} MiB once they are "
                "compiled, which would keep everything else waiting; repeat less in them, as in {1,500}"
            )
    return largest


def _never(uri: str) -> NoReturn:
    raise LookupError(f"{uri[:80]} is not fetched")


def _explain(error: Any, value: Any) -> str:
    """Say in one short line what is wrong with a value, and where.

    Args:
        error: That of jsonschema-rs, or a plain ValueError.
        value: The value.
    """
    kind = getattr(error, "kind", None)
    if kind is None:
        return f"not a JSON value: {str(error)[:_SHOWN]}"
    error = _innermost(error)
    wrong = error.instance
    if isinstance(wrong, Decimal):  # It stands for what is there.
        wrong = reduce(getitem, error.instance_path, value)
    return located(error.instance_path, _reason(wrong, error.kind.name, error.kind.as_dict()))


def _innermost(error: Any) -> Any:
    """Return, if none of several schemas fits, the error of the one that came furthest."""
    while error.kind.name in ("anyOf", "oneOf"):
        branches = error.kind.as_dict().get("context") or []
        errors = [e for branch in branches for e in branch]
        best = max(errors, key=lambda e: len(e.instance_path), default=None)
        if best is None or len(best.instance_path) <= len(error.instance_path):
            return error
        error = best
    return error


def _reason(wrong: Any, rule: str, details: dict[str, Any]) -> str:
    value = shown(wrong)
    if rule == "type":
        return f"expected {' or '.join(details['types'])}, got {value}"
    if rule == "required":
        return f"{shown(details['property'])} is missing"
    if rule == "additionalProperties":
        return f"{', '.join(shown(name) for name in details['unexpected'][:5])} is not a known name"
    if rule == "enum":
        return f"expected one of {str(details['options'])[:_SHOWN]}, got {value}"
    if rule in ("anyOf", "oneOf"):
        branches = [e.kind for branch in details.get("context") or [] for e in branch]
        types = [name for kind in branches if kind.name == "type" for name in kind.as_dict()["types"]]
        return f"expected {' or '.join(types) or 'another value'}, got {value}"
    limit = next(iter(details.values()), "")
    return f"{value} does not fit {rule} {str(limit)[:_SHOWN]}"
