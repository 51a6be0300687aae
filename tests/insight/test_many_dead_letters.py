"""Many dead letters: by pages, by what they have in common, and all at once by an errand."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from lightbus import BusClient, DeliveryPolicy, EventMessage
from lightbus.exceptions import InvalidParameters
from lightbus.insight.audit import Actor, acts
from lightbus.insight.dead_letters import Filter, Fingerprint, edit, errands, find, page, sample
from lightbus.testing import Hosted, hosted
from lightbus.transports.events import DeadLetter, LetterId
from lightbus.transports.memory.broker import broker
from lightbus.transports.memory.events import MemoryEventTransport
from tests.support.timers import HOUR
from tests.testing.shop import StoreApi

APIS = ("default", "store")
ANN = Actor(user="ann", role="ops", reason="the pot is back")
heard: list[str] = []
broken: set[str] = set()


def note(event_message: EventMessage, sku: str) -> None:
    heard.append(sku)
    if sku in broken:
        raise KeyError(sku) if sku.startswith("key") else ValueError(f"no {sku}")


def other(event_message: EventMessage, sku: str) -> None:
    if sku in broken:
        raise KeyError(sku)


def service() -> Hosted:
    heard.clear()
    broken.clear()

    def listen(bus: object) -> None:
        once = DeliveryPolicy(attempts=1)
        bus.store.refused.listen(note, on_error=once)  # type: ignore[attr-defined]
        bus.store.refused.listen(other, on_error=once)  # type: ignore[attr-defined]

    module = type(asyncio)("many_bus")
    module.__dict__["before_server_start"] = listen
    return hosted(StoreApi, module, config={"service_name": "store"})


async def put_aside(host: Hosted, *skus: str) -> None:
    broken.update(skus)
    for sku in skus:
        await host.bus.store.refused.fire_async(sku=sku)
    # They may be hundreds, on a busy machine.
    await host.settle_async(60)


async def left(client: BusClient, chosen: Filter | None = None) -> list[str]:
    return [letter.message.kwargs["sku"] async for letter in find(client, APIS, chosen or Filter())]


NOTE = Filter(listener="store-note")


def test_pages_have_all_letters_of_all_listeners_once_and_the_newest_first() -> None:
    async def test() -> None:
        async with service() as host:
            await put_aside(host, *(str(n) for n in range(9)))
            client, pages, before = host.bus.client, [], ""
            while True:
                found = await page(client, APIS, Filter(), before=before, limit=4)
                pages.append(found)
                before = found.next
                if not before:
                    break
            letters = [letter for each in pages for letter in each.letters]
            assert len({(letter.place, letter.id) for letter in letters}) == len(letters) == 18
            ids = [LetterId.read(letter.id) for letter in letters]
            assert ids == sorted(ids, reverse=True)
            assert {each.count for each in pages} == {18} and not any(each.away for each in pages)
            few = await page(client, APIS, Filter(listener="note", error="KeyError"), limit=4)
            assert few.letters == () and few.count == 9
            for wrong in ("x", f"{2**64}-0", "1-0-0"):
                with pytest.raises(InvalidParameters):
                    await page(client, APIS, Filter(), before=wrong)

    asyncio.run(test())


def test_a_page_reads_no_more_than_it_has_to(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    dead_before = MemoryEventTransport.dead_before

    async def counting(self: MemoryEventTransport, *arguments: object) -> list[DeadLetter]:
        found = list(await dead_before(self, *arguments))  # type: ignore[arg-type]
        read.append(len(found))
        return found

    monkeypatch.setattr(MemoryEventTransport, "dead_before", counting)

    async def test() -> None:
        async with service() as host:
            await put_aside(host, "cup")
            dead = broker().groups["store-note"].dead
            for n in range(5_000):
                dead.append(replace(dead[0], id=f"{1_800_000_000_000 + n}-0"))
            client = host.bus.client
            first = await page(client, APIS, Filter(), limit=50)
            assert first.letters[0].id == "1800000004999-0" and first.count == 5_002
            assert sum(read) < 200
            read.clear()
            # Where few are meant, the next page goes on.
            rare = await page(client, APIS, Filter(listener="note", reason="invalid"), limit=50, most=300)
            assert (rare.letters, rare.read) == ((), 300) and rare.next
            assert sum(read) < 900
            read.clear()
            part = await sample(client, APIS, most=300)
            assert (part.read, part.count, part.is_whole) == (300, 5_002, False) and sum(read) < 900
            assert part.groups == {"store-note": 5_001, "store-other": 1}

    asyncio.run(test())


def test_letters_with_one_cause_are_counted_together() -> None:
    async def test() -> None:
        async with service() as host:
            await put_aside(host, "cup", "pot", "key")
            client = host.bus.client
            whole = await sample(client, APIS)
            assert whole.is_whole and whole.count == 6
            found = {(it.fingerprint.group, it.fingerprint.error): it.count for it in whole.kinds}
            assert found == {
                ("store-other", "KeyError"): 3,
                ("store-note", "ValueError"): 2,
                ("store-note", "KeyError"): 1,
            }
            assert whole.kinds[0].count == 3 and whole.kinds[0].newest.message.kwargs == {"sku": "key"}
            it = whole.kinds[0].fingerprint
            assert it.event == "store.refused" and it.function == "other"
            assert it.raised_at.rpartition(":")[0] == __file__
            assert "key" not in it.digest
            alike = Filter(fingerprint=it.digest)
            assert sorted(await left(client, alike)) == ["cup", "key", "pot"]
            assert await left(client, Filter(error="KeyError", listener="note")) == ["key"]
            assert await left(client, Filter(event="store.refused", error="builtins.KeyError")) == []

    asyncio.run(test())


async def given(host: Hosted, chosen: Filter = NOTE, limit: int = 100) -> errands.Errand:
    counted = await errands.count(host.bus.client, APIS, chosen, limit)
    return await errands.give(host.bus.client, "replay", chosen, counted, ANN)


def test_an_errand_does_what_was_counted_and_is_noted() -> None:
    async def test() -> None:
        async with service() as host:
            await put_aside(host, "cup", "pot", "jug")
            client = host.bus.client
            errand = await given(host)
            assert (errand.count, [each.left for each in await errands.read(client)]) == (3, [3])
            # One that is put aside afterwards is none of those, nor one that fails again.
            await put_aside(host, "late")
            broken.clear()
            broken.add("pot")
            heard.clear()
            assert await errands.carry_out(client, APIS, errand, "console-1")
            await host.settle_async(60)
            assert heard == ["cup", "pot", "jug"], "the oldest first"
            assert await left(client, NOTE) == ["late", "pot"]
            assert len(await left(client)) == 6, "those of the other listener stay"
            assert await errands.read(client) == [] and await client.transports().schema().errands() == {}
            (act,) = await acts(client)
            assert (act.action, act.user, act.role, act.reason) == ("dlq.replay", "ann", "ops", ANN.reason)
            assert (act.count, act.outcome, act.chosen["listener"]) == (3, "done", "store-note")

    asyncio.run(test())


def test_no_more_are_meant_than_the_newest_up_to_the_limit() -> None:
    async def test() -> None:
        async with service() as host:
            await put_aside(host, *"abcde")
            counted = await errands.count(host.bus.client, APIS, NOTE, 2)
            assert (counted.count, counted.is_all) == (2, False)
            await errands.give(host.bus.client, "drop", NOTE, counted, ANN)
            (errand,) = await errands.read(host.bus.client)
            assert await errands.carry_out(host.bus.client, APIS, errand, "console-1")
            assert await left(host.bus.client, NOTE) == ["a", "b", "c"]
            assert (await errands.count(host.bus.client, APIS, NOTE, 3)).is_all

    asyncio.run(test())


def test_one_process_at_a_time_carries_errands_out_and_another_goes_on_when_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(errands, "LEASE", HOUR)

    async def test() -> None:
        async with service() as host:
            skus = [f"x{n}" for n in range(120)]
            await put_aside(host, *skus)
            client, schema = host.bus.client, host.bus.client.transports().schema()
            errand = await given(host, limit=1_000)
            broken.clear()
            heard.clear()

            async def killed(self: MemoryEventTransport, letter: DeadLetter, edited: object = None) -> bool:
                if len(heard_of) >= 60:
                    raise SystemError("killed")
                heard_of.append(letter.id)
                return await replay(self, letter)

            heard_of: list[str] = []
            replay = MemoryEventTransport.replay
            with monkeypatch.context() as patch:
                patch.setattr(MemoryEventTransport, "replay", killed)
                # Whoever is killed gives no lease back.
                patch.setattr(type(schema), "hold", lambda *a: asyncio.sleep(0, True))
                with pytest.raises(SystemError):
                    await errands.carry_out(client, APIS, errand, "console-1")
            assert not await errands.carry_out(client, APIS, errand, "console-2"), "the lease is held still"
            broker().ticks.clear()  # As if it had run out.
            assert await errands.carry_out(client, APIS, errand, "console-2")
            await host.settle_async(60)
            assert sorted(heard) == sorted(skus), "each once"

    asyncio.run(test())


def test_an_errand_stays_to_be_done_where_its_lease_is_lost_before_the_first_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        async with service() as host:
            # So many that it looks after its lease while it looks for them.
            await put_aside(host, *(f"x{n}" for n in range(500)))
            client, schema = host.bus.client, host.bus.client.transports().schema()
            errand = await given(host, limit=1_000)
            with monkeypatch.context() as patch:
                patch.setattr(type(schema), "hold", lambda *a: asyncio.sleep(0, False))
                assert not await errands.carry_out(client, APIS, errand, "console-1")
            assert [each.id for each in await errands.read(client)] == [errand.id]
            assert len(await left(client, NOTE)) == 500

    asyncio.run(test())


def test_an_errand_that_somebody_stops_ends() -> None:
    async def test() -> None:
        async with service() as host:
            await put_aside(host, "cup")
            client = host.bus.client
            errand = await given(host)
            assert (await errands.stop(client, errand.id, ANN)).id == errand.id
            assert not await errands.carry_out(client, APIS, errand, "console-1")
            assert await left(client, NOTE) == ["cup"]
            with pytest.raises(InvalidParameters, match="done already"):
                await errands.stop(client, errand.id, ANN)

    asyncio.run(test())


def test_an_edited_letter_is_checked_and_goes_to_its_listener_alone() -> None:
    async def test() -> None:
        async with service() as host:
            await put_aside(host, "cup")
            client = host.bus.client
            (letter,) = [each async for each in find(client, APIS, NOTE)]
            for wrong in ({}, {"sku": 5}, {"sku": "x", "more": 1}):
                with pytest.raises(InvalidParameters):
                    await edit(client, APIS, letter, wrong, by=ANN)
            assert await left(client, NOTE) == ["cup"] and await acts(client) == []
            broken.clear()
            heard.clear()
            assert await edit(client, APIS, letter, {"sku": "pot"}, by=ANN)
            await host.settle_async(60)
            assert heard == ["pot"] and await left(client) == ["cup"]
            assert not await edit(client, APIS, letter, {"sku": "jug"}, by=ANN), "it is gone"
            acted = await acts(client)
            assert [(act.action, act.target, act.user, act.count) for act in acted] == [
                ("dlq.edit", "store-note", "ann", 0),
                ("dlq.edit", "store-note", "ann", 1),
            ]
            unread = replace(letter, message=EventMessage("", "", {}))
            with pytest.raises(InvalidParameters, match="nobody can read"):
                await edit(client, APIS, unread, {}, by=ANN)

    asyncio.run(test())


def test_a_fingerprint_is_of_the_last_frame_and_of_the_class_of_the_error() -> None:
    trace = (
        'Traceback (most recent call last):\n  File "/a.py", line 1, in f\n    g()\n'
        '  File "/b.py", line 22, in g\n    raise X\nshop.X: File "/c.py", line 3, in h\n'
    )
    letter = DeadLetter(
        "1-0", "shop-mailer", EventMessage("shop", "placed"), "failed", "X('y')", trace, 1, 1.0
    )
    it = Fingerprint.of(letter)
    assert it == Fingerprint("shop-mailer", "shop.placed", "failed", "X", "/b.py:22", "g")
    again = replace(letter, error="X('z')", attempts=3, id="2-0")
    assert Fingerprint.of(again).digest == it.digest
    assert Fingerprint.of(replace(letter, error="Y('y')")).digest != it.digest
    bare = Fingerprint.of(replace(letter, error="", trace="", message=EventMessage("", "")))
    assert bare == Fingerprint("shop-mailer", "", "failed")
