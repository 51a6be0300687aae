"""What can be asked of a broker: the events that it has, the groups, the queues, the owners."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from lightbus.declared.metrics import Metrics
from lightbus.declared.settings import Identity
from lightbus.exceptions import TransportUnavailable
from lightbus.messages import EventMessage, RpcMessage
from lightbus.options import Secret
from lightbus.runtime.tasks import Background, Precedence
from lightbus.transports.events import EventTransport, GroupStatus
from lightbus.transports.redis.events import membership
from lightbus.transports.redis.events.consumer import RedisEventConsumer
from lightbus.transports.redis.events.questions.status import Gone, events_gone
from lightbus.transports.redis.events.transport import RedisEventTransport
from lightbus.transports.redis.keys import STREAMS, GroupKeys, presence_key, register_key, taken_key
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.scripts import TRIM
from tests.conftest import require
from tests.support.eventually import eventually_async
from tests.support.servers import Kind, Server, ServerPool
from tests.support.spread import Spread
from tests.support.timers import HOUR

from .conftest import Ports, settled, take, take_call

STREAM = "auth.*:stream"
#: Makes a group that has read so many events, with others to be retried, and dead.
GROUP_OF = """
redis.call('XADD', KEYS[1], '*', 'what', 'ever')
redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0')
redis.call('XGROUP', 'CREATECONSUMER', KEYS[1], ARGV[1], ARGV[1] .. '-p')
if ARGV[2] ~= '0' then
  redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[1] .. '-p', 'COUNT', ARGV[2], 'STREAMS', KEYS[1], '>')
end
for place = 2, 3 do
  for i = 1, tonumber(ARGV[place + 1]) do redis.call('XADD', KEYS[place], '*', 'what', 'ever') end
