"""Events of several places as if they came from one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from lightbus.messages import EventMessage
from lightbus.transports.memory.broker import broker
from lightbus.transports.merging import as_they_come
from tests.support.eventually import eventually_async
from tests.support.servers import Server

from .conftest import Ports


async def several(names: str, closed: list[str]) -> AsyncIterator[EventMessage]:
    """An event at once, and then none for ever; or an error instead of one."""
    try:
        if "error" in names:
            raise ValueError(names)
        yield EventMessage("auth", "user_registered", {"username": names})
        await asyncio.Event().wait()
    finally:
        closed.append(names)


@pytest.mark.parametrize("turns", [0, 1, 5])
async def test_each_of_them_is_closed_whether_it_was_asked_again_or_not(turns: int) -> None:
    closed: list[str] = []
    events = as_they_come([several(name, closed) for name in "abc"])
    await anext(events)
    for _ in range(turns):
        await asyncio.sleep(0)
    await events.aclose()  # type: ignore[attr-defined]
    assert sorted(closed) == ["a", "b", "c"]


async def test_an_error_of_one_closes_the_others() -> None:
    closed: list[str] = []
    with pytest.raises(ValueError, match="error"):
        async for _ in as_they_come([several(name, closed) for name in ("error", "a", "b")]):
            pass
    assert sorted(closed) == ["a", "b", "error"]


async def test_who_has_followed_events_leaves_nothing_behind(ports: Ports) -> None:
    transport = ports.events()
    await ports.fire(transport, "a")
    before = followers(ports.server)
    both = [transport.follow(since=0.0) for _ in range(2)]
    async with aclosing(as_they_come(both)) as events:  # type: ignore[type-var]
        await anext(events)
        assert followers(ports.server) > before
    await eventually_async(lambda: followers(ports.server) == before)


def followers(server: Server | None) -> int:
    """How many connections a server has, or how many inboxes the broker in memory fills."""
    if server is None:
        return len(broker().followers)
    return len(server.execute("CLIENT", "LIST", "TYPE", "normal").splitlines())
