"""Runs schedules: in each process, or in one process of the service at a time."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from lightbus.bus.parts import Parts
from lightbus.declared.schedule import Schedule
from lightbus.exceptions import LightbusException
from lightbus.runtime.cancellation import end, is_cancelled, own
from lightbus.runtime.isolation import Isolation
from lightbus.runtime.retrying import Retrying
from lightbus.runtime.tasks import Kept, begin

from .timekeeping import Timekeeper

logger = logging.getLogger(__name__)

#: The most seconds by which a run may be late if the broker can't be asked in time which process runs it.
_PATIENCE = 60.0
#: Seconds after which the broker is asked again.
_PAUSE = 1.0
#: Seconds by which a time may be off: times are sums of floating point numbers.
_ROUNDING = 0.001
#: Bounds of the lease of a run, in seconds. It is shorter than the time between two ticks, so that a process
#: that is killed while it runs one does not keep the others from the next.
_SHORTEST_LEASE, _LONGEST_LEASE = 0.9, 30.0


@dataclass(slots=True, eq=False)
class _Run:
    """A run of one tick, or the question to the broker whether this process is to run it."""

    name: str
    #: Whether it runs; else the broker has not answered yet.
    is_ours: bool
    #: Whether it still ran at the next tick.
    outlasted: bool = False


@dataclass(slots=True)
class Past:
    """The last run of a schedule in this process, and its next time.

    Args:
        next_run: The next time, as a Unix time; None where it is not known.
        started: When the last run began, likewise.
        seconds: How long it took; None while it goes on.
        outcome: Its outcome: ``ok`` or ``error``.
    """

    next_run: float | None = None
    started: float | None = None
    seconds: float | None = None
    outcome: str | None = None


class Schedules:
    """The schedules of one process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        #: Knows the time by which schedules of the service go.
        self.timekeeper = Timekeeper(parts, self._go_by_another_time)
        #: Makes the context in which each run begins; None while none may begin.
        self._isolation: Isolation | None = None
        self._keepers: dict[str, tuple[Schedule, Kept]] = {}
        self._runs: dict[asyncio.Task[None], _Run] = {}
        #: What is known of each, by name.
        self.pasts: dict[str, Past] = {}
        # Random, since a process that has the name of a dead one must not count as holder of its leases.
        self._holder = f"{parts.identity.process_name} {secrets.token_hex(4)}"
        #: The schedules that were warned of because their runs are too long.
        self._told: set[str] = set()
        #: The first tick for which the broker could not be asked, by the schedule's name.
        self._unasked: dict[str, float] = {}

    @property
    def running(self) -> int:
        """The number of runs that go on."""
        return len(self._runs)

    def runs_of(self, name: str) -> int:
        """Return the number of runs of a schedule that go on."""
        return sum(run.name == name and run.is_ours for run in list(self._runs.values()))

    def start(self, isolation: Isolation) -> None:
        """Begin to run the schedules of the bus."""
        self._isolation = isolation
        self.replace(self._parts.declarations.all_schedules())

    def replace(self, schedules: Mapping[str, Schedule]) -> None:
        """Run these schedules from now on. Those that did not change go on undisturbed, and so do runs."""
        for name, (schedule, keeper) in list(self._keepers.items()):
            if schedules.get(name) != schedule:
                keeper.end()
                del self._keepers[name]
                self.pasts.pop(name, None)
        if self._isolation is not None:
            for name, schedule in schedules.items():
                if name not in self._keepers:
                    self._keepers[name] = schedule, self._keeper(schedule)

    def _go_by_another_time(self) -> None:
        """Find the next times again of schedules that go by the service's time, which has changed."""
        for name, (schedule, keeper) in list(self._keepers.items()):
            if _is_shared(schedule):
                keeper.end()
                self._keepers[name] = schedule, self._keeper(schedule, is_first=False)

    def stop(self) -> None:
        """Begin nothing more."""
        self._isolation = None
        self.replace({})

    async def finish(self, timeout: float) -> int:
        """Wait for running runs; return how many are left behind."""
        runs = dict(self._runs)
        if not runs:
            return 0
        _, left = await asyncio.wait(runs, timeout=timeout)
        for task in left:
            logger.warning("a run of the schedule %s is left behind", runs[task].name)
            end(task)
        if left:
            await asyncio.wait(left, timeout=1)
        return len(left)

    def _lead(self, schedule: Schedule) -> float:
        """Return the seconds by which a schedule's time is ahead of this host's clock."""
        return self.timekeeper.lead if _is_shared(schedule) else 0.0

    def _now(self, schedule: Schedule) -> float:
        return self._parts.clock.now() + self._lead(schedule)

    def _keeper(self, schedule: Schedule, *, is_first: bool = True) -> Kept:
        name = f"lightbus schedule {schedule.name}"
        # If the task is begun again after a failure, the schedule has had its first run already.
        first = iter([is_first])
        work = lambda: self._keep(schedule, is_first=next(first, False))  # noqa: E731
        return Kept(work, name, f"the schedule {schedule.name} does not run", self._parts.obstacles).start()

    async def _keep(self, schedule: Schedule, *, is_first: bool) -> None:
        """Begin a run at each time."""
        if _is_shared(schedule):
            await self.timekeeper.has_looked.wait()
        due = self._now(schedule)
        if schedule.scope == "service" and (schedule.immediately or schedule.missed == "run_once"):
            due = schedule.last_time(due)
            self._begin(schedule, due, catch_up=not schedule.immediately)
        elif schedule.immediately and is_first:
            self._begin(schedule, due)
        while True:
            # If the clock was set back, the last time is in the future: the next one is counted from now.
            now = self._now(schedule)
            due = schedule.next_time(min(due, now))
            if due < now:
                # The process was suspended or blocked beyond its time.
                due = schedule.last_time(now) if schedule.missed == "run_once" else schedule.next_time(now)
            self._past(schedule).next_run = due if due < math.inf else None
            if due == math.inf:
                return
            await self._parts.clock.sleep_until(due - self._lead(schedule))
            if self._now(schedule) >= due - _ROUNDING:
                self._begin(schedule, due)

    def _begin(self, schedule: Schedule, due: float, *, catch_up: bool = False) -> None:
        others = [run for run in self._runs.values() if run.name == schedule.name]
        isolation = self._isolation
        if any(not run.is_ours for run in others) or isolation is None:
            return
        if others and not schedule.overlap:
            for run in others:
                run.outlasted = True
            self._skip(schedule, "here")
            return
        run = _Run(schedule.name, schedule.scope == "process")
        tick, name = self._tick(schedule, due, run, catch_up), f"lightbus run of the schedule {schedule.name}"
        task = own(begin(tick, name, isolation.context()))
        self._runs[task] = run
        task.add_done_callback(lambda task: self._runs.pop(task, None))

    async def _tick(self, schedule: Schedule, due: float, run: _Run, catch_up: bool) -> None:
        if schedule.scope == "process":
            await self._run(schedule)
        else:
            lease = self._lease(schedule, due)
            run.is_ours = await self._is_ours(schedule, due, lease, catch_up)
            if not run.is_ours:
                return
            async with self._held(schedule, lease):
                await self._run(schedule)
        if not run.outlasted:
            self._told.discard(schedule.name)

    async def _run(self, schedule: Schedule) -> None:
        started, outcome = time.perf_counter(), "ok"
        past = self._past(schedule)
        past.started, past.seconds, past.outcome = self._now(schedule), None, None
        try:
            await self._parts.pool.invoke(schedule.call)
        except BaseException as e:
            if is_cancelled(e):
                raise
            outcome = "error"
            logger.exception("the schedule %s failed; it runs again at its next time", schedule.name)
            await self._parts.hooks.report(e)
        seconds = time.perf_counter() - started
        past.seconds, past.outcome = seconds, outcome
        self._parts.metrics.schedule_runs.add((schedule.name,), outcome, seconds)

    def _past(self, schedule: Schedule) -> Past:
        return self.pasts.setdefault(schedule.name, Past())

    def _skip(self, schedule: Schedule, where: str) -> None:
        if schedule.name not in self._told:
            self._told.add(schedule.name)
            logger.warning(
                "the schedule %s still runs %s at its next time; times are skipped until it has ended. With "
                "overlap, several runs would go on at a time",
                schedule.name,
                where,
            )

    # One process of the service

    async def _is_ours(self, schedule: Schedule, due: float, lease: float, catch_up: bool) -> bool:
        """Tell whether this process is to run a tick, by asking the broker for a while."""
        name = schedule.name
        is_patient = schedule.missed == "run_once"
        until = due + min(_PATIENCE, schedule.next_time(due) - due)
        while True:
            try:
                schema = self._parts.transports().schema()
                # Without a limit, a broker that is away would keep it waiting for ever.
                async with asyncio.timeout(_PAUSE):
                    outcome = await schema.claim(
                        self._key(schedule), due, self._holder, lease, catch_up=catch_up
                    )
                break
            except (TimeoutError, LightbusException) as e:
                if name not in self._unasked:
                    why = e if isinstance(e, LightbusException) else "the broker does not answer"
                    what = "the schedule %s waits until the broker says which process runs it: %s"
                    logger.warning(what, name, why)
                    self._unasked[name] = due
                if isinstance(e, LightbusException):
                    await asyncio.sleep(_PAUSE)
            if self._isolation is None or (self._now(schedule) >= until and not is_patient):
                return False
            if is_patient:
                due = max(due, schedule.last_time(self._now(schedule)))
        since = self._unasked.pop(name, due)
        if since < due:
            logger.warning(
                "the schedule %s did not run in this process from %s on, since the broker could not be asked",
                name,
                datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds"),
            )
        if outcome == "busy":
            self._skip(schedule, "in another process")
        elif outcome == "early":
            # One of the clocks was set since they were last compared.
            await self.timekeeper.look()
        return outcome == "ours"

    @asynccontextmanager
    async def _held(self, schedule: Schedule, lease: float) -> AsyncIterator[None]:
        """Hold the lease of a run, so that no other process runs the next ticks meanwhile."""
        renewal = None
        if lease:
            lost = f"the lease of the schedule {schedule.name} is not renewed"
            name = f"lightbus lease of the schedule {schedule.name}"
            work = partial(self._renew, schedule, lease)
            renewal = Kept(work, name, lost, self._parts.obstacles).start()
        try:
            yield
        finally:
            if renewal is not None:
                # In this order: a renewal after the release would hold the lease again.
                renewal.end()
                await self._let_go(schedule)

    async def _renew(self, schedule: Schedule, lease: float) -> None:
        schema = self._parts.transports().schema()
        renewing = Retrying(logger, f"the lease of the schedule {schedule.name} can't be renewed")
        while True:
            await asyncio.sleep(lease / 3)
            try:
                if not await schema.hold(self._key(schedule), self._holder, lease):
                    logger.warning(
                        "the schedule %s may run in another process as well, since its lease ran out",
                        schedule.name,
                    )
                    return
                renewing.clear()
            except LightbusException as e:
                renewing.failed(e)

    async def _let_go(self, schedule: Schedule) -> None:
        try:
            async with asyncio.timeout(2):
                await self._parts.transports().schema().hold(self._key(schedule), self._holder, 0)
        except (TimeoutError, LightbusException) as e:
            logger.warning(
                "the lease of the schedule %s was not released, and runs out by itself: %s", schedule.name, e
            )

    def _key(self, schedule: Schedule) -> str:
        return f"{self._parts.identity.service_name}:{schedule.name}"

    def _lease(self, schedule: Schedule, due: float) -> float:
        if schedule.overlap:
            return 0.0
        return min(_LONGEST_LEASE, max(_SHORTEST_LEASE, 0.9 * (schedule.next_time(due) - due)))


def _is_shared(schedule: Schedule) -> bool:
    """Tell whether a schedule goes by its service's time; the library of a job asks this host's clock."""
    return schedule.scope == "service" and schedule.job is None
