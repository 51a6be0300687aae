"""The records of what runs without being asked, however it was declared: schedules and background tasks."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NewType, Protocol, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lightbus.exceptions import InvalidSchedule, MissingExtra
from lightbus.options import Duration, Function, option

Scope = Literal["service", "process"]
Missed = Literal["skip", "run_once"]
OnFailure = Literal["log", "shutdown"]
#: When a schedule runs, in the five fields of cron.
Cron = NewType("Cron", str)
#: A time zone as ``Europe/London``.
TimeZone = NewType("TimeZone", str)


class Job(Protocol):
    """The used part of a job of the ``schedule`` library."""

    interval: int
    latest: int | None
    unit: str | None
    at_time: Any
    at_time_zone: Any
    start_day: str | None
    cancel_after: datetime | None
    next_run: datetime | None

    def _schedule_next_run(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleOptions:
    """One function that is called again and again."""

    every: Duration | None = option(None, "The time from one run to the next.", minimum=0.001)
    cron: Cron | None = option(None, "When it runs: minute, hour, day of month, month, day of week.")
    timezone: TimeZone | None = option(None, "The time zone of cron; left out, UTC.")
    call: Function = option(description="The function to call: package.module:function.")
    scope: Scope = option(
        "service", "Whether it runs once for all processes of the service, or in each of them."
    )
    missed: Missed = option(
        "skip",
        "Times that came while no process ran or the broker was away: skip them, or run "
        "once for all of them; the latter needs scope: service.",
    )
    overlap: bool = option(
        False, "Whether a run may begin while one before it still goes on; if not, that time is skipped."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(ScheduleOptions):
    """A function and its times, which are given by one of ``every``, ``cron`` and ``job``.

    Args:
        call: Called without arguments; plain functions run in a thread.
        name: Unique in its service.
        job: A job of the ``schedule`` library, such as ``schedule.every().day.at("10:30")``.
        immediately: Whether it also runs at the start; with the scope ``service``, unless its last time was
            heeded.
    """

    call: Callable[[], Any]
    name: str
    job: Job | None = None
    immediately: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name and self.name.isprintable()):
            raise InvalidSchedule(
                f"a schedule can't be named {self.name!r}; give it a name='...' that can be printed in a line"
            )
        if not callable(self.call) or isinstance(self.call, type):
            what = "is a class" if isinstance(self.call, type) else "can't be called"
            raise InvalidSchedule(
                f"{self.name}: {self.call!r} {what}; give a function, or a method of an object"
            )
        for value, kind in ((self.scope, Scope), (self.missed, Missed)):
            if value not in get_args(kind):
                raise InvalidSchedule(
                    f"{self.name}: {value!r} is neither {' nor '.join(map(repr, get_args(kind)))}"
                )
        if self.every is not None and not 0 < self.every < math.inf:
            raise InvalidSchedule(f"{self.name} can't run every {self.every:g} s; give a time above zero")
        if self.timezone is not None and self.cron is None:
            raise InvalidSchedule(f"{self.name} has a timezone, which means nothing without cron")
        if self.missed == "run_once" and (self.scope == "process" or self.job is not None):
            raise InvalidSchedule(
                f"{self.name}: missed='run_once' needs scope='service' and every or cron, since the broker "
                "remembers the last time of a service alone"
            )
        if self.every is None and self.cron is None:
            self._check_job(self.job)
        self.next_time(time.time())

    @property
    def times(self) -> str:
        """When it runs, in words."""
        if self.job is not None:
            return _words_of_job(self.job)
        return self.cron or f"every {self.every or 1.0:g} s"

    def next_time(self, after: float) -> float:
        """Return the first time after another one, both in Unix seconds; infinity where none comes.

        Times are the same in all processes where they have to agree on who runs: those of ``every`` are then
        its multiples.

        Raises:
            InvalidSchedule: ``cron`` can't be read, or never comes.
            MissingExtra: ``cron`` is given, and what reads it is not installed.
        """
        if self.job is not None:
            return _next_of_job(self.job)
        if self.cron is not None:
            return self._of_cron(self.cron, after)
        every = self.every or 1.0
        return after + every if self.scope == "process" else (_multiple(every, after) + 1) * every

    def last_time(self, before: float) -> float:
        """Return the last time at or before another one, both in Unix seconds."""
        if self.cron is not None:
            return self._of_cron(self.cron, math.floor(before) + 1, reverse=True)
        every = self.every or 1.0
        return _multiple(every, before) * every

    def _check_job(self, job: Job | None) -> None:
        if job is None or not hasattr(job, "_schedule_next_run"):
            raise InvalidSchedule(
                f"{self.name} has no times: write @bus.client.every(seconds=...), "
                "@bus.client.schedule('30 10 * * *') or "
                "@bus.client.schedule(schedule.every().day.at('10:30'))"
            )
        try:
            job._schedule_next_run()
        except Exception as e:
            raise InvalidSchedule(f"{self.name}: {job} can't be used: {e}") from e
        own = job.at_time is None or job.latest is not None or job.interval != 1
        if self.scope == "service" and (own or self.immediately):
            raise InvalidSchedule(
                f"{self.name}: processes can't agree on the times of {job}; with scope='service' "
                "write cron, or a time of every minute, hour, day or week, as in "
                "schedule.every().day.at('10:30'), without also_run_immediately"
            )

    def _of_cron(self, cron: str, start: float, *, reverse: bool = False) -> float:
        try:
            from cronsim import CronSim, CronSimError
        except ImportError as e:
            raise MissingExtra(f"cron in the schedule {self.name!r}", "schedule") from e
        try:
            zone = ZoneInfo(self.timezone) if self.timezone else UTC
        except (ZoneInfoNotFoundError, ValueError, OSError) as e:
            raise InvalidSchedule(f"{self.name}: there is no time zone {self.timezone!r}") from e
        try:
            return next(CronSim(cron, datetime.fromtimestamp(start, zone), reverse)).timestamp()
        except CronSimError as e:
            raise InvalidSchedule(f"{cron!r} is not the five fields of cron: {e}") from None
        except StopIteration:
            raise InvalidSchedule(f"{cron!r} names no day that ever comes") from None


@dataclass(frozen=True, slots=True)
class BackgroundTask:
    """A coroutine that runs for as long as the host does.

    Args:
        coroutine: The coroutine to run.
        on_failure: Whether the host goes on or ends where it raises; the log tells of it in any case.
    """

    coroutine: Coroutine[Any, Any, Any]
    on_failure: OnFailure = "log"

    def __post_init__(self) -> None:
        if not inspect.iscoroutine(self.coroutine):
            raise InvalidSchedule(
                f"it takes a coroutine, as in add_background_task(watch()), not {self.coroutine!r}"
            )
        if self.on_failure not in get_args(OnFailure):
            self.discard()
            raise InvalidSchedule(
                f"add_background_task(on_failure={self.on_failure!r}): give 'log' or 'shutdown'"
            )

    @property
    def name(self) -> str:
        """The coroutine's name, for the log."""
        return getattr(self.coroutine, "__qualname__", repr(self.coroutine))

    def discard(self) -> None:
        """Forget it, where it was never begun: Python would complain."""
        if inspect.getcoroutinestate(self.coroutine) == inspect.CORO_CREATED:
            self.coroutine.close()


