"""How the processes of a campaign are configured."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: Seconds after which a dead process's events are taken over.
LEASE = 2.0
#: Seconds for which a process may be held up, as on a busy machine, before leases may run out by that.
HELD_UP = LEASE / 2
SERVICE = "faults"
#: The API that each campaign has, and its stream.
API = "work"
STREAM = f"{API}.*:stream"
#: The APIs of a campaign on a cluster. The streams lie with three primaries, and queues with two.
SPREAD = (API, "play", "sleep")
#: The listeners, and how many events each handles at a time.
LISTENERS = {"narrow": 1, "wide": 16, "plain": 16}
#: The most events that a stream keeps once they are acknowledged.
STREAM_LENGTH = 1_000
#: How often a handler is tried in all.
ATTEMPTS = 8
#: Of a hundred events, how many are of which kind; all others are good. Killers are rarer.
KINDS = "flaky=5 poison=1.5 slow=1.5 killer=0 impatient=25"
#: Seconds that a heavy event or call takes.
HEAVY = 0.2
#: Seconds for which the caller of a heavy one waits.
PATIENCE = 1.0
#: Seconds for which firing waits for replicas, where it does: less than a replica may be behind.
REPLICAS_WITHIN = 0.2
#: How many events the publisher has on the way at a time.
FIRING = 8
#: Once there is a file of this name beside the ledgers, hosts that fire and call do so no more.
ENOUGH = "enough"


def apis() -> tuple[str, ...]:
    """The APIs of the campaign that this process belongs to."""
    return tuple(os.environ.get("CAMPAIGN_APIS", API).split(","))


def manifest(
    redis: Mapping[str, Any],
    lease: float = LEASE,
    stream_length: int = STREAM_LENGTH,
    replicas: int = 0,
    apis: Iterable[str] = (API,),
    waiting: str = "",
) -> dict[str, Any]:
    """What every process is configured with; each reaches Redis by a link of its own."""
    events = {"acknowledgement_timeout": lease, "max_stream_length": stream_length}
    if replicas:
        events |= {"replicas_before_confirmed": replicas, "replicas_timeout": REPLICAS_WITHIN}
    return {
        "service_name": SERVICE,
        "modules": ["tests.faults.bus"],
        "bus": {
            "drain_timeout": "8s",
            "redis": {
                "command_timeout": "2s",
                **redis,
                "connect_timeout": "1s",
                **({"waiting": waiting} if waiting else {}),
            },
        },
        "apis": {
            name: {
                "owner": SERVICE,
                "rpc_timeout": "12s",
                "event_fire_timeout": "3s",
                "rpc_concurrency": 8,
                "event_transport": {"redis": events},
            }
            for name in apis
        },
    }


def write(folder: Path, name: str, manifest: Mapping[str, Any]) -> Path:
    """Write the manifest of one process; JSON is YAML too."""
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(manifest, indent=1))
    return path
