"""Contracts as one AsyncAPI 3.0 document, for the tools that read those."""

from __future__ import annotations

from typing import Any

from .writing import repointed


def document(contracts: dict[str, dict[str, Any]], title: str, version: str) -> dict[str, Any]:
    """Return an AsyncAPI document, as seen by the owners of the APIs.

    Args:
        contracts: Contracts by API.
        title: The name of the bus or service that the document describes.
        version: Its version.
    """
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    components = _Components()
    for api, contract in sorted(contracts.items()):
        if contract["events"]:
            channels[f"{api}.events"] = _events(api, contract["events"], operations, components)
        if contract["rpcs"]:
            calls, answers = _rpcs(api, contract["rpcs"], operations, components)
            channels[f"{api}.calls"], channels[f"{api}.answers"] = calls, answers
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": components.messages, "schemas": components.schemas},
    }


class _Components:
    """The messages of a document, and the schemas that several places of a message share."""

    def __init__(self) -> None:
        self.messages: dict[str, Any] = {}
        self.schemas: dict[str, Any] = {}

    def add(self, name: str, title: str, schema: dict[str, Any]) -> dict[str, Any]:
        """Add a message and return a reference to it."""
        definitions = schema.get("definitions", {})
        names = {f"#/definitions/{d}": f"#/components/schemas/{name}.{d}" for d in definitions}
        for definition, inner in definitions.items():
            self.schemas[f"{name}.{definition}"] = repointed(inner, names)
        payload = {key: value for key, value in schema.items() if key not in ("definitions", "$schema")}
        self.messages[name] = {"name": name, "title": title, "payload": repointed(payload, names)}
        return {"$ref": f"#/components/messages/{name}"}


def _events(
    api: str, events: dict[str, Any], operations: dict[str, Any], components: _Components
) -> dict[str, Any]:
    messages = {}
    for name, entry in sorted(events.items()):
        messages[name] = components.add(f"{api}.{name}.event", f"{api}.{name}", entry["parameters"])
        operations[f"{api}.{name}.fire"] = {"action": "send", **_message(f"{api}.events", name)}
    return {
        "address": f"{api}.*:stream",
        "description": f"The events of {api}, in a Redis stream; the address is that of one stream per API.",
        "messages": messages,
    }


def _rpcs(
    api: str, rpcs: dict[str, Any], operations: dict[str, Any], components: _Components
) -> tuple[dict[str, Any], dict[str, Any]]:
    calls, answers = {}, {}
    for name, entry in sorted(rpcs.items()):
        full, title = f"{api}.{name}", f"{api}.{name}()"
        calls[name] = components.add(f"{full}.call", title, entry["parameters"])
        answers[name] = components.add(f"{full}.answer", f"The answer of {title}", entry["response"])
        reply = _message(f"{api}.answers", name)
        operations[f"{full}.serve"] = {"action": "receive", **_message(f"{api}.calls", name), "reply": reply}
    return (
        {"address": f"{api}:rpc_queue", "description": f"Calls of {api}.", "messages": calls},
        {
            "address": None,
            "description": f"Answers of {api}, in the list that each call names.",
            "messages": answers,
        },
    )


def _message(channel: str, name: str) -> dict[str, Any]:
    """Refer to a channel and to one of its messages."""
    place = f"#/channels/{channel}"
    return {"channel": {"$ref": place}, "messages": [{"$ref": f"{place}/messages/{name}"}]}
