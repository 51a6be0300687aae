"""``lightbus plan`` where Redis is more than one: on a cluster, and behind a Sentinel."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from tests.commands.test_doctor import monitored
from tests.guide.project import Project
from tests.support.several import Several

from .test_plan import READS, calling

STREAMS = ("shop.*:stream", "auth.*:stream", "wide.*:stream")
#: What is asked of a cluster besides, and of a server behind a Sentinel.
OF_SEVERAL = {"cluster", "role"}
BUS = """
    from lightbus import Api, Event

    class ShopApi(Api):
        happened = Event(parameters=("sku",))

        class Meta:
            name = "shop"

        def price(self{more}) -> int:
            return 1

    class AuthApi(Api):
        happened = Event(parameters=("sku",))

        class Meta:
            name = "auth"

    class WideApi(Api):
        happened = Event(parameters=("sku",))

        class Meta:
            name = "wide"

    def handle(event, sku): ...
"""
MANIFEST = """
    service_name: shop
    modules: [bus]
    bus: {{redis: {redis}}}
    apis:
      shop: {{owner: shop, event_transport: {{redis: {{max_stream_length: {most}}}}}}}
      auth: {{owner: shop}}
      wide: {{owner: shop, event_transport: {{redis: {{stream_use: {use}}}}}}}
    listeners:
      {listener}: {{events: [shop.happened, auth.happened, wide.happened], handler: "bus:handle"}}
"""


def write(
    project: Project,
    several: Several,
    *,
    more: str = "",
    most: int = 100,
    use: str = "per_api",
    listener: str = "mailer",
) -> None:
    redis = json.dumps(several.redis)
    project.write("bus.py", BUS.format(more=more))
    project.write("lightbus.yaml", MANIFEST.format(redis=redis, most=most, use=use, listener=listener))


def planned(project: Project, status: int) -> set[tuple[str, str]]:
    done = project.run("plan", "--format", "json")
    assert done.returncode == status, done.stdout + done.stderr
    return {(each["kind"], each["subject"]) for each in json.loads(done.stdout)["drifts"]}


def test_what_lies_with_each_of_them_is_compared_and_nothing_is_written_to_any(
    several: Several, tmp_path: Path
) -> None:
    project = Project(tmp_path, None)
    assert several.spreads(STREAMS), "each primary has something to be looked at"
    with contextlib.closing(project):
        write(project, several)
        host = project.host()
        contract = several.server.execute("GET", "schema:shop")
        assert host.terminate() == 0
        several.server.execute("SET", "schema:shop", contract)
        for stream in STREAMS:
            for _ in range(20):
                several.server.execute("XADD", stream, "*", "id", "1")
        calling(several.server, "web", "web-1", {"shop.price": 3})
        assert planned(project, 0) == set()

        write(project, several, more=", sku: str", most=10, use="per_event", listener="greeter")
        before = several.everything()
        with contextlib.ExitStack() as watching:
            watched = [watching.enter_context(monitored(server)) for server in several.primaries]
            found = planned(project, 1)
        for seen in watched:
            sent = {words[0].lower() for words in seen if "__sentinel__:hello" not in words}
            assert sent - READS - OF_SEVERAL == set()
            assert {"xinfo"} <= sent, "it was looked at"
        assert several.everything() == before
    assert found == {
        ("contract", "contract shop.price()"),
        ("stream_use", "api wide"),
        ("retention", "retention shop"),
        ("listener_left_behind", "listener shop-mailer"),
        ("listener_made", "listener shop-greeter"),
    }
