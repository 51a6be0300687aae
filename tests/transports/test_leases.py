"""Leases over Redis: kept while handlers run, taken over from processes that died."""

from __future__ import annotations

import asyncio

import pytest

from lightbus.declared.policy import DeliveryPolicy
from lightbus.messages import EventMessage
from lightbus.transports.events import EventConsumer
from lightbus.transports.redis.events import suspects
from lightbus.transports.redis.link.rounds import Rounds
from tests.support.eventually import eventually_async
from tests.support.servers import Server
from tests.support.timers import HOUR, an_hour_passes, outlast_leases, until_an_hour_is_waited_for

from .conftest import LEASES, Ports, fields_of, settled, take
from .test_redis_events import GOOD, GROUP, STREAM, all_acknowledged, pending

#: In milliseconds, longer than any lease.
LONG_AGO = 7_200_000
MAX_DEATHS = DeliveryPolicy().max_deaths
#: Long enough for what must not happen to happen, were it wrong.
A_WHILE = 0.5


def deliveries_of(server: Server) -> list[tuple[str, int]]:
    """Who holds each pending entry, and how often it was delivered."""
    return [
        (entry[1].decode(), entry[3]) for entry in server.execute("XPENDING", STREAM, GROUP, "-", "+", 100)
    ]


async def test_the_lease_of_a_slow_handler_is_renewed(any_ports: Ports, any_redis: Server) -> None:
    lease = {"acknowledgement_timeout": 3 * HOUR, "reclaim_interval": 0.05}
    slow, peer = [await any_ports.listen(any_ports.events(**lease)) for _ in range(2)]
    await any_ports.fire(any_ports.events(), "a")
    (delivery,) = await take(slow)
    stolen = any_ports.run(peer.take(1))

    def is_renewed() -> bool:
        return bool(any_redis.execute("XPENDING", STREAM, GROUP, "-", "+", 1)[0][2] < 60_000)

    for _ in range(3):
        outlast_leases(any_redis, STREAM, GROUP, "p1")
        assert not is_renewed()
        await until_an_hour_is_waited_for("lightbus leases", by=2)
        an_hour_passes()  # Leases are renewed after each third of their time.
        await eventually_async(is_renewed)
    assert not stolen.done()
    assert deliveries_of(any_redis) == [("p1", 1)]
    delivery.ack()
    await all_acknowledged(any_redis)


async def test_a_lease_that_ran_out_on_its_own_holder_counts_as_no_death(
    any_ports: Ports, any_redis: Server
) -> None:
    # It could not be renewed in time, as on a machine that slept, and its holder is the first to see that.
    lease = {"acknowledgement_timeout": HOUR, "reclaim_interval": 0.05}
    consumer = await any_ports.listen(any_ports.events(**lease))
    await any_ports.fire(any_ports.events(), "a")
    (delivery,) = await take(consumer)
    another = any_ports.run(consumer.take(1))  # It has room for what dead processes have left.

    def is_held_anew() -> bool:
        ((_, _, idle, count),) = any_redis.execute("XPENDING", STREAM, GROUP, "-", "+", 1)
        return bool(idle < LONG_AGO / 2 and count == 1)

    for _ in range(MAX_DEATHS + 1):
        outlast_leases(any_redis, STREAM, GROUP, "p1")
        await eventually_async(is_held_anew)
    assert not another.done()
    delivery.ack()
    await all_acknowledged(any_redis)


