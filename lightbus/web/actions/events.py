"""What may be done to one event: it is shown as it is."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

from lightbus.exceptions import LightbusException
from lightbus.insight.audit import acting
from lightbus.insight.search import fields_of
from lightbus.insight.traffic.pages import find
from lightbus.web.asking import Asked

from .action import Action, Field, Shown


async def _reveal(asked: Asked) -> Shown:
    message_id, native_id = asked.fields.text("id"), asked.fields.text("at") or None
    message = await find(asked.client, asked.api_names, message_id, native_id)
    if message is None:
        raise LightbusException("the brokers have no event of this id any more")
    async with acting(asked.client, asked.by, "event.reveal", message.id) as doing:
        doing.did(message.id)
    text = json.dumps(fields_of(message), ensure_ascii=False, indent=2)
    return Shown("event_revealed.html", "Event", {"it": message, "json": text, "back": _to_event(asked)})


def _to_event(asked: Asked) -> str:
    at = asked.fields.text("at")
    page = f"/events/{quote(asked.fields.text('id'), safe='')}"
    return f"{page}?{urlencode({'at': at})}" if at else page


ACTIONS = (
    Action(
        name="reveal_event",
        permission="reveal",
        title="Reveal",
        act=_reveal,
        needs_reason=True,
        fields=(Field(name="id", is_required=True), Field(name="at")),
        back=_to_event,
    ),
)
