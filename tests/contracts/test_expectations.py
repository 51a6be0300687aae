"""Whether the events that listeners ask for are known, and what is said where they are not."""

from __future__ import annotations

from typing import Any

import pytest

from lightbus.contracts.expectations import Doubt, doubtful_calls, doubts, misspelt, procedures_of

AUTH: dict[str, Any] = {"events": {"user_registered": {}, "user_left": {}}, "rpcs": {}}


def said(event: str, contracts: dict[str, Any], *defined: str) -> list[str]:
    api, _, name = event.rpartition(".")
    return [doubt.what for doubt in doubts({"mailer": [(api, name)]}, contracts, defined)]


@pytest.mark.parametrize("event", ["auth.user_registered", "auth.user_left", "auth.*"])
def test_nothing_is_said_of_what_a_contract_has(event: str) -> None:
    assert said(event, {"auth": AUTH}) == []


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ("auth.user_regstered", "auth has no event user_regstered; did you mean user_registered?"),
        ("auth.sold", "auth has no event sold; it has: user_left, user_registered"),
        ("shop.sold", "shop has no event sold; it has: none at all"),
        ("atuh.user_registered", "no API atuh is known on the bus yet; did you mean auth?"),
        ("atuh.*", "no API atuh is known on the bus yet; did you mean auth?"),
        ("billing.paid", "no API billing is known on the bus yet; there is: auth, shop"),
    ],
)
def test_what_is_not_known_is_said_with_what_may_be_meant(event: str, text: str) -> None:
    contracts = {"auth": AUTH, "shop": {"events": {}}, "internal.state": {"events": {}}}
    assert said(event, contracts) == [text]


def test_an_api_whose_class_is_here_is_no_mistake_but_its_contract_counts() -> None:
    assert said("auth.sold", {}, "auth") == []
    assert said("auth.sold", {"auth": {"events": {}}}, "auth") == [
        "auth has no event sold; it has: none at all"
    ]


def test_on_an_empty_bus_nothing_else_is_known_either() -> None:
    assert list(doubts({"mailer": [("auth", "x")]}, {})) == [
        Doubt("mailer", "auth.x", "no API auth is known on the bus yet; there is: none at all", False, True)
    ]


def test_long_names_and_many_are_not_compared_or_listed() -> None:
    (text,) = said("x" * 100 + ".y", {f"api{n:02}": {} for n in range(20)})
    assert text.endswith("; there is: " + ", ".join(f"api{n:02}" for n in range(10)) + ", ...")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ("atuh.left", "no API atuh is known on the bus yet; did you mean auth?"),
        ("auth.left", "no API auth is known on the bus yet; there is: shop"),
        ("billing.paid", "no API billing is known on the bus yet; there is: shop"),
    ],
)
def test_an_api_that_the_manifest_names_may_be_meant_before_its_owner_has_started(
    event: str, text: str
) -> None:
    api, _, name = event.rpartition(".")
    found = doubts({"mailer": [(api, name)]}, {"shop": {"events": {}}}, named=["auth"])
    assert [doubt.what for doubt in found] == [text]


@pytest.mark.parametrize("contract", [{}, {"events": 5}, {"events": ["user_left"]}])
def test_a_contract_of_others_may_be_anything(contract: dict[str, Any]) -> None:
    assert said("auth.user_left", {"auth": contract}) == ["auth has no event user_left; it has: none at all"]


def test_without_contracts_the_names_of_the_manifest_tell_a_slip() -> None:
    listeners = {"one": [("atuh", "left")], "two": [("auth", "left")], "three": [("billing", "paid")]}
    assert list(misspelt(listeners, ["auth", "shop"])) == [("one", "atuh.left", "auth")]


@pytest.mark.parametrize(
    ("name", "what", "is_certain"),
    [
        ("auth", "", False),
        ("auth.login", "", False),
        ("shop.orders.anything", "", False),
        ("auth.logn", "auth has no procedure logn; did you mean login?", True),
        ("auth.other", "auth has no procedure other; it has: login", True),
        ("atuh", "no such API is known; did you mean auth?", False),
        ("auht.login", "no such API is known; did you mean auth.login?", False),
        ("shop.order.place", "no such API is known; did you mean shop.orders.place?", False),
        ("money.pay", "no such API is known; there is: auth, shop.orders", False),
    ],
)
def test_a_call_that_nobody_has_is_doubtful(name: str, what: str, is_certain: bool) -> None:
    known = {"auth": ["login"], "shop.orders": None, "internal.metrics": ["get"]}
    found = list(doubtful_calls([name], known))
    assert [doubt.what for doubt in found] == ([what] if what else [])
    assert [doubt.is_certain for doubt in found] == ([is_certain] if what else [])


def test_the_procedures_of_a_contract_are_its_rpcs_whatever_else_it_is() -> None:
    contracts: dict[str, Any] = {"auth": {"rpcs": {"login": {}}}, "odd": {"rpcs": 5}, "empty": {}}
    assert procedures_of(contracts) == {"auth": ["login"], "odd": [], "empty": []}