end
redis.call('HSET', KEYS[4], 'service', ARGV[5])
"""


async def names(transport: EventTransport, *pattern: str, **options: float | str) -> list[str]:
    found = transport.history(*pattern, **options)  # type: ignore[arg-type]
    return [event.kwargs["username"] async for event in found]


async def test_the_past_comes_newest_first(ports: Ports) -> None:
    transport = ports.events()
    assert await names(transport) == []
    await ports.fire(transport, *map(str, range(120)))
    assert await names(transport) == [str(n) for n in reversed(range(120))]
    assert await names(transport, "auth", "user_registered") == await names(transport, "au*")


async def test_the_past_can_begin_anywhere_and_have_one_event_only(ports: Ports) -> None:
    transport = ports.events()
    await ports.fire(transport, "a", "b")
    middle = time.time() + 0.05
    await asyncio.sleep(0.1)
    await ports.fire(transport, "c")
    assert await names(transport, since=middle) == ["c"]
    (newest, _, oldest) = [event async for event in transport.history()]
    assert await names(transport, native_id=str(oldest.native_id)) == ["a"]
    assert newest.native_id != oldest.native_id
    for unknown in ("1-1", "nonsense", "$"):
        assert await names(transport, native_id=unknown) == []


async def test_the_past_can_end_anywhere(ports: Ports) -> None:
    transport = ports.events()
    await ports.fire(transport, *"abcd")
    (_, c, *_) = [event async for event in transport.history()]
    assert await names(transport, until=str(c.native_id)) == ["c", "b", "a"]
    assert await names(transport, until="1-1") == []


async def test_what_comes_is_seen_as_it_comes_and_by_no_group(ports: Ports) -> None:
    transport = ports.events()
    await ports.fire(transport, "old")
    seen: list[str] = []

    async def follow() -> None:
        async for event in transport.follow("auth"):
            seen.append(event.kwargs["username"])

    following = ports.run(follow())
    consumer = await ports.listen(transport)
    while not seen:  # It does not say when it has begun.
        await ports.fire(transport, "new")
        await asyncio.sleep(0.02)
    await ports.fire(transport, "newer")
    await eventually_async(lambda: seen[-1] == "newer")
    assert "old" not in seen
    assert (await take(consumer))[0].message.kwargs == {"username": "new"}
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following


async def test_what_comes_may_begin_in_the_past(ports: Ports) -> None:
    transport = ports.events()
    await ports.fire(transport, "a", "b")
    found: list[str] = []
    async with contextlib.aclosing(transport.follow("*", since=0)) as events:  # type: ignore[type-var]
        async for event in events:
            found.append(event.kwargs["username"])
            if len(found) == 2:
                break
    assert found == ["a", "b"]


async def test_streams_of_one_event_each_are_found_and_put_in_order(any_ports: Ports) -> None:
    each, all_ = any_ports.events(stream_use="per_event"), any_ports.events()
    for transport, name, event in (
        (each, "1", "user_registered"),
        (all_, "2", "user_registered"),
        (each, "3", "user_left"),
    ):
        await any_ports.fire(transport, name, event=event)
        await asyncio.sleep(0.002)
    for transport in (each, all_):
        assert await names(transport) == ["3", "2", "1"]
        assert await names(transport, "auth", "user_left") == ["3", "2"]
        assert await names(transport, "auth", "user_registered") == ["2", "1"]


async def test_a_stream_that_comes_later_is_followed_too(any_ports: Ports) -> None:
    transport = any_ports.events()
    seen: list[str] = []

    async def follow() -> None:
        async for event in transport.follow():
            seen.append(event.canonical_name)

    any_ports.run(follow())
    while not seen:
        await any_ports.fire(transport, "a")
        await asyncio.sleep(0.02)
    await transport.publish([EventMessage("shop", "sold", {})], 30)
    await eventually_async(lambda: "shop.sold" in seen)


async def test_what_is_no_event_is_left_out_and_told(redis_ports: Ports, redis_server: Server) -> None:
    transport = redis_ports.events()
    await redis_ports.fire(transport, "a")
    redis_server.execute("XADD", "auth.*:stream", "*", "what", "ever")
    redis_server.execute("XADD", "auth.*:stream", "*", "", "")
    redis_server.execute("SET", "other.*:stream", "no stream")
    redis_server.execute("XADD", b"\xff.*:stream", "*", "what", "ever")
    assert await names(transport) == ["a"]
    assert [group.group for group in await transport.group_status()] == []


async def status(transport: EventTransport) -> GroupStatus:
    (found,) = await transport.group_status()
    return found


async def test_a_group_says_what_it_has_not_read_holds_retries_and_put_aside(ports: Ports) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport)
    await ports.fire(transport, *"abcdef")
    first = await status(transport)
    assert (first.group, first.lag, first.lag_is_exact, first.pending) == ("shop-on_user", 6, True, 0)
    a, b, c = await take(consumer, 3)
    await a.retry(60, ValueError("no"))
    await b.dead_letter("failed", ValueError("no"))
    now = await status(transport)
    assert (now.lag, now.pending, now.retrying, now.dead) == (3, 1, 1, 1)
    assert [(each.process_name, each.pending) for each in now.consumers] == [("p1", 1)]
    if isinstance(transport, RedisEventTransport):
        assert first.held is None and now.held is not None
        assert (now.held.process, now.held.native_id) == ("p1", c.message.native_id)
    c.ack()

    async def settled() -> bool:
        return (await status(transport)).pending == 0

    await eventually_async(settled)
    assert (await status(transport)).held is None


async def test_the_lag_of_a_group_that_began_in_the_middle_is_counted(any_ports: Ports) -> None:
    transport = any_ports.events()
    await any_ports.fire(transport, *"abc")
    middle = time.time() + 0.005
    await asyncio.sleep(0.01)
    await any_ports.fire(transport, *"de")
    await any_ports.listen(transport, since=str(middle))
    found = await status(transport)
    assert (found.lag, found.lag_is_exact) == (2, True)


async def test_a_long_lag_that_redis_does_not_know_is_estimated(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    for n in range(1, 3001):
        any_redis.execute("XADD", "auth.*:stream", f"{n}-0", "what", "ever")
    any_redis.execute("XGROUP", "CREATE", "auth.*:stream", "g", "1000-0")
    found = await status(transport)
    assert 1990 < found.lag < 2010 and not found.lag_is_exact


async def test_questions_about_many_groups_make_way_for_what_somebody_waits_for(
    redis_ports: Ports, redis_server: Server
) -> None:
    names = {f"g{n:03}" for n in range(120)}
    for name in names:
        redis_server.execute("XGROUP", "CREATE", STREAM, name, "0", "MKSTREAM")
    transport, precedence = redis_ports.events(), Precedence()

    async def ask() -> set[str]:
        Background(precedence).begin()
        return {each.group for each in await transport.group_status([("auth", "what")])}

    redis_server.execute("CONFIG", "RESETSTAT")
    with precedence.urgent():
        asking = asyncio.create_task(ask())
        await eventually_async(lambda: calls_of(redis_server, "xinfo") > 0)
        # What is sent after what it has sent is answered after that.
        await transport.now()
        assert calls_of(redis_server, "hmget") == 0 and not asking.done()
    assert await asking == names
    assert calls_of(redis_server, "hmget") > len(names)
    # A bus has thousands of groups: six for each, and few for their stream.
    asked = sum(calls_of(redis_server, name) for name in ("[xz]\\w+", "hmget"))
    assert 6 * len(names) < asked < 6 * len(names) + 10


def calls_of(server: Server, command: str) -> int:
    """How often a Redis was sent a command, whatever comes behind its name."""
    stats: bytes = server.execute("INFO", "commandstats")
    return sum(map(int, re.findall(rb"cmdstat_%b(?:\|\w+)?:calls=(\d+)" % command.encode(), stats)))


async def test_a_queue_says_who_serves_it_and_what_waits_and_runs(ports: Ports) -> None:
    transport = ports.rpc()
    (nobody,) = await transport.queue_status(["auth"])
    assert (nobody.api_name, nobody.waiting, nobody.running, nobody.process_names) == ("auth", 0, 0, ())
    consumer = await ports.serve(transport)
    for _ in range(3):
        ports.run(transport.call(RpcMessage("auth", "check", {}), HOUR))

    async def waiting() -> int:
        (queue,) = await transport.queue_status(["auth"])
        return queue.waiting

    await eventually_async(lambda: _is(waiting, 3))
    await take_call(consumer)
    (queue,) = await transport.queue_status(["auth"])
    assert (queue.waiting, queue.running, queue.process_names) == (2, 1, ("p1",))


async def test_a_queue_tells_processes_that_are_gone_from_those_that_serve_it(
    redis_ports: Ports, redis_server: Server
) -> None:
    transport, names = redis_ports.rpc(), ("p1", "p2", "p3")
    redis_server.execute("SADD", register_key("auth"), *(f"{name}:1" for name in names))
    redis_server.execute("RPUSH", taken_key("auth", "p2:1"), "one call", "and another one")

    async def found() -> tuple[int, tuple[str, ...]]:
        (queue,) = await transport.queue_status(["auth"])
        return queue.running, queue.process_names

    assert await found() == (2, ())
    for name in ("p1", "p3"):
        redis_server.execute("SET", presence_key("auth", f"{name}:1"), 1)
    assert await found() == (2, ("p1", "p3"))
    redis_server.execute("SET", presence_key("auth", "p2:1"), 1)
    redis_server.execute("DEL", taken_key("auth", "p2:1"))
    assert await found() == (0, names)


async def test_very_many_groups_are_each_told_of_by_their_own_numbers(
    redis_ports: Ports, redis_server: Server
) -> None:
    transport, streams = redis_ports.events(), [f"api{number}.*:stream" for number in range(3)]
    wanted = {}
    for place, stream in enumerate(streams):
        for number in range(40):
            name, counts = f"shop-{number:02}", (number, number % 3, number % 2)
            keys, service = GroupKeys(stream, name), f"shop{place}{number}"
            given = (stream, keys.retry, keys.dead, keys.notes, name, *counts, service)
            redis_server.execute("EVAL", GROUP_OF, 4, *given)
            wanted[stream, name] = (*counts, service, (f"{name}-p",), bool(number))
    redis_server.execute("SADD", STREAMS, *streams)
    found = {}
    for it in await transport.group_status():
        names = tuple(each.process_name for each in it.consumers)
        told = (it.pending, it.retrying, it.dead, it.service, names, it.held is not None)
        found[it.stream, it.group] = told
    assert found == wanted


async def test_a_queue_of_redis_says_which_procedures_wait_and_run(
    redis_ports: Ports, redis_server: Server
) -> None:
    transport = redis_ports.rpc()
    consumer = await redis_ports.serve(transport)
    for name in ("check", "login", "login"):
        redis_ports.run(transport.call(RpcMessage("auth", name, {"secret": 1}), HOUR))
    await take_call(consumer)
    redis_server.execute("RPUSH", "auth:rpc_queue", "no call")

    async def names() -> object:
        found = await transport.queued_calls("auth", 2)
        assert found is not None
        waiting, running = ([name for name, _ in each] for each in (found.waiting, found.running))
        return waiting, running, found.is_all, all(id_ for name, id_ in found.waiting if name)

    await eventually_async(lambda: _is(names, (["login", "login"], ["check"], False, True)))
    all_ = await transport.queued_calls("auth", 3)
    assert all_ is not None and all_.waiting[-1] == ("", "") and all_.is_all


async def test_who_may_not_read_calls_is_refused_and_not_told_that_there_are_none(
    redis_ports: Ports, redis_server: Server
) -> None:
    transport = redis_ports.rpc()
    redis_server.execute("SET", "auth:rpc_queue", "no list")
    with pytest.raises(TransportUnavailable, match="the queues of calls can't be read: WRONGTYPE"):
        await transport.queued_calls("auth", 2)


async def _is(ask: Callable[[], Awaitable[object]], wanted: object) -> bool:
    return await ask() == wanted


async def test_owners_are_named_until_they_give_up(ports: Ports) -> None:
    transport = ports.schema()
    one, two = ports.identity(), ports.identity()
    assert list((await transport.owners(["auth"]))["auth"]) == []

    async def are_both() -> bool:
        await transport.own(["auth"], two, 2.0)
        await transport.own(["auth"], one, 60)
        return set((await transport.owners(["auth"]))["auth"]) == {one, two}

    await eventually_async(are_both)

    async def left() -> list[Identity]:
        return list((await transport.owners(["auth"]))["auth"])

    await eventually_async(lambda: _is(left, [one]))
    await transport.disown(["auth"], one)
    assert await left() == []


async def test_a_listener_is_seen_before_it_has_read_anything(ports: Ports) -> None:
    transport = ports.events()
    await ports.listen(transport)
    assert [each.process_name for each in (await status(transport)).consumers] == ["p1"]


@pytest.mark.usefixtures("long_farewells")
async def test_a_group_stays_when_its_last_process_ends_and_nobody_is_said_to_read_it(
    any_ports: Ports,
) -> None:
    transport = any_ports.events()
    one, two = await any_ports.listen(transport), await any_ports.listen(transport)
    for consumer, left in ((one, ["p2"]), (two, [])):
        await consumer.stop()
        await consumer.close()
        now = await status(transport)
        assert [each.process_name for each in now.consumers] == left
        assert now.is_served == bool(left)
    assert (now.group, now.service, now.idle) == ("shop-on_user", "shop", None)


async def test_a_process_that_ends_with_events_in_hand_is_still_seen(
    redis_ports: Ports, redis_server: Server
) -> None:
    transport = redis_ports.events()
    consumer = await redis_ports.listen(transport)
    await redis_ports.fire(transport, "a")
    await take(consumer)
    await redis_ports.abandon(consumer)
    now = await status(transport)
    assert [(each.process_name, each.pending) for each in now.consumers] == [("p1", 1)]


async def test_events_that_were_trimmed_unread_are_counted_and_told(
    any_ports: Ports, any_redis: Server, caplog: pytest.LogCaptureFixture
) -> None:
    transport = any_ports.events(reclaim_interval=0.02)
    transport.metrics = Metrics()
    consumer = await any_ports.listen(transport, since="earliest")
    await any_ports.fire(transport, "read")
    await take(consumer)
    await any_ports.fire(transport, *map(str, range(9)))
    assert (await status(transport)).gone == 0
    any_redis.execute("XTRIM", STREAM, "MAXLEN", "2")
    now = await status(transport)
    is_exact = any_redis.kind != "redis62"
    assert (now.lag, now.gone_is_exact) == (2, is_exact)
    gone = transport.metrics.events_gone
    if not is_exact:
        await eventually_async(lambda: gone.total("shop-on_user") >= 1)
        (first, *_) = told(caplog)
        assert now.gone >= 1 and first.startswith("about ") and "max_stream_length" in first
        return
    assert now.gone == 7
    await eventually_async(lambda: gone.total("shop-on_user") == 7)
    any_redis.execute("XTRIM", STREAM, "MAXLEN", "1")
    await eventually_async(lambda: gone.total("shop-on_user") == 8)
    # The group goes on beyond them, and the same happens again.
    for delivery in await take(consumer):
        delivery.ack()
    await eventually_async(lambda: has_looked(any_redis))
    await any_ports.fire(transport, *map(str, range(5)))
    assert ((await status(transport)).lag, (await status(transport)).gone) == (5, 0)
    any_redis.execute("XTRIM", STREAM, "MAXLEN", "3")
    assert (await status(transport)).gone == 2
    await eventually_async(lambda: gone.total("shop-on_user") == 10)
    assert [text.partition(" events")[0] for text in told(caplog)] == ["7", "1", "2"]


async def test_where_a_stream_has_very_many_groups_each_looks_less_often_for_events_that_are_gone(
    redis_ports: Ports, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    look = events_gone

    async def spy(pipe: Channel, streams: Sequence[str], group: str) -> tuple[dict[str, Gone], int]:
        found, groups = await look(pipe, streams, group)
        looked.append(groups)
        return found, groups

    monkeypatch.setattr(membership, "events_gone", spy)
    monkeypatch.setattr(membership, "_MANY_GROUPS", 2)
    consumer = await redis_ports.listen(redis_ports.events(reclaim_interval=60))
    assert isinstance(consumer, RedisEventConsumer)
    await eventually_async(lambda: len(looked) == 2)  # As it joins, and when it begins to look regularly.
    for number in range(5):
        redis_server.execute("XGROUP", "CREATE", STREAM, f"other-{number}", "0")
    for _ in range(5):
        await consumer.membership.notice_gone()
    assert looked == [1, 1, 6, 6], "three times in between it did not look"


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The errors of the log."""
    return [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]


