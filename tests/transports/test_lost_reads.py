"""Events and calls that Redis has given to a living process by a reply that was lost with the link."""

from __future__ import annotations

import asyncio

import pytest

from lightbus.exceptions import LightbusTimeout
from lightbus.messages import RpcMessage
from lightbus.transports.redis.events.consumer import RedisEventConsumer
from lightbus.transports.redis.events.reading import reader as event_reader
from lightbus.transports.redis.events.reading.readers import Readers
from lightbus.transports.redis.rpc.transport import RedisRpcTransport
from tests.support.eventually import eventually_async
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.timers import HOUR, an_hour_passes

from .conftest import Ports, queued, take

STREAM = "auth.*:stream"
GROUP = "shop-on_user"


def behind(proxy: Proxy, server: Server) -> Ports:
    """The ports over a proxy."""
    ports = Ports(server)
    ports.url = proxy.url
    return ports


@pytest.fixture
def proxied(proxy: Proxy, redis_server: Server) -> Ports:
    """Closed by the test's loop, as every fixture of ports is."""
    return behind(proxy, redis_server)


def pending(server: Server) -> list[list[object]]:
    """The id, consumer, idle time and number of deliveries of all that is not acknowledged."""
    found: list[list[object]] = server.execute("XPENDING", STREAM, GROUP, "-", "+", 100)
    return found


def fire(server: Server, *names: str) -> None:
    """Store events without the proxy."""
    for name in names:
        server.execute(
            "XADD", STREAM, "*", "api_name", "auth", "event_name", "user_registered", "id", name, "version", 1
        )


def waits_for_events(server: Server) -> bool:
    """Whether a reader is blocked on its stream; a client's last command alone may have returned."""
    clients = server.execute("CLIENT", "LIST").splitlines()
    return any(b" flags=b " in client and b"cmd=xreadgroup" in client for client in clients)


