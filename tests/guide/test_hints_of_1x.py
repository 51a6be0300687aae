"""A bus module of 1.x runs as it is: its hints mean what they meant there."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.guide.project import Project, printed
from tests.support.eventually import eventually
from tests.support.patient import ENVIRONMENT
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


# Classes that say nothing of how their objects are made, of an API and of a listener.
UNKNOWN = """
    import lightbus


    class Address:
        street: str
        number: int = 1


    class PostApi(lightbus.Api):
        moved = lightbus.Event(parameters=('who', lightbus.Parameter('to', Address)))

        class Meta:
            name = 'post'

        def move(self, who: memoryview, to: Address) -> Address:
            bus.post.moved.fire(who=who, to=to)
            return {**to, 'number': 2}


    def on_moved(event_message, who: memoryview, to: Address, **more: memoryview):
        print(f'{who} moved to {sorted(to.items())}\\n', end='', flush=True)


    bus = lightbus.create()
    bus.client.register_api(PostApi())
    bus.post.moved.listen(on_moved, listener_name='on_moved')
"""
PASSES = "can not be checked: its values pass as they are"
A_DICT = "is a class without a way to make it: a dict with its fields is handed over"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    server = Server("valkey")
    it = Project(tmp_path_factory.mktemp("shop"), server.url)
    it.env |= ENVIRONMENT
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


def test_hints_that_are_not_known_are_told_once_each_with_its_place_and_values_pass(
    project: Project,
) -> None:
    place = project.within("post")
    path = place.write("bus.py", UNKNOWN)
    host = place.host()
    to = {"street": "Hill Road", "number": 7}
    assert place.call("post.move", who="ann", to=to) == {"street": "Hill Road", "number": 2}
    assert place.call("post.move", who=[1], to={"street": "Hill Road"}) == {
        "street": "Hill Road",
        "number": 2,
    }
    heard = {
        "ann moved to [('number', 7), ('street', 'Hill Road')]",
        "[1] moved to [('street', 'Hill Road')]",
    }
    eventually(lambda: heard <= set(printed(host)))
    told = [line for line in host.output().splitlines() if "the type hint" in line]
    of_listener = f"{path}:20: the listener on_moved: parameter"
    for said in (
        f"{path}:9: post.moved: parameter to: the type hint Address {A_DICT}",
        f"{path}:15: post.move(): what it returns: the type hint Address {A_DICT}",
        f"{path}:15: post.move(): parameter who: the type hint memoryview {PASSES}",
        f"{path}:15: post.move(): parameter to: the type hint Address {A_DICT}",
        f"{of_listener} who: the type hint memoryview {PASSES}",
        f"{of_listener} to: the type hint Address {A_DICT}",
        f"{of_listener} more: the type hint memoryview {PASSES}",
    ):
        assert sum(said in line for line in told) == 1, (said, told)
    assert len(told) == 7
