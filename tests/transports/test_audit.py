"""The record of what people have done to the bus, whatever keeps it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import pytest

from lightbus.exceptions import TransportError, TransportUnavailable
from lightbus.options import Secret
from lightbus.transports import audit
from lightbus.transports.audit import MOST_IDS, Act, read_act, write_act
from lightbus.transports.redis.schema import audit as audit_in_redis
from tests.support.servers import Server, ServerPool

from .conftest import Ports

AUDIT = "lightbus:audit"


def act_of(name: str) -> Act:
    return Act(act=name, user="ann@box", action="dlq.replay", target="shop-send", count=2, ids=("1-1", "2-2"))


async def test_entries_are_read_by_others_in_both_directions_and_page_by_page(ports: Ports) -> None:
    one, other = ports.schema(), ports.schema()
    assert (list(await other.past_acts()), list(await other.acts_after(""))) == ([], [])
    for name in "abcde":
        assert await one.note_act(act_of(name))
    past = list(await other.past_acts())
    assert [entry.act for entry in past] == list("edcba")
    assert (past[0].user, past[0].ids, past[0].count) == ("ann@box", ("1-1", "2-2"), 2)
    assert all(abs(entry.at - time.time()) < 60 for entry in past)
    assert [entry.act for entry in await other.past_acts(past[1].id, 2)] == ["c", "b"]
    assert [entry.act for entry in await other.acts_after(past[3].id, 2)] == ["c", "d"]
    assert [entry.act for entry in await other.acts_after("", 2)] == ["a", "b"]


def test_an_entry_is_cut_where_it_is_too_long_and_read_as_far_as_it_is_known() -> None:
    long = Act(
        reason="x" * 9_000,
        ids=("y" * 9_000,) * 500,
        chosen={f"n{i}": "z" * 9_000 for i in range(99)},
        count=500,
    )
    blob = write_act(long)
    read = read_act(blob, "1-1", 1.0)
    assert len(blob) < 50_000 and (read.count, len(read.ids), len(read.chosen)) == (500, MOST_IDS, 20)
    assert len(read.reason) == len(read.ids[0]) == len(read.chosen["n0"]) == 500
    assert read_act(msgspec.json.encode({"user": "ann", "moon": "full"}), "1-1", 1.0).user == "ann"
    for broken in (b"", b"[]", b'{"outcome": "great"}', b"[" * 100_000):
        assert read_act(broken, "1-1", 1.0).error == "this entry of the audit can't be read"


async def test_about_so_many_are_kept(
    any_redis: Server, any_ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_in_redis, "MOST_ENTRIES", 100)
    schema = any_ports.schema()
    for number in range(400):
        await schema.note_act(act_of(str(number)))
    assert 100 <= any_redis.execute("XLEN", AUDIT) <= 250
    assert audit.MOST_ENTRIES == 100_000


async def test_what_somebody_else_has_put_there_is_an_entry_and_another_type_of_key_an_error(
    any_redis: Server, any_ports: Ports
) -> None:
    any_redis.execute("XADD", AUDIT, "1-1", "moon", "full")
    schema = any_ports.schema()
    (entry,) = await schema.past_acts()
    assert (entry.id, entry.at, entry.error) == ("1-1", 0.001, "this entry of the audit can't be read")
    any_redis.execute("DEL", AUDIT)
    any_redis.execute("SET", AUDIT, "x")
    for refused in (schema.note_act(act_of("a")), schema.past_acts(), schema.acts_after("")):
        with pytest.raises(TransportError, match="WRONGTYPE") as caught:
            await refused
        assert not isinstance(caught.value, TransportUnavailable)


@pytest.fixture
def without_user(servers: ServerPool) -> Iterator[None]:
    """The servers are those of all tests."""
    yield
    for server in servers:
        server.execute("ACL", "DELUSER", "reader")


async def test_a_user_who_may_not_write_there_is_told_so(
    redis_server: Server, redis_ports: Ports, without_user: None
) -> None:
    rules = ("~*", "+@all", "-xadd")
    redis_server.execute("ACL", "SETUSER", "reader", "reset", "on", ">secret", *rules)
    schema = redis_ports.schema(username="reader", password=Secret("secret"))
    with pytest.raises(TransportError, match=r"the audit can't be written: .*NOPERM"):
        await schema.note_act(act_of("a"))
    assert list(await schema.past_acts()) == []
