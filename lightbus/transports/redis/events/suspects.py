"""Events that may have killed their process: which of them may run beside which."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from lightbus.transports.redis.link.session import Session

#: Seconds for which an event whose first delivery ended in a death has no other suspect beside it.
HEAD_START = 1.0
#: More deliveries than any entry has.
_ANY = 1 << 53

_shared: WeakKeyDictionary[Session, Suspects] = WeakKeyDictionary()


class Suspects:
    """What one process runs of events that dead processes have left.

    One that was delivered once may be a neighbour of the killer, so others follow after a head start: a slow
    handler must not keep everything else from being taken over. One that was delivered more often runs
    strictly alone, so that no event dies three times beside the same killer.
    """

    def __init__(self) -> None:
        #: Held by whoever claims the next one.
        self.turn = asyncio.Lock()
        self._running = 0

    @classmethod
    def of(cls, session: Session) -> Suspects:
        """Return those of a session, which all of its listeners share, since they die together."""
        return _shared.setdefault(session, cls())

    @property
    def most_deliveries(self) -> int:
        """How often an entry may have been delivered to be claimed now."""
        return 1 if self._running else _ANY

    async def run(self, settled: asyncio.Future[None], delivered: int) -> None:
        """Wait until another suspect may be claimed.

        Args:
            settled: Done when the event is settled.
            delivered: How often it was delivered, this time included.
        """
        self._running += 1
        settled.add_done_callback(self._note_settled)
        await asyncio.wait([settled], timeout=HEAD_START if delivered <= 2 else None)

    def _note_settled(self, _: asyncio.Future[None]) -> None:
        self._running -= 1
