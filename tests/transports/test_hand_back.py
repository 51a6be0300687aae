"""Going back to Lightbus 1.x: what waits where 1.x does not look is put where it does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lightbus.exceptions import GroupRefused
from lightbus.transports.events import EventTransport
from lightbus.transports.groups import GroupStatus, HandBack, StillRead
from lightbus.transports.redis.keys import GroupKeys
from tests.support.servers import Server

from .conftest import Ports, fields_of, take
from .test_group_changes import STREAM, status_of
from .test_group_seeks import leave_every_fate

NOBODY = b"lightbus:nobody"
KEYS = GroupKeys(STREAM, "shop-old")


async def hand_back(transport: EventTransport, *, letters: bool = False) -> HandBack:
    """Hand all of it back, as was planned."""
    status = await status_of(transport, "shop-old")
    assert status is not None
    plan = await transport.plan_hand_back(status, letters=letters)
    after = await status_of(transport, "shop-old")
    assert after is not None
    assert replace(after, consumers=()) == replace(status, consumers=()), "to plan changes nothing"
    done = await transport.hand_back_group(status, letters=letters)
    assert done == plan
    return done


def pending(server: Server) -> dict[str, tuple[bytes, bool, int]]:
    """By event: who holds it, whether it has been idle for days, and how often it was delivered."""
    found = {}
    for entry, consumer, idle, count in server.execute("XPENDING", STREAM, "shop-old", "-", "+", 100):
        (read,) = server.execute("XRANGE", STREAM, entry, entry)
        found[fields_of(read[1])[":username"].strip('"')] = consumer, idle > 86_400_000, count
    return found


def kept(server: Server) -> list[int]:
    """How many are in the retry stream, wait for their time with how many bodies, and are dead."""
    commands = (("XLEN", KEYS.retry), ("ZCARD", KEYS.delayed), ("HLEN", KEYS.bodies), ("XLEN", KEYS.dead))
    return [server.execute(*command) for command in commands]


async def test_what_waits_for_an_attempt_is_pending_again(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    await leave_every_fate(any_ports, transport, any_redis)
    again = await any_ports.listen(transport, name="old")
    (held,) = await take(again)
    await held.release()
    await again.stop()
    await again.close()
    assert kept(any_redis) == [1, 1, 1, 1]
    done = await hand_back(transport)
    assert (done.pending, done.added, done.letters) == (2, 0, 0)
    assert kept(any_redis) == [0, 0, 0, 1]
    mine = (NOBODY, True, 0)
    assert {k: v for k, v in pending(any_redis).items() if v[1]} == {"later": mine, "unread": mine}
    assert (await hand_back(transport)).pending == 0, "a second time does nothing"


async def test_dead_letters_are_handed_back_where_that_is_wanted(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    await leave_every_fate(any_ports, transport, any_redis)
    why = ("reason", "invalid_message", "error", "", "trace", "", "attempts", "0", "origin", "1-1")
    any_redis.execute("XADD", KEYS.dead, "*", "what", "is this", *why)
    done = await hand_back(transport, letters=True)
    assert (done.pending, done.letters, done.broken) == (2, 1, 1)
    assert kept(any_redis) == [0, 0, 0, 1], "1.x would end over what is no event"
    assert set(pending(any_redis)) == {"later", "dead", "held"}


async def test_what_left_the_stream_is_added_for_the_group_alone(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    ids = await leave_every_fate(any_ports, transport, any_redis)
    other = await any_ports.listen(transport, name="other", since="earliest")
    for delivery in await take(other, 5):
        delivery.ack()
    any_redis.execute("XDEL", STREAM, *ids[:3])
    done = await hand_back(transport, letters=True)
    assert (done.pending, done.added, done.letters) == (0, 2, 1)
    assert kept(any_redis) == [0, 0, 0, 0]
    await any_ports.fire(transport, "next")
    (only,) = await take(other)
    assert only.message.kwargs["username"] == "next"
    read = ("XREADGROUP", "GROUP", "shop-old", "1.x", "STREAMS", STREAM, ">")
    entries = [fields_of(fields) for _, fields in any_redis.execute(*read)[0][1]]
    assert [entry[":username"] for entry in entries] == ['"unread"', '"later"', '"dead"', '"next"']
    assert all(set(entry) == {"id", "api_name", "event_name", "version", ":username"} for entry in entries)


async def test_it_waits_for_other_groups_to_read_and_says_for_which(
    any_ports: Ports, any_redis: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightbus.transports.redis.events.questions.hand_back._TRIES", 2)
    transport = any_ports.events()
    ids = await leave_every_fate(any_ports, transport, any_redis)
    any_redis.execute("XDEL", STREAM, *ids[:2])
    any_redis.execute("XGROUP", "CREATE", STREAM, "audit-all", ids[2])
    before = kept(any_redis)
    done = await hand_back(transport)
    assert (done.added, done.waits, done.behind) == (0, 1, "audit-all")
    assert kept(any_redis) == before
    any_redis.execute("XREADGROUP", "GROUP", "audit-all", "p", "STREAMS", STREAM, ">")
    done = await hand_back(transport)
    assert (done.added, done.waits, done.behind) == (1, 0, "")
    assert not any_redis.execute("XREADGROUP", "GROUP", "audit-all", "p", "STREAMS", STREAM, ">")


async def test_while_a_process_of_ours_reads_the_group_nothing_is_done_but_1x_may_read_it(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events()
    await leave_every_fate(any_ports, transport, any_redis)
    any_redis.execute("XREADGROUP", "GROUP", "shop-old", "old1", "COUNT", 1, "STREAMS", STREAM, ">")
    before = kept(any_redis)
    consumer = await any_ports.listen(transport, name="old")
    with pytest.raises(StillRead, match="reads the group shop-old"):
        await hand_back(transport)
    assert kept(any_redis) == before
    await consumer.stop()
    await consumer.close()
    assert (await hand_back(transport)).pending == 1


async def test_a_group_whose_move_was_cut_short_is_moved_first(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    await leave_every_fate(any_ports, transport, any_redis)
    any_redis.execute("HSET", KEYS.notes, "heir", "shop-new 9-9")
    with pytest.raises(GroupRefused, match="is being moved to shop-new"):
        await hand_back(transport)


@pytest.mark.parametrize("letters", [False, True])
async def test_a_transport_without_a_broker_refuses(letters: bool) -> None:
    transport: Any = Ports(None).events()
    status = GroupStatus("shop-old", "auth", 0, True, 0, 0, 0)
    for act in (transport.plan_hand_back, transport.hand_back_group):
        with pytest.raises(GroupRefused, match="this transport can't hand back groups"):
            await act(status, letters=letters)