@pytest.mark.parametrize("count", [1, 50])
async def test_events_whose_reply_was_lost_are_handled_at_once_and_count_no_death(
    proxied: Ports, proxy: Proxy, redis_server: Server, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is 30 s, so nothing but the loss itself brings them back in time."""
    monkeypatch.setattr(event_reader, "BLOCK", 30)  # So that the read waits when the events come.
    consumer = await proxied.listen(proxied.events())
    names = [f"e{n}" for n in range(count)]
    taking = asyncio.ensure_future(take(consumer, count, 100))
    await eventually_async(lambda: waits_for_events(redis_server))
    proxy.set("drop_replies")
    fire(redis_server, *names)
    await eventually_async(lambda: len(pending(redis_server)) > 0 and proxy.has_lost_replies)
    proxy.set("pass")
    taken = await taking
    assert sorted(delivery.message.id for delivery in taken) == sorted(names)
    assert {delivery.attempt for delivery in taken} == {1}
    assert not any(getattr(delivery, "is_suspect", False) for delivery in taken)
    assert {entry[3] for entry in pending(redis_server)} == {1}
    for delivery in taken:
        delivery.ack()
    await eventually_async(lambda: pending(redis_server) == [])


async def test_what_runs_or_is_acknowledged_already_is_not_read_again(
    proxied: Ports, proxy: Proxy, redis_server: Server
) -> None:
    consumer = await proxied.listen(proxied.events())
    fire(redis_server, "acknowledged", "running", "waiting")
    first = await take(consumer, 2)
    first[0].ack()
    assert isinstance(consumer, RedisEventConsumer)
    await eventually_async(lambda: len(pending(redis_server)) == 2)
    proxy.cut()
    fire(redis_server, "new")
    assert [delivery.message.id for delivery in await take(consumer, 2)] == ["waiting", "new"]
    consumer.note_lost_reply()
    fire(redis_server, "last")
    assert [delivery.message.id for delivery in await take(consumer, 1)] == ["last"]


async def test_an_event_that_a_dead_process_of_the_same_name_held_waits_for_its_lease(
    proxied: Ports, proxy: Proxy, redis_server: Server
) -> None:
    """It may be what ended that process, so it must count."""
    consumer = await proxied.listen(proxied.events(acknowledgement_timeout=HOUR))
    assert isinstance(consumer, RedisEventConsumer)
    fire(redis_server, "killer")
    redis_server.execute("XREADGROUP", "GROUP", GROUP, consumer.membership.consumer, "STREAMS", STREAM, ">")
    ((killer, *_),) = pending(redis_server)
    assert isinstance(killer, bytes)
    redis_server.execute(
        "XCLAIM", STREAM, GROUP, consumer.membership.consumer, 0, killer, "IDLE", 2_000_000, "JUSTID"
    )
    consumer.note_lost_reply()
    fire(redis_server, "good")
    assert [delivery.message.id for delivery in await take(consumer, 1)] == ["good"]
    assert not consumer._deliveries


async def test_what_is_lost_while_lost_events_are_looked_for_is_looked_for_the_next_time(
    redis_ports: Ports, redis_server: Server
) -> None:
    consumer = await redis_ports.listen(redis_ports.events())
    assert isinstance(consumer, RedisEventConsumer) and isinstance(consumer._readers, Readers)
    (reader,) = consumer._readers.all
    reader.lost.note()
    looking = asyncio.ensure_future(reader.lost.take_up())
    await asyncio.sleep(0)
    reader.lost.note()
    await looking
    assert reader.lost.is_noted
    await reader.lost.take_up()
    assert not reader.lost.is_noted


async def test_a_claim_whose_reply_was_lost_is_run_as_the_suspect_that_it_is(
    proxied: Ports, proxy: Proxy, redis_server: Server
) -> None:
    consumer = await proxied.listen(proxied.events())
    assert isinstance(consumer, RedisEventConsumer)
    fire(redis_server, "left")
    redis_server.execute("XREADGROUP", "GROUP", GROUP, "dead", "STREAMS", STREAM, ">")
    ((left, *_),) = pending(redis_server)
    assert isinstance(left, bytes)
    redis_server.execute("XCLAIM", STREAM, GROUP, consumer.membership.consumer, 0, left)
    consumer.note_lost_reply()
    (taken,) = await take(consumer, 1)
    assert taken.is_suspect and taken.message.id == "left"
    assert [entry[3] for entry in pending(redis_server)] == [2]
    taken.ack()
    await eventually_async(lambda: pending(redis_server) == [])


async def test_a_read_that_is_still_on_its_way_when_its_link_breaks_takes_nothing(
    proxied: Ports, proxy: Proxy, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_reader, "BLOCK", 0.1)
    consumer = await proxied.listen(proxied.events())
    assert isinstance(consumer, RedisEventConsumer)
    while (number := consumer.links[0].client_id) is None:
        await consumer.take(1)
    proxy.hold()
    reading = asyncio.ensure_future(consumer.take(1))
    await asyncio.sleep(0.1)  # Now the proxy has it.
    wire = consumer.links[0]._wire
    assert wire is not None
    wire.abort()
    await reading
    while consumer.links[0].client_id in (number, None):
        await consumer.take(1)
    fire(redis_server, "event")
    proxy.let_go()
    await eventually_async(lambda: f"id={number} ".encode() not in redis_server.execute("CLIENT", "LIST"))
    assert [delivery.message.id for delivery in await take(consumer, 1)] == ["event"]


async def test_what_a_lost_reply_has_given_is_handed_back_at_the_end(
    proxied: Ports, proxy: Proxy, redis_server: Server
) -> None:
    consumer = await proxied.listen(proxied.events())
    assert isinstance(consumer, RedisEventConsumer)
    await consumer.stop()
    fire(redis_server, "event")
    redis_server.execute("XREADGROUP", "GROUP", GROUP, consumer.membership.consumer, "STREAMS", STREAM, ">")
    consumer.note_lost_reply()
    await consumer.close()
    assert pending(redis_server) == []
    other = await proxied.listen(proxied.events())
    (taken,) = await take(other, 1)
    assert (taken.message.id, taken.attempt) == ("event", 1)


async def test_a_call_that_fails_for_an_outage_says_so(
    proxied: Ports, proxy: Proxy, redis_server: Server
) -> None:
    transport = proxied.rpc()
    assert isinstance(transport, RedisRpcTransport)
    consumer = await proxied.serve(transport)
    # Nobody takes calls, though the API is served.
    await transport.open()
    proxy.set("refuse")
    await eventually_async(lambda: transport.pipe.failure is not None)
    call = RpcMessage("auth", "check", {})
    calling = asyncio.ensure_future(transport.call(call, HOUR))
    await asyncio.sleep(0.1)
    proxy.set("pass")
    await queued(transport, 1)
    an_hour_passes()
    with pytest.raises(LightbusTimeout, match=r"was away for \d+\.\d s until") as raised:
        await calling
    assert "busy" not in str(raised.value) and raised.value.executed == "no"
    await asyncio.sleep(1)
    calling = asyncio.ensure_future(transport.call(RpcMessage("auth", "check", {}), HOUR))
    await queued(transport, 1)
    an_hour_passes()
    with pytest.raises(LightbusTimeout, match="all busy"):
        await calling
    assert consumer.trouble == ""