def has_looked(server: Server) -> bool:
    """Whether it is noted what Redis goes on to count as unread; from 7.2 on it does not."""
    noted = server.execute("HGET", "{auth.*:stream}:group:shop-on_user", "surplus")
    return server.kind != "redis7" or (noted or b"").endswith(b" 8")


async def test_a_group_that_has_read_nothing_and_what_lightbus_trims_are_no_loss(
    any_ports: Ports, any_redis: Server, caplog: pytest.LogCaptureFixture
) -> None:
    transport = any_ports.events()
    await any_ports.fire(transport, *map(str, range(200)))
    any_redis.execute("XTRIM", STREAM, "MAXLEN", "100")
    consumer = await any_ports.listen(transport, since="earliest")
    assert (await status(transport)).gone == 0
    # As many as a node of the stream has, so that Redis would drop them as a whole.
    for delivery in await take(consumer, 100):
        delivery.ack()
    await settled(lambda: is_settled(transport))
    await any_ports.fire(transport, *map(str, range(110)))
    trim = TRIM(stream=STREAM, trimming=f"{{{STREAM}}}:trimming-too", most=120, lease=1, drops=0)
    assert any_redis.execute(*trim.by_text()) == [0, 0]
    assert (await status(transport)).gone == 0
    again = await any_ports.listen(transport)
    assert told(caplog) == [] and again.trouble == ""


