"""What is on the bus, read once for all who look, and kept for when no broker answers."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lightbus.exceptions import LightbusException
from lightbus.messages import EventMessage
from lightbus.runtime.cancellation import end
from lightbus.runtime.tasks import Background, Precedence, begin, make_way

logger = logging.getLogger(__name__)

T = TypeVar("T")
#: Names a page, by whatever it was made for.
Key = tuple[object, ...]

#: Seconds that brokers may take for an answer, and that a page waits for it where it has none that is of use.
_LONGEST, _PATIENCE = 10.0, 1.0
#: Seconds that a page waits where the last answer is of a moment ago, as while somebody watches. On a large
#: bus an answer takes longer: it is for the next page then, and this one does not wait at all.
_SHORT = 0.1
#: The most pages that are kept.
_MOST_KEPT = 20


@dataclass(frozen=True, slots=True)
class Seen(Generic[T]):
    """What was read last.

    Args:
        value: That; None if nothing was yet.
        at: When it was read, as a Unix time.
        trouble: Why nothing newer can be read; empty if nothing keeps it from that.
    """

    value: T | None = None
    at: float = 0.0
    trouble: str = ""


class Kept:
    """The last content of pages that ask the bus themselves, shown again while no broker answers."""

    def __init__(self) -> None:
        self._kept: dict[Key, Seen[Any]] = {}

    def last(self, key: Key) -> Seen[Any] | None:
        """Return what a page has shown last; None if that is not kept."""
        return self._kept.get(key)

    def keep(self, key: Key, seen: Seen[Any]) -> None:
        """Keep what a page shows; those that were not asked for lately make room."""
        self._kept.pop(key, None)
        while len(self._kept) >= _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = seen


def without_arguments(message: EventMessage) -> EventMessage:
    """Return what is kept of an event for a list: the page may be kept for long, and events may be large."""
    m = message
    return EventMessage(m.api_name, m.event_name, {}, m.version, m.id, m.native_id)


class Reading(Generic[T]):
    """A question to the bus: however many ask it, the brokers are asked once in a while.

    Nobody asks them while nobody looks. What is asked makes way for pages, but for those that wait for it.

    Args:
        ask: Asks it.
        refresh: Seconds for which an answer is good.
        precedence: Knows when pages are made.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[T]], refresh: float, precedence: Precedence | None = None
    ) -> None:
        self._ask = ask
        self._refresh = refresh
        self._background = Background(precedence or Precedence())
        self._asking: asyncio.Task[None] | None = None
        self._asked: float | None = None
        #: Seconds that the last answer took, but for those in which it made way.
        self._took = 0.0
        #: How often something was done that answers show: at all, and before the last one was asked for.
        self._done = self._shown = 0
        self.seen: Seen[T] = Seen()

    async def look(self) -> Seen[T]:
        """Return the answer; an older one where a new one is not there soon."""
        if self._is_asking and self._is_outdated:
            # It may have been asked for before something was done.
            await self._wait(None)
        age = math.inf if self._asked is None else time.monotonic() - self._asked
        if age < self._refresh and not self._is_outdated:
            return self.seen
        if not self._is_asking:
            self._asking = begin(self._read(self._done), "lightbus console reading")
        if self._asked is None or self._is_outdated:
            await self._wait(None)
        elif age >= 3 * self._refresh:
            # What is older than a page that renews itself is no use.
            await self._wait(_PATIENCE)
        elif self._took <= _SHORT:
            await self._wait(_SHORT)
        return self.seen

    def renew(self) -> None:
        """Take the last answer for outdated, and so the answer to a question that is being asked now."""
        self._done += 1

    async def stop(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            end(self._asking)
            await asyncio.wait([self._asking])

    @property
    def _is_outdated(self) -> bool:
        """Whether something was done since the answer was asked for that is there."""
        return self._shown < self._done

    @property
    def _is_asking(self) -> bool:
        return self._asking is not None and not self._asking.done()

    async def _wait(self, timeout: float | None) -> None:
        """Wait for what is being asked, which has a bound of its own."""
        if self._asking is not None:
            with self._background.awaited():
                await asyncio.wait([self._asking], timeout=timeout)

    async def _read(self, done: int) -> None:
        began = time.monotonic()
        self._background.begin()
        try:
            async with asyncio.timeout(_LONGEST):
                await make_way()
                self.seen = Seen(await self._ask(), time.time())
        except TimeoutError:
            self._keep(f"no answer within {_LONGEST:g} s")
        except LightbusException as e:
            self._keep(str(e))
        except Exception:
            logger.exception("the bus can't be read for the console")
            self._keep("it can't be read; the log of the console says why")
        finally:
            self._asked, self._shown = time.monotonic(), done
            self._took = self._asked - began - self._background.stood

    def _keep(self, trouble: str) -> None:
        self.seen = Seen(self.seen.value, self.seen.at, trouble)
