"""Notes of a group lie in a hash of its own; those of earlier versions, of all groups in one, still count."""

from __future__ import annotations

from tests.support.servers import Server

from .conftest import Ports, take
from .test_redis_events import GROUP, STREAM, names

NOTES, FORMER = f"{{{STREAM}}}:group:{GROUP}", f"{{{STREAM}}}:groups"


def noted(server: Server, key: str) -> dict[str, str]:
    """All that a hash says."""
    flat = [each.decode() for each in server.execute("HGETALL", key)]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def leave_notes(server: Server, read: bytes, made: int = 2) -> None:
    """Write what a version with one hash for all groups has noted."""
    about = ("read", read), (" made", made), (" began", "0-1"), (" service", "shop"), (" placed", "0-1")
    fields = [word for name, value in about for word in (GROUP + name.removeprefix("read"), value)]
    server.execute("HSET", FORMER, *fields, "other", "9-9")


async def test_a_listener_notes_what_it_does_for_its_own_group_alone(
    any_ports: Ports, any_redis: Server
) -> None:
    consumer = await any_ports.listen(any_ports.events())
    await any_ports.fire(any_ports.events(), "a")
    (delivery,) = await take(consumer)
    delivery.ack()
    await consumer.membership.note_progress()  # type: ignore[attr-defined]
    own = noted(any_redis, NOTES)
    assert own["service"] == "shop" and own["made"] == "2" and own["read"] != own["began"]
    assert any_redis.execute("EXISTS", FORMER) == 0


async def test_a_group_goes_on_where_an_earlier_version_has_read_to(
    any_ports: Ports, any_redis: Server
) -> None:
    await any_ports.fire(any_ports.events(), "handled", "new")
    first = any_redis.execute("XRANGE", STREAM, "-", "+")[0][0]
    leave_notes(any_redis, first)
    consumer = await any_ports.listen(any_ports.events())
    assert await names(consumer, 1) == ["new"]
    own = noted(any_redis, NOTES)
    assert (own["read"], own["service"], own["began"]) == (first.decode(), "shop", "0-1")
    # Only how often it was made: for processes of that version, which may be at work.
    assert noted(any_redis, FORMER)[f"{GROUP} made"] == "4"
    assert noted(any_redis, FORMER)["other"] == "9-9"


async def test_of_two_marks_the_later_one_counts(any_ports: Ports, any_redis: Server) -> None:
    await any_ports.fire(any_ports.events(), "a", "b", "c")
    ids = [entry[0] for entry in any_redis.execute("XRANGE", STREAM, "-", "+")]
    any_redis.execute("HSET", NOTES, "read", ids[0])
    leave_notes(any_redis, ids[1])
    assert await names(await any_ports.listen(any_ports.events()), 1) == ["c"]


async def test_an_event_is_not_lost_whose_group_an_earlier_version_has_made_again(
    any_ports: Ports, any_redis: Server
) -> None:
    """As in a rolling restart: it is not pending in the new group, and nobody else has finished it."""
    leave_notes(any_redis, b"0-1")
    consumer = await any_ports.listen(any_ports.events())
    await any_ports.fire(any_ports.events(), "running")
    (delivery,) = await take(consumer)
    any_redis.execute("XGROUP", "DESTROY", STREAM, GROUP)
    any_redis.execute("XGROUP", "CREATE", STREAM, GROUP, "$")
    any_redis.execute("HINCRBY", FORMER, f"{GROUP} made", 1)
    await delivery.retry(0, ValueError("no"))
    (again,) = await take(consumer)
    assert again.attempt == 2
    again.ack()


async def test_dead_letters_of_a_group_that_was_deleted_are_found(
    any_ports: Ports, any_redis: Server
) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport)
    await any_ports.fire(transport, "a")
    (delivery,) = await take(consumer)
    await delivery.dead_letter("failed", ValueError("no"))
    any_redis.execute("DEL", STREAM)
    assert [letter.reason async for letter in transport.list_dead()] == ["failed"]
