"""``lightbus plan`` where Redis is more than one: on a cluster, and behind a Sentinel."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_doctor import monitored
from tests.conftest import require
from tests.guide.project import Project
from tests.support.cluster import RedisCluster
from tests.support.eventually import eventually
from tests.support.servers import Server, ServerPool, find_binary, free_port
from tests.support.spread import Spread

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


@dataclass
class Several:
    """A Redis of several servers.

    Args:
        redis: Its options in a manifest.
        server: Does a command where its key is.
        primaries: The servers that take writes.
    """

    redis: dict[str, Any]
    server: Any
    primaries: list[Server]

    def everything(self) -> dict[bytes, bytes]:
        """All that it has."""
        return {
            key: server.execute("DUMP", key)
            for server in self.primaries
            for key in server.execute("KEYS", "*")
        }


@pytest.fixture(params=["cluster", "sentinel"])
def several(request: pytest.FixtureRequest, tmp_path: Path, servers: ServerPool) -> Iterator[Several]:
    if request.param == "cluster":
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        owners = {cluster.owner(stream) for stream in STREAMS}
        assert len(owners) == len(STREAMS), "each primary has something to be looked at"
        redis = {"cluster": {"nodes": cluster.addresses[:1]}}
        yield Several(redis, Spread(cluster), list(cluster.primaries()))
        return
    require("valkey")
    server, port = servers.clean("valkey"), free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {server.port} 1\n")
    command = [str(find_binary("valkey")), str(config), "--sentinel"]
    with contextlib.ExitStack() as closing:
        sentinel = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        closing.callback(sentinel.wait)
        closing.callback(sentinel.kill)
        eventually(lambda: _answers(port))
        asks: dict[str, Any] = {"service": "main", "nodes": [f"127.0.0.1:{port}"]}
        yield Several({"sentinel": asks}, server, [server])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _has_ended(seen: list[list[str]]) -> bool:
    return bool(seen) and seen[-1][0].lower() == "echo"


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
        watched = [monitored(server) for server in several.primaries]
        with contextlib.ExitStack() as open_links:
            for _, link in watched:
                open_links.enter_context(link)
            found = planned(project, 1)
            for server, (seen, _) in zip(several.primaries, watched, strict=True):
                server.execute("ECHO", "the end")
                eventually(partial(_has_ended, seen))
        for seen, _ in watched:
            sent = {words[0].lower() for words in seen if "__sentinel__:hello" not in words}
            assert sent - READS - OF_SEVERAL - {"echo"} == set()
            assert {"xinfo"} <= sent, "it was looked at"
        assert several.everything() == before
    assert found == {
        ("contract", "contract shop.price()"),
        ("stream_use", "api wide"),
        ("retention", "retention shop"),
        ("listener_left_behind", "listener shop-mailer"),
        ("listener_made", "listener shop-greeter"),
    }
