"""Running a schedule now, pausing it, and letting it run again."""

from __future__ import annotations

from lightbus.insight.control import pauses
from lightbus.insight.control.schedules import Target, find, pause, resume, run_now, service_of
from lightbus.values.wording import counted
from lightbus.web.asking import Asked

from .action import Action, Done, Field
from .target import UNTIL, seconds_until, told, until_in_words

_PAGE = "/schedules"
_FIELDS = (Field(name="target", is_required=True), Field(name="service"))


async def _run(asked: Asked) -> Done:
    name, fields = asked.fields.text("target"), asked.fields
    service = await service_of(asked.client, name, asked.manifest.schedules, fields.text("service"))
    run = await run_now(asked.client, service, name, by=asked.by)
    return Done(f"{run.name} of {run.service} was begun by {run.process}.", _PAGE)


async def _find(asked: Asked) -> Target:
    name, service = asked.fields.text("target"), asked.fields.text("service")
    return await find(asked.client, name, asked.manifest.schedules, service)


async def _pause(asked: Asked) -> Done:
    seconds = seconds_until(asked)
    target = await _find(asked)
    ends = await pauses.end_in(asked.client, seconds)
    heeded = await pause(asked.client, target, ends, asked.by)
    begun = [f"{counted(heeded.running, 'run')} of it had begun, and may end."] if heeded.running else []
    nobody = "No process has it now; it stays paused when one is started."
    done = f"{target.name} of {target.service} is paused{until_in_words(ends)}."
    return told(done, heeded, _PAGE, nobody=nobody, late="may run it still", more=begun)


async def _resume(asked: Asked) -> Done:
    target = await _find(asked)
    heeded = await resume(asked.client, target, asked.by)
    done = f"{target.name} of {target.service} runs again at its times."
    return told(done, heeded, _PAGE, nobody="No process has it now.", late="does not run it yet")


ACTIONS = (
    Action(
        name="run_schedule",
        permission="run_schedule",
        title="Run now",
        act=_run,
        fields=_FIELDS,
        back=lambda asked: _PAGE,
    ),
    Action(
        name="pause_schedule",
        permission="pause",
        title="Pause",
        act=_pause,
        fields=(*_FIELDS, UNTIL),
        back=lambda asked: _PAGE,
    ),
    Action(
        name="resume_schedule",
        permission="pause",
        title="Resume",
        act=_resume,
        fields=_FIELDS,
        back=lambda asked: _PAGE,
    ),
)
