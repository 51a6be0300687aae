"""The record of something that runs again and again, however it was declared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from .exceptions import InvalidSchedule


class Job(Protocol):
    """What is used of a job of the ``schedule`` library."""

    next_run: datetime | None

    def _schedule_next_run(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Recurring:
    """A function and its times.

    Args:
        function: Called without arguments; plain functions run in a thread.
        interval: Seconds from the end of one run to the start of the next; None where ``job`` is given.
        job: A job of the ``schedule`` library, such as ``schedule.every().day.at("10:30")``.
        immediately: Whether it also runs at the start.
    """

    function: Callable[[], Any]
    interval: float | None = None
    job: Job | None = None
    immediately: bool = False

    def __post_init__(self) -> None:
        if self.interval is not None and self.interval <= 0:
            raise InvalidSchedule(f"{self.name} can't run every {self.interval:g} s; give a time above zero")
        if self.interval is None and not hasattr(self.job, "_schedule_next_run"):
            raise InvalidSchedule(
                f"{self.name} has no times: write @bus.client.every(seconds=...) or "
                "@bus.client.schedule(schedule.every().day.at('10:30'))"
            )

    @property
    def name(self) -> str:
        """The function's name, for the log."""
        return getattr(self.function, "__qualname__", repr(self.function))

    def seconds_to_next(self) -> float:
        """Return how long to wait before the next run."""
        if self.job is None:
            return self.interval or 0.0
        self.job._schedule_next_run()
        if self.job.next_run is None:
            raise InvalidSchedule(f"{self.name}: its schedule never comes due")
        # The library keeps naive local times.
        return max(0.0, (self.job.next_run - datetime.now()).total_seconds())
