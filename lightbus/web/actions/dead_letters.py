"""What may be done to dead letters: one is replayed, dropped, edited or revealed, and many by an errand."""

from __future__ import annotations

import json
from functools import partial
from typing import Any
from urllib.parse import urlencode

from lightbus.exceptions import InvalidParameters, LightbusException
from lightbus.insight.audit import acting
from lightbus.insight.dead_letters import edit, errands, get, settle
from lightbus.insight.dead_letters.errands import Counted, Verb
from lightbus.insight.masking import restore
from lightbus.transports.events import DeadLetter
from lightbus.values.typed import fields_once
from lightbus.values.wording import counted
from lightbus.web.asking import Asked
from lightbus.web.pages.dead import filter_of

from .action import Action, Done, Field, Plan, Shown

_ONE = (Field(name="id", is_required=True), Field(name="place", is_required=True))
_MANY = tuple(Field(name=name) for name in ("listener", "event", "error", "reason", "fingerprint", "until"))
_WORDS: dict[Verb, str] = {"replay": "replayed", "drop": "dropped"}


async def _letter(asked: Asked) -> DeadLetter:
    """Return the letter that is meant.

    Raises:
        LightbusException: It is gone.
    """
    await asked.looks.look()
    it = await get(asked.client, asked.api_names, asked.fields.text("place"), asked.fields.text("id"))
    if it is None:
        raise _gone()
    return it


def _gone() -> LightbusException:
    return LightbusException("this dead letter is gone: somebody else has replayed or dropped it")


async def _settle(asked: Asked, verb: Verb) -> Done:
    it = await _letter(asked)
    if not await settle(asked.client, asked.api_names, it, verb, by=asked.by):
        raise _gone()
    return Done(f"The dead letter {it.id} of {it.group} was {_WORDS[verb]}.", "/dead")


async def _plan_drop(asked: Asked) -> Plan:
    it = await _letter(asked)
    name = it.message.canonical_name if it.message.api_name else "an event that can't be read"
    return Plan([f"{it.group} will never handle this event, {name}. It is gone for good."])


async def _edit(asked: Asked) -> Done:
    it = await _letter(asked)
    try:
        given = json.loads(asked.fields.text("kwargs"), object_pairs_hook=fields_once)
    except (ValueError, RecursionError) as e:
        raise InvalidParameters(f"the arguments are no JSON: {e}") from None
    if not isinstance(given, dict):
        raise InvalidParameters('the arguments must be an object, such as {"sku": "x"}')
    m, masking = it.message, asked.looks.masking
    kwargs: dict[str, Any] = restore(given, masking.message(m).kwargs, m.kwargs)
    try:
        is_done = await edit(asked.client, asked.api_names, it, kwargs, by=asked.by)
    except InvalidParameters as e:
        # It may quote what was hidden from whoever has edited it.
        told = masking.event(m.api_name, m.event_name, kwargs).text(str(e))
        raise InvalidParameters(told) from None
    if not is_done:
        raise _gone()
    return Done(f"The dead letter {it.id} was edited, and {it.group} gets it now.", "/dead")


async def _reveal(asked: Asked) -> Shown:
    it = await _letter(asked)
    async with acting(asked.client, asked.by, "dlq.reveal", it.id, {"listener": it.group}) as doing:
        doing.did(it.id)
    text = json.dumps(it.message.kwargs, indent=2, ensure_ascii=False)
    return Shown("dead_revealed.html", "Dead letter", {"it": it, "kwargs": text})


async def _count(asked: Asked) -> Counted:
    limit = asked.manifest.web.bulk_limit
    found = await errands.count(asked.client, asked.api_names, filter_of(asked), limit)
    if not found.count:
        raise LightbusException("no dead letter fits, so nothing was done")
    return found


async def _plan_many(asked: Asked, verb: Verb) -> Plan:
    found = await _count(asked)
    words = filter_of(asked).in_words()
    words.pop("fingerprint", None)
    told = [f"{counted(found.count, 'dead letter')} will be {_WORDS[verb]}."]
    told += [f"{name.capitalize()}: {text}" for name, text in words.items()]
    if not found.is_all:
        told.append(
            "There are more. These are the newest, as many as web.bulk_limit allows at a time and as could "
            "be counted in 10 s."
        )
    if verb == "replay":
        told.append("Each goes to the listener that failed, and to no other one.")
    else:
        told.append("They are gone for good.")
    return Plan(told, f"{found.count:,}")


async def _give(asked: Asked, verb: Verb) -> Done:
    found = await _count(asked)
    if f"{found.count:,}" != asked.fields.text("typed"):
        raise LightbusException(
            f"by now it would be {counted(found.count, 'dead letter')}, since somebody else has replayed or "
            "dropped others; nothing was done"
        )
    await errands.give(asked.client, verb, filter_of(asked), found, asked.by)
    asked.looks.errands.wake()
    what = counted(found.count, "dead letter")
    return Done(f"{what} will be {_WORDS[verb]}, also if this console ends meanwhile.", "/dead")


async def _stop(asked: Asked) -> Done:
    it = await errands.stop(asked.client, asked.fields.text("errand"), asked.by)
    return Done(
        f"No more dead letters are {_WORDS[it.verb]}; {it.left:,} of {it.count:,} were left.", "/dead"
    )


def _to_letter(asked: Asked) -> str:
    which = {name: asked.fields.text(name) for name in ("place", "id")}
    return f"/dead/letter?{urlencode(which)}"


def _to_list(asked: Asked) -> str:
    which = {each.name: asked.fields.text(each.name) for each in _MANY if asked.fields.text(each.name)}
    return f"/dead/list?{urlencode(which)}"


ACTIONS = (
    Action(
        name="replay",
        permission="replay",
        title="Replay",
        act=partial(_settle, verb="replay"),
        fields=_ONE,
        back=_to_letter,
    ),
    Action(
        name="drop",
        permission="drop",
        title="Drop",
        act=partial(_settle, verb="drop"),
        plan=_plan_drop,
        fields=_ONE,
        back=_to_letter,
    ),
    Action(
        name="edit",
        permission="edit",
        title="Edit and replay",
        act=_edit,
        fields=(
            *_ONE,
            Field(
                name="kwargs",
                label="Arguments",
                hint="As JSON. They have to fit the contract. ••• keeps what is hidden there.",
                is_required=True,
                is_long=True,
            ),
        ),
        back=_to_letter,
    ),
    Action(
        name="reveal",
        permission="reveal",
        title="Reveal",
        act=_reveal,
        needs_reason=True,
        fields=_ONE,
        back=_to_letter,
    ),
    Action(
        name="replay_many",
        permission="replay",
        title="Replay all of them",
        act=partial(_give, verb="replay"),
        plan=partial(_plan_many, verb="replay"),
        needs_reason=True,
        fields=_MANY,
        back=_to_list,
    ),
    Action(
        name="drop_many",
        permission="drop",
        title="Drop all of them",
        act=partial(_give, verb="drop"),
        plan=partial(_plan_many, verb="drop"),
        needs_reason=True,
        fields=_MANY,
        back=_to_list,
    ),
    Action(
        name="stop_errand",
        permission="replay",
        title="Stop",
        act=_stop,
        fields=(Field(name="errand", is_required=True),),
        back=lambda asked: "/dead",
    ),
)
