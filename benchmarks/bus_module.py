"""The service that `benchmarks.bus` measures: what the floor program does, written for Lightbus."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.measures import BATCH
from benchmarks.tally import Tally
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
    """Handles events, in the ways that a handler can be written."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    async def count(self, event_message: EventMessage, username: str, password: str) -> None:
        self.tally.add(username)

    def count_def(self, event_message: EventMessage, username: str, password: str) -> None:
        self.tally.add(username)

    async def count_list(self, event_messages: list[EventMessage]) -> None:
        for message in event_messages:
            self.tally.add(message.kwargs["username"])


def before_server_start(bus: Any) -> None:
    """Listen, by the handler that this host is to measure."""
    handler = getattr(Counter(Tally.of_environment()), os.environ["BENCH_HANDLER"])
    options = {"batch": BATCH} if handler.__name__ == "count_list" else None
    for number in range(int(os.environ.get("BENCH_LISTENERS", "1"))):
        bus.auth.user_registered.listen(handler, listener_name=f"count{number or ''}", bus_options=options)
