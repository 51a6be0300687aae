"""The life of a service: what a start that is cut short, or fails, leaves on the bus."""

from __future__ import annotations

import pytest

from lightbus.transports.redis.keys import owner_key, presence_key, schema_key, served_key
from tests.guide.project import Project
from tests.support.servers import Server

BUS = """
import asyncio
from lightbus import Api, Event

class ShopApi(Api):
    sold = Event(parameters=("sku",))

    class Meta:
        name = "shop"

    async def price(self) -> int:
        return 1

def note(event_message, sku):
    pass

async def before_server_start(bus):
    bus.shop.sold.listen(note)
    bus.client.before_worker_start(warm_up)

async def warm_up(client):
    print("warming up", flush=True)
    {ending}
"""


@pytest.mark.parametrize("ending", ["await asyncio.sleep(60)", "raise ValueError('no stock')"])
def test_a_start_that_is_cut_short_or_fails_leaves_nobody_on_the_bus(
    project: Project, redis_server: Server, ending: str
) -> None:
    project.write("bus.py", BUS.replace("{ending}", ending))
    project.write("lightbus.yaml", f"bus: {{log_format: text, redis: {{url: '{redis_server.url}'}}}}")
    host = project.start("run")
    host.wait_for_line("warming up")
    status = host.terminate() if "sleep" in ending else host.wait()
    assert status == (0 if "sleep" in ending else 78), host.output()
    assert redis_server.execute("ZCARD", owner_key("shop")) == 0, "another service may own it"
    assert redis_server.execute("EXISTS", schema_key("shop"), served_key("shop")) == 0
    assert redis_server.execute("KEYS", presence_key("shop", "*")) == []
    consumers = {each[1] for each in redis_server.execute("XINFO", "CONSUMERS", "shop.*:stream", "shop-note")}
    assert consumers <= {b"lightbus:nobody"}
    project.write("bus.py", BUS.replace("{ending}", "pass"))
    other = project.host("--service-name", "other")
    assert project.call("shop.price") == 1
    assert other.terminate() == 0
