"""Differences of schedules: made, gone, or at other times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .declared import DeclaredSchedule
from .drift import Drift, View


def made(view: View) -> Iterator[Drift]:
    """A schedule is new."""
    for name, schedule in view.declared.schedules.items():
        if name not in view.before.schedules:
            yield Drift(
                sign="+",
                subject=f"schedule {name}",
                change=f"made, {schedule.times}",
                consequence=_first(schedule, view.live.now),
                paths=(f"schedules.{name}", "modules"),
            )


def gone(view: View) -> Iterator[Drift]:
    """A schedule runs no more."""
    for name, schedule in view.before.schedules.items():
        if name not in view.declared.schedules and not view.is_unseen(name):
            yield Drift(
                sign="-",
                subject=f"schedule {name}",
                change="runs no more",
                consequence=f"it was {schedule.times}",
                paths=("schedules", "modules"),
            )


def moved(view: View) -> Iterator[Drift]:
    """A schedule has other times, or runs in other processes."""
    for name, now in view.declared.schedules.items():
        then = view.before.schedules.get(name)
        if then is None:
            continue
        if _times(then) != _times(now):
            yield Drift(
                sign="~",
                subject=f"schedule {name}",
                change=_next(then, now, view.live.now),
                paths=(*(f"schedules.{name}.{key}" for key in ("cron", "every", "timezone")), "modules"),
            )
        if then.scope != now.scope:
            once = now.scope == "service"
            yield Drift(
                sign="~",
                subject=f"schedule {name}",
                change=f"scope {then.scope} -> {now.scope}",
                consequence="runs once for all processes" if once else "runs in each process",
                paths=(f"schedules.{name}.scope", f"schedules.{name}", "modules"),
            )


def _times(schedule: DeclaredSchedule) -> tuple[object, ...]:
    given = schedule.every, schedule.cron, schedule.timezone
    return given if any(given) else (schedule.times,)


def _first(schedule: DeclaredSchedule, now: float) -> str:
    at = schedule.next_run(now)
    return f"first run {_shown(at, schedule)}" if at is not None else ""


def _next(then: DeclaredSchedule, now: DeclaredSchedule, time: float) -> str:
    """Say when it runs next, and when it would have run."""
    before, after = then.next_run(time), now.next_run(time)
    if before is None or after is None or before == after:
        return f"{_words(then)} -> {_words(now)}"
    was, shown = _shown(before, now), _shown(after, now)
    day, _, hour = was.partition("T")
    return f"next run {shown} (was {hour[:5] if shown.startswith(day) and len(hour) == 11 else was})"


def _words(schedule: DeclaredSchedule) -> str:
    return f"{schedule.times} {schedule.timezone}" if schedule.timezone else schedule.times


def _shown(at: float, schedule: DeclaredSchedule) -> str:
    zone: tzinfo = UTC
    # Another zone is told as a mistake of the manifest.
    with suppress(ZoneInfoNotFoundError, ValueError, OSError):
        zone = ZoneInfo(schedule.timezone) if schedule.timezone else UTC
    time = datetime.fromtimestamp(at, zone)
    return time.isoformat(timespec="minutes" if not time.second else "seconds")
