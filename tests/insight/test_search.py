"""What `lightbus inspect` looks for, without a bus: versions, arguments, names."""

from __future__ import annotations

from typing import Any

import pytest

from lightbus.exceptions import InvalidParameters
from lightbus.insight.search import Query, argument_test, comparison
from lightbus.messages import EventMessage

KWARGS: dict[str, Any] = {
    "name": "Ann",
    "age": 30,
    "vip": True,
    "nothing": None,
    "number": "7",
    "address": {"city": "London", "post code": "N1"},
    "items": [{"sku": "a", "price": 5}, {"sku": "b", "price": 15.0}],
}


@pytest.mark.parametrize(
    ("text", "meant"),
    [("2", [2]), ("=2", [2]), ("<2", [1]), ("<=2", [1, 2]), (">2", [3]), (">=2", [2, 3]), ("!=2", [1, 3])],
)
def test_a_version_is_a_number_or_a_comparison(text: str, meant: list[int]) -> None:
    assert [version for version in (1, 2, 3) if comparison(text)(version)] == meant


@pytest.mark.parametrize("text", ["", "x", "<", "1.5", "-1", "<>1", "2 3", "9" * 5_000, "<" + "9" * 5_000])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameters, match="is no version; write 1"):
        comparison(text)


@pytest.mark.parametrize(
    "text",
    [
        "name=Ann",
        '$.name="Ann"',
        "$['name']=Ann",
        "age=30",
        "age==30.0",
        "age>29",
        "age<=30",
        "vip=true",
        "nothing=null",
        "number=7",
        'number="7"',
        "address.city=London",
        'address["post code"]=N1',
        "address.*=N1",
        "items[0].sku=a",
        "items[-1].price=15",
        "items[*].price>=15",
        "name!=Bob",
        "address.city>=L",
        'address={"city": "London", "post code": "N1"}',
    ],
)
def test_an_argument_that_fits(text: str) -> None:
    assert argument_test(text)(KWARGS)


@pytest.mark.parametrize(
    "text",
    [
        *("name=ann", "age=true", "vip=1", "age>30", "none=1", "items[2].sku=a", "items.sku=a", "name[0]=A"),
        *("age=thirty", "age>x", "nothing=0", "address[0]=x", "items[*].sku=c", "vip>0", "age.x=1"),
    ],
)
def test_an_argument_that_does_not_fit(text: str) -> None:
    assert not argument_test(text)(KWARGS)


@pytest.mark.parametrize(
    ("text", "fits"), [("value=NaN", True), ("value!=NaN", False), ("value=1", False), ("value>NaN", False)]
)
def test_what_is_no_number_is_found_by_its_name(text: str, fits: bool) -> None:
    # One of its own: the reader of JSON gives the same object each time.
    assert argument_test(text)({"value": float("inf") - float("inf")}) is fits


@pytest.mark.parametrize(
    "text", ["", "name", "=x", "$=x", "a..b=1", "a[?(@.x)]=1", "a[1:2]=1", "a b=1", f"a[{'9' * 5_000}]=1"]
)
def test_what_is_no_search_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidParameters, match=r"is no search; write PATH=VALUE"):
        argument_test(text)


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        (Query(), True),
        (Query(api="auth"), True),
        (Query(api="au*h"), True),
        (Query(api="aut"), False),
        (Query(event="user_*"), True),
        (Query(event="*_left"), False),
        (Query(id="1"), True),
        (Query(id="2"), False),
        (Query(native_id="2-0"), False),
        (Query(version=comparison(">1")), False),
        (Query(arguments=(argument_test("a=1"), argument_test("b=2"))), True),
        (Query(arguments=(argument_test("a=1"), argument_test("b=1"))), False),
    ],
)
def test_an_event_fits_a_query_where_it_fits_all_that_is_said(query: Query, fits: bool) -> None:
    assert query.test()(EventMessage("auth", "user_left_", {"a": 1, "b": 2}, id="1", native_id="1-0")) is fits


def test_events_about_the_bus_are_meant_only_where_somebody_says_so() -> None:
    ping = EventMessage("internal.state", "worker_ping", {})
    queries = [Query(), Query(api="*state"), Query(internal=True), Query(api="internal.*")]
    assert [query.test()(ping) for query in queries] == [False, False, True, True]
