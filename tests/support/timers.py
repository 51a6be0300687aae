"""Timeouts and leases that end when a test says so, and not when a busy machine was too slow.

Within a short timeout, something else mostly has to happen first: a call is taken, an event is sent. Nothing
says that it does. So a test gives it an hour, waits until that has happened, and lets the hour pass. So it is
with leases: where they are short, a process that is held up for a moment counts as dead.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

from tests.support.eventually import eventually_async

#: Seconds. No test takes so long, so a timeout of this never ends by itself.
HOUR = 3_600.0


def an_hour_passes(most: float = math.inf) -> None:
    """Run now what the running event loop would run in about an hour or later, and nothing before.

    Fails the test if there is nothing: then what it wants to see end does not wait for any timer.

    Args:
        most: The seconds that pass at most; what would run still later does not.
    """
    due = _due(most)
    assert due, "nothing waits for an hour to pass"
    for timer in sorted(due):
        asyncio.get_running_loop().call_soon(timer._callback, *timer._args, context=timer._context)
        timer.cancel()


async def until_an_hour_is_waited_for(task: str, by: int = 1) -> None:
    """Wait until a task has come to where it waits for an hour, which :func:`an_hour_passes` lets pass.

    It is named, since another one that waits for an hour says nothing of what this one has done by then.

    Args:
        task: How the task's name begins, such as "lightbus leases".
        by: How many such tasks there have to be.
    """
    await eventually_async(
        lambda: len(waiting_for_an_hour(task)) >= by, what=f"{by} of {task!r} wait for an hour"
    )


def waiting_for_an_hour(task: str) -> set[asyncio.Task[Any]]:
    """The tasks of the running event loop whose names begin so, and that wait for an hour."""
    # What a timer wakes is among its arguments: that of a sleep, and of a wait with a timeout.
    woken = [future for timer in _due() for future in timer._args or () if asyncio.isfuture(future)]
    named = [each for each in asyncio.all_tasks() if each.get_name().startswith(task)]
    return {each for each in named if any(_waits_for(each) is future for future in woken)}


def _waits_for(task: Any) -> Any:
    return task._fut_waiter


def _due(most: float = math.inf) -> list[Any]:
    # A loop has no public list of its timers. With its clock put forward, the others would be due as well.
    loop: Any = asyncio.get_running_loop()
    now = loop.time()
    waiting = [timer for timer in loop._scheduled if not timer.cancelled()]
    return [timer for timer in waiting if HOUR / 2 < timer.when() - now < most]


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
