"""Validating against a contract, which may come from a stranger."""

from __future__ import annotations

import contextlib
import time
import timeit
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightbus.contracts.compare import compare
from lightbus.contracts.printing import show
from lightbus.contracts.validator import compile
from lightbus.exceptions import InvalidMessage, ValidationError
from lightbus.values import dump

LOGIN = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"username": {"type": "string"}, "password": {"type": "string"}},
    "required": ["username", "password"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        (LOGIN, {"username": 1, "password": "x"}, "the value: username: expected string, got 1"),
        (LOGIN, {"username": "a"}, "the value: 'password' is missing"),
        (LOGIN, {"username": "a", "password": "b", "c": 1}, "the value: 'c' is not a known name"),
        (LOGIN, {"username": "a", "password": b"b"}, "the value: not a JSON value"),
        (LOGIN, {1: 2}, "the value: not a JSON value"),
        (LOGIN, None, "the value: expected object, got None"),
        ({"enum": ["a", "b"]}, "c", "the value: expected one of ['a', 'b'], got 'c'"),
        ({"type": "integer"}, True, "the value: expected integer, got True"),
        ({"minimum": 3}, 2, "the value: 2 does not fit minimum 3"),
        ({"pattern": r"^-?\d+(\.\d+)?$"}, "1e5", "does not fit pattern"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 5, "the value: expected string or null, got 5"),
        (
            {"properties": {"a": {"anyOf": [{"items": {"type": "string"}}, {"type": "null"}]}}},
            {"a": [1]},
            "the value: a[0]: expected string, got 1",
        ),
        (
            {"items": {"items": {"type": "null"}}},
            [[], [None, "x" * 9999]],
            "the value: [1][1]: expected null, got 'xx",
        ),
        ({"additionalProperties": {"type": "null"}}, {"k" * 9999: 1}, "expected null, got 1"),
        ({"maxItems": 1}, [1] * 9999, "the value: a list of 9999 does not fit maxItems 1"),
    ],
)
def test_a_value_that_does_not_fit_is_an_error_with_its_path(
    schema: dict[str, Any], value: Any, message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        compile(schema).validate(value)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_formats_are_notes_and_not_rules() -> None:
    compile({"format": "date-time"}).validate("2026-01-02T03:04:05")


def test_a_local_reference_is_followed() -> None:
    tree = {
        "$ref": "#/definitions/T",
        "definitions": {"T": {"type": "array", "items": {"$ref": "#/definitions/T"}}},
    }
    compile(tree).validate([[], [[]]])
    with pytest.raises(ValidationError, match=r"\[1\]\[0\]: expected array, got 1"):
        compile(tree).validate([[], [1]])


def _chain(length: int, times: int) -> dict[str, Any]:
    """Each definition refers several times to the next one."""
    steps: dict[str, Any] = {
        f"d{i}": {"allOf": [{"$ref": f"#/definitions/d{i + 1}"}] * times} for i in range(length)
    }
    return {"$ref": "#/definitions/d0", "definitions": {**steps, f"d{length}": {}}}


def _nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"properties": {"a": {"anyOf": [{"$ref": "other.json#/a"}]}}},
        {"$id": "http://127.0.0.1:1/", "properties": {"a": {"$ref": "#/b"}}},
        {"$ref": "#/definitions/missing"},
        {"$ref": "#anchor"},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"type": "strin"},
        {"properties": 3},
        {"pattern": "("},
        {"pattern": r"(?=a)b"},
        {"pattern": r"(a)\1"},
        {"pattern": "((a{1000}){1000}){1000}"},
        {"patternProperties": {"(?=a)": {}}},
        {"description": "x" * 2_000_000},
        {"enum": list(range(30_000))},
        {"properties": {f"p{i}": {"pattern": f"a{i}"} for i in range(300)}},
        _nested(200),
        _chain(30, 2),
        _chain(5000, 1),
        3,
        True,
    ],
    ids=lambda schema: repr(schema)[:40],
)
def test_a_schema_that_is_not_safe_is_refused_at_once(schema: Any) -> None:
    start = time.perf_counter()
    with pytest.raises(InvalidMessage):
        compile(schema)
    assert time.perf_counter() - start < 10


