"""What is on the bus, read once for all who look, and kept for when no broker answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from lightbus.exceptions import LightbusException
from lightbus.runtime.cancellation import end
from lightbus.runtime.tasks import begin

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that brokers may take for an answer, and that a page waits for it where it has an older one.
_LONGEST, _PATIENCE = 10.0, 1.0


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


class Reading(Generic[T]):
    """A question to the bus: however many ask it, the brokers are asked once in a while.

    Nobody asks them while nobody looks.

    Args:
        ask: Asks it.
        refresh: Seconds for which an answer is good.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], refresh: float) -> None:
        self._ask = ask
        self._refresh = refresh
        self._asking: asyncio.Task[None] | None = None
        self._asked: float | None = None
        self._is_old = False
        self.seen: Seen[T] = Seen()

    async def look(self) -> Seen[T]:
        """Return the answer; an older one where a new one is not there soon."""
        is_old = self._asked is None or time.monotonic() - self._asked >= self._refresh
        if self._is_old and self._asking is not None:
            # It may have been asked before something was done.
            await asyncio.wait([self._asking], timeout=_PATIENCE)
        if (is_old or self._is_old) and (self._asking is None or self._asking.done()):
            self._is_old = False
            self._asking = begin(self._read(), "lightbus console reading")
        if self._asking is not None:
            # For the first one it is waited as long as it may take.
            timeout = None if self._asked is None else _PATIENCE
            await asyncio.wait([self._asking], timeout=timeout)
        return self.seen

    def renew(self) -> None:
        """Hold the last answer for an old one, and that to a question which is being asked, too."""
        self._is_old = True

    async def stop(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            end(self._asking)
            await asyncio.wait([self._asking])

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(_LONGEST):
                self.seen = Seen(await self._ask(), time.time())
        except TimeoutError:
            self._keep(f"no answer within {_LONGEST:g} s")
        except LightbusException as e:
            self._keep(str(e))
        except Exception:
            logger.exception("the bus can't be read for the console")
            self._keep("it can't be read; the log of the console says why")
        finally:
            self._asked = time.monotonic()

    def _keep(self, trouble: str) -> None:
        self.seen = Seen(self.seen.value, self.seen.at, trouble)
