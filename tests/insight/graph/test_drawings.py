"""The forms of a graph: what each of them shows, and names that try to get out of their place."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from lightbus.insight.graph.drawings.data import data
from lightbus.insight.graph.drawings.dot import dot
from lightbus.insight.graph.drawings.layout import layout_of
from lightbus.insight.graph.drawings.mermaid import mermaid
from lightbus.insight.graph.drawings.picture import picture_of
from lightbus.insight.graph.drawings.svg import svg
from lightbus.insight.graph.model import Graph, Link, Side

DECLARED = Side(
    frozenset({"shop", "web", "mail"}),
    frozenset(
        {
            Link("shop", "owns", "orders"),
            Link("web", "calls", "orders"),
            Link("mail", "listens", "orders", "placed", "send"),
        }
    ),
    frozenset({"orders"}),
)
CALL = Link("web", "calls", "orders", "place")
LIVE = Side(
    frozenset({"shop", "web", "spy"}),
    frozenset({Link("shop", "owns", "orders"), CALL, Link("spy", "listens", "orders", "*", "all")}),
    frozenset({"orders"}),
    {CALL: 1412},
    {("spy", "all"): 3},
)
COMPARED = Graph(DECLARED, LIVE, True)


def texts(svg_text: str) -> list[str]:
    root = ElementTree.fromstring(svg_text)
    return [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]


def test_mermaid_has_a_box_for_each_and_an_arrow_for_each() -> None:
    assert mermaid(picture_of(Graph(DECLARED))).splitlines() == [
        "flowchart LR",
        '    s1["<b>mail</b>"]',
        '    s2["<b>shop</b>"]',
        '    s3["<b>web</b>"]',
        '    a4(["<b>orders</b>"])',
        '    l5[["<b>send</b><br/>of mail<br/>orders.placed"]]',
        '    a4 -->|"placed"| l5',
        '    s2 ===|"owns"| a4',
        '    s3 -->|"calls"| a4',
    ]


def test_mermaid_marks_what_differs() -> None:
    drawn = mermaid(picture_of(COMPARED))
    assert '-->|"place 1,412/h"|' in drawn
    assert '-.->|"placed"|' in drawn
    assert re.search(r"^    class s\d,l\d undeclared$", drawn, re.MULTILINE)
    assert re.search(r"^    linkStyle \d stroke:#c44,color:#c44$", drawn, re.MULTILINE)


def test_an_arrow_of_several_states_says_which_name_is_in_which() -> None:
    seen, drop = Link("web", "calls", "orders", "seen"), Link("web", "calls", "orders", "drop")
    events = {Link("mail", "listens", "orders", name, "send") for name in ("placed", "paid")}
    declared = replace(DECLARED, links=frozenset({*events, CALL, seen, Link("shop", "owns", "orders")}))
    shown = {CALL, drop, Link("shop", "owns", "orders"), Link("mail", "listens", "orders", "paid", "send")}
    live = Side(frozenset({"shop", "web", "mail"}), frozenset(shown), frozenset({"orders"}))
    picture = picture_of(Graph(declared, live, True))
    labels = {arrow.kind: (arrow.label, arrow.state) for arrow in picture.arrows}
    assert labels["calls"] == ("drop (not declared), place, seen (not called)", "undeclared")
    assert labels["listens"] == ("paid, placed (not on the bus)", "there")
    web = next(box for box in picture.boxes if box.title == "web")
    assert "calls orders.drop (not declared)" in web.lines
    # Where all are alike, the line itself says it.
    alone = picture_of(Graph(declared, replace(live, links=live.links - {CALL}), False))
    assert "drop, place, seen" in {arrow.label for arrow in alone.arrows}
    assert "(not" not in svg(alone)


def test_dot_is_a_graph_that_graphviz_reads() -> None:
    drawn = dot(picture_of(COMPARED))
    assert 'label="spy"' not in drawn.replace('label="spy", color="#cc4444"', "")
    assert 'style="dashed"' in drawn
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tcanon"], input=drawn, text=True, check=True, capture_output=True)


def test_json_says_of_each_link_where_it_is() -> None:
    found = json.loads(json.dumps(data(COMPARED)))
    assert found["format_version"] == 1
    links = {(each["service"], each["kind"]): each for each in found["links"]}
    assert links["web", "calls"] == {
        "service": "web",
        "kind": "calls",
        "api": "orders",
        "name": "place",
        "listener": None,
        "is_declared": True,
        "is_live": True,
        "state": "there",
        "calls_per_hour": 1412,
        "fires_per_hour": None,
        "waiting": None,
        "is_paused": None,
    }
    assert links["spy", "listens"]["waiting"] == 3
    assert (links["mail", "listens"]["is_live"], links["mail", "listens"]["state"]) == (False, "absent")
    assert found["differences"] == COMPARED.differences()
    assert data(Graph(DECLARED))["services"][0] == {"name": "mail", "is_declared": True, "is_live": None}


def test_the_svg_has_three_columns_with_everything_in_them() -> None:
    drawn = svg(picture_of(COMPARED), compares=True)
    shown = texts(drawn)
    assert shown[:3] == ["Services", "APIs", "Listeners"]
    assert {"shop", "calls orders.place 1,412/h", "owned by shop", "of spy", "3 waiting"} <= set(shown)
    assert shown[-2:] == ["declared, not on the bus", "on the bus, not declared"]
    assert texts(svg(picture_of(Graph(DECLARED))))[-1] == "listens"
    assert drawn.count('class="r undeclared"') == 2
    assert drawn.count('class="r absent"') == 2


def test_what_fails_is_in_its_box() -> None:
    live = replace(LIVE, dead={("spy", "all"): 2}, failed={"orders": (3, 12)})
    assert {"3 waiting, 2 dead", "3 of 12 calls failed"} <= set(texts(svg(picture_of(Graph(Side(), live)))))


def test_a_listener_that_is_paused_says_so() -> None:
    graph = Graph(Side(), replace(LIVE, paused=frozenset({("spy", "all")})))
    assert "paused, 3 waiting" in texts(svg(picture_of(graph)))
    assert [each["is_paused"] for each in data(graph)["links"] if each["listener"]] == [True]
    assert "<br/>paused" in mermaid(picture_of(Graph(Side(), replace(graph.live or LIVE, lags={}))))


def test_who_fires_the_events_of_others_has_a_line_of_its_own_that_is_explained_only_then() -> None:
    late = Link("cron", "fires", "orders", "late")
    live = Side(frozenset({"cron"}), frozenset({late}), frozenset({"orders"}), {late: 6})
    graph = Graph(DECLARED, live, True)
    drawn = texts(svg(picture_of(graph)))
    assert "fires" in drawn and "fires orders.late 6/h" in drawn
    assert "fires" not in texts(svg(picture_of(COMPARED)))
    assert '-->|"late 6/h"|' in mermaid(picture_of(graph))
    (found,) = [each for each in data(graph)["links"] if each["kind"] == "fires"]
    assert (found["fires_per_hour"], found["calls_per_hour"], found["state"]) == (6, None, "undeclared")


def test_no_box_lies_over_another_or_beyond_the_edge() -> None:
    links = {Link(f"s{n}", "calls", f"api{n * m % 17}", f"p{m}") for n in range(12) for m in range(9)}
    links |= {Link(f"s{n}", "owns", f"api{n}") for n in range(12)}
    links |= {Link(f"s{n}", "listens", f"api{n % 5}", "*", f"l{n}") for n in range(12)}
    layout = layout_of(picture_of(Graph(Side(links=frozenset(links)))))
    for one in layout.boxes:
        assert 0 <= one.x <= layout.width - layout.box_width
        assert one.y + one.height <= layout.height
        for other in layout.boxes:
            if other is not one and other.x == one.x:
                assert other.y >= one.y + one.height or one.y >= other.y + other.height
    assert layout.width <= 1280
    assert any(line.startswith("and ") for it in layout.boxes for line in it.lines)


def test_a_drawing_is_the_same_each_time_and_one_of_nothing_is_one() -> None:
    assert svg(picture_of(COMPARED)) == svg(picture_of(Graph(DECLARED, LIVE, True)))
    ElementTree.fromstring(svg(picture_of(Graph(Side()))))
    assert mermaid(picture_of(Graph(Side()))) == "flowchart LR\n"


@pytest.mark.parametrize(
    "evil", ['"]; click s1 href "x', "</text><script>", "a\\", "\n  x --> y", "é\x1b[31m", "x" * 90]
)
def test_names_from_strangers_stay_within_their_place(evil: str) -> None:
    side = Side(frozenset({evil}), frozenset({Link(evil, "listens", evil, evil, evil)}))
    picture = picture_of(Graph(side))
    drawn = mermaid(picture)
    assert len(drawn.splitlines()) == 5
    assert drawn.count('"') == 8
    ElementTree.fromstring(svg(picture))
    assert all(len(text) <= 40 for text in texts(svg(picture)))
    unquoted = re.sub(r'"(?:[^"\\]|\\.)*"', "", dot(picture), flags=re.DOTALL)
    assert '"' not in unquoted
    assert "\x1b" not in drawn + dot(picture) + svg(picture)
