"""A bus closes at once, whatever is under way and whatever Redis does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

import lightbus
from lightbus.bus import cards
from lightbus.bus.client import BusClient
from lightbus.declared.settings import Identity
from lightbus.exceptions import BusAlreadyClosed
from lightbus.messages import EventMessage, RpcMessage
from tests.support.eventually import eventually_async
from tests.support.servers import Server

#: Seconds within which all must have ended. What is under way has three times as much.
WITHIN = 20.0


class ClosingApi(lightbus.Api):
    happened = lightbus.Event(parameters=("n",))

    class Meta:
        name = "closing"


def _client(url: str) -> BusClient:
    patience = {"rpc_timeout": f"{3 * WITHIN}s", "event_fire_timeout": f"{3 * WITHIN}s"}
    limit = {"event_transport": {"redis": {"max_stream_length": 10}}}
    client = lightbus.create(
        {
            "service_name": "tests",
            "bus": {"redis": {"url": url, "command_timeout": f"{3 * WITHIN}s"}},
            "apis": {"default": {**patience, **limit}},
        }
    ).client
    client.register_api(ClosingApi())
    return client


async def _fail_by_closing(client: BusClient, tasks: Sequence[asyncio.Task[Any]]) -> None:
    async with asyncio.timeout(WITHIN):
        await client.close_async()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    others = [outcome for outcome in outcomes if not isinstance(outcome, BusAlreadyClosed)]
    assert outcomes and others == []
    # Nor has any of them opened another connection, which nobody would close.
    assert [each for each in asyncio.all_tasks() if each.get_name().startswith("lightbus")] == []


async def test_a_bus_closes_while_redis_does_not_answer(redis_server: Server) -> None:
    client = _client(redis_server.url)
    await client.fire_event("closing", "happened", {"n": 0})
    redis_server.pause()
    try:
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(each)
            for n in range(20)
            for each in (
                client.fire_event("closing", "happened", {"n": n}),
                client.call_rpc_remote("elsewhere", "run", {"n": n}),
            )
        ]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in tasks)
        await _fail_by_closing(client, tasks)
    finally:
        redis_server.resume()


async def test_a_transport_that_was_closed_opens_no_connection_any_more(redis_server: Server) -> None:
    client = _client(redis_server.url)
    calls, events = client.transports().rpc("closing"), client.transports().event("closing")
    await client.close_async()
    with pytest.raises(BusAlreadyClosed):
        await calls.call(RpcMessage("closing", "run"), WITHIN)
    with pytest.raises(BusAlreadyClosed):
        await events.publish([EventMessage("closing", "happened")], WITHIN)


async def test_a_bus_closes_while_events_wait_for_room(
    redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.execute("XGROUP", "CREATE", "closing.*:stream", "tests-gone", "0", "MKSTREAM")
    client, tasks = _client(redis_server.url), list[asyncio.Task[Any]]()

    def fire_until_one_waits() -> bool:
        tasks.append(asyncio.create_task(client.fire_event("closing", "happened", {"n": 0})))
        return "is full of unacknowledged events" in caplog.text

    await eventually_async(fire_until_one_waits)
    waiting = [task for task in tasks if not task.done()]
    await _fail_by_closing(client, waiting)


async def test_a_bus_that_closes_while_its_card_is_written_leaves_none(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "_WORTH_A_CARD", 0)
    client = _client(redis_server.url)
    schema, has_it = client.transports().schema(), asyncio.Event()
    show = schema.show_card

    async def show_without_answer(who: Identity, card: bytes, lasts: float) -> None:
        await show(who, card, lasts)
        has_it.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(schema, "show_card", show_without_answer)
    await schema.cards()
    await has_it.wait()
    assert redis_server.execute("KEYS", "lightbus:card:*")
    await client.close_async()
    assert redis_server.execute("KEYS", "lightbus:card:*") == []
