"""What may be done to the group of a listener that no process reads: as by ``lightbus group``."""

from __future__ import annotations

from lightbus.exceptions import InvalidParameters
from lightbus.insight import groups
from lightbus.insight.control import prospects
from lightbus.insight.groups import Found
from lightbus.web.asking import Asked
from lightbus.web.words import page_of

from .action import Action, Done, Field, Plan
from .target import TARGET, to_its_page


async def _find(asked: Asked) -> list[Found]:
    return await groups.find(asked.client, asked.api_names, asked.fields.text("target"))


async def _plan_removal(asked: Asked) -> Plan:
    found = await _find(asked)
    groups.refuse_read(found)
    gone = [f"{each.status.stream}: {prospects.kept(each.status)}" for each in found]
    return Plan([*gone, "All of that is gone for good, with what is fired until the group is gone."])


async def _remove(asked: Asked) -> Done:
    found = await _find(asked)
    await groups.remove(asked.client, found, by=asked.by)
    return Done(f"The group {found[0].status.group} was removed.", "/listeners")


def _heir(asked: Asked) -> str:
    heir = asked.fields.text("to")
    if heir == asked.fields.text("target") or "-" not in heir.strip("-"):
        raise InvalidParameters(f"{heir!r} can't take its place; write SERVICE-LISTENER, such as shop-greet")
    return heir


async def _plan_move(asked: Asked) -> Plan:
    heir = _heir(asked)
    plans = await groups.plan_move(await _find(asked), heir)
    told = [it for each in plans for it in prospects.about(each.status, prospects.moved(each))]
    return Plan([*told, "The group is removed once all of that is there."])


async def _move(asked: Asked) -> Done:
    heir, found = _heir(asked), await _find(asked)
    await groups.move(asked.client, found, heir, by=asked.by)
    return Done(f"What waited for {found[0].status.group} waits for {heir} now.", page_of(heir))


async def _plan_seek(asked: Asked) -> Plan:
    place = prospects.place_of(asked.fields.text("to"))
    plans = await groups.plan_seek(await _find(asked), place)
    return Plan([it for each in plans for it in prospects.about(each.status, prospects.sought(each))])


async def _seek(asked: Asked) -> Done:
    to = asked.fields.text("to")
    place, found = prospects.place_of(to), await _find(asked)
    await groups.seek(asked.client, found, await groups.plan_seek(found, place), by=asked.by)
    group = found[0].status.group
    return Done(f"{group} reads on from {to}.", page_of(group))


ACTIONS = (
    Action(
        name="seek",
        permission="seek",
        title="Read on from elsewhere",
        act=_seek,
        plan=_plan_seek,
        fields=(
            TARGET,
            Field(
                name="to",
                label="From where",
                hint="start, end, 2h for two hours ago, 2026-01-31T12:00:00Z, or an id in Redis.",
                is_required=True,
            ),
        ),
        back=to_its_page,
    ),
    Action(
        name="move",
        permission="move",
        title="Move to another group",
        act=_move,
        plan=_plan_move,
        fields=(
            TARGET,
            Field(
                name="to",
                label="The group that takes its place",
                hint="SERVICE-LISTENER, such as shop-greet; it is made if it is not there.",
                is_required=True,
            ),
        ),
        back=to_its_page,
    ),
    Action(
        name="remove",
        permission="remove",
        title="Remove",
        act=_remove,
        plan=_plan_removal,
        needs_reason=True,
        fields=(TARGET,),
        back=to_its_page,
    ),
)
