"""Runs schedules: in each process, or in one process of the service at a time."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lightbus.bus.parts import Parts
from lightbus.declared.names import did_you_mean
from lightbus.declared.schedule import Schedule
from lightbus.exceptions import LightbusException, text_of
from lightbus.runtime.cancellation import end, is_cancelled, own
from lightbus.runtime.isolation import Isolation
from lightbus.runtime.tasks import Kept, begin
from lightbus.worker.pauses import Pauses

from .leases import Leases
from .timekeeping import Timekeeper

logger = logging.getLogger(__name__)

#: The most seconds by which a run may be late if the broker can't be asked in time which process runs it.
_PATIENCE = 60.0
#: Seconds that the broker has to say whether a schedule may be run by hand.
_PATIENCE_BY_HAND = 5.0
#: Seconds from now on to which a run by hand belongs, as they are tried in turn: the clock of a host may be
#: that far ahead, so that a later time than now was given out before.
_AHEAD = (0.0, 1.0, 3.0, 6.0, 9.0)
_MOST_TEXT = 500
#: Seconds after which the broker is asked again.
_PAUSE = 1.0
#: Seconds by which a time may be off: times are sums of floating point numbers.
_ROUNDING = 0.001


@dataclass(slots=True, eq=False)
class Run:
    """A run of one tick, or one by hand; or the question to the broker whether this process is to run it.

    Args:
        name: The schedule.
        is_ours: Whether it runs; else the broker has not answered yet.
        by: Who wants it; empty for a tick.
        outlasted: Whether it still ran at the next tick.
        begun: Done when it begins, for those who wait for that.
        started: When that was, as a Unix time.
        seconds: How long it took.
        outcome: Its outcome: ``ok`` or ``error``; None while it goes on.
        error: What it raised.
        refused: Why it did not begin.
    """

    name: str
    is_ours: bool
    by: str = ""
    outlasted: bool = False
    begun: asyncio.Future[None] | None = None
    started: float | None = None
    seconds: float | None = None
    outcome: str | None = None
    error: str = ""
    refused: str = ""


@dataclass(slots=True)
class Past:
    """The last run of a schedule in this process, and its next time.

    Args:
        next_run: The next time, as a Unix time; None where it is not known.
        started: When the last run began, likewise.
        seconds: How long it took; None while it goes on.
        outcome: Its outcome: ``ok`` or ``error``.
        by: Who wanted it, if it was not its time.
    """

    next_run: float | None = None
    started: float | None = None
    seconds: float | None = None
    outcome: str | None = None
    by: str = ""


class NotRun(Exception):
    """A schedule can't be run by hand now; says why."""


