"""Tells on the bus which workers there are, by the events of the API ``internal.state``."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any, ClassVar

from lightbus.runtime.tasks import Kept

from . import LightbusPlugin, PluginOptions
from .internal_apis import LightbusStateApi
from .own_options import InternalStateOptions
from .telemetry import Outbox


class StatePlugin(LightbusPlugin):
    """Fires an event when a worker starts, when it stops, and regularly while it lives.

    Args:
        ping_enabled: Whether it says regularly that it lives.
        ping_interval: Seconds from one time to the next.
    """

    options: ClassVar[type[PluginOptions]] = InternalStateOptions
    priority = 100

    def __init__(self, ping_enabled: bool = True, ping_interval: float = 60) -> None:
        self.ping_enabled = ping_enabled
        self.ping_interval = ping_interval
        self._outbox = Outbox("internal.state")
        self._has_started = False
        self._pinging: Kept | None = None

    async def before_worker_start(self, *, client: Any) -> None:
        """Say that the worker starts, and from now on that it lives."""
        client.register_api(LightbusStateApi)
        self._has_started = True
        self._outbox.put(client, "worker_started", self._state(client))
        if self.ping_enabled:
            lost = "internal.state does not tell that this process lives"
            ping, obstacles = partial(self._ping, client), client.parts.obstacles
            self._pinging = Kept(ping, "lightbus ping", lost, obstacles).start()

    async def after_worker_stopped(self, *, client: Any) -> None:
        """Say that it stops."""
        if self._pinging is not None:
            await self._pinging.stop()
            self._pinging = None
        if not self._has_started:
            # The host did not come that far.
            return
        stopped = {"process_name": client.process_name, "timestamp": time.time()}
        self._outbox.put(client, "worker_stopped", stopped)

    async def before_close(self, *, client: Any) -> None:
        """Send what was said last."""
        await self._outbox.flush()

    async def _ping(self, client: Any) -> None:
        while True:
            await asyncio.sleep(self.ping_interval)
            self._outbox.put(client, "worker_ping", self._state(client))

    def _state(self, client: Any) -> dict[str, Any]:
        listeners = [listener for listener in client.listeners.values() if listener.enabled]
        events = [pair for listener in listeners for pair in listener.events]
        return {
            "service_name": client.service_name,
            "process_name": client.process_name,
            "metrics_enabled": "internal_metrics" in client.plugins,
            "api_names": [name for name in client.registry.public() if client.parts.owns(name)],
            "listening_for": [f"{api_name}.{name}" for api_name, name in events],
            "timestamp": time.time(),
            "ping_interval": self.ping_interval,
        }
