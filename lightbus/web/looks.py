"""The bus as the console sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightbus.host.checks import client_for
from lightbus.insight.dead_letters import Sample, sample
from lightbus.insight.masking import Masking
from lightbus.insight.overview import Overview, survey
from lightbus.insight.traffic.calls import Ages, queued
from lightbus.insight.traffic.pace import Paces
from lightbus.insight.traffic.revisions import Revisions
from lightbus.manifest.model import Manifest
from lightbus.runtime.tasks import Precedence
from lightbus.transports.cards import Card
from lightbus.transports.rpc import QueuedCalls

from .actions.errands import Caretaker
from .pages.kinds import Row, rows_of
from .reading import Reading, Seen
from .tails import Tails

#: Seconds for which a broker may be away before it is said so.
_PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the bus.

    Args:
        overview: Who is on it, and what waits there.
        cards: What processes say of themselves.
        contracts: The contracts that are published, by API.
        queued: The calls that wait and run.
        ages: When those were first seen.
        revisions: The last changes of contracts that were seen.
        letters: What dead letters have in common, where that was asked for.
    """

    overview: Overview
    cards: list[Card]
    contracts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    queued: Sequence[QueuedCalls] = ()
    ages: Ages = field(default_factory=Ages)
    revisions: Revisions = field(default_factory=Revisions)
    letters: Sequence[Row] = ()


class Looks:
    """Looks at the bus of a manifest.

    Args:
        manifest: The manifest.
        precedence: Knows when pages are made.
    """

    def __init__(self, manifest: Manifest, precedence: Precedence) -> None:
        self._manifest = manifest
        #: The bus.
        self.client = client_for(manifest)
        # A person may call what the service that has this manifest may not, and wants to know what is wrong.
        connections = self.client.parts.connections
        connections.rewire(replace(connections.wiring, only_calls=None, patience=_PATIENCE))
        self._reading = Reading(self._read, manifest.web.refresh, precedence)
        #: How fast its listeners go.
        self.paces = Paces()
        self._ages = Ages()
        self._revisions = Revisions()
        #: What dead letters have in common.
        self.dead = Reading(self._sample, manifest.web.refresh, precedence)
        #: Does what was asked of any console.
        self.errands = Caretaker(self.client, manifest)
        #: Hides what is sensitive, by the contracts that were seen on the bus.
        self.masking = Masking(manifest.web.mask)
        #: Those who watch events as they come.
        self.tails = Tails(self.client, manifest.all_apis, self.masking.message)

    async def look(self) -> Seen[Look]:
        """Return what is on the bus, as it was seen within ``web.refresh``."""
        return await self._reading.look()

    async def look_at_letters(self) -> Seen[Look]:
        """Return the same, with what dead letters have in common, if there are any."""
        seen = await self.look()
        if seen.value is None or not any(it.dead for it in seen.value.overview.listeners):
            return seen
        found = (await self.dead.look()).value
        letters = rows_of(found, self.masking) if found is not None else []
        return replace(seen, value=replace(seen.value, letters=letters))

    def renew(self) -> None:
        """See to it that the next look is a new one, since something was done."""
        self._reading.renew()
        self.dead.renew()

    async def close(self) -> None:
        """Leave the bus."""
        await self.tails.stop()
        await self.errands.stop()
        await self.dead.stop()
        await self._reading.stop()
        await self.client.close_async()

    async def _sample(self) -> Sample:
        return await sample(self.client, self._manifest.all_apis)

    async def _read(self) -> Look:
        listeners = self._manifest.listeners.items()
        wanted = {name: options.pairs for name, options in listeners if options.enabled}
        seen = await survey(self.client, self._manifest.apis, wanted)
        calls = await queued(self.client, seen.overview.apis)
        now = time.monotonic()
        self.paces.note(now, seen.overview.listeners)
        self._ages.note(now, calls)
        self.masking.know(seen.contracts)
        self._revisions.note(time.time(), seen.contracts)
        return Look(seen.overview, seen.cards, seen.contracts, calls, self._ages, self._revisions)
