"""A dead letter is edited and handed to its listener again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightbus.bus.client import BusClient
from lightbus.bus.schema import BusSchema
from lightbus.exceptions import InvalidParameters, LightbusException, SchemaNotFound
from lightbus.insight.audit import Actor, acting
from lightbus.messages import EventMessage
from lightbus.transports.events import DeadLetter

#: The header of an event that somebody has edited: who that was.
EDITED_BY = "edited_by"
_LONGEST = 200


async def edit(
    client: BusClient,
    api_names: Sequence[str],
    letter: DeadLetter,
    kwargs: Mapping[str, Any],
    *,
    by: Actor,
) -> bool:
    """Hand a letter to its listener again, and to no other one, with other arguments and the same id.

    The event has the header ``edited_by`` from then on, and the audit has who did it.

    Args:
        client: The bus.
        api_names: APIs whose brokers are asked.
        letter: The letter.
        kwargs: The arguments, as JSON values.
        by: Whoever does it.

    Returns:
        Whether the letter was still there.

    Raises:
        InvalidParameters: The event can't be read, or the arguments don't fit its contract.
        InvalidMessage: The event would be too large.
        TransportUnavailable: The broker can't be reached.
    """
    it = letter.message
    if not it.api_name:
        raise InvalidParameters("nobody can read this event, so it can't be edited; drop it instead")
    headers = {**(it.headers or {}), EDITED_BY: _printable(by.user)}
    edited = EventMessage(it.api_name, it.event_name, dict(kwargs), it.version, it.id, it.native_id, headers)
    await client.parts.watch.load(only_look=True)
    _check(client, edited)
    async with acting(client, by, "dlq.edit", letter.group, {"event": it.canonical_name}) as doing:
        doing.count = 0
        for transport in client.transports().brokers(api_names):
            if await transport.replay(letter, edited):
                doing.did(letter.id)
                return True
    return False


def _check(client: BusClient, event: EventMessage) -> None:
    try:
        BusSchema(client.parts).validate_parameters(event.api_name, event.event_name, event.kwargs)
    except SchemaNotFound:
        raise InvalidParameters(
            f"no contract of the API {event.api_name!r} is on the bus to check it by; start the service that "
            "owns it"
        ) from None
    except LightbusException as e:
        raise InvalidParameters(str(e)) from e


def _printable(user: str) -> str:
    return "".join(char for char in user if char.isprintable())[:_LONGEST] or "somebody"
