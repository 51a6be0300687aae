"""Cards of processes and pauses of listeners, whatever keeps them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from lightbus.declared.settings import Identity
from lightbus.exceptions import TransportError, TransportUnavailable
from lightbus.options import Secret
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.cards import MOST_BYTES, Card, ListenerCard, Pause, Recent, read_card, write_card
from lightbus.transports.redis.schema import RedisSchemaTransport
from tests.support.servers import Server, ServerPool

from .conftest import Ports, settled

WEB, SHOP = Identity("web", "p1"), Identity("shop", "p2")


def card_of(who: Identity, **known: Any) -> Card:
    return Card(service=who.service_name, process=who.process_name, **known)


async def test_cards_are_seen_by_others_until_they_are_taken_down(ports: Ports) -> None:
    one, other = ports.schema(), ports.schema()
    assert await other.cards() == []
    web = card_of(WEB, version="3.2", calls={"auth.check": 412}, obstacles=("Redis is away",))
    shop = card_of(SHOP, listeners=(ListenerCard(name="send", events=("auth.*",), recent=Recent(p50=0.1)),))
    for card, who in ((web, WEB), (shop, SHOP)):
        await one.show_card(who, write_card(card), 30)
    assert await other.cards() == [shop, web]
    await one.show_card(WEB, write_card(replace(web, phase="stopping")), 30)
    assert [card.phase for card in await other.cards()] == ["ready", "stopping"]
    await one.take_card_down(WEB)
    assert await other.cards() == [shop]


async def test_a_card_that_is_not_renewed_is_not_seen_any_more(ports: Ports) -> None:
    schema = ports.schema()
    await schema.show_card(WEB, write_card(card_of(WEB)), 60)

    async def gone() -> bool:
        return await schema.cards() == []

    assert not await gone()
    await schema.show_card(WEB, write_card(card_of(WEB)), 1)
    await settled(gone)


async def test_the_set_of_cards_keeps_no_names_of_processes_that_are_long_gone(
    any_redis: Server, any_ports: Ports
) -> None:
    long_ago = int(time.time()) - 3_600
    any_redis.execute("ZADD", "lightbus:cards", long_ago, "web\0old")
    await any_ports.schema().show_card(WEB, write_card(card_of(WEB)), 600)
    members = any_redis.execute("ZRANGE", "lightbus:cards", 0, -1, "WITHSCORES")
    assert members[0] == b"web\0p1"
    assert float(members[1]) == pytest.approx(time.time() + 600, abs=100)
    assert 500 <= any_redis.execute("TTL", "lightbus:card:web:p1") <= 600


async def test_what_is_no_card_is_passed_over(any_redis: Server, any_ports: Ports) -> None:
    schema = any_ports.schema()
    await schema.show_card(WEB, write_card(card_of(WEB, version="1")), 30)
    # Two processes whose names make one key: the card says whose it is.
    await schema.show_card(Identity("a:b", "c"), write_card(card_of(Identity("a:b", "c"))), 30)
    any_redis.execute(
        "ZADD", "lightbus:cards", 2e9, "a\0b:c", 2e9, "broken\0p", 2e9, "list\0p", 2e9, "no name"
    )
    any_redis.execute("SET", "lightbus:card:broken:p", "{")
    any_redis.execute("RPUSH", "lightbus:card:list:p", "x")
    assert [(card.service, card.process) for card in await schema.cards()] == [("a:b", "c"), ("web", "p1")]


async def test_all_cards_are_read_in_two_rounds_however_many_there_are(
    redis_ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = redis_ports.schema()
    assert isinstance(schema, RedisSchemaTransport)
    for number in range(500):
        who = Identity("web", f"p{number:03}")
        await schema.show_card(who, write_card(card_of(who)), 30)
    rounds: list[str] = []
    for name in ("send", "send_many"):
        monkeypatch.setattr(schema.pipe, name, counted(rounds, name, getattr(schema.pipe, name)))
    assert len(await schema.cards()) == 500
    assert rounds == ["send", "send_many"]


def counted(rounds: list[str], name: str, send: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which notes each time that it is called."""

    def call(*arguments: Any) -> Any:
        rounds.append(name)
        return send(*arguments)

    return call


def test_a_card_has_64_kib_at_most_and_says_what_it_lacks() -> None:
    listeners = tuple(ListenerCard(name=f"listener-{n}", events=("auth.*",)) for n in range(50))
    card = card_of(WEB, listeners=listeners, calls={f"api.procedure_{n}": n for n in range(9_000)})
    blob = write_card(card)
    assert MOST_BYTES / 4 < len(blob) <= MOST_BYTES
    read = read_card(blob)
    assert read is not None and read.listeners == listeners
    assert read.cut == {"calls": 9_000 - len(read.calls)}
    assert min(read.calls.values()) == read.cut["calls"], "the most frequent ones are kept"
    many = write_card(card_of(WEB, obstacles=("x" * 10_000,) * 500))
    assert len(many) <= MOST_BYTES