async def is_settled(transport: EventTransport) -> bool:
    return (await status(transport)).pending == 0


@pytest.mark.usefixtures("long_farewells")
@pytest.mark.parametrize("kind", ["redis62", "valkey"])
async def test_a_listener_that_starts_is_told_of_a_loss_before_it_goes_beyond_it(
    servers: ServerPool, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    require(kind)
    server = servers.clean(kind)
    ports = Ports(server)
    transport = ports.events()
    consumer = await ports.listen(transport, since="earliest")
    await ports.fire(transport, "read")
    (await take(consumer))[0].ack()
    await consumer.stop()
    await consumer.close()
    await ports.fire(transport, *map(str, range(9)))
    server.execute("XTRIM", STREAM, "MAXLEN", "2")
    await ports.listen(transport)
    await ports.close()
    (said,) = told(caplog)
    assert "events of the group shop-on_user are gone unread" in said
    assert said.startswith("7 " if kind == "valkey" else "about ")


async def test_what_was_trimmed_after_it_was_read_is_not_gone(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport)
    await any_ports.fire(transport, *"abc")
    await take(consumer, 3)
    any_redis.execute("XTRIM", "auth.*:stream", "MAXLEN", "0")
    assert (await status(transport)).gone == 0
    await any_ports.fire(transport, "d")
    assert ((await status(transport)).gone, (await status(transport)).lag) == (0, 1)


async def test_the_groups_of_some_events_only_are_told_with_what_their_stream_takes(ports: Ports) -> None:
    transport = ports.events() if ports.server is None else ports.events(max_stream_length=500)
    await ports.listen(transport)
    await ports.listen(transport, [("shop", "sold")])
    (found,) = await transport.group_status([("auth", "user_registered"), ("other", "*")])
    assert found.stream.startswith("auth")
    assert found.limit == (None if ports.server is None else 500)


def scans(server: Server) -> int:
    """How often a server was searched so far; a cluster is searched at each of its primaries."""
    found = calls_of(server, "scan")
    return found // server.primaries if isinstance(server, Spread) else found


async def test_a_redis_is_searched_once_and_then_its_streams_are_noted(
    any_ports: Ports, any_redis: Server
) -> None:
    any_redis.execute("CONFIG", "RESETSTAT")
    transport, other = any_ports.events(), any_ports.events(stream_use="per_event", max_stream_length=None)
    any_redis.execute("XADD", "old.*:stream", "*", "id", "x")  # As an older version has left it.
    assert await names(transport) == []
    assert scans(any_redis) == 1
    await any_ports.fire(transport, "a")
    await any_ports.listen(transport, [("shop", "sold")])
    await any_ports.fire(other, "b", event="user_left")
    noted = {b"auth.*:stream", b"shop.*:stream", b"auth.user_left:stream", b"old.*:stream"}
    noted.add(b"{shop.*:stream}:dead:shop-on_user")
    await eventually_async(lambda: set(any_redis.execute("SMEMBERS", "lightbus:streams")) == noted)
    assert sorted(await names(any_ports.events())) == ["a", "b"]
    assert [group.stream for group in await any_ports.events().group_status()] == ["shop.*:stream"]
    assert [letter async for letter in transport.list_dead()] == []
    assert scans(any_redis) == 1


async def test_streams_that_nobody_has_noted_are_found_by_a_search_or_by_their_contract(
    redis_ports: Ports, redis_server: Server
) -> None:
    transport = redis_ports.events()
    assert await transport.group_status() == []
    for stream in ("auth.user_left:stream", "shop.*:stream"):
        redis_server.execute("XGROUP", "CREATE", stream, "g", "0", "MKSTREAM")
    redis_server.execute("XADD", "{gone.*:stream}:dead:g", "*", "a", "b")
    redis_server.execute("SADD", "schemas", "shop")
    assert [group.stream for group in await transport.group_status()] == ["shop.*:stream"]
    assert [letter async for letter in transport.list_dead()] == []
    await transport.find_streams()
    assert [g.stream for g in await transport.group_status()] == ["auth.user_left:stream", "shop.*:stream"]
    assert [letter.group async for letter in transport.list_dead()] == ["g"]


@pytest.mark.parametrize("refused", [("-sadd",), ("-smembers",), ("-sadd", "-smembers", "-set")])
async def test_where_streams_may_not_be_noted_each_process_searches_once(
    redis_ports: Ports, redis_server: Server, refused: tuple[str, ...]
) -> None:
    everything = ("reset", "on", ">secret", "~*", "&*", "+@all")
    redis_server.execute("ACL", "SETUSER", "someone", *everything)
    transport = redis_ports.events(username="someone", password=Secret("secret"))
    await transport.open()
    redis_server.execute("CONFIG", "RESETSTAT")
    redis_server.execute("ACL", "SETUSER", "someone", *refused)
    try:
        await redis_ports.fire(transport, "a")
        for _ in range(2):
            assert await names(transport) == ["a"]
    finally:
        redis_server.execute("ACL", "DELUSER", "someone")
    assert scans(redis_server) == 1


async def test_dead_letters_of_a_group_that_was_removed_are_still_found(
    redis_ports: Ports, redis_server: Server
) -> None:
    transport = redis_ports.events()
    consumer = await redis_ports.listen(transport)
    assert [letter async for letter in transport.list_dead()] == []
    await redis_ports.fire(transport, "a")
    await (await take(consumer))[0].dead_letter("failed", ValueError("no"))
    await consumer.stop()
    await consumer.close()
    redis_server.execute("DEL", "auth.*:stream")
    assert [letter.group async for letter in transport.list_dead()] == ["shop-on_user"]


async def test_a_reader_of_lightbus_1_is_told_from_ours(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    await any_ports.listen(transport)
    any_redis.execute("XADD", "auth.*:stream", "*", "", "")
    read = ("XREADGROUP", "GROUP", "shop-on_user", "old", "COUNT", "1", "STREAMS", "auth.*:stream", ">")
    any_redis.execute(*read)
    assert [(c.process_name, c.is_1x) for c in (await status(transport)).consumers] == [
        ("old", True),
        ("p1", False),
    ]


async def test_a_process_that_reads_nothing_new_is_heard_of_all_the_same(
    any_ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "_SHOWN_EVERY", 0.05)
    transport = any_ports.events()
    consumer = await any_ports.listen(transport)
    any_ports.run(consumer.take(1))
    await asyncio.sleep(2)

    async def is_heard_of() -> bool:
        idle = (await status(transport)).idle
        return idle is not None and idle < 1.5

    await settled(is_heard_of)
