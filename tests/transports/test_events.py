"""Events, whatever carries them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from lightbus.exceptions import InvalidMessage
from lightbus.messages import EventMessage
from lightbus.transports.events import EventConsumer
from tests.support.timers import HOUR

from .conftest import Ports, settled, take


async def names(consumer: EventConsumer, wanted: int) -> list[Any]:
    """Take and acknowledge so many events; returns their usernames."""
    deliveries = await take(consumer, wanted)
    for delivery in deliveries:
        delivery.ack()
    return [delivery.message.kwargs["username"] for delivery in deliveries]


async def test_firing_gives_an_event_the_id_of_its_broker(ports: Ports) -> None:
    messages = [EventMessage("auth", "user_registered", {"username": name}) for name in "ab"]
    await ports.events().publish(messages, 30)
    ids = [tuple(map(int, (message.native_id or "").split("-"))) for message in messages]
    assert ids == sorted(ids)
    assert len(set(ids)) == 2


async def test_a_listener_gets_what_was_fired_in_order(ports: Ports) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport)
    message = EventMessage("auth", "user_registered", {"username": "a", "tags": [1, {"b": None}]}, version=3)
    await transport.publish([message], 30)
    (delivery,) = await take(consumer)
    got = delivery.message
    assert (got.id, got.kwargs, got.version) == (message.id, message.kwargs, 3)
    assert (got.canonical_name, got.native_id) == ("auth.user_registered", message.native_id)
    assert delivery.attempt == 1
    assert got.kwargs["tags"] is not message.kwargs["tags"]
    delivery.ack()
    await ports.fire(transport, "b", "c", "d")
    assert await names(consumer, 3) == ["b", "c", "d"]


async def test_a_new_group_gets_what_is_fired_from_then_on(ports: Ports) -> None:
    transport = ports.events()
    await ports.fire(transport, "before")
    consumer = await ports.listen(transport, since="new")
    await ports.fire(transport, "after")
    assert await names(consumer, 1) == ["after"]


async def test_a_group_since_earliest_gets_everything(ports: Ports) -> None:
    transport = ports.events()
    await ports.fire(transport, "before")
    consumer = await ports.listen(transport, since="earliest")
    await ports.fire(transport, "after")
    assert await names(consumer, 2) == ["before", "after"]


async def test_a_group_since_a_time_gets_what_came_after_it(ports: Ports) -> None:
    transport = ports.events()
    await ports.fire(transport, "before")
    await asyncio.sleep(0.01)
    moment = time.time()
    await asyncio.sleep(0.01)
    await ports.fire(transport, "after")
    consumer = await ports.listen(transport, since=str(moment))
    assert await names(consumer, 1) == ["after"]


async def test_since_is_read_only_when_the_group_is_first_made(ports: Ports) -> None:
    transport = ports.events()
    first = await ports.listen(transport, since="earliest")
    await ports.fire(transport, "a")
    assert await names(first, 1) == ["a"]
    await first.stop()
    await first.close()
    await ports.fire(transport, "while away")
    again = await ports.listen(transport, since="new")
    assert await names(again, 1) == ["while away"]


async def test_each_listener_and_each_service_gets_every_event(ports: Ports) -> None:
    transport = ports.events()
    consumers = [
        await ports.listen(transport),
        await ports.listen(transport, name="another"),
        await ports.listen(transport, service="mailer"),
    ]
    await ports.fire(transport, "a")
    assert [await names(consumer, 1) for consumer in consumers] == [["a"], ["a"], ["a"]]


async def test_processes_of_one_listener_share_its_events(ports: Ports) -> None:
    transport = ports.events()
    one, two = await ports.listen(transport), await ports.listen(transport)
    await ports.fire(transport, *"abcd")
    got = await names(one, 1) + await names(two, 1)
    got += await names(one, 1) + await names(two, 1)
    assert sorted(got) == list("abcd")


async def test_no_more_events_are_taken_than_there_are_slots(ports: Ports) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport)
    await ports.fire(transport, *"abcdefgh")
    assert len(await consumer.take(3)) <= 3


async def test_other_events_of_the_same_api_are_passed_over(ports: Ports) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport)
    await ports.fire(transport, "gone", event="user_deleted")
    await ports.fire(transport, "new")
    assert await names(consumer, 1) == ["new"]


async def test_an_asterisk_stands_for_all_events_of_an_api(ports: Ports) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport, [("auth", "*")])
    await ports.fire(transport, "a", event="user_registered")
    await ports.fire(transport, "b", event="user_deleted")
    await transport.publish([EventMessage("support.case", "opened", {"username": "c"})], 30)
    deliveries = await take(consumer, 2)
    assert [d.message.event_name for d in deliveries] == ["user_registered", "user_deleted"]
    for delivery in deliveries:
        delivery.ack()


async def test_one_listener_may_hear_several_apis(ports: Ports) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport, [("auth", "user_registered"), ("support.case", "opened")])
    await ports.fire(transport, "a")
    await transport.publish([EventMessage("support.case", "opened", {"username": "b"})], 30)
    assert sorted(await names(consumer, 2)) == ["a", "b"]


async def test_a_retried_event_comes_back_with_its_attempts_counted(ports: Ports) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport)
    (event_id,) = await ports.fire(transport, "a")
    (first,) = await take(consumer)
    native_id = first.message.native_id
    for attempt in (1, 2, 3):
        (delivery,) = [first] if attempt == 1 else await take(consumer)
        assert (delivery.attempt, delivery.message.id) == (attempt, event_id)
        assert (delivery.message.kwargs, delivery.message.native_id) == ({"username": "a"}, native_id)
        await delivery.retry(0.01, ValueError("no"))
    (last,) = await take(consumer)
    last.ack()


async def test_a_retried_event_comes_back_after_its_delay_and_others_pass_it(ports: Ports) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport)
    await ports.fire(transport, "much later", "late", "a", "b")
    much_later, late = await take(consumer, 2)
    await much_later.retry(HOUR, ValueError("no"))
    asked = time.monotonic()
    await late.retry(0.3, ValueError("no"))
    assert sorted(await names(consumer, 3)) == ["a", "b", "late"]
    assert time.monotonic() - asked >= 0.29


async def test_a_retried_event_does_not_go_to_other_listeners_again(ports: Ports) -> None:
    transport = ports.events()
    failing, other = await ports.listen(transport), await ports.listen(transport, name="other")
    await ports.fire(transport, "a")
    assert await names(other, 1) == ["a"]
    (delivery,) = await take(failing)
    await delivery.retry(0.01, ValueError("no"))
    assert await names(failing, 1) == ["a"]
    await ports.fire(transport, "b")
    assert await names(other, 1) == ["b"]


async def test_a_dead_letter_says_what_went_wrong(ports: Ports) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport)
    (event_id,) = await ports.fire(transport, "a")
    (delivery,) = await take(consumer)
    await delivery.retry(0, ValueError("first"))
    (delivery,) = await take(consumer)
    await delivery.dead_letter("failed", ValueError("no such user"))
    (dead,) = await ports.dead()
    assert (dead.id, dead.reason, dead.attempts) == (event_id, "failed", 2)
    assert dead.error == "ValueError('no such user')"
    await ports.fire(transport, "b")
    assert await names(consumer, 1) == ["b"]


async def test_a_released_event_goes_to_a_peer_without_counting_an_attempt(ports: Ports) -> None:
    transport = ports.events()
    one, two = await ports.listen(transport), await ports.listen(transport)
    await ports.fire(transport, "a", "b")
    taken = await take(one, 2)
    for delivery in taken:
        await delivery.release()
    await one.stop()
    again = await take(two, 2)
    assert [(d.message.kwargs["username"], d.attempt) for d in again] == [("a", 1), ("b", 1)]
    for delivery in again:
        delivery.ack()


@pytest.mark.usefixtures("long_waits")
async def test_a_waiting_take_ends_when_its_consumer_stops(ports: Ports) -> None:
    consumer = await ports.listen(ports.events())
    taking = ports.run(consumer.take(1))
    await ports.until_blocked()
    started = time.monotonic()
    await consumer.stop()
    assert list(await taking) == []
    assert time.monotonic() - started < 15
    assert list(await consumer.take(1)) == []


async def test_what_a_consumer_has_acknowledged_comes_to_nobody_again(ports: Ports) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport)
    await ports.fire(transport, "a", "b")
    assert await names(consumer, 2) == ["a", "b"]
    await consumer.stop()
    await consumer.close()
    again = await ports.listen(transport)
    await ports.fire(transport, "c")
    assert await names(again, 1) == ["c"]


async def test_thousands_of_events_each_arrive_once(ports: Ports) -> None:
    transport = ports.events()
    one, two = await ports.listen(transport), await ports.listen(transport)
    got: list[int] = []

    async def work(consumer: EventConsumer) -> None:
        while True:
            for delivery in await consumer.take(100):
                got.append(delivery.message.kwargs["username"])
                delivery.ack()

    ports.run(work(one))
    ports.run(work(two))
    numbers = range(2_000)
    for start in range(0, 2_000, 200):
        batch = numbers[start : start + 200]
        await transport.publish([EventMessage("auth", "user_registered", {"username": n}) for n in batch], 30)

    async def all_there() -> bool:
        return len(got) >= 2_000

    await settled(all_there)
    assert sorted(got) == list(numbers)


async def test_of_events_that_are_fired_together_none_is_where_one_can_t_travel(ports: Ports) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport)
    values = ["a", object(), "b"]
    with pytest.raises(InvalidMessage):
        await transport.publish(
            [EventMessage("auth", "user_registered", {"username": value}) for value in values], 5
        )
    await ports.fire(transport, "c")
    assert await names(consumer, 1) == ["c"]


@pytest.mark.parametrize("value", ["x" * 1_100_000, object(), "\ud800"], ids=["large", "object", "surrogate"])
async def test_an_event_that_no_listener_could_read_is_not_fired(ports: Ports, value: object) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport)
    with pytest.raises(InvalidMessage, match=r"auth.user_registered"):
        await transport.publish([EventMessage("auth", "user_registered", {"username": value})], 5)
    await ports.fire(transport, "good")
    assert await names(consumer, 1) == ["good"]
