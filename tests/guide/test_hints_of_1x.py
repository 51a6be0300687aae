"""A bus module of 1.x runs as it is: its hints mean what they meant there."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.guide.project import Project, printed
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.servers import Server

# As code for 1.x is written: its service registers what it serves.
BUS = """
    from dataclasses import dataclass
    from typing import Tuple

    import lightbus


    @dataclass
    class Line:
        sku: str
        note: str = None


    class ShopApi(lightbus.Api):
        sold = lightbus.Event(parameters=(
            lightbus.Parameter('sku', str), lightbus.Parameter('buyer', str, default=None)
        ))

        class Meta:
            name = 'shop'

        def sell(self, line: Line, buyer: str = None) -> Line:
            bus.shop.sold.fire(sku=line.sku)
            return Line(line.sku, buyer)

        def turned(self, items: Tuple) -> Tuple:
            return items[::-1]


    def on_sold(event_message, sku: str, buyer: str = None):
        print(f'sold {sku} to {buyer}, version {event_message.version}\\n', end='', flush=True)


    def on_many(event_messages):
        for message in event_messages:
            print(f'of many: {sorted(message.kwargs.items())}\\n', end='', flush=True)


    bus = lightbus.create()
    bus.client.register_api(ShopApi())
    bus.shop.sold.listen(on_sold, listener_name='on_sold')
    bus.shop.sold.listen(on_many, listener_name='on_many', bus_options={'batch': 5})
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    server = Server("valkey")
    it = Project(tmp_path_factory.mktemp("shop"), server.url)
    it.write("bus.py", BUS)
    yield it
    it.close()
    server.close()


@pytest.fixture(scope="module")
def host(project: Project) -> Process:
    return project.host()


def test_none_as_default_is_a_value_that_may_be_sent(project: Project, host: Process) -> None:
    assert project.call("shop.sell", line={"sku": "a"}) == {"sku": "a", "note": None}
    line = {"sku": "b", "note": None}
    assert project.call("shop.sell", line=line, buyer=None) == {"sku": "b", "note": None}
    assert project.call("shop.sell", line=line, buyer="ann") == {"sku": "b", "note": "ann"}


def test_an_event_is_fired_with_its_own_default_of_none(project: Project, host: Process) -> None:
    project.call("shop.sell", line={"sku": "c"})
    heard = {"sold c to None, version 1", "of many: [('buyer', None), ('sku', 'c')]"}
    eventually(lambda: heard <= set(printed(host)))


def test_a_tuple_without_types_is_any_list(project: Project, host: Process) -> None:
    assert project.call("shop.turned", items=[1, "two", None]) == [None, "two", 1]
    assert project.call("shop.turned", items=[]) == []


def test_the_contract_tells_it(project: Project, host: Process) -> None:
    done = project.run("dumpschema")
    procedures = json.loads(done.stdout)["shop"]["rpcs"]
    buyer = procedures["sell"]["parameters"]["properties"]["buyer"]
    assert [branch["type"] for branch in buyer["anyOf"]] == ["string", "null"]
    assert procedures["turned"]["response"]["type"] == "array"
    assert "maxItems" not in procedures["turned"]["response"]
