"""A context for each message: what one sets, no other one sees."""

from __future__ import annotations

import contextvars
import decimal
from decimal import Decimal

import pytest

from lightbus.runtime.isolation import Isolation

tenant = contextvars.ContextVar("tenant", default="nobody")


def precisions(of_all: int | None) -> list[tuple[str, int]]:
    """What three messages find that each change it, where a precision was set for all of them, or none."""
    found = []

    async def message() -> None:
        found.append((tenant.get(), decimal.getcontext().prec))
        tenant.set("ada")
        decimal.getcontext().prec = 3
        assert str(Decimal(1) / 3) == "0.333"

    def run() -> None:
        tenant.set("bob")
        Decimal(1) / 3  # This sets a flag in the context of all.
        if of_all is not None:
            decimal.getcontext().prec = of_all
        isolation = Isolation()
        for _ in range(3):
            assert isolation.begin(message()) is None

    contextvars.Context().run(run)
    return found


@pytest.mark.parametrize(("of_all", "expected"), [(None, 28), (50, 50)])
def test_each_message_begins_with_what_is_set_for_all(of_all: int | None, expected: int) -> None:
    assert precisions(of_all) == [("bob", expected)] * 3


def test_a_precision_that_is_the_default_is_not_copied_for_each_message() -> None:
    def variables(of_all: int | None) -> set[str]:
        def run() -> set[str]:
            decimal.getcontext().prec = of_all or decimal.DefaultContext.prec
            return {variable.name for variable in Isolation().context()}

        return contextvars.Context().run(run)

    assert "decimal_context" not in variables(None)
    assert "decimal_context" in variables(50)
