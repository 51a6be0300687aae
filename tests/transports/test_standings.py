"""Where one event is for each group: asked wherever a group may keep it."""

from __future__ import annotations

import time

import pytest

from lightbus.messages import EventMessage
from lightbus.transports.events import EventTransport, Standing
from tests.support.eventually import eventually_async
from tests.support.timers import HOUR

from .conftest import Ports, take


async def fired(ports: Ports, transport: EventTransport, name: str) -> EventMessage:
    """Fire an event."""
    await ports.fire(transport, name)
    return await anext(aiter(transport.history()))


async def standing(transport: EventTransport, message: EventMessage) -> Standing:
    """Where it is for the one group."""
    (found,) = await transport.standings(message)
    return found


async def test_an_event_is_followed_from_its_stream_to_its_end(any_ports: Ports) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport)
    message = await fired(any_ports, transport, "a")
    unread = await standing(transport, message)
    assert (unread.group, unread.state, unread.stream) == ("shop-on_user", "unread", "auth.*:stream")
    (first,) = await take(consumer)
    held = await standing(transport, message)
    assert (held.state, held.process, held.attempts, held.service) == ("held", "p1", 1, "shop")
    await first.retry(HOUR, ValueError("no"))
    waiting = await standing(transport, message)
    assert (waiting.state, waiting.attempts, waiting.process) == ("waiting", 1, "")
    assert waiting.due is not None and HOUR / 2 < waiting.due - time.time() < 2 * HOUR


@pytest.mark.usefixtures("long_farewells")
async def test_an_event_that_is_tried_again_is_in_its_second_attempt(any_ports: Ports) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport)
    message = await fired(any_ports, transport, "a")
    (first,) = await take(consumer)
    await first.retry(0.01, ValueError("no"))
    (second,) = await take(consumer)
    held = await standing(transport, message)
    assert (held.state, held.process, held.attempts) == ("held", "p1", 2)
    await second.release()
    assert (await standing(transport, message)).state in ("due", "held")
    (third,) = await take(consumer)
    await third.dead_letter("failed", ValueError("no"))
    dead = await standing(transport, message)
    assert (dead.state, dead.attempts, dead.reason) == ("dead", 2, "failed")
    assert [letter.id async for letter in transport.list_dead()] == [dead.letter]


async def test_an_event_that_was_handled_is_passed(any_ports: Ports) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport, dedupe=60.0)
    message = await fired(any_ports, transport, "a")
    (first,) = await take(consumer)
    first.ack()

    async def is_passed() -> bool:
        return (await standing(transport, message)).state == "passed"

    await eventually_async(is_passed)


async def test_an_event_from_before_a_group_is_told_from_a_handled_one(any_ports: Ports) -> None:
    transport = any_ports.events()
    message = await fired(any_ports, transport, "a")
    await any_ports.listen(transport, since="new")
    assert (await standing(transport, message)).state == "before"


async def test_an_event_that_nobody_has_is_nowhere(any_ports: Ports) -> None:
    transport = any_ports.events()
    await any_ports.listen(transport)
    message = await fired(any_ports, transport, "a")
    other = EventMessage("auth", "user_registered", {}, native_id=message.native_id)
    assert await transport.standings(other) == [], "it is another event at the same place"
    assert await transport.standings(EventMessage("auth", "user_registered", {}, native_id="nonsense")) == []
