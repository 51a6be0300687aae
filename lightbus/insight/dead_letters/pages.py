"""Dead letters of all listeners by pages, the newest first, of which each reads no more than it has to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace

from lightbus.bus.client import BusClient
from lightbus.exceptions import InvalidParameters, TransportUnavailable
from lightbus.transports.events import DeadLetter, DeadPlace, EventTransport, LetterId
from lightbus.transports.merging import age_of

from .filters import Filter

#: The most letters that are read for a page; if few of them are meant, the next page goes on from there.
MOST_READ = 1_000
#: How many of one place are read at first, and at most, at a time.
_FIRST, _LARGEST = 25, 500
_CURSOR = re.compile(r"(\d{1,20}-\d{1,20})(?: (.+))?", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Found:
    """A dead letter, with the transport that has it."""

    transport: EventTransport
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Page:
    """A page of dead letters.

    Args:
        letters: The letters, the newest first.
        next: By which the next page is asked for; empty if there is none.
        read: How many were read to find them.
        count: How many there are of the listeners that are meant, whatever else is asked of them.
        away: Why some brokers can't be asked; empty if all can.
    """

    letters: tuple[DeadLetter, ...]
    next: str
    read: int
    count: int
    away: str = ""


async def page(
    client: BusClient,
    api_names: Sequence[str],
    chosen: Filter,
    *,
    before: str = "",
    limit: int = 50,
    most: int = MOST_READ,
) -> Page:
    """Return a page of the dead letters that are meant.

    Args:
        client: The bus.
        api_names: APIs whose brokers are asked, each broker once.
        chosen: Chooses the letters.
        before: The :attr:`Page.next` of the page before; empty for the first one.
        limit: How many letters it has at most.
        most: How many are read at most.

    Raises:
        InvalidParameters: ``before`` is nothing that a page has.
        TransportUnavailable: No broker can be reached.
    """
    walk = Walk(client, api_names, chosen, before)
    letters: list[DeadLetter] = []
    cursor = ""
    async for found, is_meant in walk.all():
        if is_meant:
            letters.append(found.letter)
        cursor = f"{found.letter.id} {found.letter.place}"
        if len(letters) >= limit or walk.read >= most:
            break
    else:
        cursor = ""
    if walk.away and not walk.places:
        raise TransportUnavailable("\n".join(walk.away))
    return Page(tuple(letters), cursor, walk.read, walk.count, "\n".join(walk.away))


async def newest(
    client: BusClient, api_names: Sequence[str], chosen: Filter, count: int
) -> AsyncIterator[DeadLetter]:
    """Go through so many of the dead letters that are meant, the newest first.

    Raises:
        TransportUnavailable: Not all brokers could be asked; what the others have came before.
    """
    walk = Walk(client, api_names, chosen)
    async for found, is_meant in walk.all():
        if is_meant:
            yield found.letter
            count -= 1
            if not count:
                return
    walk.see_that_all_were_asked()


async def get(client: BusClient, api_names: Sequence[str], place: str, letter_id: str) -> DeadLetter | None:
    """Return one dead letter; None if there is none of this id.

    Raises:
        InvalidParameters: That is no id.
        TransportUnavailable: A broker can't be reached.
    """
    try:
        its = LetterId.read(letter_id)
    except ValueError as e:
        raise InvalidParameters(str(e)) from None
    after = LetterId(its.milliseconds, its.number + 1)
    for transport in client.transports().brokers(api_names):
        for letter in await transport.dead_before(place, after, 1):
            if letter.id == letter_id:
                return letter
    return None


class Walk:
    """Goes through the dead letters of the listeners that are meant, the newest first.

    Args:
        client: The bus.
        api_names: APIs whose brokers are asked.
        chosen: Chooses the letters.
        before: Where to go on.
        within: The only places to look at; all if left out.

    Raises:
        InvalidParameters: ``before`` is nothing that a page has.
    """

    def __init__(
        self,
        client: BusClient,
        api_names: Sequence[str],
        chosen: Filter,
        before: str = "",
        within: Collection[str] | None = None,
    ) -> None:
        self._brokers = client.transports().brokers(api_names)
        self._chosen = chosen
        self._within = within
        self._start: tuple[LetterId, str] | None = None
        if before:
            cursor = _CURSOR.fullmatch(before)
            if cursor is None:
                raise InvalidParameters(f"{before[:50]!r} is no place in the list of dead letters")
            try:
                self._start = LetterId.read(cursor[1]), cursor[2] or ""
            except ValueError as e:
                raise InvalidParameters(str(e)) from None
        elif chosen.until is not None:
            self._start = LetterId(round(chosen.until * 1000) + 1), ""
        #: How many letters were read, and how many there are where it looks.
        self.read = self.count = 0
        #: How many there are of each group.
        self.groups: dict[str, int] = {}
        #: The places where it looks, and why some brokers can't be asked.
        self.places: list[str] = []
        self.away: list[str] = []

    async def all(self) -> AsyncIterator[tuple[Found, bool]]:
        """Go through them, each with whether it is meant."""
        sources: list[tuple[EventTransport, AsyncIterator[DeadLetter], float]] = []
        for transport in self._brokers:
            try:
                if self._chosen.scan:
                    await transport.find_streams()
                now = await transport.now()
                places = [each for each in await transport.dead_places() if self._is_meant(each)]
            except TransportUnavailable as e:
                self.away.append(str(e))
                continue
            for each in places:
                self.groups[each.group] = self.groups.get(each.group, 0) + each.count
            self.count += sum(each.count for each in places)
            self.places += [each.place for each in places]
            sources += [
                (transport, self._backwards(transport, each.place, len(places)), now) for each in places
            ]
        heads = await asyncio.gather(*(anext(letters, None) for _, letters, _ in sources))
        heap = [(_age(head), i, head) for i, head in enumerate(heads) if head is not None]
        heapify(heap)
        while heap:
            _, i, letter = heap[0]
            transport, letters, now = sources[i]
            self.read += 1
            yield Found(transport, letter), self._chosen.fits(letter, now)
            following = await anext(letters, None)
            if following is None:
                heappop(heap)
            else:
                heapreplace(heap, (_age(following), i, following))

    def see_that_all_were_asked(self) -> None:
        """Raise TransportUnavailable if some brokers could not be asked for all that they have."""
        if self.away:
            raise TransportUnavailable("\n".join(self.away))

    async def _backwards(
        self, transport: EventTransport, place: str, places: int
    ) -> AsyncIterator[DeadLetter]:
        """Go through the letters of one place; of many places, one is read at first of each."""
        before, size = self._before(place), max(1, _FIRST // max(1, places))
        while True:
            try:
                letters = await transport.dead_before(place, before, size)
            except TransportUnavailable as e:
                if str(e) not in self.away:
                    self.away.append(str(e))
                return
            for letter in letters:
                yield letter
            if len(letters) < size:
                return
            before = LetterId.read(letters[-1].id)
            size = min(_LARGEST, 4 * size)

    def _is_meant(self, it: DeadPlace) -> bool:
        return self._chosen.may_be_of(it.group) and (self._within is None or it.place in self._within)

    def _before(self, place: str) -> LetterId | None:
        """Return the letter of a place before which it goes on: ids of several places may be equal."""
        if self._start is None:
            return None
        last, at = self._start
        return LetterId(last.milliseconds, last.number + 1) if at and place > at else last


def _age(letter: DeadLetter) -> tuple[int, int, str]:
    return *age_of(letter.id), letter.place
