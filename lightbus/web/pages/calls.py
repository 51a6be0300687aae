"""The page of calls: each procedure, with what waits, runs and fails."""

from __future__ import annotations

import time

from lightbus.insight.traffic.calls import ProcedureStatus
from lightbus.insight.traffic.calls import calls as calls_of
from lightbus.insight.traffic.pace import Paces
from lightbus.web.asking import Rows
from lightbus.web.looks import Look


def calls(look: Look, paces: Paces, name: str = "") -> Rows[ProcedureStatus]:
    """Return the table of all procedures, those for which most waits first."""
    found = calls_of(look.overview.apis, look.cards, look.contracts, look.queued, look.ages, time.time())
    return Rows(found, lambda each: f"{each.api}.{each.name} {each.owner or ''}")
