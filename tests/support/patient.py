"""Settings of buses that wait for longer than anything takes on a busy machine, where 5 s may be too few."""

from __future__ import annotations

from typing import Any

#: How long a call waits for its answer, and firing for the broker.
TIMES = {"rpc_timeout": "60s", "event_fire_timeout": "60s"}
#: The same, in the environment of processes.
ENVIRONMENT = {f"LIGHTBUS__APIS__DEFAULT__{name.upper()}": time for name, time in TIMES.items()}


def patient(url: str, **settings: Any) -> dict[str, Any]:
    """The configuration of a patient bus.

    Args:
        url: Its Redis.
        settings: Further ones of all APIs.
    """
    return {"bus": {"redis": {"url": url}}, "apis": {"default": {**TIMES, **settings}}}
