"""The same event twice: fired once where it says so, handled once where its listener says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lightbus.messages import EventMessage
from lightbus.transports.events import EventConsumer
from lightbus.transports.redis.events import publishing
from tests.support.eventually import eventually_async
from tests.support.proxy import Proxy
from tests.support.servers import Server

from .conftest import LEASES, Ports, settled, take
from .test_redis_events import GROUP, STREAM, all_acknowledged


def event(id: str = "", **kwargs: Any) -> EventMessage:
    return EventMessage("auth", "user_registered", {"username": "a", **kwargs}, id=id)


async def handle(consumer: EventConsumer, wanted: int) -> list[bool]:
    """Take and acknowledge so many events; returns of which each was handled before."""
    known = []
    for delivery in await take(consumer, wanted):
        known.append(await delivery.was_handled())
        delivery.ack()
    return known


class TestFiring:
    async def test_the_same_id_is_stored_once_and_gives_the_same_native_id(self, ports: Ports) -> None:
        transport = ports.events()
        consumer = await ports.listen(transport)
        native_ids = set()
        for _ in range(3):
            message = event("order-1")
            await transport.publish([message], 30, 60)
            native_ids.add(message.native_id)
        await transport.publish([event("order-2")], 30, 60)
        assert len(native_ids) == 1
        ids = []
        for delivery in await take(consumer, 2):
            ids.append(delivery.message.id)
            delivery.ack()
        assert ids == ["order-1", "order-2"]

    async def test_the_same_id_within_one_write_is_stored_once(self, ports: Ports) -> None:
        transport = ports.events()
        consumer = await ports.listen(transport)
        await transport.publish([event("order-1"), event("order-1"), event("order-2")], 30, 60)
        ids = [delivery.message.id for delivery in await take(consumer, 2)]
        assert ids == ["order-1", "order-2"]

    async def test_an_id_is_forgotten_after_its_time(self, ports: Ports) -> None:
        transport = ports.events()
        consumer = await ports.listen(transport)
        await transport.publish([event("order-1")], 30, 0.02)
        await asyncio.sleep(0.03)
        await transport.publish([event("order-1")], 30, 0.02)
        assert len(await take(consumer, 2)) == 2

    async def test_without_dedupe_the_same_id_is_stored_each_time(self, ports: Ports) -> None:
        transport = ports.events()
        consumer = await ports.listen(transport)
        await transport.publish([event("order-1")], 30)
        await transport.publish([event("order-1")], 30)
        assert len(await take(consumer, 2)) == 2

    async def test_what_was_stored_before_the_reply_was_lost_is_not_stored_again(
        self, redis_ports: Ports, proxy: Proxy, redis_server: Server
    ) -> None:
        transport = await redis_ports.events_by(proxy)
        proxy.set("drop_replies")
        message = event("order-1")
        firing = redis_ports.run(transport.publish([message], 30, 60))

        async def stored() -> bool:
            return bool(redis_server.execute("XLEN", STREAM) == 1 and proxy.has_lost_replies)

        await settled(stored)
        proxy.set("pass")
        await firing
        ((entry_id, _),) = redis_server.execute("XRANGE", STREAM, "-", "+")
        assert message.native_id == entry_id.decode()

    async def test_a_value_that_looks_like_the_lost_id_is_not_taken_for_it(
        self, redis_ports: Ports, proxy: Proxy, redis_server: Server
    ) -> None:
        redis_ports.url = proxy.url
        transport = redis_ports.events()
        await transport.publish([event("first")], 30)
        proxy.set("blackhole")
        lost = event("auth")  # Which is the value of another field of the first one.
        firing = redis_ports.run(transport.publish([lost], 30))
        await asyncio.sleep(0.05)
        proxy.set("refuse")
        proxy.set("pass")
        await firing
        assert redis_server.execute("XLEN", STREAM) == 2

    async def test_a_list_goes_on_though_the_server_forgets_the_script_in_its_midst(
        self, redis_ports: Ports, redis_server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        append, sent = publishing.append, list[tuple[str, bool]]()

        def forgetting(stream: Any, message_id: str, *given: Any) -> Any:
            outcome = append(stream, message_id, *given)
            if not sent:
                stream.pipe.send("SCRIPT", "FLUSH")
            sent.append((message_id, given[-1]))
            return outcome

        monkeypatch.setattr(publishing, "append", forgetting)
        events = [event(name) for name in ("a", "b", "c")]
        await redis_ports.events().publish(events, 30, 60)
        # Only the first one of each writing brings the script.
        once_more = [("b", False), ("c", True)]
        assert sent == [("a", False), ("b", True), ("c", True), *once_more]
        entries = redis_server.execute("XRANGE", STREAM, "-", "+")
        assert [entry[0].decode() for entry in entries] == [each.native_id for each in events]

    async def test_the_memory_of_an_id_is_in_the_slot_of_its_stream_and_ends(
        self, redis_ports: Ports, redis_server: Server
    ) -> None:
        await redis_ports.events().publish([event("order-1")], 30, 600)
        key = f"{{{STREAM}}}:fired:order-1"
        assert 500_000 < redis_server.execute("PTTL", key) <= 600_000


class TestListening:
    async def test_an_id_that_was_acknowledged_is_known(self, ports: Ports) -> None:
        transport = ports.events()
        consumer = await ports.listen(transport, dedupe=60)
        await transport.publish([event("order-1"), event("order-1"), event("order-2")], 30)
        assert await handle(consumer, 3) == [False, True, False]

    async def test_it_is_known_to_another_process_and_after_a_restart(self, ports: Ports) -> None:
        transport = ports.events()
        first, second = [await ports.listen(transport, dedupe=60) for _ in range(2)]
        await transport.publish([event("order-1")], 30)
        assert await handle(first, 1) == [False]
        await first.stop()
        await first.close()
        await transport.publish([event("order-1")], 30)
        assert await handle(second, 1) == [True]

    async def test_each_listener_has_a_memory_of_its_own(self, ports: Ports) -> None:
        transport = ports.events()
        one = await ports.listen(transport, dedupe=60)
        other = await ports.listen(transport, name="other", dedupe=60)
        await transport.publish([event("order-1")], 30)
        assert await handle(one, 1) == [False]
        assert await handle(other, 1) == [False]

    async def test_what_failed_is_not_known(self, ports: Ports) -> None:
        transport = ports.events()
        consumer = await ports.listen(transport, dedupe=60)
        await transport.publish([event("retried"), event("buried"), event("released")], 30)
        retried, buried, released = await take(consumer, 3)
        await retried.retry(0, ValueError("no"))
        await buried.dead_letter("failed", ValueError("no"))
        await released.release()
        await transport.publish([event("buried")], 30)
        assert await handle(consumer, 3) == [False] * 3

    async def test_a_retry_that_went_well_makes_its_id_known(self, ports: Ports) -> None:
        transport = ports.events()
        consumer = await ports.listen(transport, dedupe=60)
        await transport.publish([event("order-1")], 30)
        (delivery,) = await take(consumer)
        await delivery.retry(0, ValueError("no"))
        assert await handle(consumer, 1) == [False]
        await transport.publish([event("order-1")], 30)
        assert await handle(consumer, 1) == [True]

    async def test_an_id_is_forgotten_after_its_time(self, ports: Ports) -> None:
        transport = ports.events()
        consumer = await ports.listen(transport, dedupe=0.05)
        await transport.publish([event("order-1")], 30)
        assert await handle(consumer, 1) == [False]
        await until_remembered(consumer)
        await asyncio.sleep(0.1)
        await transport.publish([event("order-1")], 30)
        assert await handle(consumer, 1) == [False]

    async def test_without_dedupe_nothing_is_remembered(
        self, redis_ports: Ports, redis_server: Server
    ) -> None:
        transport = redis_ports.events()
        consumer = await redis_ports.listen(transport)
        await transport.publish([event("order-1")], 30)
        assert await handle(consumer, 1) == [False]
        await all_acknowledged(redis_server)
        assert redis_server.execute("KEYS", "*:handled:*") == []

    async def test_what_ran_in_a_process_that_died_before_it_acknowledged_runs_again(
        self, any_ports: Ports, any_redis: Server
    ) -> None:
        """Delivery stays at least once: an effect without its acknowledgement is not known to anybody."""
        transport = any_ports.events(**LEASES)
        dying = await any_ports.listen(transport, dedupe=600)
        await transport.publish([event("order-1")], 30)
        await take(dying)
        await any_ports.abandon(dying)
        peer = await any_ports.listen(transport, dedupe=600)
        assert await handle(peer, 1) == [False]
        await all_acknowledged(any_redis)
        key = f"{{{STREAM}}}:handled:{GROUP}:order-1"
        assert 500_000 < any_redis.execute("PTTL", key) <= 600_000

    async def test_what_another_process_acknowledged_meanwhile_does_not_run_a_second_time(
        self, any_ports: Ports, any_redis: Server
    ) -> None:
        transport = any_ports.events(**LEASES)
        frozen = await any_ports.listen(transport, dedupe=60)
        await transport.publish([event("order-1")], 30)
        (fetched,) = await take(frozen)
        await any_ports.abandon(frozen)
        peer = await any_ports.listen(transport, dedupe=60)
        assert await handle(peer, 1) == [False]
        await all_acknowledged(any_redis)
        assert await fetched.was_handled()  # Fetched ahead, and not started when its process froze.

    @pytest.mark.parametrize("away", ["refuse", "drop_replies"])
    async def test_acknowledgements_arrive_although_the_link_broke(
        self, redis_ports: Ports, proxy: Proxy, redis_server: Server, away: Any
    ) -> None:
        transport = redis_ports.events()
        redis_ports.url = proxy.url
        consumer = await redis_ports.listen(redis_ports.events(), dedupe=60)
        await transport.publish([event("order-1"), event("order-1")], 30)
        first, second = await take(consumer, 2)
        proxy.set(away)
        first.ack()
        assert await second.was_handled(), "although Redis has not confirmed it"
        await asyncio.sleep(0.05)
        proxy.set("refuse")
        proxy.set("pass")
        await all_acknowledged_but(redis_server, 1)
        assert await second.was_handled()
        second.ack()
        await all_acknowledged(redis_server)

    async def test_a_script_that_the_server_forgot_is_loaded_again(
        self, redis_ports: Ports, redis_server: Server
    ) -> None:
        transport = redis_ports.events()
        consumer = await redis_ports.listen(transport, dedupe=60)
        for name in ("order-1", "order-2"):
            await transport.publish([event(name)], 30, 60)
            assert await handle(consumer, 1) == [False]
            await all_acknowledged(redis_server)
            redis_server.execute("SCRIPT", "FLUSH")


async def until_remembered(consumer: EventConsumer) -> None:
    """Wait until the broker knows what was acknowledged: from then on it counts the time."""

    async def is_known() -> bool:
        return not any(status.pending for status in await consumer.status())

    await settled(is_known)


async def all_acknowledged_but(server: Server, count: int) -> None:
    async def condition() -> bool:
        return bool(server.execute("XPENDING", STREAM, GROUP)[0] == count)

    await eventually_async(condition)
