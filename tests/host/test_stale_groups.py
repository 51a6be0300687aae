"""A listener that is renamed leaves its group, for which its stream keeps everything: that is told."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server, free_port

BUS = """
    from lightbus import Api, Event

    class ShopApi(Api):
        sold = Event(parameters=("n",))

        class Meta:
            name = "shop"

    def on_sold(event_message, n): ...
"""
MANIFEST = """
    service_name: shop
    modules: [bus]
    bus: {{schema: {{ttl: 1s}}}}
    http: {{listen: "127.0.0.1:{port}"}}
    apis: {{shop: {{owner: shop, event_transport: {{redis: {{max_stream_length: 100}}}}}}}}
    listeners: {{{name}: {{events: [shop.sold], handler: "bus:on_sold"}}}}
"""
MOVE = "move it if its listener has another name now: lightbus group move shop-old shop-new, or remove"
GROUP = "the group shop-old of the service shop"


@pytest.fixture
def shop(project: Project, redis_server: Server) -> Project:
    """A project whose listener was called otherwise when it ran before."""
    project.env["LIGHTBUS__BUS__REDIS__URL"] = redis_server.url
    project.write("bus.py", BUS)
    project.write("lightbus.yaml", MANIFEST.format(name="old", port=free_port()))
    assert project.host().terminate() == 0
    project.write("lightbus.yaml", MANIFEST.format(name="new", port=free_port()))
    return project


def metrics(project: Project) -> str:
    port = project.folder.joinpath("lightbus.yaml").read_text().partition("127.0.0.1:")[2].partition('"')[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as reply:
        return str(reply.read().decode())


def test_a_group_that_lost_its_listener_is_told_at_the_start_and_again_once_events_wait(
    shop: Project, redis_server: Server
) -> None:
    host = shop.host()
    first = host.wait_for_line(f"{GROUP} has no listener in this process: 0 unread")
    assert "warning" not in first.lower()
    shop.fire("shop.sold", n=1)
    assert "warning" in host.wait_for_line(f"{GROUP} has no listener in this process: 1 unread").lower()
    row = 'lightbus_unserved_group_waiting{group="shop-old",stream="shop.*:stream"} 1.0'
    assert row in metrics(shop) and 'unserved_group_waiting{group="shop-new"' not in metrics(shop)
    blocked = 'lightbus_group_blocks_trimming{group="shop-old",stream="shop.*:stream"} 0.01'
    assert blocked in metrics(shop), "one of the 100 that the stream takes"
    redis_server.execute("XGROUP", "DESTROY", "shop.*:stream", "shop-old")
    eventually(lambda: row not in metrics(shop))
    assert host.output().count(GROUP) == 2, "it is told once for each state"
    assert host.output().count(MOVE) == 2


def test_check_and_status_tell_of_it(shop: Project) -> None:
    checked = shop.run("check", "--connect")
    assert checked.returncode == 0
    assert f"note: {GROUP} has no listener in the manifest (--imports looks at modules)" in checked.stdout
    shop.host()
    shop.fire("shop.sold", n=1)
    checked = shop.run("check", "--connect", "--imports")
    assert f"warning: {GROUP} has no listener in manifest and modules: 1 unread, 0 pending" in checked.stdout
    assert MOVE in checked.stdout

    def noted() -> bool:
        look = json.loads(shop.run("status", "--json").stdout)
        served = {each["name"]: each["is_served"] for each in look["listeners"]}
        (note,) = look["notes"]
        return served == {"old": False, "new": True} and note.startswith(f"{GROUP}: 1 unread, 0 pending")

    eventually(noted)
    status = " ".join(shop.run("status").stdout.split())
    assert "lightbus group rm shop-old" in status and MOVE in status


def test_a_group_that_another_process_of_the_service_reads_is_not_told_of(shop: Project) -> None:
    # For longer than a second, it may be held up, and then it is not alive.
    lasting = MANIFEST.replace("ttl: 1s", "ttl: 1m")
    other = lasting.format(name="old", port=free_port())
    shop.write("lightbus.yaml", lasting.format(name="new", port=free_port()))
    shop.write("other/bus.py", BUS)
    shop.write("other/lightbus.yaml", other)
    shop.within("other").host()
    host = shop.host()
    shop.fire("shop.sold", n=1)
    assert "shop-old" not in host.output()
    assert "shop-old" not in shop.run("check", "--connect").stdout
    assert "unserved_group_waiting{" not in metrics(shop)
