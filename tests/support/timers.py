"""Timeouts that end when a test says so, and not when a busy machine was too slow.

Within a short timeout, something else mostly has to happen first: a call is taken, an event is sent. Nothing
says that it does. So a test gives it an hour, waits until that has happened, and lets the hour pass.
"""

from __future__ import annotations

import asyncio
from typing import Any

#: Seconds. No test takes so long, so a timeout of this never ends by itself.
HOUR = 3_600.0


def an_hour_passes() -> None:
    """Run now what the running event loop would run in about an hour, and nothing that is due before.

    Fails the test if there is nothing: then what it wants to see end does not wait for any timer.
    """
    # A loop has no public list of its timers. With its clock put forward, the others would be due as well.
    loop: Any = asyncio.get_running_loop()
    now = loop.time()
    due = [timer for timer in loop._scheduled if not timer.cancelled() and timer.when() - now > HOUR / 2]
    assert due, "nothing waits for an hour to pass"
    for timer in sorted(due):
        loop.call_soon(timer._callback, *timer._args, context=timer._context)
        timer.cancel()