async def test_what_a_dead_process_held_goes_to_another_one(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events(**LEASES)
    dying, peer = await any_ports.listen(transport), await any_ports.listen(transport)
    await any_ports.fire(transport, "a", "b")
    await take(dying, 2)
    await any_ports.abandon(dying)
    for name in ("a", "b"):
        (delivery,) = await take(peer)
        # The death is no fault of the handler's, so no attempt is counted.
        assert (delivery.message.kwargs["username"], delivery.attempt) == (name, 1)
        delivery.ack()
    await all_acknowledged(any_redis)


async def test_a_retried_event_that_a_dead_process_held_goes_to_another_one(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events(**LEASES)
    dying = await any_ports.listen(transport)
    await any_ports.fire(transport, "a")
    (delivery,) = await take(dying)
    await delivery.retry(0, ValueError("no"))
    await take(dying)
    await any_ports.abandon(dying)
    peer = await any_ports.listen(transport)
    (delivery,) = await take(peer)
    assert (delivery.message.kwargs["username"], delivery.attempt) == ("a", 2)
    delivery.ack()
    await all_acknowledged(any_redis, f"{{{STREAM}}}:retry:{GROUP}")


async def test_a_delayed_retry_of_a_dead_process_comes_due_at_another_one(any_ports: Ports) -> None:
    transport = any_ports.events(**LEASES)
    dying = await any_ports.listen(transport)
    await any_ports.fire(transport, "a")
    (delivery,) = await take(dying)
    await delivery.retry(0.2, ValueError("no"))
    await any_ports.abandon(dying)
    for timer in dying._settling._timers:  # type: ignore[attr-defined]
        timer.cancel()
    peer = await any_ports.listen(transport)
    (delivery,) = await take(peer)
    assert delivery.attempt == 2
    delivery.ack()


async def test_an_event_that_kills_its_process_again_and_again_is_put_aside_alone(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events(**LEASES)
    any_redis.execute("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    await any_ports.fire(transport, "killer", "neighbour")
    (killer, neighbour) = any_redis.execute("XRANGE", STREAM, "-", "+")
    any_redis.execute("XREADGROUP", "GROUP", GROUP, "dead", "STREAMS", STREAM, ">")
    for entry, deaths in ((killer[0], MAX_DEATHS), (neighbour[0], 1)):
        # As if the last of so many processes had died a while ago.
        any_redis.execute(
            "XCLAIM", STREAM, GROUP, "dead", 0, entry, "IDLE", LONG_AGO, "RETRYCOUNT", deaths, "JUSTID"
        )
    consumer = await any_ports.listen(transport)
    (delivery,) = await take(consumer)
    assert delivery.message.kwargs["username"] == "neighbour"
    delivery.ack()
    await all_acknowledged(any_redis)
    (dead,) = await any_ports.dead()
    assert dead.reason == "process_died"


async def test_an_event_is_put_aside_only_after_the_last_death(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events(**LEASES)
    listening = await any_ports.listen(transport)
    await any_ports.fire(transport, "killer")
    for death in range(MAX_DEATHS):
        (delivery,) = await take(listening)
        assert delivery.attempt == 1
        assert [count for _, count in deliveries_of(any_redis)] == [death + 1]
        await any_ports.abandon(listening)
        transport = any_ports.events(**LEASES, connect_timeout=6 + death)
        listening = await any_ports.listen(transport)

    async def put_aside() -> bool:
        return len(await any_ports.dead()) == 1

    any_ports.run(listening.take(1))
    await settled(put_aside)


@pytest.mark.parametrize("max_deaths", [1, 2, 5])
async def test_after_how_many_deaths_an_event_is_put_aside_is_configured(
    any_ports: Ports, any_redis: Server, max_deaths: int
) -> None:
    any_redis.execute("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    await any_ports.fire(any_ports.events(), "spared", "killer")
    entries = any_redis.execute("XRANGE", STREAM, "-", "+")
    any_redis.execute("XREADGROUP", "GROUP", GROUP, "dead", "STREAMS", STREAM, ">")
    for (entry, _), deaths in zip(entries, (max_deaths - 1, max_deaths), strict=True):
        any_redis.execute(
            "XCLAIM", STREAM, GROUP, "dead", 0, entry, "IDLE", LONG_AGO, "RETRYCOUNT", deaths, "JUSTID"
        )
    consumer = await any_ports.listen(any_ports.events(**LEASES))
    consumer.max_deaths = max_deaths

    async def put_aside() -> bool:
        return len(await any_ports.dead()) == 1

    (spared,) = await take(consumer)
    assert spared.message.kwargs["username"] == "spared"
    spared.ack()
    any_ports.run(consumer.take(1))
    await settled(put_aside)


async def test_a_death_after_the_process_was_told_to_end_is_not_counted(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events(**LEASES)
    listening = await any_ports.listen(transport)
    await any_ports.fire(transport, "slow")
    for n in range(MAX_DEATHS + 2):
        (delivery,) = await take(listening)
        assert [count for _, count in deliveries_of(any_redis)] == [1]
        await listening.stop()

        async def excused() -> bool:
            return [count for _, count in deliveries_of(any_redis)] == [0]

        await settled(excused)
        await any_ports.abandon(listening)
        transport = any_ports.events(**LEASES, connect_timeout=6 + n)
        listening = await any_ports.listen(transport)
    (delivery,) = await take(listening)
    delivery.ack()
    await all_acknowledged(any_redis)
    assert await any_ports.dead() == []


async def test_suspects_run_one_at_a_time(
    any_ports: Ports, any_redis: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "HEAD_START", HOUR)
    transport = any_ports.events(**LEASES)
    dying = await any_ports.listen(transport)
    await any_ports.fire(transport, *"abc")
    await take(dying, 3)
    await any_ports.abandon(dying)
    peer = await any_ports.listen(transport)
    for _ in range(3):
        (delivery,) = await take(peer, limit=10)
        assert [who for who, _ in deliveries_of(any_redis)].count("p2") == 1
        delivery.ack()
        await asyncio.sleep(0.01)
    await all_acknowledged(any_redis)


async def test_a_slow_handler_keeps_nothing_else_from_being_taken_over(any_ports: Ports) -> None:
    transport = any_ports.events(**LEASES)
    dying, alive = await any_ports.listen(transport), await any_ports.listen(transport, name="other")
    await any_ports.fire(transport, *"abc")
    await take(dying, 3)
    await any_ports.abandon(dying)
    peer = await any_ports.listen(transport)
    running = await take(peer, 3)
    assert [delivery.message.kwargs["username"] for delivery in running] == ["a", "b", "c"]
    (first, *_) = await take(alive, 3)
    await first.retry(0, ValueError("no"))
    for delivery in [*running, *await take(alive)]:
        delivery.ack()


async def test_an_event_that_ended_two_processes_runs_with_no_suspect_beside_it(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events(**LEASES)
    any_redis.execute("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    await any_ports.fire(transport, "slow", "killer", "neighbour")
    entries = any_redis.execute("XRANGE", STREAM, "-", "+")
    any_redis.execute("XREADGROUP", "GROUP", GROUP, "dead", "STREAMS", STREAM, ">")
    for (entry, _), deaths in zip(entries, (1, 2, 1), strict=True):
        any_redis.execute(
            "XCLAIM", STREAM, GROUP, "dead", 0, entry, "IDLE", LONG_AGO, "RETRYCOUNT", deaths, "JUSTID"
        )
    consumer = await any_ports.listen(transport)
    for beside in (["slow", "neighbour"], ["killer"]):
        running = await take(consumer, len(beside))
        assert [delivery.message.kwargs["username"] for delivery in running] == beside
        assert [who for who, _ in deliveries_of(any_redis)].count("p1") == len(beside)
        for delivery in running:
            delivery.ack()
    await all_acknowledged(any_redis)


async def test_a_killer_is_put_aside_although_another_suspect_still_runs(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events(**LEASES)
    any_redis.execute("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    await any_ports.fire(transport, "slow", "killer")
    entries = any_redis.execute("XRANGE", STREAM, "-", "+")
    any_redis.execute("XREADGROUP", "GROUP", GROUP, "dead", "STREAMS", STREAM, ">")
    for (entry, _), deaths in zip(entries, (1, MAX_DEATHS), strict=True):
        any_redis.execute(
            "XCLAIM", STREAM, GROUP, "dead", 0, entry, "IDLE", LONG_AGO, "RETRYCOUNT", deaths, "JUSTID"
        )
    consumer = await any_ports.listen(transport)
    (slow,) = await take(consumer)

    async def put_aside() -> bool:
        return len(await any_ports.dead()) == 1

    any_ports.run(consumer.take(1))
    await settled(put_aside)
    assert [who for who, _ in deliveries_of(any_redis)] == ["p1"]
    slow.ack()


async def test_a_process_whose_slots_are_busy_leaves_it_to_one_that_is_free(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events(**LEASES)
    dying, busy = await any_ports.listen(transport), await any_ports.listen(transport)
    await any_ports.fire(transport, "a", "b")
    await take(dying)
    (running,) = await take(busy)
    await any_ports.abandon(dying)
    await asyncio.sleep(A_WHILE)
    assert deliveries_of(any_redis) == [("p1", 1), ("p2", 1)]
    (delivery,) = await take(await any_ports.listen(transport))
    assert delivery.message.kwargs["username"] == "a"
    delivery.ack()
    running.ack()
    await all_acknowledged(any_redis)


async def test_a_process_that_is_about_to_end_takes_nothing_over(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events(**LEASES)
    dying, ending = await any_ports.listen(transport), await any_ports.listen(transport)
    await any_ports.fire(transport, "a")
    await take(dying)
    await ending.stop()
    await any_ports.abandon(dying)
    await asyncio.sleep(A_WHILE)
    assert deliveries_of(any_redis) == [("p1", 1)]


async def test_renewing_never_takes_back_what_another_process_has_claimed(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events(acknowledgement_timeout=3 * HOUR, reclaim_interval=60)
    consumer = await any_ports.listen(transport)
    await any_ports.fire(transport, "a")
    (delivery,) = await take(consumer)
    any_redis.execute("XCLAIM", STREAM, GROUP, "thief", 0, delivery.message.native_id or "")
    await until_an_hour_is_waited_for("lightbus leases")
    an_hour_passes()
    # Until it has renewed its leases, and will do so again.
    await until_an_hour_is_waited_for("lightbus leases")
    assert deliveries_of(any_redis) == [("thief", 2)]


async def test_what_another_process_has_finished_is_not_kept_for_a_retry(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport)
    await any_ports.fire(transport, "a")
    (delivery,) = await take(consumer)
    any_redis.execute("XACK", STREAM, GROUP, delivery.message.native_id or "")
    await delivery.retry(0, ValueError("no"))
    assert any_redis.execute("EXISTS", f"{{{STREAM}}}:delayed:{GROUP}") == 0


async def test_pending_entries_that_were_deleted_are_acknowledged_on_the_way(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events(**LEASES)
    any_redis.execute("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    ids = [any_redis.execute("XADD", STREAM, "*", *GOOD) for _ in range(5)]
    any_redis.execute("XREADGROUP", "GROUP", GROUP, "dead", "STREAMS", STREAM, ">")
    outlast_leases(any_redis, STREAM, GROUP, "dead")
    any_redis.execute("XDEL", STREAM, *ids[:4])
    consumer = await any_ports.listen(transport)
    (delivery,) = await take(consumer)
    assert delivery.message.native_id == ids[4].decode()
    delivery.ack()
    await all_acknowledged(any_redis)
    assert await any_ports.dead() == []


async def test_an_abandoned_entry_that_is_no_event_is_put_aside(any_ports: Ports, any_redis: Server) -> None:
    any_redis.execute("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    any_redis.execute("XADD", STREAM, "*", "no", "event")
    any_redis.execute("XREADGROUP", "GROUP", GROUP, "dead", "STREAMS", STREAM, ">")
    outlast_leases(any_redis, STREAM, GROUP, "dead")
    consumer = await any_ports.listen(any_ports.events(**LEASES))
    any_ports.run(consumer.take(1))
    await all_acknowledged(any_redis)
    (entry,) = any_redis.execute("XRANGE", f"{{{STREAM}}}:dead:{GROUP}", "-", "+")
    assert fields_of(entry[1])["reason"] == "invalid_message"


async def test_an_entry_with_more_fields_than_a_script_passes_on_is_put_aside(
    any_ports: Ports, any_redis: Server
) -> None:
    any_redis.execute("XADD", STREAM, "*", *(f"x{n}" for n in range(20_000)))
    transport = any_ports.events()
    consumer = await any_ports.listen(transport, since="earliest")
    await any_ports.fire(transport, "good")
    (good,) = await take(consumer)
    good.ack()
    await all_acknowledged(any_redis)
    (entry,) = any_redis.execute("XRANGE", f"{{{STREAM}}}:dead:{GROUP}", "-", "+")
    assert fields_of(entry[1])["reason"] == "invalid_message"


async def test_leases_of_streams_that_come_later_do_not_stop_the_renewal(
    any_ports: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    transport = any_ports.events(acknowledgement_timeout=0.3)  # It is alone
    events = [("auth", "user_registered"), *((f"other{n}", "happened") for n in range(20))]
    consumer = await any_ports.listen(transport, events)
    for api, event in events:
        await transport.publish([EventMessage(api, event, {"username": api})], 30)
        for delivery in await take(consumer):
            assert delivery.attempt == 1
        await asyncio.sleep(0.025)
    assert "ended unasked" not in caplog.text


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look waits for Redis, however long that is held up: the next one comes only after its interval."""
    monkeypatch.setattr(Rounds.__init__, "__defaults__", (60.0,))


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("interval", [0.02, HOUR])
async def test_how_often_is_swept_is_configured(
    redis_ports: Ports, redis_server: Server, interval: float
) -> None:
    options = {"acknowledgement_timeout": HOUR, "reclaim_interval": interval}
    consumer: EventConsumer = await redis_ports.listen(redis_ports.events(**options))
    redis_ports.run(consumer.take(1))
    if interval == HOUR:
        await until_an_hour_is_waited_for("lightbus sweep")  # Now the first look is over.
    # At once: between the two, the consumer might read the event itself.
    read = "redis.call('XREADGROUP', 'GROUP', KEYS[2], 'dead', 'STREAMS', KEYS[1], '>')"
    redis_server.execute(
        "EVAL", f"redis.call('XADD', KEYS[1], '*', unpack(ARGV)); {read}", 2, STREAM, GROUP, *GOOD
    )
    outlast_leases(redis_server, STREAM, GROUP, "dead")
    if interval == HOUR:
        await asyncio.sleep(A_WHILE)
        assert [who for who, _ in deliveries_of(redis_server)] == ["dead"]
        an_hour_passes()
    await eventually_async(lambda: [who for who, _ in deliveries_of(redis_server)] == ["p1"])


def abandon(server: Server, count: int) -> None:
    """Let a dead process hold events, until their leases have run out."""
    server.execute("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    for _ in range(count):
        server.execute("XADD", STREAM, "*", *GOOD)
    server.execute("XREADGROUP", "GROUP", GROUP, "dead", "STREAMS", STREAM, ">")
    outlast_leases(server, STREAM, GROUP, "dead")


async def acknowledge(consumer: EventConsumer) -> None:
    """Take one event after the other."""
    while True:
        for delivery in await consumer.take(1):
            delivery.ack()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("most", "taken"), [(2, 2), (None, 4)])
async def test_how_many_are_taken_over_at_a_time_is_configured(
    redis_ports: Ports, redis_server: Server, most: int | None, taken: int
) -> None:
    abandon(redis_server, 4)
    options = {"acknowledgement_timeout": HOUR, "reclaim_interval": HOUR, "reclaim_batch_size": most}
    consumer: EventConsumer = await redis_ports.listen(redis_ports.events(**options))
    redis_ports.run(acknowledge(consumer))

    async def swept() -> bool:
        return pending(redis_server) == 4 - taken

    await settled(swept)
    await until_an_hour_is_waited_for("lightbus sweep")
    assert pending(redis_server) == 4 - taken


@pytest.mark.usefixtures("patient")
async def test_what_a_process_with_many_slots_has_held_is_taken_over_at_one_look(
    redis_ports: Ports, redis_server: Server
) -> None:
    """Each turn takes ten times as many as are read at a time, and the next one follows at once."""
    abandon(redis_server, 25)
    options = {"acknowledgement_timeout": HOUR, "reclaim_interval": HOUR, "batch_size": 1}
    consumer: EventConsumer = await redis_ports.listen(redis_ports.events(**options))
    redis_ports.run(acknowledge(consumer))
    await eventually_async(lambda: pending(redis_server) == 0)
