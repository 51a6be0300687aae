"""A listener that was renamed takes over what waits under its name before, with real processes."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from tests.guide.project import Project
from tests.host.noting import STREAM, NotingShop
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.servers import Server, free_port

MANIFEST = """
    service_name: shop
    modules: [bus]
    http: {{listen: "127.0.0.1:{port}"}}
    apis: {{shop: {{owner: shop, event_transport: {{redis: {{acknowledgement_timeout: 1s}}}}}}}}
    listeners: {{{name}: {{events: [shop.sold], handler: "bus:note"{more}}}}}
"""
#: On a busy machine, a process that can't leave its group in time counts as a reader for a minute.
PATIENCE = 90.0
RENAMED = ", renamed_from: old"
WAITING = """
    local due = redis.call('TIME')[1] * 1000 + 300000
    for i = 1, 20000 do
        redis.call('ZADD', KEYS[1], due, '1-' .. i)
        redis.call('HSET', KEYS[2], '1-' .. i, cmsgpack.pack({'id', tostring(i)}))
    end
"""


class Shop(NotingShop):
    """A service whose old and new versions may run at once, each in a folder of its own."""

    def __init__(self, project: Project, server: Server) -> None:
        super().__init__(project)
        self.server = server
        self.ports = {"old": free_port(), "new": free_port()}
        for name, more in (("old", ""), ("new", RENAMED)):
            self.write(MANIFEST.format(name=name, port=self.ports[name], more=more), name)

    def host(self, name: str) -> Process:
        return self.project.within(name).host()

    def ready(self, name: str) -> tuple[int, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/readyz", timeout=60) as reply:
            return reply.status, json.loads(reply.read())

    def groups(self) -> list[str]:
        return sorted(facts[1].decode() for facts in self.server.execute("XINFO", "GROUPS", STREAM))


@pytest.fixture
def shop(project: Project, redis_server: Server) -> Shop:
    project.env["LIGHTBUS__BUS__REDIS__URL"] = redis_server.url
    return Shop(project, redis_server)


def test_a_rolling_restart_loses_and_doubles_nothing_and_waits_for_nobody(shop: Shop) -> None:
    old = shop.host("old")
    shop.fire(3)
    new = shop.host("new")
    new.wait_for_line("the listener new waits to take over what was old's")
    status, said = shop.ready("new")
    assert status == 200 and "reads the group shop-old" in said["waits"][0], "it is ready all the same"
    shop.fire(3)
    eventually(shop.all_once, PATIENCE)
    assert shop.groups() == ["shop-old"]
    assert old.terminate() == 0
    shop.fire(3)
    new.wait_for_line("the listener new has taken over what was old's", PATIENCE)
    shop.fire(3)
    eventually(shop.all_once, PATIENCE)
    assert shop.groups() == ["shop-new"] and "waits" not in shop.ready("new")[1]
    assert new.terminate() == 0
    shop.fire(3)
    again = shop.host("new")
    eventually(shop.all_once, PATIENCE)
    assert "shop-old" not in again.output(), "the key may stay, and does nothing"


def test_a_process_that_is_killed_while_it_takes_over_leaves_that_to_the_next_one(shop: Shop) -> None:
    assert shop.host("old").terminate() == 0
    shop.fire(100)
    # As a dead process leaves them that had read half of them; and many that wait for another attempt.
    read = ("XREADGROUP", "GROUP", "shop-old", "lightbus:nobody", "COUNT", 50, "STREAMS", STREAM, ">")
    shop.server.execute(*read)
    shop.server.execute(
        "EVAL", WAITING, 2, *(f"{{{STREAM}}}:{what}:shop-old" for what in ("delayed", "bodies"))
    )
    was_cut = True
    for _ in range(2):
        new = shop.project.within("new").start("run")
        eventually(lambda: "shop-new" in shop.groups(), PATIENCE)
        new.kill()
        was_cut = was_cut and "shop-old" in shop.groups()
    shop.host("new")
    eventually(lambda: shop.groups() == ["shop-new"] and len(shop.noted) == 100, PATIENCE)
    for what, count in (("delayed", "ZCARD"), ("bodies", "HLEN")):
        of = [shop.server.execute(count, f"{{{STREAM}}}:{what}:shop-{name}") for name in ("old", "new")]
        assert of == [0, 20_000]
    # Else it had finished before it was killed, and had begun to handle events.
    assert shop.all_once() or not was_cut
