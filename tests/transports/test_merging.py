"""Events of several places as if they came from one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from lightbus.messages import EventMessage
from lightbus.options import SecretUrl
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.memory.broker import broker
from lightbus.transports.merging import as_they_come
from lightbus.transports.redis.events.questions.followed import Followed
from lightbus.transports.redis.link.session import Session
from lightbus.transports.redis.options import RedisOptions
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


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5])
async def test_who_is_cancelled_again_while_it_closes_them_closes_them_all_the_same(turns: int) -> None:
    closed: list[str] = []

    async def takes_its_time(name: str) -> AsyncIterator[EventMessage]:
        try:
            async for event in several(name, []):
                yield event
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            closed.append(name)

    async def follow() -> None:
        async with aclosing(as_they_come(list(map(takes_its_time, "abc")))) as events:  # type: ignore[type-var]
            async for _ in events:
                came.set()

    came = asyncio.Event()
    following = asyncio.create_task(follow())
    await came.wait()
    following.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    following.cancel()
    await asyncio.wait([following])
    assert following.cancelled() and sorted(closed) == ["a", "b", "c"]


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
    return server.connections()


async def test_a_close_that_is_cancelled_leaves_no_connection(redis_server: Server) -> None:
    redis_server.execute("XADD", "stream", "*", "a", "1")
    obstacles = Obstacles()
    session = Session.acquire(RedisOptions(url=SecretUrl(redis_server.url)), obstacles)
    before = redis_server.connections()
    followed = Followed(session, {b"stream": "0-0"})
    assert await followed.read()
    assert redis_server.connections() == before + 1
    again = asyncio.create_task(followed.read())
    closing = asyncio.create_task(followed.close())
    await asyncio.sleep(0)  # The next read is about to begin, and never will.
    closing.cancel()
    await asyncio.wait([again, closing])
    await eventually_async(lambda: redis_server.connections() == before)
    await session.release(obstacles)
