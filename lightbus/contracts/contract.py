"""The contract of one API, made from its definition."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Coroutine, Iterable
from functools import lru_cache
from typing import Any, get_args, get_origin

from lightbus.declared.definition import EMPTY, Definition, Procedure, where
from lightbus.exceptions import MisconfiguredApiOptions
from lightbus.values import hints_of

from .docstrings import Docs, docs_of, docs_of_attributes
from .safety import DRAFT_07
from .writing import CLASS, SchemaWriter

logger = logging.getLogger(__name__)


def contract_of(definition: Definition) -> dict[str, Any]:
    """Return what an API's owner publishes.

    Args:
        definition: The API, as its class defines it.

    Raises:
        MisconfiguredApiOptions: A type hint can't be read, or stands for what can't travel over the bus.
    """
    api, events = definition.name, {}
    below = _docs_of_events(definition)
    for name, event in definition.events.items():
        parameters = [(p.name, p.type, p.default) for p in event.parameters]
        place = f"{where(definition.cls)}: {api}.{name}"
        writer = SchemaWriter("events")
        schema = _parameters(f"Event {api}.{name} parameters", place, parameters, writer)
        events[name] = {"parameters": _described(schema, below.get(name, Docs()))}
    rpcs = {n: _rpc(api, n, p) for n, p in definition.procedures.items()}
    return {**_note(docs_of(definition.cls.__doc__).text), "events": events, "rpcs": rpcs}


def _docs_of_events(definition: Definition) -> dict[str, Docs]:
    if not definition.events:
        return {}
    bases = [base for base in reversed(definition.cls.__mro__) if hasattr(base, "__lightbus__")]
    return {name: docs for base in bases for name, docs in docs_of_attributes(base).items()}


def _described(schema: dict[str, Any], docs: Docs) -> dict[str, Any]:
    """Add to the schema of parameters what a docstring says of them."""
    properties = schema["properties"]
    for name in properties.keys() & docs.parameters.keys():
        properties[name] = {**properties[name], **_note(docs.parameters[name])}
    return {**schema, **_note(docs.text)}


def _note(text: str) -> dict[str, str]:
    return {"description": text} if text else {}


def _rpc(api: str, name: str, procedure: Procedure) -> dict[str, Any]:
    place = f"{where(procedure.function)}: {api}.{name}()"
    hints = hints_of(procedure.function)
    parameters, others = [], False
    for p in procedure.signature.parameters.values():
        if p.kind is p.VAR_KEYWORD:
            others = hints.get(p.name, True)
        elif p.kind is not p.VAR_POSITIONAL:
            parameters.append((p.name, hints.get(p.name, EMPTY), p.default))
    result = hints.get("return", Any)
    if get_origin(result) in (Awaitable, Coroutine):
        result = get_args(result)[-1]
    writer = SchemaWriter("answers")
    response = _located(f"{place}: what it returns", writer, result)
    docs = docs_of(procedure.function.__doc__)
    titles = {"title": f"RPC {api}.{name}() response"}
    if "title" in response:
        titles[CLASS] = response["title"]
    response = {"$schema": DRAFT_07, **response, **titles, **_note(docs.returns)}
    title = f"RPC {api}.{name}() parameters"
    return {
        "parameters": _described(_parameters(title, place, parameters, SchemaWriter(), others), docs),
        "response": writer.finish(response),
    }


def _parameters(
    title: str,
    place: str,
    parameters: Iterable[tuple[str, Any, Any]],
    writer: SchemaWriter,
    others: Any = False,
) -> dict[str, Any]:
    """Return the schema of parameters: name, hint and default of each, and the hint of ``**kwargs``."""
    if not isinstance(others, bool):
        others = _located(f"{place}: parameter **", writer, others) or True
    properties, required = {}, []
    for name, hint, default in parameters:
        if hint is EMPTY and type(default) in (str, int, float, bool):
            hint = type(default)
        properties[name] = _located(f"{place}: parameter {name}", writer, hint, default)
        if default is EMPTY:
            required.append(name)
    return writer.finish(
        {
            "$schema": DRAFT_07,
            "type": "object",
            "title": title,
            "properties": properties,
            "required": required,
            "additionalProperties": others,
        }
    )


def _located(place: str, writer: SchemaWriter, hint: Any, default: Any = EMPTY) -> dict[str, Any]:
    """Write a schema; what can't be written is an error that says where, and what is not known a warning."""
    try:
        schema = writer.schema(hint, default)
    except MisconfiguredApiOptions as e:
        raise MisconfiguredApiOptions(f"{place}: {e}") from e
    for name, what in writer.unknown.items():
        warn_of_hint(place, name, what)
    writer.unknown.clear()
    return schema


@lru_cache(maxsize=1024)
def warn_of_hint(place: str, hint: str, what: str) -> None:
    """Tell of a hint once in a process, however many buses it has.

    Args:
        place: The code that has it.
        hint: Its name.
        what: What is done with its values, as a part of a sentence.
    """
    logger.warning(
        "%s: the type hint %s %s; use a dataclass or another supported type, or give the class __to_bus__() "
        "and __from_bus__()",
        place, hint, what,
    )  # fmt: skip
