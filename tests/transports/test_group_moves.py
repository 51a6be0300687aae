"""A group that another one takes the place of: all that waits for it goes along, once."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from lightbus.exceptions import GroupRefused, TransportUnavailable
from lightbus.messages import EventMessage
from lightbus.transports.events import EventConsumer, EventTransport, Subscription
from lightbus.transports.groups import StillRead
from lightbus.transports.redis.events.consumer import RedisEventConsumer
from lightbus.transports.redis.events.questions import changes
from lightbus.transports.redis.link.connection import LinkBroken
from lightbus.transports.redis.link.pipe import Pipe
from lightbus.transports.redis.scripts import Run
from tests.support.eventually import eventually_async
from tests.support.servers import Server
from tests.support.timers import outlast_leases

from .conftest import LEASES, USER_REGISTERED, Ports, fields_of, take
from .test_dead_letters import letters
from .test_group_changes import STREAM, status_of

NOBODY = "lightbus:nobody"


def key(kind: str, group: str) -> str:
    return f"{{{STREAM}}}:{kind}:{group}"


async def leave_every_fate(ports: Ports, transport: EventTransport, server: Server) -> None:
    """Leave the group shop-old with an event in each place where one may wait, and nobody who reads it.

    Those that dead processes held are read by the consumer that stands for none, so that nobody waits for a
    minute until they count as dead.
    """
    consumer = await ports.listen(transport, name="old", dedupe=60)
    await ports.fire(transport, "handled", "dead", "later", "due", "due twice", "held", "unread")
    handled, dead, later, due, twice = await take(consumer, 5)
    handled.ack()
    await dead.dead_letter("failed", ValueError("no"))
    await later.retry(3600, ValueError("no"))
    for delivery in (due, twice):
        await delivery.retry(0.001, ValueError("no"))
    await eventually_async(lambda: server.execute("XLEN", key("retry", "shop-old")) == 2)
    await ports.abandon(consumer)
    assert isinstance(consumer, RedisEventConsumer)
    for source in consumer.membership.sources:
        server.execute("XGROUP", "DELCONSUMER", source, "shop-old", consumer.membership.consumer)
    for source, deliveries in ((STREAM, 1), (key("retry", "shop-old"), 2)):
        read = server.execute("XREADGROUP", "GROUP", "shop-old", NOBODY, "COUNT", 1, "STREAMS", source, ">")
        (entry,) = read[0][1]
        claim = ("XCLAIM", source, "shop-old", NOBODY, 0, entry[0], "RETRYCOUNT", deliveries, "JUSTID")
        server.execute(*claim)


def outlast(server: Server) -> None:
    """Let the leases of what dead processes held be over, however long they are."""
    for source in (STREAM, key("retry", "shop-old")):
        outlast_leases(server, source, "shop-old", NOBODY)


def kept(server: Server, group: str) -> dict[str, Any]:
    """All that Redis has for a group, but for what time changes."""
    execute = server.execute
    retry = key("retry", group)
    groups = {facts[1]: facts[7] for facts in execute("XINFO", "GROUPS", STREAM)}
    marks = execute("KEYS", key("handled", group).replace("*", "\\*") + ":*")
    return {
        "place": groups.get(group.encode()),
        "pending": [(each[0], each[3]) for each in execute("XPENDING", STREAM, group, "-", "+", 100)],
        "again": [fields_of(fields) for _, fields in execute("XRANGE", retry, "-", "+")],
        "pending again": [each[3] for each in execute("XPENDING", retry, group, "-", "+", 100)],
        "due": execute("ZRANGE", key("delayed", group), 0, -1, "WITHSCORES"),
        "bodies": execute("HGETALL", key("bodies", group)),
        "dead": execute("XRANGE", key("dead", group), "-", "+"),
        "handled": sorted(mark.rpartition(b":")[2] for mark in marks),
    }


async def move(transport: EventTransport, old: str = "shop-old", new: str = "shop-new") -> None:
    status = await status_of(transport, old)
    assert status is not None
    await transport.move_group(status, new)


def keys_with(server: Server, name: str) -> list[bytes]:
    fields = server.execute("HKEYS", f"{{{STREAM}}}:groups")
    return [each for each in (*server.execute("KEYS", "*"), *fields) if name.encode() in each]


async def test_everything_goes_along_and_nothing_is_left(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    await leave_every_fate(any_ports, transport, any_redis)
    before, status = kept(any_redis, "shop-old"), await status_of(transport, "shop-old")
    assert all(before.values()), "something of each kind"
    await move(transport)
    assert kept(any_redis, "shop-new") == before
    moved = await status_of(transport, "shop-new")
    assert status is not None and moved is not None
    counts = ("lag", "pending", "retrying", "dead", "service")
    assert [getattr(moved, each) for each in counts] == [getattr(status, each) for each in counts]
    assert keys_with(any_redis, "shop-old") == []


async def test_the_listener_of_the_new_name_goes_on_where_the_old_one_was(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events(**LEASES)
    await leave_every_fate(any_ports, transport, any_redis)
    outlast(any_redis)
    await move(transport)
    consumer = await any_ports.listen(transport, name="new", dedupe=60)
    await any_ports.fire(transport, "later on")
    found = {}
    for _ in range(5):
        (delivery,) = await take(consumer)
        found[delivery.message.kwargs["username"]] = delivery.attempt
        delivery.ack()
    assert found == {"held": 1, "due": 2, "due twice": 2, "unread": 1, "later on": 1}
    (letter,) = await letters(transport)
    assert (letter.group, letter.message.kwargs) == ("shop-new", {"username": "dead"})


async def test_a_group_that_a_process_reads_is_not_moved(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    await any_ports.listen(transport, name="old")
    with pytest.raises(GroupRefused, match=r"^p1 reads .*stop it first"):
        await move(transport)
    assert keys_with(any_redis, "shop-new") == []


async def test_a_group_that_was_there_before_gets_what_came_before_it_began(
    any_ports: Ports, any_redis: Server
) -> None:
    """The listener was renamed, and nobody thought of its group: both have had what was fired since."""
    transport = any_ports.events(**LEASES)
    await leave_every_fate(any_ports, transport, any_redis)
    outlast(any_redis)
    consumer = await any_ports.listen(transport, name="new")
    await any_ports.fire(transport, "both")
    status = await status_of(transport, "shop-old")
    assert status is not None
    plan = await transport.plan_move(status, "shop-new")
    assert (status.lag, plan.unread, bool(plan.began)) == (2, 1, True)
    await move(transport)
    found = []
    for _ in range(5):
        (delivery,) = await take(consumer)
        found.append(delivery.message.kwargs["username"])
        delivery.ack()
    assert sorted(found) == ["both", "due", "due twice", "held", "unread"]
    moved = await status_of(transport, "shop-new")
    assert moved is not None and (moved.retrying, moved.dead) == (1, 1)
    assert keys_with(any_redis, "shop-old") == []


async def test_what_a_group_has_had_itself_is_not_given_to_it_again(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport, name="new")
    await leave_every_fate(any_ports, transport, any_redis)
    for delivery in await take(consumer, 7):
        delivery.ack()
    await move(transport)
    moved = await status_of(transport, "shop-new")
    assert moved is not None and (moved.lag, moved.retrying, moved.dead) == (0, 0, 1)
    await eventually_async(lambda: any_redis.execute("XPENDING", STREAM, "shop-new")[0] == 0)


async def test_a_group_of_which_nobody_knows_when_it_began_is_left_alone(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events()
    await leave_every_fate(any_ports, transport, any_redis)
    before = kept(any_redis, "shop-old")
    any_redis.execute("XGROUP", "CREATE", STREAM, "shop-new", "$")
    status = await status_of(transport, "shop-old")
    assert status is not None
    for act in (transport.plan_move, transport.move_group):
        with pytest.raises(GroupRefused, match=r"shop-new .* is there already.* lightbus group rm shop-new"):
            await act(status, "shop-new")
    assert kept(any_redis, "shop-old") == before


@pytest.mark.parametrize("is_there", [False, True], ids=["made", "there before"])
async def test_a_move_that_is_cut_short_anywhere_is_finished_by_the_next_one(
    redis_ports: Ports, redis_server: Server, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    monkeypatch.setattr(changes, "_MOVED_AT_ONCE", 1)
    transport = redis_ports.events()

    async def prepare() -> None:
        redis_server.execute("FLUSHALL")
        await leave_every_fate(redis_ports, transport, redis_server)
        if is_there:
            newest = redis_server.execute("XREVRANGE", STREAM, "+", "-")[0][0]
            redis_server.execute("XGROUP", "CREATE", STREAM, "shop-new", newest)
            redis_server.execute("XGROUP", "CREATE", key("retry", "shop-new"), "shop-new", 0, "MKSTREAM")
            redis_server.execute("HSET", f"{{{STREAM}}}:group:shop-new", "began", newest)

    def shape() -> Any:
        found = kept(redis_server, "shop-new")
        return {name: len(each) if isinstance(each, list) else bool(each) for name, each in found.items()}

    await prepare()
    await move(transport)
    whole = shape()
    cut = 0
    run = Pipe.run
    while True:
        await prepare()
        left = cut

        async def run_so_many(self: Pipe, script: Run) -> Any:
            nonlocal left
            if left < 0:
                raise LinkBroken("the process was killed")
            left -= script.script.name in ("succeed", "inherit")
            reply = await run(self, script)
            if left < 0:
                raise LinkBroken("the process was killed after Redis had done it")
            return reply

        with monkeypatch.context() as patched:
            patched.setattr(Pipe, "run", run_so_many)
            try:
                await move(transport)
            except TransportUnavailable:
                pass
            else:
                break
        if await status_of(transport, "shop-old") is not None:
            await move(transport)
        assert shape() == whole and keys_with(redis_server, "shop-old") == [], f"cut after {cut} scripts"
        cut += 1
    assert cut > 6


async def test_a_move_that_was_cut_short_goes_nowhere_else(
    redis_ports: Ports, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = redis_ports.events()
    await leave_every_fate(redis_ports, transport, redis_server)

    async def fail(*_: object) -> None:
        raise LinkBroken("the process was killed")

    with monkeypatch.context() as patched:
        patched.setattr(changes, "_move_memory", fail)
        with pytest.raises(TransportUnavailable):
            await move(transport)
    with pytest.raises(GroupRefused, match="finish it first with lightbus group move shop-old shop-new"):
        await move(transport, new="shop-other")
    # Who reads the old group now gets what is left there, and nothing that is fired.
    consumer = await redis_ports.listen(transport, name="old")
    await redis_ports.fire(transport, "fired")
    assert {d.message.kwargs["username"] for d in await take(consumer, 1)} == {"due twice"}
    status = await status_of(transport, "shop-old")
    assert status is not None and status.lag == 0


async def test_what_is_fired_meanwhile_is_read_once(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport, name="old")
    await consumer.stop()
    await consumer.close()
    fired: list[str] = []

    async def fire() -> None:
        for number in range(300):
            fired.append(str(number))
            await any_ports.fire(transport, str(number))

    firing = any_ports.run(fire())
    names = ["old", "a", "b", "c"]
    for old, new in itertools.pairwise(names):
        await asyncio.sleep(0.01)
        await move(transport, f"shop-{old}", f"shop-{new}")
    await firing
    consumer = await any_ports.listen(transport, name="c")
    taken = await take(consumer, len(fired))
    assert [d.message.kwargs["username"] for d in taken] == fired


async def renamed(
    ports: Ports, transport: EventTransport, dedupe: float | None = None, former: str = "old"
) -> EventConsumer:
    """Join as the listener that was called otherwise before."""
    wanted = Subscription("new", USER_REGISTERED, {}, dedupe=dedupe, renamed_from=former)
    consumer = await transport.consume(wanted, ports.identity())
    ports._consumers.append(consumer)
    return consumer


async def test_a_listener_that_was_renamed_goes_on_where_it_was_once_nobody_reads_that(ports: Ports) -> None:
    transport = ports.events()
    old = await ports.listen(transport, name="old", dedupe=60)
    first, *_ = await ports.fire(transport, "handled", "dead", "unread")
    handled, dead = await take(old, 2)
    with pytest.raises(StillRead, match=r"^p1 reads .*shop-old"):
        await renamed(ports, transport, dedupe=60)
    handled.ack()
    await dead.dead_letter("failed", ValueError("no"))
    await old.stop()
    await old.close()
    new = await renamed(ports, transport, dedupe=60)
    await ports.fire(transport, "later on")
    assert [d.message.kwargs["username"] for d in await take(new, 2)] == ["unread", "later on"]
    (letter,) = await letters(transport)
    assert letter.group == "shop-new"
    await transport.publish([EventMessage("auth", "user_registered", {"username": "x"}, id=first)], 30)
    (again,) = await take(new)
    assert await again.was_handled()
    assert await status_of(transport, "shop-old") is None


async def test_a_listener_that_was_renamed_long_ago_starts_as_ever(ports: Ports) -> None:
    transport = ports.events()
    for names in (("a",), ("b",)):
        consumer = await renamed(ports, transport)
        await ports.fire(transport, *names)
        (delivery,) = await take(consumer)
        assert delivery.message.kwargs["username"] == names[0]
        delivery.ack()
        await consumer.stop()
        await consumer.close()


async def test_a_process_of_1x_may_read_the_former_group_however_long_it_is_silent(
    any_ports: Ports, any_redis: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_redis.execute("XGROUP", "CREATE", STREAM, "shop-old", "0", "MKSTREAM")
    any_redis.execute("XADD", STREAM, "1-1", "api_name", "auth")
    any_redis.execute("XREADGROUP", "GROUP", "shop-old", "of-1x", "STREAMS", STREAM, ">")
    monkeypatch.setattr("lightbus.transports.groups.SILENT", -1.0)
    transport = any_ports.events()
    with pytest.raises(StillRead, match=r"of-1x may still read .* lightbus group move shop-old shop-new"):
        await renamed(any_ports, transport)
    await move_at_once(monkeypatch, transport)
    await renamed(any_ports, transport)


async def move_at_once(monkeypatch: pytest.MonkeyPatch, transport: EventTransport) -> None:
    """Move the group as somebody does who has waited for a minute and knows that nobody reads it."""
    monkeypatch.setattr(changes, "_SILENT", -1)
    await move(transport)


async def test_many_processes_that_start_at_once_move_the_group_once(
    any_ports: Ports, any_redis: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_MOVED_AT_ONCE", 1)
    transport = any_ports.events(**LEASES)
    await leave_every_fate(any_ports, transport, any_redis)
    outlast(any_redis)
    transports = [any_ports.events(**LEASES) for _ in range(4)]
    consumers = await asyncio.gather(*(renamed(any_ports, each, dedupe=60) for each in transports))
    found: list[str] = []

    async def handle(consumer: EventConsumer) -> None:
        while len(found) < 4:
            for delivery in await consumer.take(1):
                found.append(delivery.message.kwargs["username"])
                delivery.ack()

    for consumer in consumers:
        any_ports.run(handle(consumer))
    await eventually_async(lambda: sorted(found) == ["due", "due twice", "held", "unread"])
    assert keys_with(any_redis, "shop-old") == []
