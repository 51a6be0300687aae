"""Changing what a host does while it runs: all of what its manifest says now, or nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lightbus.bus.client import BusClient
from lightbus.declared.listener import Listener
from lightbus.declared.names import first_of
from lightbus.declared.schedule import Schedule
from lightbus.exceptions import ConfigurationError
from lightbus.insight.drift.declared import keep
from lightbus.manifest.differences import differences
from lightbus.manifest.model import Manifest
from lightbus.worker import Worker

from . import logs
from .loading import Loader

logger = logging.getLogger(__name__)

_MOST_SHOWN = 5


class Reloader:
    """Reads the manifest of a running host again, and applies what may change."""

    def __init__(
        self,
        manifest: Manifest,
        read: Callable[[], Manifest],
        client: BusClient,
        worker: Worker,
        folder: Path,
        *,
        only_relays: bool = False,
    ) -> None:
        #: The manifest that the host runs now.
        self.manifest = manifest
        self._read = read
        self._client = client
        self._worker = worker
        self._folder = folder
        self._only_relays = only_relays
        self._lock = asyncio.Lock()

    async def reload(self) -> bool:
        """Read the manifest and apply it; the log tells the outcome.

        Returns:
            Whether it was applied; if not, nothing has changed.
        """
        async with self._lock:
            is_applied = await self._try()
        self._client.parts.metrics.reloads.add("applied" if is_applied else "refused")
        return is_applied

    async def _try(self) -> bool:
        try:
            return await self._reload()
        except ConfigurationError as e:
            for line in str(e).splitlines():
                logger.error("%s", line)
            logger.error("the manifest was not applied: it can't be used; the one that runs stays")
        except Exception:
            logger.exception("the manifest was not applied; the one that runs stays")
        return False

    async def _reload(self) -> bool:
        new = await asyncio.to_thread(self._read)
        changed = differences(self.manifest, new)
        refused = [path for path in changed if not _may_change(path)]
        if refused:
            logger.error(
                "the manifest was not applied: %s can't change while the host runs; restart it, or take "
                "that back. The manifest that runs stays",
                first_of([".".join(path) for path in refused], _MOST_SHOWN),
            )
            return False
        if self._only_relays:
            self._apply(new, (), {})
        else:
            loader = Loader(new, self._client, self._folder)
            listeners, schedules = await asyncio.to_thread(lambda: (loader.listeners(), loader.schedules()))
            loader.problems.raise_errors()
            self._apply(new, list(listeners.values()), schedules)
            await keep(new, self._client)
        names = ", ".join(".".join(path) for path in changed) or "nothing has changed"
        logger.info("the manifest was applied: %s", names)
        return True

    def _apply(self, new: Manifest, listeners: Sequence[Listener], schedules: dict[str, Schedule]) -> None:
        """Put everything into effect; nothing here waits or fails."""
        client, worker = self._client, self._worker
        old, self.manifest = self.manifest, new
        if new.bus.log_level != old.bus.log_level:
            logs.set_level(new.bus.log_level)
        client.parts.connections.rewire(replace(client.parts.wiring, api=new.api))
        for record in listeners:
            running = client.parts.declarations.find_listener(record)
            running.on_error, running.concurrency = record.on_error, record.concurrency
            # One that its policy has stopped stays so, unless the manifest says something else than before.
            if old.listeners[record.name].enabled != record.enabled:
                running.enabled = record.enabled
                worker.switch(running)
        worker.resize()
        client.parts.declarations.schedules = schedules
        worker.schedules.replace(client.all_schedules())


def _may_change(path: tuple[str, ...]) -> bool:
    if path[0] in ("policies", "schedules"):
        return True
    if path[0] == "listeners":
        return len(path) == 3 and path[2] in ("concurrency", "enabled")
    return path == ("bus", "log_level") or (path[0] == "apis" and path[2:] == ("rpc_concurrency",))
