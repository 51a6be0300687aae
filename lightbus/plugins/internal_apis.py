"""The APIs by which processes tell about themselves; nobody owns them: every service fires their events."""

from __future__ import annotations

from lightbus.declared.api import Api
from lightbus.declared.definition import Event

_WORKER = (
    "service_name",
    "process_name",
    "metrics_enabled",
    "api_names",
    "listening_for",
    "timestamp",
    "ping_interval",
)
_WHO = ("service_name", "process_name")
_RPC = (*_WHO, "id", "api_name", "procedure_name")
_EVENT = (*_WHO, "event_id", "api_name", "event_name", "kwargs", "timestamp")


class LightbusStateApi(Api):
    """Tells which workers there are."""

    worker_started = Event(_WORKER)
    worker_ping = Event(_WORKER)
    worker_stopped = Event(("process_name", "timestamp"))

    class Meta:
        """Of all services."""

        name = "internal.state"
        internal = True
        auto_register = False


class LightbusMetricsApi(Api):
    """Tells the outcome of every call and event."""

    rpc_call_sent = Event((*_RPC, "kwargs", "timestamp"))
    rpc_call_received = Event((*_RPC, "timestamp"))
    rpc_response_sent = Event((*_RPC, "result", "timestamp"))
    rpc_response_received = Event((*_RPC, "timestamp"))
    event_fired = Event(_EVENT)
    event_received = Event(_EVENT)
    event_processed = Event(_EVENT)

    class Meta:
        """Of all services."""

        name = "internal.metrics"
        internal = True
        auto_register = False
