"""Dead letters through the port, in memory and over Redis: found, replayed, dropped."""

from __future__ import annotations

from lightbus.messages import EventMessage
from lightbus.transports.events import DeadLetter, EventConsumer, EventTransport, LetterId
from tests.support.eventually import eventually_async
from tests.support.servers import Server

from .conftest import Ports, take
from .test_redis_events import STREAM


async def letters(transport: EventTransport) -> list[DeadLetter]:
    return [letter async for letter in transport.list_dead()]


async def put_aside(consumer: EventConsumer, wanted: int = 1) -> None:
    for delivery in await take(consumer, wanted):
        await delivery.dead_letter("failed", ValueError(f"no {delivery.message.kwargs['username']}"))


async def test_a_dead_letter_says_what_it_was_and_why_it_is_dead(ports: Ports) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport)
    (event_id,) = await ports.fire(transport, "a")
    await put_aside(consumer)
    (letter,) = await letters(transport)
    assert (letter.group, letter.reason, letter.attempts) == ("shop-on_user", "failed", 1)
    assert (letter.message.id, letter.message.canonical_name) == (event_id, "auth.user_registered")
    assert letter.message.kwargs == {"username": "a"}
    assert letter.error == "ValueError('no a')" and letter.trace == "ValueError: no a\n"


async def test_an_error_that_can_not_be_printed_is_kept_all_the_same(ports: Ports) -> None:
    class Unprintable(Exception):
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    transport = ports.events()
    consumer = await ports.listen(transport)
    await ports.fire(transport, "a")
    (delivery,) = await take(consumer)
    await delivery.dead_letter("failed", Unprintable())
    (letter,) = await letters(transport)
    assert letter.error == "Unprintable()"


async def test_a_replayed_event_reaches_only_the_group_that_failed_as_if_it_were_new(ports: Ports) -> None:
    transport = ports.events()
    failed, other = await ports.listen(transport), await ports.listen(transport, name="other")
    (event_id,) = await ports.fire(transport, "a")
    (heard,) = await take(other)
    heard.ack()
    (first,) = await take(failed)
    await first.retry(0, ValueError("no"))
    (second,) = await take(failed)
    await second.dead_letter("failed", ValueError("no"))
    (letter,) = await letters(transport)
    assert letter.attempts == 2
    assert await transport.replay(letter)
    assert await letters(transport) == []
    (again,) = await take(failed)
    assert (again.message.id, again.message.kwargs, again.attempt) == (event_id, {"username": "a"}, 1)
    assert again.message.native_id == first.message.native_id
    again.ack()
    await ports.fire(transport, "b")
    for consumer in (failed, other):
        (delivery,) = await take(consumer)
        assert delivery.message.kwargs == {"username": "b"}
        delivery.ack()


async def test_a_replayed_event_may_die_again(ports: Ports) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport)
    await ports.fire(transport, "a")
    await put_aside(consumer)
    (letter,) = await letters(transport)
    assert await transport.replay(letter)
    await put_aside(consumer)
    (again,) = await letters(transport)
    assert (again.message, again.error) == (letter.message, letter.error)


async def test_a_dropped_letter_is_gone_and_others_stay(ports: Ports) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport)
    await ports.fire(transport, "a", "b", "c")
    await put_aside(consumer, 3)
    a, b, c = await letters(transport)
    assert await transport.drop(b)
    assert [letter.message.kwargs["username"] for letter in await letters(transport)] == ["a", "c"]
    assert [await transport.drop(b), await transport.replay(b)] == [False, False]
    assert [await transport.drop(a), await transport.drop(c)] == [True, True]
    assert await letters(transport) == []


async def test_more_letters_than_fit_a_page_are_all_found(any_ports: Ports) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport)
    names = [str(n) for n in range(250)]
    await any_ports.fire(transport, *names)
    await put_aside(consumer, 250)
    assert sorted(letter.message.kwargs["username"] for letter in await letters(transport)) == sorted(names)


async def test_what_can_not_be_read_is_listed_and_dropped(any_ports: Ports, any_redis: Server) -> None:
    transport = any_ports.events()
    consumer = await any_ports.listen(transport, since="earliest")
    any_redis.execute("XADD", STREAM, "*", "id", b"\xff\xfe", "nonsense", "{")
    await any_ports.fire(transport, "a")
    (good,) = await take(consumer)
    good.ack()

    async def found() -> list[DeadLetter]:
        return await letters(transport)

    (letter,) = await eventually_async(found)
    assert (letter.reason, letter.message.api_name) == ("invalid_message", "")
    assert "InvalidMessage" in letter.error
    assert await transport.drop(letter)
    assert await letters(transport) == []


async def test_letters_are_read_by_pages_the_newest_first_and_counted_unread(
    ports: Ports,
) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport)
    names = [str(n) for n in range(7)]
    assert await transport.dead_places() == []
    await ports.fire(transport, *names)
    await put_aside(consumer, 7)
    (place,) = await transport.dead_places()
    assert (place.group, place.count) == ("shop-on_user", 7)
    pages: list[list[DeadLetter]] = []
    before = None
    while page := await transport.dead_before(place.place, before, 3):
        pages.append(list(page))
        before = LetterId.read(page[-1].id)
    assert [len(page) for page in pages] == [3, 3, 1]
    newest_first = [letter for page in pages for letter in page]
    assert newest_first == (await letters(transport))[::-1]
    assert list(await transport.dead_before("no place", None, 3)) == []


async def test_an_edited_letter_goes_to_the_group_that_failed_with_the_same_id(ports: Ports) -> None:
    transport = ports.events()
    failed, other = await ports.listen(transport), await ports.listen(transport, name="other")
    await ports.fire(transport, "a")
    (heard,) = await take(other)
    heard.ack()
    await put_aside(failed)
    (letter,) = await letters(transport)
    it = letter.message
    edited = EventMessage(
        it.api_name, it.event_name, {"username": "b"}, it.version, it.id, it.native_id, {"edited_by": "ann"}
    )
    assert await transport.replay(letter, edited)
    assert not await transport.replay(letter, edited), "it is there no more"
    (again,) = await take(failed)
    assert (again.message.id, again.message.native_id, again.attempt) == (it.id, heard.message.native_id, 1)
    assert (again.message.kwargs, again.message.headers) == ({"username": "b"}, {"edited_by": "ann"})
    # Who has edited it is known for as long as it fails.
    await again.dead_letter("failed", ValueError("no"))
    (dead,) = await letters(transport)
    assert dead.message.headers == {"edited_by": "ann"}
    await ports.fire(transport, "c")
    (last,) = await take(other)
    assert last.message.kwargs == {"username": "c"}
    last.ack()
