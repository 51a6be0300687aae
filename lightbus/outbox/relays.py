"""The relays of a host: one for each outbox and partition, which start and end with its consumers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from importlib import import_module

from lightbus.bus.client import BusClient
from lightbus.exceptions import ConfigurationError
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import Place, Problems
from lightbus.runtime.tasks import Kept

from .database import Database, InThread, Tables
from .relay import Relay

logger = logging.getLogger(__name__)


class Relays:
    """The relays of one host.

    Args:
        manifest: The manifest, which names the outboxes.
        client: The bus.
    """

    def __init__(self, manifest: Manifest, client: BusClient) -> None:
        self._manifest = manifest
        self._client = client
        self._outboxes: list[Callable[[], Tables]] = []
        self._relays: list[Relay] = []
        self._kept: list[Kept] = []

    def __bool__(self) -> bool:
        return bool(self._outboxes)

    def __iter__(self) -> Iterator[Relay]:
        """Go through the relays that run."""
        return iter(list(self._relays))

    def load(self) -> None:
        """Look up the databases that the manifest names.

        Raises:
            InvalidManifest: There is none of that name, or it can't be used.
        """
        if "outbox" not in self._client.parts.declarations.features:
            return
        problems = Problems()
        for index, alias in enumerate(self._manifest.outbox.django):
            try:
                if self._manifest.django is False:
                    raise ConfigurationError("Django is not set up; write django: mysite.settings, too")
                tables = import_module("lightbus.django.tables").DjangoTables
                tables(alias)
            except ConfigurationError as e:
                problems.add(self._place("outbox.django", index), "outbox.django", str(e))
            else:
                self._outboxes.append(lambda alias=alias, tables=tables: tables(alias))  # type: ignore[misc]
        problems.raise_errors()

    def start(self) -> None:
        """Begin to send."""
        parts, settings = self._client.parts, self._manifest.outbox
        for tables in self._outboxes:
            for part in range(settings.partitions):
                database: Database = InThread(tables())
                relay = Relay(self._client, database, settings, part)
                lost = f"events of the outbox {relay.name} are not sent"
                kept = Kept(relay.run, f"lightbus outbox {relay.name}", lost, parts.obstacles)
                self._relays.append(relay)
                self._kept.append(kept.start())

    async def stop(self, patience: float) -> None:
        """Finish the batches that are on their way, within some seconds."""
        for relay in self._relays:
            relay.end()
        ended = await asyncio.gather(*(kept.ended(patience) for kept in self._kept))
        for kept, is_over in zip(self._kept, ended, strict=True):
            if not is_over:
                logger.warning("a batch of an outbox is left behind; it is sent again by the next relay")
                kept.end()

    async def close(self) -> None:
        """Close the connections to the databases."""
        for kept in self._kept:
            kept.end()
        relays, self._relays = self._relays, []
        await asyncio.gather(*(relay.close() for relay in relays))

    def _place(self, path: str, index: int) -> Place:
        node = self._manifest.tree.find(path) if self._manifest.tree else None
        if node is None:
            return Place("")
        return node.value[index].place if isinstance(node.value, list) else node.place
