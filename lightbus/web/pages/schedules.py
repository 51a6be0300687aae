"""The page of schedules."""

from __future__ import annotations

from lightbus.insight.overview import ScheduleStatus
from lightbus.insight.traffic.pace import Paces
from lightbus.insight.verdicts import Verdict, of_schedule
from lightbus.web.asking import Rows
from lightbus.web.looks import Look


def schedules(look: Look, paces: Paces, name: str = "") -> Rows[tuple[ScheduleStatus, Verdict]]:
    """Return the table of schedules, those that failed first, and then those that run soonest."""
    found = [(it, of_schedule(it)) for it in look.overview.schedules]
    found.sort(key=lambda each: (-each[1].severity, each[0].next_run or float("inf"), each[0].name))
    return Rows(found, lambda each: f"{each[0].name} {each[0].service}")
