"""``lightbus graph``, of manifests, of a project, and of what runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server

BUS = """
from lightbus import Api, Event


class OrdersApi(Api):
    placed = Event(["order_id"])

    class Meta:
        name = "orders"

    def place(self, sku: str) -> int:
        return 1


async def note(event, order_id):
    pass


async def count(event, order_id):
    pass


def before_server_start(bus):
    bus.orders.placed.listen(count)
"""
SHOP = """
service_name: shop
apis: {orders: {owner: shop}}
listeners: {note: {events: [orders.placed], handler: "bus:note"}}
"""
WEB = """
service_name: web
bus: {redis: {password: "${WEB_PASSWORD}"}}
calls: [orders.place]
listeners: {tell: {events: [orders.*], handler: "web:tell"}}
"""


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    it = Project(tmp_path / "project", redis_server.url)
    it.write("bus.py", BUS)
    it.write("shop.yaml", SHOP)
    it.write("web.yaml", WEB)
    yield it
    it.close()


def test_manifests_are_only_read_and_drawn_together(project: Project) -> None:
    project.write("bus.py", "raise SystemExit('it was imported')\n")
    drawn = project.run("graph", "shop.yaml", "web.yaml")
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert drawn.stdout.splitlines() == [
        "flowchart LR",
        '    s1["<b>shop</b>"]',
        '    s2["<b>web</b>"]',
        '    a3(["<b>orders</b>"])',
        '    l4[["<b>note</b><br/>of shop<br/>orders.placed"]]',
        '    l5[["<b>tell</b><br/>of web<br/>orders.*"]]',
        '    a3 -->|"placed"| l4',
        '    s1 ===|"owns"| a3',
        '    s2 -->|"place"| a3',
        '    a3 -->|"*"| l5',
    ]


def test_each_format_is_printed_or_written(project: Project) -> None:
    assert project.run("graph", "shop.yaml", "--format", "dot").stdout.startswith("digraph bus {\n")
    assert json.loads(project.run("graph", "shop.yaml", "--format", "json").stdout)["format_version"] == 1
    done = project.run("graph", "shop.yaml", "web.yaml", "--format", "svg", "--out", "made/bus.svg")
    assert (done.returncode, done.stdout) == (0, "wrote made/bus.svg\n")
    ElementTree.fromstring((project.folder / "made/bus.svg").read_text())


def test_of_a_project_alone_its_bus_modules_are_asked_who_owns_what(project: Project) -> None:
    project.write("lightbus.yaml", "service_name: alone\n")
    found = json.loads(project.run("graph", "--format", "json").stdout)
    assert [(each["service"], each["kind"], each["api"]) for each in found["links"]] == [
        ("alone", "owns", "orders")
    ]


def test_the_focus_leaves_what_is_next_to_a_name(project: Project) -> None:
    project.write("far.yaml", "service_name: far\napis: {money: {owner: far}}\n")
    files = ("shop.yaml", "web.yaml", "far.yaml")
    assert "far" in project.run("graph", *files).stdout
    assert "far" not in project.run("graph", *files, "--focus", "orders").stdout
    done = project.run("graph", *files, "--focus", "order")
    assert done.returncode == 64
    assert "there is nothing named 'order' to focus on" in done.stderr
    assert "did you mean orders?" in done.stderr


def test_a_wrong_manifest_is_told_with_its_place(project: Project) -> None:
    project.write("bad.yaml", "service_name: bad\ncalls: [orders, 'no name']\n")
    done = project.run("graph", "shop.yaml", "bad.yaml")
    assert done.returncode == 78
    assert "bad.yaml:2:17" in done.stderr
    assert "an API such as auth, or a procedure such as shop.orders.place" in done.stderr
    assert project.run("graph", "nowhere.yaml").returncode == 78


def test_the_bus_is_compared_with_what_is_declared(project: Project) -> None:
    project.host("-c", "shop.yaml")
    same = project.run("graph", "shop.yaml", "--diff")
    assert (same.returncode, same.stderr) == (0, "0 differences\n")
    project.write("more.yaml", SHOP.replace("listeners: {note", "listeners: {late"))
    differs = project.run("graph", "more.yaml", "web.yaml", "--diff", "--format", "svg")
    assert differs.returncode == 1
    assert differs.stderr.splitlines() == [
        "web is declared, but none of its processes is on the bus",
        "shop listens to orders.placed by late by its manifest, but not on the bus",
        "shop listens to orders.placed by note, which its manifest does not declare",
        "3 differences",
    ]
    assert "on the bus, not declared" in differs.stdout


def test_what_a_process_calls_that_only_uses_the_bus_is_compared(project: Project) -> None:
    project.host("-c", "shop.yaml")
    project.write("cron.yaml", "service_name: cron\ncalls: [orders.close]\n")
    client = project.program(
        "-c",
        "import lightbus, time\n"
        "bus = lightbus.create('cron.yaml')\n"
        "print(bus.orders.place(sku='a'), flush=True)\n"
        "time.sleep(600)\n",
    )
    client.wait_for_line("1")
    told = "cron calls orders.place, which its manifest does not declare"
    files = ("shop.yaml", "cron.yaml", "--diff")
    eventually(lambda: told in project.run("graph", *files).stderr)
    found = project.run("graph", *files)
    assert found.returncode == 1
    assert found.stderr.splitlines() == [
        "cron.yaml:2:9  warning: calls: orders.close: orders has no procedure close; it has: place",
        told,
        "1 difference",
    ]
    assert "-->" in found.stdout and "place 1/h" in found.stdout


def test_declared_calls_that_nobody_has_are_told_with_their_places(project: Project) -> None:
    project.write("lost.yaml", "service_name: lost\ncalls: [orders.place, ordrs.place, money]\n")
    # A manifest alone does not know the APIs of others.
    assert project.run("graph", "lost.yaml").stderr == ""
    done = project.run("graph", "shop.yaml", "lost.yaml")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "lost.yaml:2:23  warning: calls: ordrs.place: no such API is known; did you mean orders.place?",
        "lost.yaml:2:36  warning: calls: money: no such API is known; there is: orders",
    ]


def test_live_adds_services_and_lag_what_waits(project: Project) -> None:
    project.host("-c", "shop.yaml")
    assert "<b>shop</b>" not in project.run("graph", "-c", "shop.yaml", "web.yaml").stdout
    live = project.run("graph", "-c", "shop.yaml", "web.yaml", "--live")
    assert (live.returncode, "<b>shop</b>" in live.stdout) == (0, True), live.stderr
    assert "waiting" not in live.stdout
    lag = project.run("graph", "-c", "shop.yaml", "web.yaml", "--lag")
    assert "<b>note</b><br/>of shop<br/>orders.placed<br/>0 waiting" in lag.stdout


def test_without_a_redis_what_is_declared_is_drawn_and_what_is_live_is_not(project: Project) -> None:
    project.env["LIGHTBUS__BUS__REDIS__URL"] = "redis://127.0.0.1:1/0"
    assert project.run("graph", "shop.yaml").returncode == 0
    done = project.run("graph", "shop.yaml", "--diff")
    assert (done.returncode, done.stdout) == (69, "")
    assert "127.0.0.1:1" in done.stderr
