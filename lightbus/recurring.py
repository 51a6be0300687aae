"""The record of something that runs again and again, however it was declared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo

from .exceptions import InvalidSchedule, MissingExtra


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


@dataclass(frozen=True, slots=True)
class Schedule:
    """A function and its times, as the manifest declares them.

    Args:
        name: Unique in its service.
        function: Called without arguments; plain functions run in a thread.
        every: Seconds from one time to the next; None where ``cron`` is given.
        cron: The times in the five fields of cron.
        timezone: The time zone of ``cron``; None for UTC.
        scope: Whether one process of the service runs it at each time, or each process does.
    """

    name: str
    function: Callable[[], Any]
    every: float | None = None
    cron: str | None = None
    timezone: str | None = None
    scope: Literal["service", "process"] = "service"

    def __post_init__(self) -> None:
        self.next_time(0)

    def next_time(self, after: float) -> float:
        """Return the first time after another one, both in Unix seconds.

        Times are the same in all processes, so that they can agree on who runs: those of ``every`` are its
        multiples, unless each process runs it anyway.

        Raises:
            InvalidSchedule: ``cron`` can't be read, or never comes.
            MissingExtra: ``cron`` is given, and what reads it is not installed.
        """
        if self.cron is not None:
            return self._next_of_cron(self.cron, after)
        every = self.every or 1.0
        return after + every if self.scope == "process" else (math.floor(after / every) + 1) * every

    def _next_of_cron(self, cron: str, after: float) -> float:
        try:
            from cronsim import CronSim, CronSimError
        except ImportError as e:
            raise MissingExtra(f"cron in the schedule {self.name!r}", "schedule") from e
        start = datetime.fromtimestamp(after, ZoneInfo(self.timezone) if self.timezone else UTC)
        try:
            return next(CronSim(cron, start)).timestamp()
        except CronSimError as e:
            raise InvalidSchedule(f"{cron!r} is not the five fields of cron: {e}") from None
        except StopIteration:
            raise InvalidSchedule(f"{cron!r} names no day that ever comes") from None
