"""Calling a procedure and firing an event by hand, as by the console: noted in the audit before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightbus.bus.client import BusClient
from lightbus.bus.schema import BusSchema
from lightbus.exceptions import OutboxRequired
from lightbus.insight.audit import Actor, acting
from lightbus.messages import EventMessage
from lightbus.values import dump_arguments


async def call(client: BusClient, api: str, name: str, kwargs: Mapping[str, Any], by: Actor) -> Any:
    """Call a procedure; return its result.

    Args:
        client: The bus.
        api: The API.
        name: The procedure.
        kwargs: The arguments. They are in no entry of the audit.
        by: Whoever does it.

    Raises:
        AuditRefused: It can't be noted.
        LightbusException: As those of :meth:`BusClient.call_rpc_remote`.
    """
    await client.load_contracts()
    async with acting(client, by, "call", f"{api}.{name}") as doing:
        doing.hides_errors = True
        return await client.call_rpc_remote(api, name, kwargs)


async def check_event(client: BusClient, api: str, name: str, kwargs: Mapping[str, Any]) -> None:
    """See that an event may be fired by hand, as :func:`fire` does, which raises the same; fire nothing."""
    await client.load_contracts()
    BusSchema(client.parts).validate_parameters(api, name, kwargs)
    if client.settings(api).outbox == "required":
        raise OutboxRequired(f"{api}.{name} goes through an outbox only, as apis.{api}.outbox says")


async def fire(
    client: BusClient, api: str, name: str, kwargs: Mapping[str, Any], version: int, by: Actor
) -> EventMessage:
    """Fire an event in the place of its owner; no plugin of that is asked.

    Args:
        client: The bus.
        api: The API.
        name: The event.
        kwargs: Its arguments, which its contract must allow. They are in no entry of the audit.
        version: The version of its arguments.
        by: Whoever does it.

    Raises:
        AuditRefused: It can't be noted.
        OutboxRequired: The manifest wants the events of this API to go through an outbox.
        LightbusException: The contract does not allow it, or the broker does not take it.
    """
    await check_event(client, api, name, kwargs)
    async with acting(client, by, "fire", f"{api}.{name}") as doing:
        doing.hides_errors = True
        message = EventMessage(api, name, dump_arguments(dict(kwargs), "event", api, name), version)
        transport = client.transports().event(api)
        await transport.publish([message], client.settings(api).event_fire_timeout)
        doing.did(message.id)
    return message
