"""What is sensitive is in nothing that is shown, wherever it stands and whatever quotes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, TypedDict

import pydantic
import pytest

from lightbus import Api, Event, EventMessage, Parameter, Sensitive
from lightbus.contracts.contract import contract_of
from lightbus.exceptions import InvalidParameters
from lightbus.insight.masking import MASK, Masked, Masking, restore
from lightbus.insight.masking.names import looks_secret
from lightbus.transports.events import DeadLetter

CANARY = "Canary-4711-Yellow"
Private = Annotated[str, Sensitive]


@dataclass
class Person:
    name: str
    email: Annotated[str, Sensitive] = ""
    friends: tuple[Person, ...] = ()


class Place(TypedDict):
    street: Private
    city: str


class Pair(NamedTuple):
    shown: str
    hidden: Annotated[str, Sensitive()]


class Model(pydantic.BaseModel):
    shown: str
    hidden: Private


class PeopleApi(Api):
    class Meta:
        name = "people"

    moved = Event(
        parameters=[
            Parameter("id", int),
            Parameter("one", Person | None),
            Parameter("many", list[Person]),
            Parameter("by_key", dict[str, Place]),
            Parameter("names", dict[Private, int]),
            Parameter("pair", Pair),
            Parameter("two", tuple[str, Private]),
            Parameter("model", Model),
            Parameter("either", str | Place),
            Parameter("whole", Annotated[dict, Sensitive]),
            Parameter("born", Annotated[int, Sensitive] | None),
            Parameter("anything", dict),
            Parameter("note", str),
        ]
    )

    def find(self, query: Private, limit: int = 3) -> list[Person]:
        """Find people."""
        return []


CONTRACTS = {"people": json.loads(json.dumps(contract_of(PeopleApi.__lightbus__)))}


def masking(*globs: str) -> Masking:
    return Masking(globs, CONTRACTS)


def moved(**kwargs: Any) -> Masked:
    return masking().event("people", "moved", kwargs)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"one": {"name": "x", "email": CANARY}},
        {"one": {"name": "x", "friends": [{"name": "y", "friends": [{"name": "z", "email": CANARY}]}]}},
        {"many": [{"name": "x", "email": CANARY}]},
        {"by_key": {"home": {"street": CANARY, "city": "Bath"}}},
        {"names": {CANARY: 1}},
        {"pair": {"shown": "x", "hidden": CANARY}},
        {"two": ["shown", CANARY]},
        {"model": {"shown": "x", "hidden": CANARY}},
        {"either": {"street": CANARY, "city": "Bath"}},
        {"whole": {"any": {"thing": [CANARY]}}},
        # Those that are not as the contract has them.
        {"one": CANARY},
        {"one": [CANARY]},
        {"many": {"email": CANARY}},
        {"either": [CANARY]},
        {"by_key": {"home": json.dumps({"street": CANARY})}},
        {"gone_from_the_contract": CANARY},
        {"one": {"name": "x", "gone": {"from": CANARY}}},
        {"note": {CANARY: 1}},
        # Names that look like secrets.
        {"anything": {"Authorization": f"Bearer {CANARY}"}},
        {"anything": {"deep": [{"card-number": {"digits": CANARY}}]}},
    ],
    ids=lambda kwargs: "-".join(kwargs),
)
def test_a_canary_is_nowhere_in_what_is_shown(kwargs: dict[str, Any]) -> None:
    shown = moved(id=1, **kwargs)
    assert CANARY not in json.dumps(shown.value) and MASK in json.dumps(shown.value, ensure_ascii=False)
    assert CANARY in json.dumps(shown.hidden), "it is hidden, and not lost"
    assert shown.value["id"] == 1
    assert CANARY not in repr(shown)


def test_the_rest_is_shown_as_it_is() -> None:
    kwargs = {
        "id": 7, "one": {"name": "Ann", "email": "a@b.c"}, "two": ["x", "y"], "born": None,
        "anything": {"a": [1, {"b": None}]}, "note": "a word",
        "by_key": {"home": {"street": "s", "city": "Bath"}},
    }  # fmt: skip
    assert moved(**kwargs).value == {
        **kwargs,
        "one": {"name": "Ann", "email": MASK},
        "two": ["x", MASK],
        "by_key": {"home": {"street": MASK, "city": "Bath"}},
    }


def test_arguments_and_results_of_calls_are_hidden_too() -> None:
    it = masking()
    assert it.call("people", "find", {"query": CANARY, "limit": 5}).value == {"query": MASK, "limit": 5}
    assert it.result("people", "find", [{"name": "x", "email": CANARY}]).value == [
        {"name": "x", "email": MASK}
    ]


def test_nothing_but_names_is_shown_of_what_no_contract_has() -> None:
    it = Masking()
    assert it.event("people", "moved", {"id": 1, "one": {"city": CANARY}}).value == {"id": MASK, "one": MASK}
    assert it.result("people", "find", CANARY).value == MASK
    it.know(CONTRACTS)
    assert it.event("people", "moved", {"id": 1}).value == {"id": 1}
    it.know({})
    assert it.event("people", "moved", {"id": 1}).value == {"id": 1}, "an owner that is gone is still known"
    open_now = json.loads(json.dumps(CONTRACTS).replace('"x-sensitive": true', '"x-sensitive": false'))
    assert it.call("people", "find", {"query": "x"}).value == {"query": MASK}
    it.know(open_now)
    assert it.call("people", "find", {"query": "x"}).value == {"query": "x"}


@pytest.mark.parametrize(
    ("glob", "is_hidden"),
    [
        ("note", True),
        ("NOTE", True),
        ("n*e", True),
        ("notes", False),
        ("people.moved.kwargs.note", True),
        ("people.*.kwargs.note", True),
        ("*.kwargs.*", True),
        ("other.moved.kwargs.note", False),
        ("people.moved.result.note", False),
        ("people.moved.kwargs.note.deeper", False),
    ],
)
def test_a_manifest_lists_fields_by_name_or_path(glob: str, is_hidden: bool) -> None:
    shown = masking(glob).event("people", "moved", {"note": "plain"}).value
    assert shown == {"note": MASK if is_hidden else "plain"}


def test_a_path_goes_through_objects_and_lists() -> None:
    kwargs = {"many": [{"name": "Ann", "friends": [{"name": "Bob"}]}], "anything": {"a": {"b_c": 1, "d": 2}}}

    def shown(glob: str) -> Any:
        return masking(glob).event("people", "moved", kwargs).value

    assert shown("people.moved.kwargs.many.name")["many"][0]["name"] == MASK
    assert shown("people.moved.kwargs.many[*].name")["many"][0]["name"] == MASK
    assert shown("people.moved.kwargs.many.name")["many"][0]["friends"][0]["name"] == "Bob"
    assert shown("people.moved.kwargs.anything.*.bC")["anything"] == {"a": {"b_c": MASK, "d": 2}}
    assert shown("people.moved.kwargs.anything")["anything"] == MASK
    assert masking("people.find.result").result("people", "find", []).value == MASK


@pytest.mark.parametrize(
    "name",
    [
        "password", "userPassword", "DB_PASSWORD", "passwd", "pwd", "token", "accessToken", "refresh-token",
        "secret", "clientSecret", "api_key", "apiKey", "APIKey", "X-API-KEY", "apikey", "authorization",
        "cardNumber", "card_number", "card number", "iban", "IBAN", "customerIban", "cvv",
        "CVV2", "ssn", "userSSN", "SSNumberToken", "pin", "pin_code", "cookie", "Set-Cookie", "private_key",
    ],
)  # fmt: skip
def test_names_that_look_like_secrets_are_known_however_they_are_written(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name", ["name", "email", "pinned", "spin", "shipping", "passenger", "author", "card", "key"]
)
def test_other_names_are_none(name: str) -> None:
    assert not looks_secret(name)


def letter(error: str, trace: str = "", **kwargs: Any) -> DeadLetter:
    message = EventMessage("people", "moved", kwargs) if kwargs else EventMessage("", "", {})
    return DeadLetter("1-0", "shop-mailer", message, "failed", error, trace, 1, 1.0)


@pytest.mark.parametrize(
    ("hidden", "error"),
    [
        (CANARY, f"ValueError('no {CANARY}')"),
        (CANARY, f"ValueError(no {CANARY.upper()} here)"),
        (CANARY, "ValueError(Canary 4711, Yellow)"),
        (CANARY, "ValueError(it begins with Canary-47...)"),
        (CANARY, "KeyError(4711)"),
        ("4111 1111 1111 1234", "ValueError(card ending in 1234)"),
        ("Zoë Äöü", "ValueError(no zoë äöü)"),
        ("x7", "ValueError(no x7 here)"),
        ("Q2FuYXJ5", "ValueError(not Canary)"),
        (1234567, "ValueError(1,234,567 is too much)"),
        ("1985-03-02", "ValueError(datetime.date(1985, 3, 2) is no date)"),
        ("12.50", "ValueError(Decimal('12.5') is too much)"),
    ],
)
def test_an_error_that_quotes_what_is_hidden_says_less(hidden: Any, error: str) -> None:
    shown = masking().letter(letter(error, f"Traceback:\n{error}", one={"name": "x", "email": hidden}))
    for text in (shown.error, shown.trace):
        for told in (
            "anary",
            "CANARY",
            "4711",
            "ellow",
            "1234",
            "zoë",
            "äöü",
            "x7",
            "1985",
            "3",
            "12.5",
            "567",
        ):
            assert told not in text, text
        assert "Error(" in text
    assert shown.message.kwargs == {"one": {"name": "x", "email": MASK}}


def test_the_rest_of_an_error_is_shown() -> None:
    trace = (
        'Traceback (most recent call last):\n  File "/app/shop.py", line 42, in mail\n'
        f'    send("smtp", port=25)\nValueError: no "{CANARY}" for x'
    )
    it = letter(f"KeyError('email', {CANARY!r})", trace, one={"name": "x", "email": CANARY})
    shown = masking().letter(it)
    assert shown.error == f"KeyError('email', '{MASK}')"
    assert 'shop.py", line 42, in mail\n    send("smtp", port=25)\nValueError: no "•••" for x' in shown.trace
    plain = letter("ValueError('no cup of 12')", one={"name": "x"})
    assert masking().letter(plain).error == "ValueError('no cup of 12')", "nothing is hidden"


def test_of_what_can_not_be_read_only_the_class_of_its_error_is_told() -> None:
    shown = masking().letter(letter(f"InvalidMessage('not an event: {CANARY}')", f"Traceback: {CANARY}"))
    assert shown.error == f"InvalidMessage({MASK})" and shown.trace == ""
    long = letter("ValueError('x y')", "ValueError: x y", one={"name": "x", "email": "y" * 200_000})
    assert masking().letter(long).error == f"ValueError({MASK})"


@pytest.mark.parametrize(
    "text",
    [
        f"login failed: password={CANARY}",
        f"{{'api_key': '{CANARY}', 'x': 1}}",
        f'"token": "{CANARY}"',
        f"can't reach redis://me:{CANARY}@host/0",
        f"Authorization: Bearer {CANARY}",
    ],
)
def test_secrets_that_no_event_has_are_hidden_in_errors_by_their_names(text: str) -> None:
    for shown in (masking().text(text), masking().letter(letter(text, note="x")).error):
        assert "Canary" not in shown and MASK in shown


def test_hostile_texts_take_no_time() -> None:
    for text in ("a" * 20_000, "\"'" * 9_000, "a=" * 9_000, "1." * 9_000, "://" * 7_000):
        masking().letter(letter(text, text, one={"name": "x", "email": "aaaa" * 9_000}))


def test_hidden_values_stay_in_what_somebody_edits_who_does_not_see_them() -> None:
    original = {
        "one": {"name": "Ann", "email": CANARY},
        "two": ["x", CANARY],
        "pair": {"shown": "x", "hidden": CANARY},
        "note": "old",
    }
    shown = moved(**original).value
    edited = json.loads(json.dumps(shown)) | {"note": "new"}
    assert restore(edited, shown, original) == {**original, "note": "new"}
    edited["one"]["email"] = "of@their.own"
    assert restore(edited, shown, original)["one"]["email"] == "of@their.own"


def test_what_is_deeper_than_anything_that_is_sent_is_refused_in_a_sentence() -> None:
    deep: Any = MASK
    for _ in range(900):
        deep = {"a": deep}
    with pytest.raises(InvalidParameters, match="nested more than"):
        restore({"note": deep}, {"note": "x"}, {"note": "x"})


@pytest.mark.parametrize(
    "edited",
    [
        {"note": MASK},
        {"note": f"it is {MASK}"},
        {"two": [MASK, "x"]},
        {"two": [MASK]},
        {"pair": {"shown": MASK}},
        {"names": {f"{MASK} 1": 1}},
    ],
)
def test_hidden_values_can_not_be_moved_to_where_they_would_be_shown(edited: dict[str, Any]) -> None:
    original = {
        "two": ["x", CANARY],
        "pair": {"shown": "x", "hidden": CANARY},
        "note": "old",
        "names": {CANARY: 1},
    }
    with pytest.raises(InvalidParameters, match=MASK if "names" not in edited else "hidden names"):
        restore(edited, moved(**original).value, original)
