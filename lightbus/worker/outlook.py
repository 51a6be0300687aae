"""Warns of listeners whose events do not exist and of groups without listeners, when that changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from lightbus.bus.groups import belongs, groups_of, heirs_of, what_to_tell
from lightbus.bus.parts import Parts
from lightbus.contracts.expectations import Doubt, doubts
from lightbus.exceptions import LightbusException
from lightbus.transports.events import GroupStatus

logger = logging.getLogger(__name__)

#: Seconds until the contracts are read again because one was missing; doubled each time.
_FIRST = 5.0


class Outlook:
    """Warns of events that no API has but listeners ask for, and of groups that no process reads.

    Args:
        parts: The bus.
        published: The APIs of this process; the worker adds further ones.
    """

    def __init__(self, parts: Parts, published: Sequence[str]) -> None:
        self._parts = parts
        self._published = published
        #: Whether a missing contract may still be published.
        self._waits = False
        self._doubted: dict[tuple[str, str], Doubt] = {}
        #: Listeners with events that were known before: an owner that has stopped since causes no warning.
        self._known: set[tuple[str, str]] = set()
        #: The groups that were warned of, each with whether events waited for it then.
        self._unserved: dict[tuple[str, str], bool] = {}

    async def keep(self) -> None:
        """Look again for ever: soon if a contract is missing, else as often as contracts are renewed."""
        longest = 0.8 * self._parts.wiring.schema_ttl
        pause = _FIRST
        while True:
            await asyncio.sleep(min(pause, longest) if self._waits else longest)
            pause *= 2
            try:
                await self._parts.watch.load()
            except LightbusException as e:
                logger.debug("contracts could not be read: %s", e)
                continue
            await self.look()

    async def look(self) -> None:
        """Log each change since the last look, by the contracts that were read last."""
        self._look_at_events()
        try:
            await self._look_at_groups(await self.unserved())
        except LightbusException as e:
            logger.info("groups without listeners can't be looked for: %s", e)

    async def unserved(self) -> list[GroupStatus]:
        """Return those of :meth:`groups` that have no reader."""
        return [status for status in await self.groups() if not status.is_served]

    async def groups(self) -> list[GroupStatus]:
        """Return the groups of the streams that this process fires to or reads.

        Raises:
            TransportUnavailable: A broker can't be reached, or refuses.
        """
        parts = self._parts
        listeners = parts.declarations.listeners.values()
        definitions = map(parts.registry.get, self._published)
        # By what describes the bus itself, nothing is fired that this service would have to look after.
        told = {each.name for each in definitions if each.events or not each.internal}
        names = {*told, *(api for listener in listeners for api, _ in listener.events)}
        return await groups_of(parts, [(name, "*") for name in names])

    async def _look_at_groups(self, unserved: Sequence[GroupStatus]) -> None:
        parts = self._parts
        told, self._unserved = self._unserved, {}
        service, listeners = parts.identity.service_name, parts.declarations.listeners
        names = {name for each in listeners.values() for name in (each.name, each.renamed_from) if name}
        for status in unserved:
            if what_to_tell(status, service, names, "in this process") is None:
                continue
            key, waits = (status.group, status.stream), status.waiting > 0
            self._unserved[key] = waits or told.get(key, False)
            if self._unserved[key] != told.get(key):
                events = parts.declarations.listened()
                heirs = await heirs_of(parts, status, events) if belongs(status, service) else ()
                sentence = what_to_tell(status, service, names, "in this process", heirs)
                logger.log(logging.WARNING if waits else logging.INFO, "%s", sentence)

    def _look_at_events(self) -> None:
        parts = self._parts
        running = parts.declarations.listened(enabled=True)
        listened = running if "events" in parts.declarations.features else {}
        found = {
            (doubt.listener, doubt.event): doubt
            for doubt in doubts(
                listened, parts.contracts.of_others(), parts.registry.names(), parts.wiring.api_names
            )
        }
        for key, doubt in found.items():
            before = self._doubted.get(key)
            is_news = before is None or before.is_certain != doubt.is_certain
            if doubt.is_certain or key not in self._known:
                self._doubted[key] = doubt
                if is_news:
                    logger.log(logging.INFO if doubt.is_alone else logging.WARNING, "%s", doubt)
        for listener, events in listened.items():
            for api_name, event_name in events:
                key = (listener, f"{api_name}.{event_name}")
                if key not in found:
                    self._known.add(key)
                    if self._doubted.pop(key, None) is not None:
                        logger.info("the listener %s: %s is known now", *key)
        self._waits = any(not doubt.is_certain for doubt in self._doubted.values())
