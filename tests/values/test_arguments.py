"""Casting the arguments of a handler: one function, made once from its signature."""

from __future__ import annotations

import functools
import inspect
import timeit
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from lightbus import values
from lightbus.exceptions import MisconfiguredApiOptions, ValidationError

if TYPE_CHECKING:
    from somewhere import Unknown  # type: ignore[import-not-found]


def caster_of(function: Callable[..., Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return values.arguments_caster(inspect.signature(function), values.hints_of(function))


def handler(price: Decimal, name: str, untyped, count: int = 1, **others) -> None:  # type: ignore[no-untyped-def]
    pass


def typed_others(**others: Decimal) -> None:
    pass


def unresolvable(x: Unknown) -> None:
    pass


def test_arguments_become_the_types_of_the_handlers_hints() -> None:
    sent = {"price": "1.50", "name": "a", "untyped": [1], "more": 5}
    assert caster_of(handler)(sent) == {"price": Decimal("1.50"), "name": "a", "untyped": [1], "more": 5}
    assert sent["price"] == "1.50"


def test_arguments_that_are_right_already_are_not_copied() -> None:
    sent = {"name": "a", "count": 2}
    assert caster_of(handler)(sent) is sent


def test_further_arguments_are_cast_where_they_have_a_hint() -> None:
    assert caster_of(typed_others)({"a": "1.5"}) == {"a": Decimal("1.5")}
    with pytest.raises(ValidationError, match=r"^a: expected a decimal number"):
        caster_of(typed_others)({"a": 1.5})


def test_an_argument_that_does_not_fit_is_named() -> None:
    with pytest.raises(ValidationError, match=r"^count: expected int, got 'x'$"):
        caster_of(handler)({"price": "1", "count": "x"})


class Shop:
    ready: bool = True

    def __call__(self, price: Decimal) -> None:
        pass


@pytest.mark.parametrize("callable_", [Shop(), Shop().__call__, functools.partial(handler, name="a")])
def test_whatever_can_be_called_has_its_hints_read(callable_: Any) -> None:
    assert caster_of(callable_)({"price": "1.50"}) == {"price": Decimal("1.50")}


def test_a_hint_that_exists_only_for_type_checkers_is_an_error_that_says_so() -> None:
    with pytest.raises(MisconfiguredApiOptions, match="TYPE_CHECKING"):
        values.hints_of(unresolvable)


def test_casting_two_plain_arguments_takes_less_than_a_microsecond_or_so() -> None:
    cast = caster_of(handler)
    sent = {"name": "admin", "count": 1}
    assert min(timeit.repeat(lambda: cast(sent), number=2000, repeat=5)) / 2000 < 10e-6