def _multiple(every: float, moment: float) -> int:
    """Return which multiple is the last at or before a moment; the quotient alone may be one off."""
    number = math.floor(moment / every)
    if number * every > moment:
        return number - 1
    return number + 1 if (number + 1) * every <= moment else number


def period_of(job: Job) -> float | None:
    """Return the seconds between the times of a job that names no time of day, else None."""
    if not hasattr(job, "_schedule_next_run"):
        return None
    seconds = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800}
    named = (job.at_time, job.start_day, job.latest, job.cancel_after)
    plain = all(each is None for each in named) and job.unit in seconds
    return float(seconds[str(job.unit)] * job.interval) if plain else None


def _words_of_job(job: Job) -> str:
    """Say when a job runs; its own text has the arguments of its function, which may be secrets."""
    if job.interval == 1 and job.latest is None:
        often = job.start_day or str(job.unit).removesuffix("s")
    else:
        often = f"{job.interval}{f' to {job.latest}' if job.latest is not None else ''} {job.unit}"
    at = f" at {job.at_time}" if job.at_time is not None else ""
    zone = f" ({job.at_time_zone})" if job.at_time_zone is not None else ""
    until = f" until {job.cancel_after:%Y-%m-%d %H:%M:%S}" if job.cancel_after is not None else ""
    return f"every {often}{at}{zone}{until}"


def _next_of_job(job: Job) -> float:
    job._schedule_next_run()
    # The library keeps naive local times.
    if job.next_run is None or (job.cancel_after is not None and job.next_run > job.cancel_after):
        return math.inf
    return job.next_run.timestamp()
