"""Running a schedule now."""

from __future__ import annotations

from lightbus.insight.control.schedules import run_now, service_of
from lightbus.web.asking import Asked

from .action import Action, Done, Field


async def _run(asked: Asked) -> Done:
    name, fields = asked.fields.text("target"), asked.fields
    service = await service_of(asked.client, name, asked.manifest.schedules, fields.text("service"))
    run = await run_now(asked.client, service, name, by=asked.by)
    return Done(f"{run.name} of {run.service} was begun by {run.process}.", "/schedules")


ACTIONS = (
    Action(
        name="run_schedule",
        permission="run_schedule",
        title="Run now",
        act=_run,
        fields=(Field(name="target", is_required=True), Field(name="service")),
        back=lambda asked: "/schedules",
    ),
)
