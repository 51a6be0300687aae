"""Hints to a contract, to a module, and back: values arrive as what they were sent as."""

from __future__ import annotations

import json
import typing
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from lightbus import Api, values
from lightbus.contracts.contract import contract_of
from tests.values.test_properties import HINTS

from .making import made_of


def contract_with(hint: Any) -> dict[str, Any]:
    def give(self: Any) -> None:
        raise NotImplementedError

    give.__annotations__ = {"return": hint}
    meta = type("Meta", (), {"name": "x", "auto_register": False})
    cls: Any = type("XApi", (Api,), {"Meta": meta, "give": give})
    return json.loads(json.dumps(contract_of(cls.__lightbus__)))  # type: ignore[no-any-return]


@settings(max_examples=200, deadline=None)
@given(HINTS.flatmap(lambda h: st.tuples(st.just(h[0]), h[1])))
def test_what_is_sent_is_what_the_module_makes_of_it_and_sends_again(hinted: tuple[Any, Any]) -> None:
    hint, value = hinted
    sent = json.loads(msgspec.json.encode(values.dump(value)))
    with made_of({"x": contract_with(hint)}) as module:
        written = typing.get_type_hints(module.XApi_give.call)["return"]
        made = values.tolerant_caster(written)(sent)
        again = json.loads(msgspec.json.encode(values.dump(made)))
        assert values.cast(again, written) == made
    assert values.cast(again, hint) == value
