"""What is the memory transport's own, and a host on it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path

import pytest

from lightbus.exceptions import NoWorker, TransportNotFound
from lightbus.messages import EventMessage, RpcMessage
from lightbus.transports.events import EventTransport
from lightbus.transports.installed import find_transport
from lightbus.transports.memory.broker import broker
from lightbus.transports.memory.events import MemoryEventTransport
from lightbus.transports.memory.rpc import MemoryRpcTransport
from lightbus.transports.rpc import RpcTransport
from lightbus.transports.schema import SchemaTransport
from tests.conftest import RunLightbus

from .conftest import Ports, take

BUS = """
import lightbus
from lightbus import Api, Event, Parameter

bus = lightbus.create()
PATIENT = {"timeout": 60}


class AuthApi(Api):
    registered = Event((Parameter("username", str),))

    class Meta:
        name = "auth"

    def check(self, username: str) -> bool:
        # From a thread, through the loop.
        return bus.auth.echo(text=username, bus_options=PATIENT) == username

    async def echo(self, text: str) -> str:
        return text


def on_registered(event, username):
    print("heard of", username, flush=True)


async def use_it():
    print("checked:", await bus.auth.check.call_async(username="admin", bus_options=PATIENT), flush=True)
    await bus.auth.registered.fire_async(username="admin")


bus.auth.registered.listen(on_registered, listener_name="greeter")
bus.client.add_background_task(use_it())
"""


def test_a_host_runs_without_a_broker(run_lightbus: RunLightbus, tmp_path: Path) -> None:
    (tmp_path / "bus.py").write_text(BUS)
    process = run_lightbus("run", "--transport", "memory", cwd=tmp_path)
    process.wait_for_line("checked: True")
    process.wait_for_line("heard of admin")
    assert process.terminate() == 0
    assert not (tmp_path / ".lightbus").exists()


@pytest.mark.parametrize("name", ["memory", "redis"])
def test_each_port_is_found_by_name(name: str) -> None:
    assert issubclass(find_transport("rpc", name), RpcTransport)
    assert issubclass(find_transport("event", name), EventTransport)
    assert issubclass(find_transport("schema", name), SchemaTransport)


def test_a_transport_that_is_not_installed_is_said_with_those_that_are() -> None:
    with pytest.raises(TransportNotFound, match=r"no event transport named 'kafka'.*memory, redis"):
        find_transport("event", "kafka")


def test_loops_share_nothing_and_leave_nothing() -> None:
    async def use() -> weakref.ref[object]:
        events = MemoryEventTransport()
        await events.publish([EventMessage("auth", "user_registered")], 1)
        with pytest.raises(NoWorker):
            await MemoryRpcTransport().call(RpcMessage("auth", "check"), 1)
        return weakref.ref(broker())

    def run() -> weakref.ref[object]:
        return asyncio.run(use())

    first, second = run(), run()
    gc.collect()
    assert (first(), second()) == (None, None)


async def test_a_consumer_that_closes_hands_back_what_it_holds() -> None:
    ports = Ports(None)
    transport = ports.events()
    one, two = await ports.listen(transport), await ports.listen(transport)
    await ports.fire(transport, "a", "b")
    await take(one, 2)
    await one.close()
    again = await take(two, 2)
    assert [d.message.kwargs["username"] for d in again] == ["a", "b"]
    again[0].ack()
    again[0].ack()  # Once settled, nothing changes its fate.
    await again[0].dead_letter("failed", None)
    await again[1].dead_letter("failed", None)
    assert [dead.reason for dead in await ports.dead()] == ["failed"]
    await ports.close()


async def test_dead_letters_can_be_listed() -> None:
    ports = Ports(None)
    transport = MemoryEventTransport()
    assert "shop-on_user" not in broker().groups
    consumer = await ports.listen(transport)
    await ports.fire(transport, "a")
    (delivery,) = await take(consumer)
    error = ValueError("no")
    await delivery.dead_letter("failed", error)
    (dead,) = broker().groups["shop-on_user"].dead
    assert (dead.message.kwargs, dead.reason, dead.error, dead.attempts) == (
        {"username": "a"},
        "failed",
        error,
        1,
    )
    await ports.close()
