"""Pauses that somebody ends or changes in the moment in which another listener takes them along."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from lightbus.bus.client import BusClient
from lightbus.declared.listener import Listener
from lightbus.insight.audit import Actor
from lightbus.insight.cards import taken_along
from lightbus.insight.control import pauses
from lightbus.insight.control.pauses import Target
from lightbus.transports.cards import Pause
from lightbus.worker.pauses import Pauses
from tests.host.conftest import Bench
from tests.host.shop import ledger
from tests.support.eventually import eventually_async

NOTE = "listeners: {note: {events: [shop.sold], handler: 'tests.host.shop:note', concurrency: 4}}\n"
RENAMED = NOTE.replace("note: {", "jot: {renamed_from: note, ")
ANN = Actor(user="ann@box")


async def _paused(client: BusClient) -> Target:
    """Pause a listener, and return it as somebody finds it who is about to end that."""
    await pauses.pause(client, Target("shop", "note"), None, ANN)
    held = await client.transports().schema().pauses(["shop"])
    return Target("shop", "note", pause=held["shop", "note"])


async def test_a_pause_that_ends_just_before_it_is_taken_along_stays_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes_along = Pauses.succeed

    async def ended_just_before(it: Pauses, listeners: Iterable[Listener]) -> None:
        assert "jot" in it.held
        bench.server.execute("HDEL", "lightbus:paused:shop", "note")
        await takes_along(it, listeners)

    monkeypatch.setattr(Pauses, "succeed", ended_just_before)
    bench.server.execute("HSET", "lightbus:paused:shop", "note", "{}")
    async with bench.host(RENAMED) as host:
        assert bench.server.execute("HKEYS", "lightbus:paused:shop") == []
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts == {"cup": 1})


async def test_a_pause_that_changes_just_before_it_is_taken_along_is_taken_as_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes_along, changed = Pauses.succeed, ['{"by":"bob"}']

    async def changed_just_before(it: Pauses, listeners: Iterable[Listener]) -> None:
        if changed:
            bench.server.execute("HSET", "lightbus:paused:shop", "note", changed.pop())
        await takes_along(it, listeners)

    monkeypatch.setattr(Pauses, "succeed", changed_just_before)
    bench.server.execute("HSET", "lightbus:paused:shop", "note", "{}")
    async with bench.host(RENAMED), bench.client() as other:
        found = await other.client.transports().schema().pauses(["shop"])
    assert found == {("shop", "jot"): Pause(by="bob"), ("shop", "note"): Pause(by="bob", moved_to="shop-jot")}


async def test_whoever_ends_a_pause_that_was_just_taken_along_ends_it_where_it_is(bench: Bench) -> None:
    async with bench.client() as other:
        target = await _paused(other.client)
        async with bench.host(RENAMED) as host:
            assert sorted(bench.server.execute("HKEYS", "lightbus:paused:shop")) == [b"jot", b"note"]
            heeded = await pauses.resume(other.client, target)
            assert (len(heeded.by), heeded.not_by) == (1, ())
            assert bench.server.execute("HKEYS", "lightbus:paused:shop") == []
            await host.fire("cup")
            await eventually_async(lambda: ledger.counts == {"cup": 1})


async def test_whoever_ends_a_pause_that_was_just_prolonged_ends_it_all_the_same(bench: Bench) -> None:
    async with bench.client() as other:
        target = await _paused(other.client)
        bench.server.execute("HSET", "lightbus:paused:shop", "note", "{}")
        await pauses.resume(other.client, target)
        assert bench.server.execute("HKEYS", "lightbus:paused:shop") == []


@pytest.mark.parametrize("heir", ["shop-new", "mailer-new"])
async def test_a_pause_that_ends_while_its_group_is_moved_ends_for_the_other_listener_too(
    bench: Bench, heir: str
) -> None:
    hash_of_heir = f"lightbus:paused:{heir.partition('-')[0]}"
    async with bench.client() as other:
        schema = other.client.transports().schema()
        await schema.pause("shop", "old", Pause(by="ann"))
        async with taken_along(other.client, "shop-old", heir):
            assert bench.server.execute("HEXISTS", hash_of_heir, "new")
            assert await schema.resume("shop", "old")
        assert await schema.pauses(["shop", "mailer"]) == {}
        # Where it is only changed, the other one changes as well.
        await schema.pause("shop", "old", Pause(by="ann"))
        async with taken_along(other.client, "shop-old", heir):
            await schema.pause("shop", "old", Pause(by="bob"))
        assert await schema.pauses(["shop", "mailer"]) == {
            (hash_of_heir.rpartition(":")[2], "new"): Pause(by="bob")
        }


async def test_a_pause_of_its_own_stays_with_a_listener_that_takes_a_group_along(bench: Bench) -> None:
    async with bench.client() as other:
        schema = other.client.transports().schema()
        await schema.pause("shop", "old", Pause(by="ann"))
        await schema.pause("shop", "new", Pause(by="bob"))
        async with taken_along(other.client, "shop-old", "shop-new"):
            await schema.resume("shop", "old")
        assert await schema.pauses(["shop"]) == {("shop", "new"): Pause(by="bob")}
