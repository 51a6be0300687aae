"""Pausing listeners, and letting them go on."""

from __future__ import annotations

from datetime import UTC, datetime

from lightbus.exceptions import GroupRefused
from lightbus.insight.control import pauses
from lightbus.insight.control.pauses import Target
from lightbus.values.wording import counted
from lightbus.web.asking import Asked
from lightbus.web.words import page_of

from .action import Action, Done, Field
from .target import TARGET, to_its_page


async def _find(asked: Asked) -> Target:
    group = asked.fields.text("target")
    return await pauses.find(asked.client, asked.api_names, group, asked.manifest.listeners)


async def _pause(asked: Asked) -> Done:
    until = asked.fields.text("until")
    seconds = pauses.seconds_until(until) if until else None
    target = await _find(asked)
    ends = None if seconds is None else await asked.client.transports().schema().now() + seconds
    heeded = await pauses.pause(asked.client, target, ends, asked.by)
    when = "" if ends is None else f" until {datetime.fromtimestamp(ends, UTC):%Y-%m-%d %H:%M:%S} UTC"
    said = [f"{target.group} is paused{when}."]
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
        fields=(
            TARGET,
            Field(
                name="until",
                label="Until",
                hint="30m, 2h, or a time with its zone such as 2026-01-31T12:00:00+01:00; empty for no end.",
            ),
        ),
        back=to_its_page,
    ),
    Action(
        name="resume", permission="pause", title="Resume", act=_resume, fields=(TARGET,), back=to_its_page
    ),
)
