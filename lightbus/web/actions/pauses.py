"""Pausing listeners, and letting them go on."""

from __future__ import annotations

from lightbus.exceptions import GroupRefused
from lightbus.insight.control import pauses
from lightbus.insight.control.pauses import Target
from lightbus.values.wording import counted
from lightbus.web.asking import Asked
from lightbus.web.words import page_of

from .action import Action, Done
from .target import TARGET, UNTIL, seconds_until, to_its_page, until_in_words


async def _find(asked: Asked) -> Target:
    group = asked.fields.text("target")
    return await pauses.find(asked.client, asked.api_names, group, asked.manifest.listeners)


async def _pause(asked: Asked) -> Done:
    seconds = seconds_until(asked)
    target = await _find(asked)
    ends = await pauses.end_in(asked.client, seconds)
    heeded = await pauses.pause(asked.client, target, ends, asked.by)
    said = [f"{target.group} is paused{until_in_words(ends)}."]
    if not (heeded.by or heeded.not_by):
        said.append("No process runs it now; it stays paused when one is started.")
    if heeded.running:
        said.append(f"It has begun {counted(heeded.running, 'event')}, which it finishes.")
    said += [
        f"{name} reads its events, too, and is a Lightbus 1.x or may not heed pauses."
        for name in pauses.without_card(target, heeded)
    ]
    if heeded.not_by:
        said.append(f"But {pauses.not_heeded(heeded, 'takes events still')}.")
    return Done(" ".join(said), page_of(target.group), is_good=not heeded.not_by)


async def _resume(asked: Asked) -> Done:
    target = await _find(asked)
    if target.pause is None:
        raise GroupRefused(f"the listener {target.group} is not paused")
    heeded = await pauses.resume(asked.client, target, by=asked.by)
    said = [f"{target.group} goes on."]
    if not (heeded.by or heeded.not_by):
        said.append("No process runs it now.")
    if heeded.not_by:
        said.append(f"But {pauses.not_heeded(heeded, 'does not take events yet')}.")
    return Done(" ".join(said), page_of(target.group), is_good=not heeded.not_by)


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
