"""Tells on the bus what becomes of every call and event, by the events of the API ``internal.metrics``."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from lightbus.messages import EventMessage, ResultMessage, RpcMessage

from . import LightbusPlugin, PluginOptions
from .internal_apis import LightbusMetricsApi
from .own_options import InternalMetricsOptions
from .telemetry import Outbox

_INTERNAL = "internal."


class MetricsPlugin(LightbusPlugin):
    """Fires an event at each step of each call and event, save for those of internal APIs."""

    options: ClassVar[type[PluginOptions]] = InternalMetricsOptions
    priority = 110

    def __init__(self) -> None:
        self._outbox = Outbox("internal.metrics")

    async def before_worker_start(self, *, client: Any) -> None:
        """Have the contract of the events published."""
        client.register_api(LightbusMetricsApi)

    async def before_close(self, *, client: Any) -> None:
        """Send what still waits."""
        await self._outbox.flush()

    async def before_rpc_call(self, *, rpc_message: RpcMessage, client: Any) -> None:
        """A call is about to be sent."""
        self._tell_call(client, "rpc_call_sent", rpc_message, kwargs=dict(rpc_message.kwargs))

    async def after_rpc_call(
        self, *, rpc_message: RpcMessage, result_message: ResultMessage, client: Any
    ) -> None:
        """A call was answered."""
        self._tell_call(client, "rpc_response_received", rpc_message)

    async def before_rpc_execution(self, *, rpc_message: RpcMessage, client: Any) -> None:
        """A procedure is about to run."""
        self._tell_call(client, "rpc_call_received", rpc_message)

    async def after_rpc_execution(
        self, *, rpc_message: RpcMessage, result_message: ResultMessage, client: Any
    ) -> None:
        """A procedure ran."""
        self._tell_call(client, "rpc_response_sent", rpc_message, result=result_message.result)

    async def after_event_sent(self, *, event_message: EventMessage, client: Any) -> None:
        """An event was stored."""
        self._tell_event(client, "event_fired", event_message)

    async def before_event_execution(self, *, event_message: EventMessage, client: Any) -> None:
        """A listener is about to run."""
        self._tell_event(client, "event_received", event_message)

    async def after_event_execution(self, *, event_message: EventMessage, client: Any) -> None:
        """A listener ran."""
        self._tell_event(client, "event_processed", event_message)

    def _tell_call(self, client: Any, event_name: str, message: RpcMessage, **more: Any) -> None:
        if not message.api_name.startswith(_INTERNAL):
            call = {"id": message.id, "api_name": message.api_name, "procedure_name": message.procedure_name}
            self._tell(client, event_name, call | more)

    def _tell_event(self, client: Any, event_name: str, message: EventMessage) -> None:
        if not message.api_name.startswith(_INTERNAL):
            event = {"event_id": message.id, "api_name": message.api_name, "event_name": message.event_name}
            self._tell(client, event_name, event | {"kwargs": dict(message.kwargs)})

    def _tell(self, client: Any, event_name: str, about: dict[str, Any]) -> None:
        who = {"service_name": client.service_name, "process_name": client.process_name}
        self._outbox.put(client, event_name, who | about | {"timestamp": time.time()})