class Schedules:
    """The schedules of one process.

    Args:
        parts: Its bus.
        pauses: Knows which of them are paused.
    """

    def __init__(self, parts: Parts, pauses: Pauses) -> None:
        self._parts = parts
        self._pauses = pauses
        #: Knows the time by which schedules of the service go.
        self.timekeeper = Timekeeper(parts, self._go_by_another_time)
        #: Makes the context in which each run begins; None while none may begin.
        self._isolation: Isolation | None = None
        self._keepers: dict[str, tuple[Schedule, Kept]] = {}
        self._runs: dict[asyncio.Task[None], Run] = {}
        #: What is known of each, by name.
        self.pasts: dict[str, Past] = {}
        self._leases = Leases(parts)
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
        await self._pauses.known()
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
        if self._pauses.skips(schedule.name, due):
            if schedule.scope == "service":
                run = Run(schedule.name, is_ours=False)
                self._start(run, self._let_pass(schedule, due, catch_up), isolation)
            return
        if others and not schedule.overlap:
            for run in others:
                run.outlasted = True
            self._skip(schedule, "here")
            return
        run = Run(schedule.name, schedule.scope == "process")
        self._start(run, self._tick(schedule, due, run, catch_up), isolation)

    def run_now(self, name: str, by: str) -> tuple[asyncio.Task[None], Run]:
        """Run a schedule once, in this process, as soon as no other run is in its way.

        Args:
            name: The schedule.
            by: Who wants it.

        Returns:
            The task, and the run that it does.

        Raises:
            NotRun: There is no such schedule here, or another run goes on and may not overlap.
        """
        known, isolation = self._parts.declarations.all_schedules(), self._isolation
        if isolation is None:
            raise NotRun("the process runs no schedules now: it starts or stops")
        if name not in known:
            raise NotRun(f"the process has no schedule {name!r}{did_you_mean(name, known)}")
        schedule = known[name]
        if not schedule.overlap and any(run.name == name for run in self._runs.values()):
            raise NotRun("it still runs, and overlap is off")
        logger.info("the schedule %s runs now, since %s wants it", name, by)
        run = Run(name, schedule.scope == "process" or schedule.overlap, by)
        run.begun = asyncio.get_running_loop().create_future()
        return self._start(run, self._by_hand(schedule, run), isolation), run

    def _start(self, run: Run, work: Coroutine[Any, Any, None], isolation: Isolation) -> asyncio.Task[None]:
        task = own(begin(work, f"lightbus run of the schedule {run.name}", isolation.context()))
        self._runs[task] = run
        task.add_done_callback(lambda task: self._runs.pop(task, None))
        return task

    async def _by_hand(self, schedule: Schedule, run: Run) -> None:
        lease = 0.0
        try:
            if not run.is_ours:
                async with asyncio.timeout(_PATIENCE_BY_HAND):
                    lease = await self._take_turn(schedule, run)
        except (TimeoutError, LightbusException) as e:
            run.refused = f"the broker does not say whether it runs elsewhere: {str(e) or 'no answer'}"
        if not run.is_ours:
            return
        self._parts.metrics.schedule_runs_by_hand.add(schedule.name)
        async with self._leases.held(schedule, lease):
            await self._run(schedule, run)
        self._parts.card.renew()

    async def _take_turn(self, schedule: Schedule, run: Run) -> float:
        """Keep other processes from running it meanwhile; return the lease."""
        schema = self._parts.transports().schema()
        now = await schema.now()
        lease, outcome = self._leases.seconds(schedule, now), ""
        for ahead in _AHEAD:
            outcome = await schema.claim(self._leases.key(schedule), now + ahead, self._leases.holder, lease)
            if outcome != "had":
                break
        run.is_ours = outcome == "ours"
        run.refused = "" if run.is_ours else "it still runs in another process, and overlap is off"
        return lease

    async def _tick(self, schedule: Schedule, due: float, run: Run, catch_up: bool) -> None:
        if schedule.scope == "process":
            await self._run(schedule, run)
        else:
            lease = self._leases.seconds(schedule, due)
            run.is_ours = await self._is_ours(schedule, due, lease, catch_up)
            if not run.is_ours:
                return
            async with self._leases.held(schedule, lease):
                # It may have been paused while the broker was asked.
                if not self._pauses.skips(schedule.name, due):
                    await self._run(schedule, run)
        if not run.outlasted:
            self._told.discard(schedule.name)

    async def _let_pass(self, schedule: Schedule, due: float, catch_up: bool) -> None:
        """Take a tick that comes within a pause, and let it go: so nobody ever makes up for it."""
        await self._is_ours(schedule, due, 0.0, catch_up)

    async def _run(self, schedule: Schedule, run: Run) -> None:
        started, outcome = time.perf_counter(), "ok"
        past = self._past(schedule)
        past.started, past.seconds, past.outcome, past.by = self._now(schedule), None, None, run.by
        run.started = past.started
        if run.begun is not None:
            run.begun.set_result(None)
            self._parts.card.renew()
        try:
            await self._parts.pool.invoke(schedule.call)
        except BaseException as e:
            if is_cancelled(e):
                raise
            outcome, run.error = "error", text_of(e)[:_MOST_TEXT]
            logger.exception("the schedule %s failed; it runs again at its next time", schedule.name)
            await self._parts.hooks.report(e)
        seconds = time.perf_counter() - started
        past.seconds, past.outcome = run.seconds, run.outcome = seconds, outcome
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
                        self._leases.key(schedule), due, self._leases.holder, lease, catch_up=catch_up
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


def _is_shared(schedule: Schedule) -> bool:
    """Tell whether a schedule goes by its service's time; the library of a job asks this host's clock."""
    return schedule.scope == "service" and schedule.job is None
