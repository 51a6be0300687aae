"""Pausing listeners, and letting them go on."""

from __future__ import annotations

from lightbus.exceptions import GroupRefused
from lightbus.insight.control import pauses
from lightbus.insight.control.pauses import Target
from lightbus.values.wording import counted
from lightbus.web.asking import Asked
from lightbus.web.words import page_of

from .action import Action, Done
from .target import TARGET, UNTIL, seconds_until, to_its_page, told, until_in_words


async def _find(asked: Asked) -> Target:
    group = asked.fields.text("target")
    return await pauses.find(asked.client, asked.api_names, group, asked.manifest.listeners)


async def _pause(asked: Asked) -> Done:
    seconds = seconds_until(asked)
    target = await _find(asked)
    ends = await pauses.end_in(asked.client, seconds)
    heeded = await pauses.pause(asked.client, target, ends, asked.by)
    begun = f"It has begun {counted(heeded.running, 'event')}, which it finishes."
    more = [begun] if heeded.running else []
    more += [
        f"{name} reads its events, too, and is a Lightbus 1.x or may not heed pauses."
        for name in pauses.without_card(target, heeded)
    ]
    nobody = "No process runs it now; it stays paused when one is started."
    done = f"{target.group} is paused{until_in_words(ends)}."
    return told(done, heeded, page_of(target.group), nobody=nobody, late="takes events still", more=more)


async def _resume(asked: Asked) -> Done:
    target = await _find(asked)
    if target.pause is None:
        raise GroupRefused(f"the listener {target.group} is not paused")
    heeded = await pauses.resume(asked.client, target, by=asked.by)
    done, page = f"{target.group} goes on.", page_of(target.group)
    return told(done, heeded, page, nobody="No process runs it now.", late="does not take events yet")


ACTIONS = (
    Action(
        name="pause",
        permission="pause",
        title="Pause",
        act=_pause,
        fields=(TARGET, UNTIL),
        back=to_its_page,
    ),
    Action(
        name="resume", permission="pause", title="Resume", act=_resume, fields=(TARGET,), back=to_its_page
    ),
)
