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
    "duration": duration,
}