_WORDS = [
    "type",
    "properties",
    "items",
    "anyOf",
    "allOf",
    "not",
    "enum",
    "pattern",
    "$ref",
    "definitions",
    "a",
]
_SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(-2, 2) | st.sampled_from(["string", "object", "#", "#/definitions/a", "(", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=200)
@given(schema=st.dictionaries(st.sampled_from(_WORDS), _SCHEMAS, max_size=4), value=_SCHEMAS)
def test_whatever_a_stranger_publishes_is_refused_or_usable(schema: dict[str, Any], value: Any) -> None:
    try:
        validator = compile(schema)
    except InvalidMessage:
        return
    with contextlib.suppress(ValidationError):
        validator.validate(value)
    contract = {"events": {"e": {"parameters": schema}}, "rpcs": {}}
    assert compare(contract, contract) == []
    assert show("x", contract)


def test_another_meta_schema_is_neither_fetched_nor_used() -> None:
    compile({"$schema": "http://127.0.0.1:1/meta.json", "type": "string"}).validate("x")


LARGE = r"^\p{L}{25}"  # about 2 MiB once it is compiled


def patterns(*each: str) -> dict[str, Any]:
    return {"properties": {f"p{i}": {"pattern": pattern} for i, pattern in enumerate(each)}}


def test_patterns_that_would_take_seconds_to_compile_are_refused_together() -> None:
    with pytest.raises(InvalidMessage, match=r"its 190 patterns take more than 4 MiB once they are compiled"):
        compile(patterns(*(f"{LARGE}{i}" for i in range(190))))


@pytest.mark.parametrize(
    "each",
    [
        [f"^[a-z]+{i}$" for i in range(200)],
        [LARGE],
        [LARGE, *(f"^[a-z]+{i}$" for i in range(100))],
        [LARGE] * 100,
        [r"^-?\d+(\.\d+)?$"] * 5000,
        [rf"^.{{100}}{i}$" for i in range(10)],
    ],
)
def test_patterns_of_any_number_and_size_that_are_quick_to_compile_are_used(each: list[str]) -> None:
    validator = compile(patterns(*each))
    with pytest.raises(ValidationError, match="does not fit pattern"):
        validator.validate({"p0": "-"})


def test_a_pattern_that_would_backtrack_for_ever_takes_linear_time() -> None:
    validator = compile({"pattern": "^(a+)+$"})
    start = time.perf_counter()
    with pytest.raises(ValidationError):
        validator.validate("a" * 100_000 + "b")
    assert time.perf_counter() - start < 10


def test_a_property_may_be_named_like_a_keyword() -> None:
    compile({"properties": {"$ref": {"type": "string"}}, "enum": [{"$ref": "http://x/"}]}).validate(
        {"$ref": "http://x/"}
    )


def test_validating_a_small_message_takes_about_a_microsecond() -> None:
    validator = compile(LOGIN)
    value = {"username": "admin", "password": "secret"}
    assert min(timeit.repeat(lambda: validator.validate(value), number=2000, repeat=5)) / 2000 < 10e-6


INF = float("inf")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "number"}, INF),
        ({"type": "number"}, float("nan")),
        ({"type": "number", "minimum": 0}, INF),
        ({"type": ["number", "null"]}, -INF),
        ({"properties": {"a": {"items": {"type": "number"}}}}, {"a": [1.5, -INF, INF]}),
        ({"type": "integer"}, 2**70),
    ],
)
@pytest.mark.parametrize("prepare", [lambda value: value, dump], ids=["received", "to be sent"])
def test_a_number_without_end_is_a_number(schema: Any, value: Any, prepare: Any) -> None:
    compile(schema).validate(prepare(value))


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"type": "integer"}, INF, "expected integer, got inf"),
        ({"type": "string"}, float("nan"), "expected string, got nan"),
        ({"type": "number", "maximum": 5}, INF, "inf does not fit maximum 5"),
        ({"type": "number", "minimum": 5}, -INF, "-inf does not fit minimum 5"),
        ({"type": "number", "minimum": 5}, float("nan"), "nan does not fit minimum 5"),
        ({"type": "number", "maximum": 5}, float("nan"), "nan does not fit maximum 5"),
        ({"items": {"type": "integer"}}, [1, INF], r"\[1\]: expected integer, got inf"),
        ({"items": {"type": "number"}}, [INF, "x"], r"\[1\]: expected number, got 'x'"),
    ],
)
@pytest.mark.parametrize("prepare", [lambda value: value, dump], ids=["received", "to be sent"])
def test_a_number_without_end_fits_no_more_than_it_should(
    schema: Any, value: Any, message: str, prepare: Any
) -> None:
    with pytest.raises(ValidationError, match=message):
        compile(schema).validate(prepare(value))
