"""The contract of one API, made from its definition."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from inspect import Parameter
from typing import Any, Final, get_args, get_origin

from lightbus.api import Definition, Event, Procedure, where
from lightbus.exceptions import MisconfiguredApiOptions
from lightbus.values import hints_of

from .hints import SchemaWriter
from .safety import DRAFT_07

_EMPTY: Final = Parameter.empty


def contract_of(definition: Definition) -> dict[str, Any]:
    """Return what an API's owner publishes.

    Args:
        definition: The API, as its class defines it.

    Returns:
        The contract, as JSON values.

    Raises:
        MisconfiguredApiOptions: A type hint can't be read, or stands for what can't travel over the bus.
    """
    api = definition.name
    return {
        "events": {
            name: {"parameters": event_parameters_schema(api, name, event)}
            for name, event in definition.events.items()
        },
        "rpcs": {
            name: {
                "parameters": rpc_parameters_schema(api, name, procedure),
                "response": rpc_response_schema(api, name, procedure),
            }
            for name, procedure in definition.procedures.items()
        },
    }


def event_parameters_schema(api_name: str, event_name: str, event: Event) -> dict[str, Any]:
    """Return the schema of an event's parameters.

    Args:
        api_name: The API's name.
        event_name: The event's name.
        event: The event.

    Returns:
        A complete schema.

    Raises:
        MisconfiguredApiOptions: A type hint stands for what can't travel over the bus.
    """
    parameters = [(p.name, p.type, p.default) for p in event.parameters]
    title = f"Event {api_name}.{event_name} parameters"
    return _parameters_schema(title, f"{api_name}.{event_name}", parameters, False)


def rpc_parameters_schema(api_name: str, procedure_name: str, procedure: Procedure) -> dict[str, Any]:
    """Return the schema of a procedure's parameters.

    Args:
        api_name: The API's name.
        procedure_name: The procedure's name.
        procedure: The procedure.

    Returns:
        A complete schema.

    Raises:
        MisconfiguredApiOptions: A type hint can't be read, or stands for what can't travel over the bus.
    """
    hints = hints_of(procedure.function)
    parameters, others = [], False
    for p in procedure.signature.parameters.values():
        if p.kind is p.VAR_KEYWORD:
            others = hints.get(p.name, True)
        elif p.kind is not p.VAR_POSITIONAL:
            parameters.append((p.name, hints.get(p.name, _EMPTY), p.default))
    title = f"RPC {api_name}.{procedure_name}() parameters"
    place = f"{where(procedure.function)}: {api_name}.{procedure_name}()"
    return _parameters_schema(title, place, parameters, others)


def rpc_response_schema(api_name: str, procedure_name: str, procedure: Procedure) -> dict[str, Any]:
    """Return the schema of what a procedure returns.

    Args:
        api_name: The API's name.
        procedure_name: The procedure's name.
        procedure: The procedure.

    Returns:
        A complete schema.

    Raises:
        MisconfiguredApiOptions: The type hint can't be read, or stands for what can't travel over the bus.
    """
    writer = SchemaWriter()
    try:
        schema = writer.schema(response_hint(hints_of(procedure.function)))
    except MisconfiguredApiOptions as e:
        place = f"{where(procedure.function)}: {api_name}.{procedure_name}()"
        raise MisconfiguredApiOptions(f"{place}: what it returns: {e}") from e
    return writer.finish(
        {"$schema": DRAFT_07, **schema, "title": f"RPC {api_name}.{procedure_name}() response"}
    )


def response_hint(hints: dict[str, Any]) -> Any:
    """Return the hint of a procedure's result, which may be wrapped as something to await."""
    hint = hints.get("return", Any)
    if get_origin(hint) in (Awaitable, Coroutine):
        return get_args(hint)[-1]
    return hint


def _parameters_schema(
    title: str, place: str, parameters: list[tuple[str, Any, Any]], others: Any
) -> dict[str, Any]:
    writer = SchemaWriter()
    properties = {}
    name = "**"
    try:
        additional = others if isinstance(others, bool) else writer.schema(others) or True
        for name, hint, default in parameters:
            if hint is _EMPTY and type(default) in (str, int, float, bool):
                hint = type(default)
            properties[name] = writer.schema(hint, default)
    except MisconfiguredApiOptions as e:
        raise MisconfiguredApiOptions(f"{place}: parameter {name}: {e}") from e
    return writer.finish(
        {
            "$schema": DRAFT_07,
            "type": "object",
            "title": title,
            "properties": properties,
            "required": [name for name, _, default in parameters if default is _EMPTY],
            "additionalProperties": additional,
        }
    )
