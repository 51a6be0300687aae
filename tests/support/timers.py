"""Timeouts and leases that end when a test says so, and not when a busy machine was too slow.

Within a short timeout, something else mostly has to happen first: a call is taken, an event is sent. Nothing
says that it does. So a test gives it an hour, waits until that has happened, and lets the hour pass. So it is
with leases: where they are short, a process that is held up for a moment counts as dead.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.eventually import eventually_async

#: Seconds. No test takes so long, so a timeout of this never ends by itself.
HOUR = 3_600.0


def an_hour_passes() -> None:
    """Run now what the running event loop would run in about an hour, and nothing that is due before.

    Fails the test if there is nothing: then what it wants to see end does not wait for any timer.
    """
    due = _due()
    assert due, "nothing waits for an hour to pass"
    for timer in sorted(due):
        asyncio.get_running_loop().call_soon(timer._callback, *timer._args, context=timer._context)
        timer.cancel()


async def until_an_hour_is_waited_for(by: int = 1) -> None:
    """Wait until there is something that `an_hour_passes` would run, or so many things."""
    await eventually_async(lambda: len(_due()) >= by, what=f"{by} timers wait for an hour")


def _due() -> list[Any]:
    # A loop has no public list of its timers. With its clock put forward, the others would be due as well.
    loop: Any = asyncio.get_running_loop()
    now = loop.time()
    return [timer for timer in loop._scheduled if not timer.cancelled() and timer.when() - now > HOUR / 2]


def outlast_leases(server: Any, stream: str, group: str, consumer: str, seconds: float = 2 * HOUR) -> None:
    """Let all that a consumer of a group holds be held for so long: a dead one's leases of an hour are over.

    Args:
        server: The Redis that has it.
        stream: The stream.
        group: Its group.
        consumer: The consumer, which need not be alive.
        seconds: For how long.
    """
    held = [entry[0] for entry in server.execute("XPENDING", stream, group, "-", "+", 1_000, consumer)]
    if held:
        age = ("IDLE", round(seconds * 1_000), "JUSTID")
        server.execute("XCLAIM", stream, group, consumer, 0, *held, *age)