def test_a_card_of_another_version_is_read_as_far_as_it_is_known() -> None:
    newer = {"service": "web", "process": "p", "moon": "full", "listeners": [{"name": "send", "shoe": 1}]}
    assert read_card(msgspec.json.encode(newer)) == card_of(
        Identity("web", "p"), listeners=(ListenerCard(name="send"),)
    )
    for blob in (b"[]", b'{"pid": "x"}', b"[" * 100_000, b'{"version": "' + b"x" * 300_000 + b'"}'):
        assert read_card(blob) is None


async def test_a_pause_is_known_to_all_until_it_ends(ports: Ports) -> None:
    one, other = ports.schema(), ports.schema()
    now = await one.now()
    pause, bounded = Pause(since=now, by="ann"), Pause(since=now, until=now + 600)
    await one.pause("shop", "send", pause)
    await one.pause("shop", "count", bounded)
    await one.pause("web", "send", pause)
    assert await other.pauses(["shop"]) == {("shop", "send"): pause, ("shop", "count"): bounded}
    assert len(await other.pauses(["shop", "web", "nobody"])) == 3
    await one.pause("shop", "count", Pause(since=now, until=now + 0.5))

    async def over() -> bool:
        return ("shop", "count") not in await other.pauses(["shop"])

    await settled(over)
    assert await one.resume("shop", "send")
    assert not await one.resume("shop", "send")
    assert await other.pauses(["shop"]) == {}


async def test_pauses_of_schedules_are_known_apart_from_those_of_listeners(ports: Ports) -> None:
    one, other = ports.schema(), ports.schema()
    now = await one.now()
    send, close, over = Pause(since=now, by="ann"), Pause(since=now), Pause(since=now - 60, until=now - 30)
    await one.pause("shop", "send", send)
    await one.pause_schedule("shop", "send", close)
    await one.pause_schedule("shop", "a: b", over)
    found = await other.all_pauses(["shop", "nobody"])
    assert (found.listeners, await other.pauses(["shop"])) == ({("shop", "send"): send},) * 2
    assert (found.schedules, found.ended) == ({("shop", "send"): close}, {("shop", "a: b"): over})
    assert await one.resume("shop", "send")
    assert (await other.all_pauses(["shop"])).schedules == found.schedules


async def test_pauses_change_together_or_not_at_all(ports: Ports) -> None:
    schema = ports.schema()
    now = await schema.now()
    ann, bob = Pause(since=now, by="ann"), Pause(since=now, by="bob")
    moved = Pause(since=now, by="ann", moved_to="shop-post")
    await schema.pause("shop", "send", ann)
    assert not await schema.change_pauses("shop", {"post": (None, ann), "send": (bob, moved)})
    assert await schema.pauses(["shop"]) == {("shop", "send"): ann}
    assert await schema.change_pauses("shop", {"post": (None, ann), "send": (ann, moved)})
    assert await schema.pauses(["shop"]) == {("shop", "post"): ann, ("shop", "send"): moved}
    assert not await schema.change_pauses("shop", {"post": (None, bob)}), "it has one already"
    assert await schema.change_pauses("shop", {"post": (ann, bob), "send": (moved, None)})
    assert await schema.pauses(["shop"]) == {("shop", "post"): bob}
    # One that has ended is none.
    await schema.pause("shop", "send", Pause(until=now - 3_600))
    assert await schema.change_pauses("shop", {"send": (None, ann)})
    assert await schema.pauses(["shop"]) == {("shop", "post"): bob, ("shop", "send"): ann}


async def test_a_pause_ends_by_the_clock_of_redis(any_redis: Server, any_ports: Ports) -> None:
    schema = any_ports.schema()
    past = time.time() - 3_600
    await schema.pause("shop", "send", Pause(until=past))
    assert await schema.pauses(["shop"]) == {}
    any_redis.execute("HSET", "lightbus:paused:shop", "send", "no JSON")
    assert await schema.pauses(["shop"]) == {("shop", "send"): Pause()}, "it was meant to be paused"


@pytest.fixture
def without_user(servers: ServerPool) -> Iterator[None]:
    """The servers are those of all tests."""
    yield
    for server in servers:
        server.execute("ACL", "DELUSER", "web")


async def test_a_user_who_may_not_show_a_card_is_told_so_and_it_is_no_obstacle(
    any_redis: Server, any_ports: Ports, without_user: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rules = ("~schema*", "+@all")
    any_redis.execute("ACL", "SETUSER", "web", "reset", "on", ">secret", *rules)
    schema = any_ports.schema(username="web", password=Secret("secret"))
    schema.obstacles = Obstacles()
    for refused in (
        schema.show_card(WEB, write_card(card_of(WEB)), 30),
        schema.take_card_down(WEB),
        schema.cards(),
        schema.pauses(["web"]),
    ):
        with pytest.raises(TransportError, match="NOPERM") as caught:
            await refused
        assert not isinstance(caught.value, TransportUnavailable)
    await settled(lambda: _looked(schema))
    assert list(schema.obstacles) == [] and caplog.text == ""


async def _looked(schema: Any) -> bool:
    """Whether nobody looks for a missing permission any more."""
    return bool(schema.session.permissions._watching.done())
