"""Events that were under way when the link broke: one search for all, and each is stored exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvloop

from lightbus.exceptions import LightbusException
from lightbus.messages import EventMessage
from lightbus.options import SecretUrl
from lightbus.transports.redis.events import lost_events
from lightbus.transports.redis.events.lost_events import LostEvents
from lightbus.transports.redis.events.transport import RedisEventTransport
from lightbus.transports.redis.link.pipe import Pipe
from lightbus.transports.redis.options import RedisEventOptions
from lightbus.transports.redis.scripts import FIND, Run
from tests.support.eventually import eventually_async
from tests.support.proxy import Proxy
from tests.support.sabotage import How, Sabotage
from tests.support.servers import Server

from .conftest import fields_of
from .limited import as_limited

STREAM = "auth.*:stream"
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
Factory = Callable[[], asyncio.AbstractEventLoop]


def transport_to(url: str) -> RedisEventTransport:
    return RedisEventTransport(RedisEventOptions(url=SecretUrl(as_limited(url)), max_stream_length=None))


def stored(server: Server) -> list[str]:
    """The ids of the events in the stream."""
    return [fields_of(entry[1])["id"] for entry in server.execute("XRANGE", STREAM, "-", "+")]


def events(count: int) -> list[EventMessage]:
    return [EventMessage("auth", "user_registered", {"n": n}) for n in range(count)]


@contextmanager
def searches(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The arguments of each look into a stream."""
    made: list[Any] = []
    run = Pipe.run

    async def counted(self: Pipe, asked: Run) -> Any:
        if asked.script is FIND:
            made.append(asked.arguments)
        return await run(self, asked)

    with monkeypatch.context() as patch:
        patch.setattr(Pipe, "run", counted)
        yield made


@pytest.mark.parametrize("factory", LOOPS)
@pytest.mark.parametrize("arrive", [True, False], ids=["stored unconfirmed", "never arrived"])
def test_of_600_in_flight_on_a_broken_link_all_are_stored_once_after_one_search(
    factory: Factory, arrive: bool, proxy: Proxy, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        transport = transport_to(proxy.url)
        before, during = events(10), events(600)
        for message in before:
            await transport.publish([message], 30)
        proxy.set("drop_replies" if arrive else "blackhole")
        with searches(monkeypatch) as made:
            firing = [asyncio.ensure_future(transport.publish([message], 20)) for message in during]
            if arrive:
                await eventually_async(lambda: redis_server.execute("XLEN", STREAM) == 610)
            else:
                await asyncio.sleep(0.05)
                proxy.cut()
            proxy.set("pass")
            await asyncio.gather(*firing)
        assert sorted(stored(redis_server)) == sorted(message.id for message in before + during)
        ids = {entry[0].decode() for entry in redis_server.execute("XRANGE", STREAM, "-", "+")}
        assert {message.native_id for message in before + during} == ids
        assert 1 <= len(made) <= 600 / lost_events._PAGE + 1
        # No further back than to what was confirmed before.
        assert all(f"({before[-1].native_id}" == arguments[1] for arguments in made)
        await transport.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work())


async def test_what_a_broken_link_still_holds_does_not_arrive_once_it_was_looked_for(
    proxy: Proxy, redis_server: Server
) -> None:
    transport = transport_to(proxy.url)
    await transport.publish(events(1), 30)
    proxy.hold()
    firing = asyncio.ensure_future(transport.publish(events(1), 10))
    await asyncio.sleep(0.05)  # Now the proxy has it.
    assert isinstance(transport.pipe, Pipe) and transport.pipe._wire is not None
    transport.pipe._wire.abort()
    await firing
    proxy.let_go()
    await transport.publish(events(1), 30)
    await eventually_async(lambda: proxy.connections == 1)
    assert len(stored(redis_server)) == 3
    await transport.close()


@pytest.mark.parametrize("how", ["cancel", "raise"])
@pytest.mark.parametrize("step", ["before it begins", "while it looks"])
async def test_events_are_found_though_the_search_for_them_ends_unasked(
    step: str,
    how: How,
    proxy: Proxy,
    redis_server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = transport_to(proxy.url)
    await transport.publish(events(1), 30)
    walk = LostEvents._walk
    ended: list[Any] = []

    async def ends(self: LostEvents, wanted: Any) -> None:
        if not ended:
            ended.append(asyncio.current_task())
            raise asyncio.CancelledError if how == "cancel" else RuntimeError("it broke")
        await walk(self, wanted)

    if step == "while it looks":
        monkeypatch.setattr(LostEvents, "_walk", ends)
    else:
        Sabotage("lightbus lost events", how)
    proxy.set("drop_replies")
    firing = [asyncio.ensure_future(transport.publish([message], 20)) for message in events(5)]
    await eventually_async(lambda: redis_server.execute("XLEN", STREAM) == 6)
    proxy.set("pass")
    await asyncio.gather(*firing)
    assert len(stored(redis_server)) == 6
    (told,) = (r.getMessage() for r in caplog.records if "ended unasked" in r.getMessage())
    assert told.startswith("the task 'lightbus lost events' ended unasked: ")
    await transport.close()


async def test_two_events_with_the_same_id_are_two_entries(proxy: Proxy, redis_server: Server) -> None:
    transport = transport_to(proxy.url)
    await transport.publish(events(1), 30)
    proxy.set("drop_replies")
    twins = [EventMessage("auth", "user_registered", {}, id="twin") for _ in range(2)]
    firing = asyncio.ensure_future(transport.publish(twins, 10))
    await eventually_async(lambda: redis_server.execute("XLEN", STREAM) == 3)
    proxy.set("pass")
    await firing
    assert stored(redis_server)[1:] == ["twin"] * 2
    assert twins[0].native_id != twins[1].native_id
    await transport.close()


async def test_a_search_without_anything_confirmed_before_ends(proxy: Proxy, redis_server: Server) -> None:
    """It goes back by the age of the entries, and past so many at least."""
    old = "for i = 1, 9000 do redis.call('XADD', KEYS[1], i .. '-1', 'id', 'old' .. i) end"
    redis_server.execute("EVAL", old, 1, STREAM)
    transport = transport_to(proxy.url)
    await transport.pipe.open()
    proxy.set("blackhole")
    (message,) = events(1)
    firing = asyncio.ensure_future(transport.publish([message], 10))
    await asyncio.sleep(0.05)
    with searches(pytest.MonkeyPatch()) as made:
        proxy.cut()
        proxy.set("pass")
        await firing
    assert stored(redis_server).count(message.id) == 1
    assert len(made) == lost_events._AT_LEAST / lost_events._PAGE
    await transport.close()


async def test_a_search_is_over_when_the_bus_is_closed(proxy: Proxy) -> None:
    transport = transport_to(proxy.url)
    await transport.publish(events(1), 30)
    proxy.set("blackhole")
    firing = [asyncio.ensure_future(transport.publish([message], 30)) for message in events(5)]
    await asyncio.sleep(0.05)
    proxy.set("refuse")
    await eventually_async(lambda: transport.pipe.failure is not None)
    await transport.close()
    outcomes = await asyncio.gather(*firing, return_exceptions=True)
    assert all(isinstance(outcome, LightbusException) for outcome in outcomes)
