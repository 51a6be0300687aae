"""Past events page by page, by what may be seen of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lightbus.bus.client import BusClient
from lightbus.exceptions import InvalidParameters
from lightbus.insight.search import Query, argument_test, moment
from lightbus.insight.traffic import pages
from lightbus.insight.traffic.pages import Page, find, page
from lightbus.messages import EventMessage
from lightbus.testing import hosted
from tests.testing.shop import StoreApi


@asynccontextmanager
async def a_bus(count: int) -> AsyncIterator[BusClient]:
    """A bus with so many events, of which the first have one id of the broker."""
    async with hosted(StoreApi, config={"service_name": "store"}) as host:
        client = host.bus.client
        transport = client.transports().event("store")
        await transport.publish([EventMessage("store", "sold", {"sku": str(n)}) for n in range(count)], 30)
        yield client


def as_it_is(message: EventMessage) -> EventMessage:
    """Nothing is hidden."""
    return message


def hidden(message: EventMessage) -> EventMessage:
    """All is hidden."""
    return EventMessage(
        message.api_name, message.event_name, {"sku": "•••"}, 1, message.id, message.native_id
    )


def skus(found: Page) -> list[str]:
    return [each.kwargs["sku"] for each in found.events]


async def test_pages_follow_each_other_without_a_gap() -> None:
    async with a_bus(7) as client:
        seen, place = [], ""
        for wanted in (3, 3, 1):
            found = await page(client, ["store"], Query(), as_it_is, place=place, limit=3)
            assert len(found.events) == wanted
            seen += skus(found)
            place = found.next
        assert seen == ["6", "5", "4", "3", "2", "1", "0"] and place == ""


async def test_what_is_hidden_can_not_be_found_out_by_a_search() -> None:
    async with a_bus(3) as client:
        query = Query(arguments=(argument_test("sku=1"),))
        assert skus(await page(client, ["store"], query, as_it_is)) == ["1"]
        assert skus(await page(client, ["store"], query, hidden)) == []
        assert skus(await page(client, ["store"], Query(), hidden)) == ["•••"] * 3


async def test_a_search_that_takes_too_long_goes_on_from_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "_MOST_LOOKED_AT", 4)
    async with a_bus(10) as client:
        query = Query(arguments=(argument_test("sku=1"),))
        first = await page(client, ["store"], query, as_it_is)
        assert (first.events, first.is_cut, bool(first.next), bool(first.reached)) == ([], True, True, True)
        second = await page(client, ["store"], query, as_it_is, place=first.next)
        third = await page(client, ["store"], query, as_it_is, place=second.next)
        assert (skus(second), skus(third), third.is_cut, third.next) == ([], ["1"], False, "")


async def test_events_of_one_id_of_the_broker_are_on_one_page_each() -> None:
    async with a_bus(0) as client:
        same = [EventMessage("store", "sold", {"sku": str(n)}, native_id="5-0") for n in range(4)]

        class Broker:
            async def history(self, *_: object, **__: object) -> AsyncIterator[EventMessage]:
                for each in same:
                    yield each

        transports = client.transports()
        transports.brokers = lambda names: [Broker()]  # type: ignore[method-assign, assignment, list-item]
        first = await page(client, ["store"], Query(), as_it_is, limit=3)
        second = await page(client, ["store"], Query(), as_it_is, place=first.next, limit=3)
        assert (skus(first), skus(second), first.next) == (["0", "1", "2"], ["3"], "5-0~3")


async def test_an_event_is_found_by_its_id() -> None:
    async with a_bus(3) as client:
        (newest, *_) = (await page(client, ["store"], Query(), as_it_is)).events
        assert await find(client, ["store"], newest.id, None) == newest
        assert await find(client, ["store"], newest.id, newest.native_id) == newest
        assert await find(client, ["store"], "none", None) is None


@pytest.mark.parametrize("place", ["<b>", "1", "1-1~", "1-1~x", "-"])
async def test_a_place_that_is_none_is_refused(place: str) -> None:
    async with a_bus(1) as client:
        with pytest.raises(InvalidParameters, match="no place"):
            await page(client, ["store"], Query(), as_it_is, place=place)


def test_a_moment_is_a_time_or_how_long_ago_it_was() -> None:
    assert moment("2h") == (None, 7200.0)
    assert moment("1970-01-02T00:00:00+00:00") == (86400.0, None)
    with pytest.raises(InvalidParameters, match="no time"):
        moment("soon")
