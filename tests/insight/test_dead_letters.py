"""Dead letters of the whole bus: found, replayed, dropped, without a command."""

from __future__ import annotations

import asyncio

import pytest

from lightbus import DeliveryPolicy, EventMessage
from lightbus.exceptions import TransportUnavailable
from lightbus.insight.dead_letters import Filter, drop, find, replay
from lightbus.testing import Hosted, hosted
from lightbus.transports.memory.events import MemoryEventTransport
from tests.testing.shop import StoreApi

APIS = ("default", "store")
heard: list[str] = []
broken: set[str] = set()


def note(event_message: EventMessage, sku: str) -> None:
    heard.append(sku)
    if sku in broken:
        raise ValueError(f"no {sku}")


async def put_aside(host: Hosted, *skus: str) -> None:
    """Fire events whose only attempt fails."""
    broken.update(skus)
    for sku in skus:
        await host.bus.store.refused.fire_async(sku=sku)
    await host.settle_async(60)


def service() -> Hosted:
    heard.clear()
    broken.clear()
    module = type(asyncio)("insight_bus")
    module.__dict__["before_server_start"] = lambda bus: bus.store.refused.listen(
        note, on_error=DeliveryPolicy(attempts=1)
    )
    return hosted(StoreApi, module, config={"service_name": "store"})


async def left(host: Hosted) -> list[str]:
    """What is still put aside."""
    return [letter.message.kwargs["sku"] async for letter in find(host.bus.client, APIS, Filter())]


def test_what_is_meant_is_replayed_or_dropped_and_told_one_by_one() -> None:
    async def test() -> None:
        async with service() as host:
            await put_aside(host, "cup", "pot", "jug")
            client = host.bus.client
            assert await left(host) == ["cup", "pot", "jug"]
            cup, pot, _ = [letter async for letter in find(client, APIS, Filter())]
            broken.clear()
            replayed = [letter.id async for letter in replay(client, APIS, Filter(ids=(cup.id,)))]
            await host.settle_async(60)
            assert replayed == [cup.id] and heard == ["cup", "pot", "jug", "cup"]
            seen = Filter(seen=frozenset({(cup.place, cup.id), (pot.place, pot.id)}))
            assert [letter.id async for letter in drop(client, APIS, seen)] == [pot.id]
            assert await left(host) == ["jug"]
            assert [letter async for letter in drop(client, APIS, Filter(api="other"))] == []
            assert await left(host) == ["jug"]

    asyncio.run(test())


def test_nothing_is_done_to_what_nobody_has_asked_for() -> None:
    async def test() -> None:
        async with service() as host:
            await put_aside(host, "cup", "pot")
            dropping = drop(host.bus.client, APIS, Filter())
            assert (await anext(dropping)).message.kwargs == {"sku": "cup"}
            assert await left(host) == ["pot"]

    asyncio.run(test())


def test_what_somebody_else_was_quicker_with_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with service() as host:
            await put_aside(host, "cup")
            dropping = [drop(host.bus.client, APIS, Filter()) for _ in range(2)]
            listed = await host.bus.client.transports().event("store").list_dead().__anext__()

            async def list_late(self: MemoryEventTransport) -> object:
                yield listed

            monkeypatch.setattr(MemoryEventTransport, "list_dead", list_late)
            assert [[letter.id async for letter in each] for each in dropping] == [[listed.id], []]

    asyncio.run(test())


def test_a_broker_that_is_away_is_told_after_what_the_others_have(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with service() as host:
            await put_aside(host, "cup")
            letters = find(host.bus.client, APIS, Filter())
            assert (await anext(letters)).message.kwargs == {"sku": "cup"}

            async def refuse(self: MemoryEventTransport) -> float:
                raise TransportUnavailable("gone")

            monkeypatch.setattr(MemoryEventTransport, "now", refuse)
            with pytest.raises(TransportUnavailable, match="gone"):
                await left(host)

    asyncio.run(test())
