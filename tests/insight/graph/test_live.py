"""What a graph takes from the cards of processes."""

from __future__ import annotations

from msgspec.structs import replace

from lightbus.insight.graph.live import shown_by
from lightbus.insight.graph.model import Link
from lightbus.insight.listeners import ListenerStatus
from lightbus.transports.cards import ApiCard, Card, ListenerCard, ProcedureCard, Recent

CARDS = [
    Card(
        service="shop",
        process="1",
        apis=(ApiCard(name="orders"), ApiCard(name="internal.host.shop")),
        procedures=(
            ProcedureCard(api="orders", name="place", recent=Recent(outcomes={"ok": 9, "error": 2})),
            ProcedureCard(api="orders", name="close", recent=Recent(outcomes={"timeout": 1})),
        ),
    ),
    Card(
        service="web",
        process="1",
        calls={"orders.place": 3, "internal.host.shop.run": 1},
        listeners=(
            ListenerCard(name="note", events=("orders.placed", "money.*"), is_paused=True),
            ListenerCard(name="off", events=("orders.placed",), enabled=False),
        ),
    ),
    Card(service="web", process="2", calls={"orders.place": 4}),
    Card(service="cron", process="1", kind="client", calls={"orders.close": 2}, fires={"orders.late": 6}),
]
NOTE = ListenerStatus("web", "note", "orders.*:stream", 2, True, 2, 1, 4, ())


def test_services_apis_listeners_and_calls_are_those_of_all_processes() -> None:
    side = shown_by(CARDS, [NOTE])
    place = Link("web", "calls", "orders", "place")
    assert side.services == {"shop", "web", "cron"}
    assert side.links == {
        Link("shop", "owns", "orders"),
        place,
        Link("web", "listens", "orders", "placed", "note"),
        Link("web", "listens", "money", "*", "note"),
        Link("cron", "calls", "orders", "close"),
        Link("cron", "fires", "orders", "late"),
    }
    assert side.per_hour[place] == 7
    assert side.lags == {("web", "note"): 5} and side.dead == {("web", "note"): 4}
    assert side.paused == {("web", "note")}
    assert side.failed == {"orders": (3, 12)}
    assert side.apis == {"orders", "money"}


def test_a_listener_is_of_code_alone_only_if_every_process_says_so() -> None:
    coded = [ListenerCard(name=name, events=("orders.placed",), in_code=True) for name in ("old", "new")]
    moved = replace(coded[1], in_code=False)
    cards = [
        Card(service="web", process="1", listeners=tuple(coded)),
        Card(service="web", process="2", listeners=(coded[0], moved)),
    ]
    assert shown_by(cards).in_code == {Link("web", "listens", "orders", "placed", "old")}


def test_a_bus_with_nobody_on_it_shows_nothing() -> None:
    assert not shown_by([]).links
