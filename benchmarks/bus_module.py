"""The service that `benchmarks.bus` measures: what the floor program does, written for Lightbus."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from lightbus import Api, Event, EventMessage, Parameter


class AuthApi(Api):
    """One procedure in both styles, one event."""

    user_registered = Event(parameters=(Parameter("username", str), Parameter("password", str)))

    class Meta:
        name = "auth"

    async def check_password(self, username: str, password: str) -> bool:
        return username == "admin" and password == "secret"

    def check_password_def(self, username: str, password: str) -> bool:
        return username == "admin" and password == "secret"


class Counter:
    """Handles events; when it has had all it writes down the seconds from the first to the last."""

    def __init__(self, total: int, report: Path) -> None:
        self.total = total
        self.report = report
        self.handled = 0
        self.started = 0.0

    async def count(self, event_message: EventMessage, username: str, password: str) -> None:
        """Handle one event."""
        self.started = self.started or time.perf_counter()
        self.handled += 1
        if self.handled == self.total:
            self.report.write_text(str(time.perf_counter() - self.started))


def before_server_start(bus: Any) -> None:
    """Listen, if this host is to count."""
    counter = Counter(int(os.environ["BENCH_EVENTS"]), Path(os.environ["BENCH_REPORT"]))
    bus.auth.user_registered.listen(counter.count, listener_name="count")
