"""The service: many APIs of one shape, and a listener that says how long events were on their way."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.growth.many_apis import api_name, define  # noqa: F401  (they are defined by being imported)

#: After so many events, it says how long they took.
EVENTS = 200

_seconds: list[float] = []


async def note(event: object, username: str, password: str) -> None:
    """Note how long ago an event was fired, by a clock that all processes of a machine share."""
    _seconds.append(time.monotonic() - float(username))
    if len(_seconds) == EVENTS:
        print(f"events_ms {1000 * median(_seconds):.3f}", flush=True)
        _seconds.clear()
