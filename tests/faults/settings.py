"""How the processes of a campaign are configured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: Seconds after which a dead process's events are taken over.
LEASE = 2.0
SERVICE = "faults"
STREAM = "work.*:stream"
LISTENERS = ("narrow", "wide")
#: The most events that a stream keeps once they are acknowledged.
STREAM_LENGTH = 1_000
#: How often a handler is tried in all.
ATTEMPTS = 8
#: Of a hundred events, how many are of which kind; all others are good. Killers are rarer.
KINDS = "flaky=5 poison=1.5 slow=1.5 killer=0 impatient=25"
#: How many events the publisher has on the way at a time.
FIRING = 8


def manifest(url: str) -> dict[str, Any]:
    """What every process is configured with; each reaches Redis by a link of its own."""
    return {
        "service_name": SERVICE,
        "modules": ["tests.faults.bus"],
        "bus": {
            "drain_timeout": "8s",
            "redis": {"url": url, "connect_timeout": "1s", "command_timeout": "2s"},
        },
        "apis": {
            "work": {
                "owner": SERVICE,
                "rpc_timeout": "12s",
                "event_fire_timeout": "3s",
                "rpc_concurrency": 8,
                "event_transport": {
                    "redis": {"acknowledgement_timeout": LEASE, "max_stream_length": STREAM_LENGTH}
                },
            }
        },
    }


def write_manifest(folder: Path, name: str, url: str) -> Path:
    """Write the manifest of one process; JSON is YAML too."""
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(manifest(url), indent=1))
    return path
