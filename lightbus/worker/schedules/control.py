"""The API ``internal.host.{service}``, by which people have a host do something, where it allows that."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from lightbus.declared.api import Api
from lightbus.declared.definition import Procedure
from lightbus.declared.settings import CONTROL, Identity

from .schedules import NotRun, Schedules

_MOST_TEXT = 200


class HostApi(Api):
    """What a host does at the wish of people.

    Args:
        identity: The host.
        schedules: Its schedules.
    """

    class Meta:
        """Of one service: its name comes at the end of that of the API."""

        name = CONTROL.rstrip(".")
        internal = True
        auto_register = False

    def __init__(self, identity: Identity, schedules: Schedules) -> None:
        self._identity = identity
        self._schedules = schedules
        # Not by Meta: the names of services may have dashes.
        own, name = type(self).__lightbus__, identity.control_api
        procedures = {
            each: Procedure(name, each, it.function, bound=True) for each, it in own.procedures.items()
        }
        setattr(self, "__lightbus__", replace(own, name=name, procedures=procedures))  # noqa: B010

    async def run_schedule(self, name: str, by: str, wait: bool = True) -> dict[str, Any]:
        """Run a schedule once in this process, and say how that went.

        Args:
            name: The schedule.
            by: Who wants it.
            wait: Whether to wait for the end of the run; else only for its beginning.
        """
        try:
            task, run = self._schedules.run_now(name, by[:_MOST_TEXT])
        except NotRun as e:
            return {"process": self._identity.process_name, "refused": str(e)}
        until: list[asyncio.Future[None]] = [task]
        if run.begun is not None and not wait:
            until.append(run.begun)
        # Where this call is cancelled, the run goes on.
        await asyncio.wait(until, return_when=asyncio.FIRST_COMPLETED)
        told = {each: getattr(run, each) for each in ("started", "seconds", "outcome", "error", "refused")}
        return {"process": self._identity.process_name, **told}
