"""Listeners that are paused: they take nothing, finish what they have begun, and lose nothing."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from lightbus.bus import cards as own_card
from lightbus.bus.client import BusClient
from lightbus.declared.listener import Listener
from lightbus.insight import groups
from lightbus.insight.audit import Actor
from lightbus.insight.cards import read_cards
from lightbus.insight.control import pauses
from lightbus.insight.control.pauses import Heeded
from lightbus.worker.pauses import Pauses
from tests.guide.project import Project
from tests.host.conftest import Bench, Hosted
from tests.host.noting import NotingShop
from tests.host.shop import ledger
from tests.support.eventually import eventually, eventually_async
from tests.support.servers import Server

NOTE = "listeners: {note: {events: [shop.sold], handler: 'tests.host.shop:note', concurrency: 4}}\n"
ANN = Actor(user="ann@box")
STAY = "listeners: {stay: {events: [shop.sold], handler: 'tests.host.shop:stay', concurrency: 4}}\n"


async def pause(bench: Bench, name: str, until: float | None = None) -> Heeded:
    async with bench.client() as other:
        target = await pauses.find(other.client, ["shop"], f"shop-{name}", ())
        return await pauses.pause(other.client, target, until, ANN)


async def resume(bench: Bench, name: str) -> Heeded:
    async with bench.client() as other:
        target = await pauses.find(other.client, ["shop"], f"shop-{name}", ())
        assert target.pause is not None and target.pause.by == "ann@box"
        return await pauses.resume(other.client, target)


OPTIONS = ["dedupe: 1m", "batch: 3, batch_wait: 20ms", "concurrency: 50"]


@pytest.mark.parametrize("options", OPTIONS)
async def test_a_paused_listener_takes_nothing_and_gets_all_of_it_later(bench: Bench, options: str) -> None:
    handler = "note_list" if "batch" in options else "note"
    listener = f"{{events: [shop.sold], handler: 'tests.host.shop:{handler}', {options}}}"
    async with bench.host(f"process_name: p1\nlisteners: {{note: {listener}}}") as host:
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts["cup"] == 1)
        assert (await pause(bench, "note")).by == ("p1",)
        for _ in range(10):
            await host.fire("pot")
        await asyncio.sleep(0.3)
        assert ledger.counts["pot"] == 0
        assert host._life.obstacles() == [] and "by ann@box" in host._life.waits()[0]
        assert (await resume(bench, "note")).by == ("p1",)
        await eventually_async(lambda: ledger.counts["pot"] == 10)
        assert host._life.waits() == []


async def test_a_card_says_at_once_that_a_listener_which_goes_on_reads_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_card, "EVERY", 3_600)
    async with bench.host(f"process_name: p1\n{NOTE}") as host, bench.client() as other:
        await pause(bench, "note")
        await resume(bench, "note")
        await eventually_async(lambda: host._life.obstacles() == [])

        async def reads() -> bool:
            cards = [each for each in await read_cards(other.client) if each.process == "p1"]
            return [(card.obstacles, card.listeners[0].trouble) for card in cards] == [((), "")]

        await eventually_async(reads)


async def test_what_has_begun_is_finished_however_long_it_takes(bench: Bench) -> None:
    async with bench.host(f"process_name: p1\nbus: {{drain_timeout: 0.1}}\n{STAY}") as host:
        await host.fire("cup")
        await eventually_async(lambda: ledger.running == 1)
        heeded = await pause(bench, "stay")
        assert (heeded.by, heeded.running) == (("p1",), 1)
        await host.fire("pot")
        await asyncio.sleep(0.5)
        assert (ledger.running, ledger.counts["pot"]) == (1, 0), "longer than the host would wait at its end"
        ledger.gate.set()
        await eventually_async(lambda: not host.worker.leaving)
        assert ledger.counts["cup"] == 1
        pending = bench.server.execute("XPENDING", "shop.*:stream", "shop-stay")
        assert pending[0] == 0, "it is acknowledged"
        await resume(bench, "stay")
        await eventually_async(lambda: ledger.counts["pot"] == 1)
    assert ledger.counts == {"cup": 1, "pot": 1}


async def test_a_host_may_end_while_a_paused_listener_finishes_its_event(bench: Bench) -> None:
    async with bench.host(STAY) as host:
        await host.fire("cup")
        await eventually_async(lambda: ledger.running == 1)
        await pause(bench, "stay")
        asyncio.get_running_loop().call_later(0.2, ledger.gate.set)
        host._stop.set()
        await host._task
    assert ledger.counts["cup"] == 1 and ledger.running == 0
    assert bench.server.execute("XPENDING", "shop.*:stream", "shop-stay")[0] == 0


async def test_a_paused_listener_stays_so_when_its_process_starts_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.host(NOTE):
        await pause(bench, "note")
    async with bench.host(NOTE) as host:
        await host.fire("cup")
        await asyncio.sleep(0.3)
        assert ledger.counts["cup"] == 0
        told = [r for r in caplog.records if "the listener note is paused since" in r.getMessage()]
        assert len(told) == 2 and {record.levelno for record in told} == {logging.WARNING}
        await resume(bench, "note")
        await eventually_async(lambda: ledger.counts["cup"] == 1)


async def test_a_listener_that_is_paused_before_its_first_start_misses_nothing(bench: Bench) -> None:
    schema = bench.host().client  # any bus of the service
    await _paused(schema)
    async with bench.host(NOTE) as host:
        await host.fire("cup")
        await asyncio.sleep(0.2)
        assert ledger.counts["cup"] == 0
        await resume(bench, "note")
        await eventually_async(lambda: ledger.counts["cup"] == 1)


async def _paused(client: BusClient, name: str = "note") -> None:
    await pauses.pause(client, pauses.Target("shop", name), None, ANN)
    await client.close_async()


RENAMED = NOTE.replace("note: {", "jot: {renamed_from: note, ")


async def test_a_paused_listener_that_is_renamed_stays_paused(bench: Bench) -> None:
    async with bench.host(NOTE) as host:
        await pause(bench, "note")
        await host.fire("cup")
        async with bench.host(f"process_name: p2\n{RENAMED}") as other:
            assert bench.groups() == ["shop-jot"]
            assert "the listener jot is paused since" in other._life.waits()[0]
            assert "the listener note is paused since" in host._life.waits()[0], "it begins no group anew"
            await host.fire("pot")
    # Nor does it need to say its name before for that.
    async with bench.host(NOTE.replace("note: {", "jot: {")):
        await asyncio.sleep(0.3)
        assert ledger.counts.total() == 0 and bench.groups() == ["shop-jot"]
        await resume(bench, "jot")
        await eventually_async(lambda: ledger.counts == {"cup": 1, "pot": 1})
        assert bench.server.execute("EXISTS", "lightbus:paused:shop") == 0, "that of the name before is gone"


async def test_a_listener_may_be_paused_while_its_heir_waits_for_it(bench: Bench) -> None:
    async with bench.host(f"process_name: p1\n{NOTE}") as host:
        async with bench.host(f"process_name: p2\n{RENAMED}") as other:
            assert "takes over what was note's later" in other._life.waits()[0]
            await pause(bench, "note")
            await eventually_async(lambda: "jot" in other.worker.pauses.held)
            await eventually_async(lambda: not (other.worker.events or other.worker.leaving))
            await host.fire("cup")
            await asyncio.sleep(1)
            assert ledger.counts.total() == 0
            async with bench.client() as third:
                target = await pauses.find(third.client, ["shop"], "shop-jot", ())
                # It has taken over in the moment in which the other one had heeded the pause, or it has not.
                assert bench.groups() in (["shop-note"], ["shop-jot"]) and target.pause is not None
                await pauses.resume(third.client, target)
            # Once, unless the one before takes it up just when its group is taken over: it has one again
            # then, as a process with the old name has that is started after its heir.
            await eventually_async(lambda: ledger.counts["cup"] >= 1)
            assert set(ledger.counts) == {"cup"}


async def test_one_that_takes_over_just_after_a_pause_takes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightbus.worker.pauses._EVERY", 3_600.0)
    async with bench.host(f"process_name: p1\n{NOTE}") as host:
        async with bench.host(f"process_name: p2\n{RENAMED}") as other:
            assert other.worker.events[0].waits_for
            bench.server.execute("HSET", "lightbus:paused:shop", "note", "{}")
            await host.fire("cup")
            await eventually_async(lambda: ledger.counts == {"cup": 1}, what="p1 has not looked yet")
            host._stop.set()
            await host._task
            await eventually_async(lambda: bench.groups() == ["shop-jot"])
            await other.fire("pot")
            await eventually_async(lambda: not other.worker.events)
            assert ledger.counts == {"cup": 1}


async def test_one_that_is_ended_while_it_takes_a_pause_along_does_so_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightbus.worker.pauses._EVERY", 3_600.0)
    takes_along, begun = Pauses.succeed, []

    async def never_at_first(it: Pauses, listeners: Iterable[Listener]) -> None:
        begun.append(it)
        if len(begun) == 1:
            await asyncio.Event().wait()
        await takes_along(it, listeners)

    async with bench.host(f"process_name: p1\n{NOTE}") as host:
        async with bench.host(f"process_name: p2\n{RENAMED}"):
            bench.server.execute("HSET", "lightbus:paused:shop", "note", "{}")
            monkeypatch.setattr(Pauses, "succeed", never_at_first)
            host._stop.set()
            await host._task
            await eventually_async(lambda: bench.server.execute("HEXISTS", "lightbus:paused:shop", "jot"))
            assert bench.groups() == ["shop-jot"] and len(begun) == 2


async def test_a_group_takes_its_pause_along_when_it_is_moved(bench: Bench) -> None:
    await _paused(bench.host().client, "old")
    bench.server.execute("XGROUP", "CREATE", "shop.*:stream", "shop-old", "0", "MKSTREAM")
    async with bench.host(f"process_name: p1\n{NOTE}") as host, bench.client() as other:
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts["cup"] == 1)
        found = await groups.find(other.client, ["shop"], "shop-old")
        await groups.move(other.client, found, "shop-note", by=ANN)
        assert bench.groups() == ["shop-note"] and "note" in host.worker.pauses.held
        held = ledger.counts.total()
        await host.fire("pot")
        await asyncio.sleep(0.3)
        assert ledger.counts.total() == held
        assert bench.server.execute("HKEYS", "lightbus:paused:shop") == [b"note"]
        await resume(bench, "note")
        await eventually_async(lambda: ledger.counts["pot"] == 1)


async def test_a_pause_ends_by_itself(bench: Bench) -> None:
    async with bench.host(NOTE) as host:
        until = time.time() + 3
        await pause(bench, "note", until)
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts["cup"] == 1)
        assert time.time() >= until
        await eventually_async(lambda: host._life.waits() == [])


async def test_a_listener_that_a_reload_disables_stays_so_after_its_pause(bench: Bench) -> None:
    async with bench.host(NOTE) as host:
        await pause(bench, "note")
        bench.write(NOTE.replace("concurrency: 4", "concurrency: 4, enabled: false"))
        assert await host.reloader.reload()
        await resume(bench, "note")
        await host.fire("cup")
        await asyncio.sleep(0.2)
        assert ledger.counts["cup"] == 0
        bench.write(NOTE)
        assert await host.reloader.reload()
        await eventually_async(lambda: ledger.counts["cup"] == 1)


async def test_a_listener_that_a_reload_enables_while_it_is_paused_runs_after_its_pause(bench: Bench) -> None:
    async with bench.host(NOTE) as host:
        bench.write(NOTE.replace("concurrency: 4", "concurrency: 4, enabled: false"))
        assert await host.reloader.reload()
        await pause(bench, "note")
        await eventually_async(lambda: "note" in host.worker.pauses.held)
        bench.write(NOTE)
        assert await host.reloader.reload()
        await host.fire("cup")
        await asyncio.sleep(0.2)
        assert ledger.counts["cup"] == 0
        await resume(bench, "note")
        await eventually_async(lambda: ledger.counts["cup"] == 1)


def test_nothing_is_handled_by_a_process_that_follows_one_that_was_killed(
    project: Project, redis_server: Server
) -> None:
    redis = f"bus: {{redis: {{url: '{redis_server.url}'}}}}\n"
    events = "apis: {shop: {event_transport: {redis: {acknowledgement_timeout: 0.5}}}}\n"
    listener = "listeners: {note: {events: [shop.sold], handler: 'bus:note'}}\n"
    shop = NotingShop(project)
    shop.write(f"service_name: shop\n{redis}{events}{listener}")
    shop.hold()
    host = project.host()
    shop.fire()
    eventually(shop.all_once)
    paused = project.run("pause", "shop-note")
    assert paused.returncode == 0 and "it has begun 1 event, which it finishes" in paused.stderr
    host.kill()
    shop.let_go()
    host = project.host()
    shop.fire()
    host.wait_for_line("the listener note is paused since")
    time.sleep(1)
    assert shop.noted == {0: 1}
    resumed = project.run("resume", "note")
    assert (resumed.returncode, resumed.stdout) == (0, "resumed: shop-note\n"), resumed.stderr
    eventually(lambda: shop.noted == {0: 2, 1: 1})
    assert host.terminate() == 0


async def test_a_campaign_of_pauses_loses_nothing_and_handles_nothing_meanwhile(bench: Bench) -> None:
    """Two processes, which come and go, and pauses at random: by a seed, so that it can be repeated."""
    dice = random.Random(4711)
    hosts: dict[str, Hosted] = {}
    fired: Counter[str] = Counter()

    async def start(name: str) -> None:
        hosts[name] = await bench.host(f"process_name: {name}\n{NOTE}").__aenter__()

    async def fire(count: int) -> None:
        for _ in range(count):
            sku = f"sku-{sum(fired.values())}"
            fired[sku] += 1
            await next(iter(hosts.values())).fire(sku)

    for name in ("p1", "p2"):
        await start(name)
    for _ in range(5):
        await fire(dice.randrange(1, 20))
        heeded = await pause(bench, "note")
        assert sorted(heeded.by) == ["p1", "p2"] and heeded.not_by == ()
        await _until(lambda: not any(host.worker.leaving for host in hosts.values()))
        before = ledger.counts.total()
        await fire(dice.randrange(1, 20))
        if dice.random() < 0.6:
            name = dice.choice(("p1", "p2"))
            await hosts.pop(name).__aexit__()
            await start(name)
        await asyncio.sleep(0.1)
        assert ledger.counts.total() == before, "handled while it was paused"
        await resume(bench, "note")
    await eventually_async(lambda: ledger.counts.total() >= fired.total())
    assert ledger.counts == fired
    for host in hosts.values():
        await host.__aexit__()


async def _until(condition: Callable[[], bool]) -> None:
    await eventually_async(condition)
