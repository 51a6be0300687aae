"""Contracts, ownership and claims, whatever keeps them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lightbus.declared.settings import Identity
from lightbus.exceptions import TransportError
from lightbus.options import Secret
from lightbus.transports.redis.schema import transport as redis_schema
from tests.support.servers import Server
from tests.support.timers import HOUR

from .conftest import Ports, settled

CONTRACT = {"events": {}, "rpcs": {"check": {"parameters": {"type": "object"}, "response": {}}}}
SHOP, MAILER = Identity("shop", "p1"), Identity("mailer", "p2")


async def test_a_contract_that_is_stored_can_be_loaded(ports: Ports) -> None:
    schema = ports.schema()
    assert await schema.load() == {}
    await schema.store({"auth": CONTRACT, "support.case": {"events": {}, "rpcs": {}}}, 60)
    assert await ports.schema().load() == {"auth": CONTRACT, "support.case": {"events": {}, "rpcs": {}}}


async def test_a_contract_is_read_anew_once_it_has_changed(redis_ports: Ports, redis_server: Server) -> None:
    schema = redis_ports.schema()
    other: dict[str, Any] = {"events": {}, "rpcs": {}}
    await schema.store({"auth": CONTRACT}, 60)
    assert await schema.load() == await schema.load() == {"auth": CONTRACT}
    redis_server.execute("SET", "schema:auth", json.dumps(other))
    assert await schema.load() == {"auth": other}
    redis_server.execute("SET", "schema:auth", "no contract")
    assert await schema.load() == {}
    redis_server.execute("SET", "schema:auth", json.dumps(other))
    assert await schema.load() == {"auth": other}


async def test_a_contract_that_is_not_renewed_is_forgotten(ports: Ports) -> None:
    schema = ports.schema()
    await schema.store({"auth": CONTRACT}, 1)

    async def forgotten() -> bool:
        return await schema.load() == {}

    await settled(forgotten)


async def test_a_withdrawn_contract_is_gone(ports: Ports) -> None:
    schema = ports.schema()
    await schema.store({"auth": CONTRACT, "billing": CONTRACT}, 60)
    await schema.withdraw(["auth"])
    assert list(await schema.load()) == ["billing"]
    await schema.withdraw([])
    await schema.store({}, 60)


async def test_a_contract_stays_while_another_process_stands_for_it(ports: Ports) -> None:
    one, two = ports.schema(), ports.schema()
    await one.store({"auth": CONTRACT}, 60)
    await two.store({"auth": CONTRACT}, 60)
    await one.withdraw(["auth"])
    assert await two.load() == {"auth": CONTRACT}
    await two.withdraw(["auth"])
    assert await two.load() == {}


async def test_an_api_belongs_to_one_service(ports: Ports) -> None:
    schema = ports.schema()
    assert await schema.own(["auth", "billing"], SHOP, 60) == {"auth": "shop", "billing": "shop"}
    assert await schema.own(["auth"], Identity("shop", "p3"), 60) == {"auth": "shop"}
    assert await schema.own(["auth"], MAILER, 60) == {"auth": "shop"}
    await schema.disown(["auth"], SHOP)
    assert await schema.own(["auth"], MAILER, 60) == {"auth": "shop"}
    await schema.disown(["auth"], Identity("shop", "p3"))
    assert await schema.own(["auth"], MAILER, 60) == {"auth": "mailer"}


async def test_ownership_that_is_not_renewed_ends(ports: Ports) -> None:
    schema = ports.schema()
    await schema.own(["auth"], SHOP, 0.05)

    async def free() -> bool:
        return await schema.own(["auth"], MAILER, 60) == {"auth": "mailer"}

    await settled(free)


async def test_a_tick_is_given_out_once(ports: Ports) -> None:
    schema = ports.schema()
    got = await asyncio.gather(*(schema.claim("s", 100.0, f"p{n}", 60) for n in range(5)))
    assert sorted(got) == ["had", "had", "had", "had", "ours"]
    assert await schema.claim("s", 100.0, f"p{got.index('ours')}", 60) == "ours", "the reply was lost"
    assert await schema.claim("s", 99.0, "p9", 60) == "had", "ticks go one way"
    assert await schema.claim("other", 99.0, "p9", 60) == "ours"


async def test_no_tick_is_given_out_while_the_one_before_runs(ports: Ports) -> None:
    schema = ports.schema()
    assert await schema.claim("s", 100.0, "a", 60) == "ours"
    assert await schema.claim("s", 101.0, "b", 60) == "busy"
    assert await schema.claim("s", 101.0, "a", 60) == "had", "a tick that was skipped is gone for all"
    assert await schema.claim("s", 101.5, "a", 60) == "ours", "who asks again does not run the one before"
    assert await schema.claim("s", 102.0, "b", 0) == "ours", "unless runs may overlap"
    assert await schema.hold("s", "a", 0) and not await schema.hold("s", "b", 0)
    assert await schema.claim("s", 103.0, "b", 60) == "ours"
    assert not await schema.hold("s", "a", 60)
    assert await schema.claim("s", 104.0, "a", 60) == "busy", "only who runs it can end its lease"


async def test_the_lease_of_a_run_that_is_not_renewed_ends(ports: Ports) -> None:
    schema = ports.schema()
    assert await schema.claim("s", 1.0, "a", 60) == "ours"
    assert await schema.hold("s", "a", 0.05)
    tick = 1.0

    async def free() -> bool:
        nonlocal tick
        tick += 1
        return await schema.claim("s", tick, "b", 60) == "ours"

    await settled(free)


async def test_a_tick_is_made_up_for_only_where_one_before_it_was_given_out(ports: Ports) -> None:
    schema = ports.schema()
    assert await schema.claim("s", 100.0, "a", 60, catch_up=True) == "had"
    assert await schema.claim("s", 100.0, "b", 60, catch_up=True) == "had"
    assert await schema.claim("s", 101.0, "b", 60, catch_up=True) == "ours"


async def test_what_is_remembered_of_a_schedule_does_not_stay_for_ever(
    any_ports: Ports, any_redis: Server
) -> None:
    await any_ports.schema().claim("shop:tick", 100.0, "a", 60)
    assert any_redis.execute("TTL", "lightbus:schedule:shop:tick") > 366 * 86_400


@pytest.mark.parametrize(
    "blob", [b"", b"{", b"[]", b"[" * 1_000, b"\xff", b'"' + b"x" * 1_100_000 + b'"', b"9" * 10_000]
)
async def test_an_unreadable_contract_is_left_out(
    redis_ports: Ports, redis_server: Server, blob: bytes
) -> None:
    schema = redis_ports.schema()
    await schema.store({"good": CONTRACT}, 60)
    redis_server.execute("SADD", "schemas", "bad", b"\xff\xfe", "absent")
    redis_server.execute("SET", "schema:bad", blob)
    assert await schema.load() == {"good": CONTRACT}


async def test_names_without_a_contract_hide_none_and_are_taken_off_the_list(
    any_ports: Ports, any_redis: Server
) -> None:
    schema = any_ports.schema()
    await schema.store({"shop": CONTRACT}, 60)
    any_redis.execute("SADD", "schemas", *(f"a{n:06}" for n in range(10_001)))
    assert await schema.load() == {"shop": CONTRACT}
    assert any_redis.execute("SMEMBERS", "schemas") == [b"shop"]


async def test_a_few_names_without_a_contract_stay(redis_ports: Ports, redis_server: Server) -> None:
    redis_server.execute("SADD", "schemas", "shop", "auth")
    assert await redis_ports.schema().load() == {}
    assert redis_server.execute("SCARD", "schemas") == 2


async def test_names_stay_where_redis_does_not_let_them_go(redis_ports: Ports, redis_server: Server) -> None:
    schema = redis_ports.schema()
    await schema.store({"shop": CONTRACT}, 60)
    redis_server.execute("SADD", "schemas", *(f"a{n:06}" for n in range(1_500)))
    redis_server.execute("ACL", "SETUSER", "reader", "reset", "on", ">secret", "~*", "&*", "+@all", "-srem")
    try:
        reader = redis_ports.schema(username="reader", password=Secret("secret"))
        for _ in range(2):
            assert await reader.load() == {"shop": CONTRACT}
    finally:
        redis_server.execute("ACL", "DELUSER", "reader")
    assert redis_server.execute("SCARD", "schemas") == 1_501


async def test_of_too_many_contracts_the_wanted_ones_are_read_and_the_rest_is_told_of_once(
    redis_ports: Ports,
    redis_server: Server,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_schema, "_MOST_APIS", 3)
    monkeypatch.setattr(redis_schema, "_PAGE", 2)
    schema = redis_ports.schema()
    await schema.store(dict.fromkeys("abcdefgh", CONTRACT), 60)
    for _ in range(2):
        assert set(await schema.load(["h"])) == {"h", *"abc"}
    (told,) = [record.getMessage() for record in caplog.records]
    assert "names 4 more APIs than the 3 whose contracts are read" in told


async def test_a_contract_lies_where_lightbus_1_looks_for_it(any_ports: Ports, any_redis: Server) -> None:
    await any_ports.schema().store({"auth": CONTRACT}, HOUR)
    assert json.loads(any_redis.execute("GET", "schema:auth")) == CONTRACT
    assert HOUR / 2 < any_redis.execute("TTL", "schema:auth") <= HOUR
    assert any_redis.execute("SMEMBERS", "schemas") == [b"auth"]


async def test_a_redis_that_refuses_is_no_stranger_to_those_who_renew(
    redis_ports: Ports, redis_server: Server
) -> None:
    schema = redis_ports.schema()
    await schema.open()
    redis_server.execute("SET", "schemas", "not a set")
    with pytest.raises(TransportError, match="WRONGTYPE"):
        await schema.store({"auth": CONTRACT}, 60)
    with pytest.raises(TransportError, match="WRONGTYPE"):
        await schema.load()
