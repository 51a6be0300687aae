"""The relays of a host: one for each outbox and partition, which start and end with its consumers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

from lightbus.bus.client import BusClient
from lightbus.exceptions import ConfigurationError
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import Place, Problems
from lightbus.runtime.tasks import Kept
from lightbus.transports.cards import OutboxCard

from .database import InThread, Remote
from .relay import Relay

logger = logging.getLogger(__name__)

#: Imports what is named as ``package.module:name``.
Import = Callable[[str], Any]
#: Makes a connection to one outbox.
Outbox = Callable[[], Remote]


class Relays:
    """The relays of one host.

    Args:
        manifest: The manifest, which names the outboxes.
        client: The bus.
        import_object: Imports what is named as ``package.module:name``.
    """

    def __init__(self, manifest: Manifest, client: BusClient, import_object: Import) -> None:
        self._manifest = manifest
        self._client = client
        self._import = import_object
        self.outboxes: Sequence[Outbox] = ()
        self._relays: list[Relay] = []
        self._kept: list[Kept] = []

    def __bool__(self) -> bool:
        return bool(self.outboxes)

    def __iter__(self) -> Iterator[Relay]:
        """Go through the relays that run."""
        return iter(list(self._relays))

    def cards(self) -> Iterator[OutboxCard]:
        """Go through the outboxes whose relays run, each with what all of its relays have done."""
        relays = list(self)
        for name in dict.fromkeys(relay.name for relay in relays):
            own = [relay for relay in relays if relay.name == name]
            sent = max((relay.sent for relay in own if relay.sent is not None), default=None)
            trouble = next((relay.trouble for relay in own if relay.trouble), "")
            yield OutboxCard(name=name, sent=sent, trouble=trouble)

    def load(self) -> None:
        """Look up the databases that the manifest names.

        Raises:
            InvalidManifest: There is none of that name, or it can't be used.
        """
        if "outbox" not in self._client.parts.declarations.features:
            return
        problems = Problems()
        self.outboxes = outboxes_of(self._manifest, self._import, problems)
        problems.raise_errors()

    def start(self) -> None:
        """Begin to send."""
        parts, settings = self._client.parts, self._manifest.outbox
        for outbox in self.outboxes:
            for part in range(settings.partitions):
                relay = Relay(self._client, outbox(), settings, part)
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
        # A batch that was left behind is rolled back first, over the connection.
        await asyncio.gather(*(kept.ended() for kept in self._kept))
        relays, self._relays = self._relays, []
        await asyncio.gather(*(relay.close() for relay in relays))


def need_outbox(manifest: Manifest) -> None:
    """Refuse a manifest that names no outbox.

    Raises:
        ConfigurationError: It names none.
    """
    if not manifest.outbox.names:
        place = manifest.origin("outbox") or ", ".join(manifest.sources) or "the manifest"
        raise ConfigurationError(
            f"{place}: no outbox is named; write outbox: {{django: default}}, or outbox: "
            '{sqlalchemy: "shop.db:engine"}'
        )


def outboxes_of(manifest: Manifest, import_object: Import, problems: Problems) -> list[Outbox]:
    """Return what connects to each outbox that a manifest names.

    Args:
        manifest: The manifest; Django is set up where it says so.
        import_object: Imports what is named as ``package.module:name``.
        problems: Takes what can't be used.
    """
    notify = manifest.outbox.notify
    ways: dict[str, Callable[[str], Outbox]] = {
        "django": lambda alias: _of_django(manifest, alias),
        "sqlalchemy": lambda name: _of_engine(import_object(name), name, notify),
    }
    found = []
    for key, connect in ways.items():
        for index, name in enumerate(getattr(manifest.outbox, key)):
            try:
                found.append(connect(name))
            except ConfigurationError as e:
                path = f"outbox.{key}"
                problems.add(_place(manifest, path, index), path, str(e))
    return found


def _of_django(manifest: Manifest, alias: str) -> Outbox:
    if manifest.django is False:
        raise ConfigurationError("Django is not set up; write django: mysite.settings, too")
    tables = import_module("lightbus.django.tables").DjangoTables
    tables(alias)
    return lambda: InThread(tables(alias, notify=manifest.outbox.notify))


def _of_engine(engine: Any, name: str, notify: bool) -> Outbox:
    connect = import_module("lightbus.sqlalchemy.engines").connect
    connect(engine, name)
    return lambda: connect(engine, name, notify=notify)


def _place(manifest: Manifest, path: str, index: int) -> Place:
    node = manifest.tree.find(path) if manifest.tree else None
    if node is None:
        return Place("")
    return node.value[index].place if isinstance(node.value, list) else node.place
