"""The leases of a process on events of its group, renewed while their handlers run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator

from lightbus.transports.redis.link.connection import FAILURES
from lightbus.transports.redis.link.rounds import PATIENCE, Rounds
from lightbus.transports.redis.scripts import ADOPT, EXCUSE, RENEW, Run

from .membership import Membership

logger = logging.getLogger(__name__)

#: A script that is run on some entries.
_Script = Callable[..., Run]

_AT_ONCE = 200
#: The work that can't be done if Redis refuses it.
_RENEWING = "renew the leases of what runs, which others take over then"


class Leases:
    """The entries that one process is not done with.

    An entry is held from the moment it is read until Redis has confirmed that it is settled: were it dropped
    any sooner, its lease could run out on the way, and another process would handle the event again.

    Args:
        membership: The process that holds them.
    """

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._held: dict[str, set[str]] = {}

    def hold(self, source: str, entry_id: str) -> None:
        """Renew an entry's lease from now on."""
        held = self._held.get(source)
        if held is None:
            held = self._held[source] = set()
        held.add(entry_id)

    def holds(self, source: str, entry_id: str) -> bool:
        """Tell whether this process knows of an entry that it is not done with."""
        return entry_id in self._held.get(source, ())

    def holds_any(self, *sources: str) -> bool:
        """Tell whether this process is not done with something of these streams."""
        return any(self._held.get(source) for source in sources)

    def drop(self, source: str, ids: Iterable[str]) -> None:
        """Renew these no more."""
        self._held.get(source, set()).difference_update(ids)

    async def adopt(self, source: str, finished: Collection[str]) -> None:
        """Make a group that was made again hold the entries that are held here.

        Args:
            source: The stream.
            finished: Acknowledged entries that Redis has only to confirm: held again, they would stay so.
        """
        await self._run_on_held(ADOPT, source, finished)

    async def excuse(self, source: str, finished: Collection[str]) -> None:
        """Let the end of this process, which was told to end, not count against the events that still run."""
        await self._run_on_held(EXCUSE, source, finished)

    async def forgive(self, source: str, entry_id: str) -> None:
        """Let an entry count one delivery less that this process has claimed from itself.

        Its lease could not be renewed in time, and nobody has died. Without an answer, it stays counted.
        """
        try:
            await self._membership.pipe.run(self._script(EXCUSE, source, [entry_id]))
        except FAILURES as e:
            logger.debug("the lease of %s of %s counts as a death: %s", entry_id, source, e)

    async def renew_regularly(self) -> None:
        """Renew every lease three times before it would run out."""
        membership = self._membership
        lease = membership.options.acknowledgement_timeout
        rounds: Rounds[tuple[str, int]] = Rounds(membership.pipe, min(PATIENCE, lease / 6))
        replies: list[object] = []

        def take(_: tuple[str, int], reply: object) -> None:
            replies.append(reply)

        while True:
            await asyncio.sleep(lease / 3)
            replies.clear()
            # All at once: where a node of a cluster is away, the leases at others must not run out meanwhile.
            renewals = {
                (source, number): self._script(RENEW, source, page)
                for source, held in self._held.items()
                for number, page in enumerate(_pages(list(held)))
            }
            await rounds.run(renewals, take)
            errors = [reply for reply in replies if isinstance(reply, Exception)]
            if errors:
                # Anything but a lacking permission, reading meets as well, and tells of it.
                membership.refusals.meet_any(_RENEWING, errors, only="NOPERM")
            elif replies:
                membership.refusals.clear(_RENEWING)

    async def _run_on_held(self, script: _Script, source: str, finished: Collection[str]) -> None:
        for page in _pages(list(self._held.get(source, set()).difference(finished))):
            await self._membership.pipe.run(self._script(script, source, page))

    def _script(self, script: _Script, source: str, ids: Collection[str]) -> Run:
        membership = self._membership
        return script(source=source, group=membership.group, consumer=membership.consumer, ids=ids)


def _pages(ids: list[str]) -> Iterator[list[str]]:
    """Cut a list, so that no script keeps Redis for long."""
    for i in range(0, len(ids), _AT_ONCE):
        yield ids[i : i + _AT_ONCE]
