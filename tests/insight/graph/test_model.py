"""Which links a graph has, how declared and live ones differ, and what is in focus."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lightbus.insight.graph.declared import called, declared_by
from lightbus.insight.graph.model import Graph, Link, Side, together
from lightbus.manifest.load import load


def manifest(tmp_path: Path, text: str) -> Side:
    file = tmp_path / "lightbus.yaml"
    file.write_text(text)
    return declared_by(load([str(file)]))


SHOP = Link("shop", "owns", "orders")
PLACE = Link("web", "calls", "orders", "place")
WHOLE = Link("web", "calls", "orders")
MAIL = Link("mail", "listens", "orders", "placed", "send")
FAR = Link("bank", "owns", "money")


def side(*links: Link) -> Side:
    return Side(frozenset(link.service for link in links), frozenset(links), frozenset())


class TestManifests:
    def test_owners_listeners_and_calls_are_what_they_say(self, tmp_path: Path) -> None:
        found = manifest(
            tmp_path,
            """
            service_name: mail
            apis: {orders: {owner: shop}, news: {owner: mail}}
            calls: [orders, money.paid]
            listeners:
              send: {events: [orders.placed, money.*], handler: mail:send}
              off: {events: [orders.placed], handler: mail:send, enabled: false}
            """,
        )
        assert found.links == {
            Link("shop", "owns", "orders"),
            Link("mail", "owns", "news"),
            Link("mail", "calls", "orders"),
            Link("mail", "calls", "money", "paid"),
            Link("mail", "listens", "orders", "placed", "send"),
            Link("mail", "listens", "money", "*", "send"),
        }
        assert found.services == {"mail"}

    def test_a_name_in_calls_is_an_api_if_any_manifest_knows_it(self) -> None:
        assert called("web", "shop.orders", {"shop.orders"}) == Link("web", "calls", "shop.orders")
        assert called("web", "shop.orders", {"shop"}) == Link("web", "calls", "shop", "orders")
        assert called("web", "auth", ()) == Link("web", "calls", "auth")

    def test_several_say_what_each_of_them_says(self) -> None:
        both = together([side(SHOP), side(MAIL)])
        assert both.services == {"shop", "mail"}
        assert both.links == {SHOP, MAIL}


class TestDifferences:
    def test_there_are_none_where_the_bus_is_as_declared(self) -> None:
        assert Graph(side(SHOP, PLACE, MAIL), side(SHOP, PLACE, MAIL), True).differences() == []

    def test_a_procedure_of_an_api_that_is_declared_is_declared(self) -> None:
        graph = Graph(side(SHOP, WHOLE), side(SHOP, PLACE), True)
        assert graph.differences() == []
        assert graph.links == [SHOP, PLACE]

    def test_a_call_that_is_not_declared_is_one(self) -> None:
        graph = Graph(side(SHOP, PLACE), side(SHOP, PLACE, Link("web", "calls", "orders", "drop")), True)
        assert graph.differences() == ["web calls orders.drop, which its manifest does not declare"]

    def test_an_api_that_no_manifest_gives_an_owner_is_of_the_service_whose_modules_define_it(
        self, tmp_path: Path
    ) -> None:
        web, shop = manifest(tmp_path, "service_name: web"), manifest(tmp_path, "service_name: shop")
        live = side(SHOP, Link("web", "owns", "pages"))
        assert Graph(together([web, shop]), live, True).differences() == []
        # Where it has one, another one is told; and so it is where the modules were imported.
        owned = manifest(tmp_path, "service_name: web\napis: {orders: {owner: web}}")
        told = "shop owns orders, which its manifest does not declare"
        assert told in Graph(together([owned, shop]), live, True).differences()
        assert (
            told in Graph(replace(together([web, shop]), unread=frozenset({"web"})), live, True).differences()
        )

    def test_a_listener_that_code_alone_declares_is_none_where_the_modules_were_not_imported(
        self, tmp_path: Path
    ) -> None:
        mail = manifest(tmp_path, "service_name: mail")
        live = replace(side(SHOP, MAIL), in_code=frozenset({MAIL}))
        both = together([side(SHOP), mail])
        assert Graph(both, live, True).differences() == []
        # Where a process says that its manifest has it, and where the modules were imported, it is told.
        told = ["mail listens to orders.placed by send, which its manifest does not declare"]
        assert Graph(both, side(SHOP, MAIL), True).differences() == told
        assert Graph(replace(both, unread=frozenset()), live, True).differences() == told

    def test_an_event_that_somebody_else_than_the_owner_fires_is_one(self) -> None:
        late, placed = Link("cron", "fires", "orders", "late"), Link("shop", "fires", "orders", "placed")
        cron = Side(frozenset({"cron"}))
        graph = Graph(together([side(SHOP), cron]), side(SHOP, placed, late), True)
        assert graph.differences() == ["cron fires orders.late, which its manifest does not declare"]
        assert placed not in graph.links

    def test_a_declared_call_that_nobody_made_within_the_hour_is_none(self) -> None:
        graph = Graph(side(SHOP, PLACE), Side(frozenset({"shop", "web"}), frozenset({SHOP})), True)
        assert graph.differences() == []
        assert graph.state(PLACE) == "absent"

    @pytest.mark.parametrize(
        ("declared", "live", "told"),
        [
            ([SHOP, MAIL], [SHOP], "mail is declared, but none of its processes is on the bus"),
            ([SHOP], [SHOP, MAIL], "mail is on the bus, and no manifest declares it"),
        ],
    )
    def test_a_service_is_told_once_and_not_all_that_it_does(
        self, declared: list[Link], live: list[Link], told: str
    ) -> None:
        assert Graph(side(*declared), side(*live), True).differences() == [told]

    def test_a_listener_and_an_owner_that_are_not_there(self) -> None:
        live = Side(frozenset({"mail", "shop"}), frozenset({Link("mail", "listens", "orders", "*", "all")}))
        assert Graph(side(SHOP, MAIL), live, True).differences() == [
            "mail listens to orders.* by all, which its manifest does not declare",
            "mail listens to orders.placed by send by its manifest, but not on the bus",
            "shop owns orders by its manifest, but not on the bus",
        ]

    def test_nothing_differs_where_nothing_is_compared(self) -> None:
        graph = Graph(side(SHOP), side(MAIL))
        assert {graph.state(link) for link in graph.links} == {"there"}
        assert graph.links == [MAIL, SHOP]

    def test_services_of_others_are_not_compared_where_one_is_in_focus(self) -> None:
        graph = Graph(side(SHOP), side(SHOP, PLACE, FAR), True, "shop")
        assert graph.differences() == []
        assert graph.services == ["shop", "web"]


@pytest.mark.parametrize(
    ("focus", "links"),
    [
        ("shop", [MAIL, SHOP, PLACE]),
        ("orders", [MAIL, SHOP, PLACE]),
        ("web", [SHOP, PLACE]),
        ("send", [MAIL, SHOP]),
        ("bank", [FAR]),
    ],
)
def test_the_focus_shows_a_name_and_what_is_next_to_it(focus: str, links: list[Link]) -> None:
    assert Graph(side(SHOP, PLACE, MAIL, FAR), focus=focus).links == links
    assert focus in Graph(side(SHOP, PLACE, MAIL, FAR)).names()
