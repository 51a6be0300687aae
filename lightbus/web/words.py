"""Times and numbers as people read them on a page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from lightbus.insight.traffic.pace import Pace
from lightbus.transports.cards import PolicyCard
from lightbus.values.wording import ago, counted, duration, in_short


def when(seconds: float) -> str:
    """Return in how long something is to come, or how long ago it was."""
    return f"in {duration(seconds)}" if seconds >= 1 else ago(-seconds)


def exact(at: float) -> str:
    """Return a Unix time as a date and a time of day."""
    moment = _moment(at)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC") if moment is not None else "an unknown time"


def machine(at: float) -> str:
    """Return a Unix time as HTML has it."""
    moment = _moment(at)
    return moment.isoformat(timespec="seconds") if moment is not None else ""


def _moment(at: float) -> datetime | None:
    """Return a Unix time, of which a process may say anything."""
    try:
        return datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def behind(pace: Pace) -> str:
    """Return how far behind a listener is, in seconds or larger units."""
    if pace.behind is None or (pace.is_least and not pace.behind):
        return "-"
    if not pace.behind:
        return "0 s"
    return f"{'over ' if pace.is_least else ''}{duration(pace.behind)}"


def per_second(rate: float | None) -> str:
    """Return how often something was in a second."""
    if rate is None:
        return "-"
    return f"{rate:.1f}" if 0 < rate < 10 else f"{rate:,.0f}"


def seconds(it: float | None) -> str:
    """Return how long something took."""
    return "-" if it is None else in_short(it)


def policy(it: PolicyCard) -> str:
    """Say what becomes of an event whose handler raises."""
    if it.attempts == 1:
        return f"no further attempt, then {it.then}"
    times = f"{it.attempts} attempts" if it.attempts else "attempts without end"
    end = f", then {it.then}" if it.attempts else ""
    return f"{times}, {seconds(it.initial)} to {duration(it.longest)} apart{end}"


_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def times(it: str) -> str:
    """Say when a schedule runs; times of cron that would take a longer sentence are left as they are."""
    cron, bracket, zone = it.partition(" (")
    fields = cron.split()
    if len(fields) != 5 or fields[3] != "*":
        return it
    minute, hour, day, _, weekday = fields
    said = _often(minute) if (hour, day, weekday) == ("*", "*", "*") else ""
    days = _days(day, weekday)
    if minute.isdecimal() and hour.isdecimal() and days:
        said = f"{days} at {int(hour):02}:{int(minute):02}"
    return f"{said}{bracket}{zone}" if said else it


def _often(minute: str) -> str:
    """Say how often something runs within each hour; empty if no short words do."""
    if minute in ("*", "*/1"):
        return "every minute"
    step = minute.removeprefix("*/")
    if step != minute and step.isdecimal() and 60 % (int(step) or 7) == 0:
        return f"every {int(step)} min"
    return f"each hour at {int(minute)} min past" if minute.isdecimal() else ""


def _days(day: str, weekday: str) -> str:
    """Say on which days something runs; empty if no short words do."""
    if (day, weekday) == ("*", "*"):
        return "each day"
    if weekday == "*":
        return f"on day {day} of each month" if day.isdecimal() else ""
    first, to, last = weekday.partition("-")
    numbers = [first, last] if to else [first]
    if day != "*" or any(each not in tuple("01234567") for each in numbers):
        return ""
    names = [_DAYS[int(each)] for each in numbers]
    return " to ".join(names) if to else f"each {names[0]}"


def page_of(group: str) -> str:
    """Return the address of the page of a listener's group, beneath the root of the console."""
    return f"/listeners/{quote(group, safe='')}"


FILTERS: Mapping[str, object] = {
    "ago": ago,
    "counted": counted,
    "when": when,
    "exact": exact,
    "machine": machine,
    "behind": behind,
    "per_second": per_second,
    "seconds": seconds,
    "policy": policy,
    "times": times,
    "duration": duration,
}
