"""What a process should know of the bus around it, told at the start and when it changes."""

from __future__ import annotations

import asyncio
import logging

from lightbus.client import BusClient
from lightbus.exceptions import LightbusException
from lightbus.expectations import Doubt, doubts

logger = logging.getLogger(__name__)

#: Seconds until the contracts are read again because one was missing; doubled each time.
_FIRST = 5.0


class Outlook:
    """Tells of events that listeners ask for and nobody has."""

    def __init__(self, client: BusClient) -> None:
        self._client = client
        #: Whether a contract that is missing may still come.
        self._waits = False
        self._doubted: dict[tuple[str, str], Doubt] = {}
        #: What was known at some time: its owner has stopped since, which is nothing to tell here.
        self._known: set[tuple[str, str]] = set()

    async def keep(self) -> None:
        """Look again for ever: soon where a contract is missing, else as often as contracts are renewed."""
        longest = 0.8 * self._client.wiring.schema_ttl
        pause = _FIRST
        while True:
            await asyncio.sleep(min(pause, longest) if self._waits else longest)
            pause *= 2
            try:
                await self._client.load_contracts()
            except LightbusException as e:
                logger.debug("contracts could not be read: %s", e)
                continue
            await self.look()

    async def look(self) -> None:
        """Tell what has changed, by the contracts that were read last."""
        self._look_at_events()

    def _look_at_events(self) -> None:
        client = self._client
        running = {each.name: each.events for each in client.listeners.values() if each.enabled}
        listened = running if "events" in client.features else {}
        found = {
            (doubt.listener, doubt.event): doubt
            for doubt in doubts(listened, client.contracts.on_bus(), client.registry.names())
        }
        for key, doubt in found.items():
            before = self._doubted.get(key)
            is_news = before is None or before.is_certain != doubt.is_certain
            if doubt.is_certain or key not in self._known:
                self._doubted[key] = doubt
                if is_news:
                    logger.log(
                        logging.INFO if doubt.is_alone else logging.WARNING,
                        "the listener %s waits for %s: %s",
                        *(doubt.listener, doubt.event, doubt.what),
                    )
        for listener, events in listened.items():
            for api_name, event_name in events:
                key = (listener, f"{api_name}.{event_name}")
                if key not in found:
                    self._known.add(key)
                    if self._doubted.pop(key, None) is not None:
                        logger.info("the listener %s: %s is known now", *key)
        self._waits = any(not doubt.is_certain for doubt in self._doubted.values())
