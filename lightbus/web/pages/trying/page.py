"""The page on which a procedure is called or an event fired, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from starlette.responses import JSONResponse, Response

from lightbus import __version__
from lightbus.contracts.asyncapi import document
from lightbus.contracts.clients.module import module_of
from lightbus.exceptions import InvalidParameters, LightbusException
from lightbus.insight.masking import MASK, Masked
from lightbus.insight.traffic.pages import find
from lightbus.messages import EventMessage
from lightbus.transports.cards import Card
from lightbus.web.asking import Asked, Fields, Screen

from .fields import Field, example_of, fields_of
from .filled import WHOLE, filled_in
from .said import as_command, as_python


@dataclass(frozen=True, slots=True)
class Trying:
    """The form.

    Args:
        verb: ``call`` or ``fire``.
        api: The API.
        name: The procedure or event.
        fields: The fields.
        given: What they have, by their paths.
        schema: The contract of the arguments.
        reaches: The listeners that get an event, each as service and name.
        like: The id of an event whose hidden values take the place of the masks in the form; empty for none.
        at: The broker's id of that event.
    """

    verb: Literal["call", "fire"]
    api: str
    name: str
    fields: tuple[Field, ...]
    given: Mapping[str, str]
    schema: Mapping[str, Any]
    reaches: Sequence[tuple[str, str]] = ()
    like: str = ""
    at: str = ""

    @property
    def target(self) -> str:
        """The API and the name, with a dot between."""
        return f"{self.api}.{self.name}"

    @property
    def example(self) -> Any:
        """Arguments that most likely fit."""
        found = example_of(self.schema, self.schema)
        return found if isinstance(found, dict) else {}

    @property
    def example_json(self) -> str:
        """The example, as it is typed."""
        return json.dumps(self.example, ensure_ascii=False, indent=2)

    @property
    def command(self) -> str:
        """The example as a command."""
        return as_command(self.verb, self.target, self.example)

    @property
    def python(self) -> str:
        """The example as Python."""
        return as_python(self.verb, self.target, self.example)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, without what is hidden.

    Args:
        command: The command that does the same.
        python: The Python that does the same.
        result: The result as JSON; empty if it did not end well.
        error: Why it did not; empty if it did.
        event_id: The id of the event that was fired.
    """

    command: str = ""
    python: str = ""
    result: str = ""
    error: str = ""
    event_id: str = ""


async def trying(asked: Asked) -> Trying | None:
    """Return the form for what the address names; None if no contract on the bus has it.

    Raises:
        LightbusException: It is to be filled in like an event that is gone.
    """
    drafted = asked.drafts.look(asked.fields.text("draft"), asked.user)
    if drafted is not None:
        return await _left(replace(asked, fields=Fields(drafted)))
    form = await form_of(asked, asked.name)
    if form is None or not form.like:
        return form
    message = await alike(asked, form)
    shown = asked.looks.masking.message(message).kwargs
    return replace(form, given={WHOLE: json.dumps(shown, ensure_ascii=False, indent=2)})


async def _left(asked: Asked) -> Trying | None:
    """Return the form that somebody has filled in, where its event was not fired after all.

    Raises:
        InvalidParameters: The contract is another one by now, and it does not fit that.
    """
    form = await form_of(asked, asked.name)
    if form is None:
        return None
    values = asked.fields.values
    typed = asked.looks.masking.event(form.api, form.name, filled_in(form.fields, values))
    return replace(form, given=refilled(values, typed))


async def alike(asked: Asked, form: Trying) -> EventMessage:
    """Return the event that a form is to be filled in like.

    Raises:
        LightbusException: It is gone, or another event.
    """
    message = await find(asked.client, asked.api_names, form.like, form.at or None)
    if message is None or message.canonical_name != form.target:
        raise LightbusException(f"the brokers have no event {form.like} of {form.target} any more")
    return message


async def form_of(asked: Asked, target: str) -> Trying | None:
    """Return the form of a procedure or an event; None if no contract on the bus has it.

    Args:
        asked: Who asks.
        target: The API and the name, with a dot between.
    """
    look = (await asked.looks.look()).value
    api, _, name = target.rpartition(".")
    contract = look.contracts.get(api, {}) if look is not None else {}
    for verb, kind in (("call", "rpcs"), ("fire", "events")):
        entry = contract.get(kind, {}).get(name)
        if look is not None and isinstance(entry, Mapping):
            schema = entry.get("parameters", {})
            reaches = _reached(look.cards, api, name) if verb == "fire" else ()
            known: Literal["call", "fire"] = "call" if verb == "call" else "fire"
            like = [asked.fields.text(each) if verb == "fire" else "" for each in ("like", "at")]
            return Trying(known, api, name, fields_of(schema), {}, schema, reaches, *like)
    return None


def refilled(given: Mapping[str, Sequence[str]], masked: Masked) -> dict[str, str]:
    """Return what may be shown of a form that was filled in: nothing with a hidden value in it.

    Args:
        given: The fields.
        masked: What may be shown of the arguments.
    """
    texts = {name: values[0] for name, values in given.items() if values}
    is_hidden = any(value != MASK for value in masked.hidden)
    if texts.get(WHOLE, "").strip():
        # The other fields may have anything in them: nobody has looked.
        return {} if is_hidden else {WHOLE: texts[WHOLE]}
    return {name: text for name, text in texts.items() if not is_hidden or text in masked.shown}


async def download(asked: Asked) -> Response | None:
    """Return the contract of an API as a file: as it is, as AsyncAPI, or as a typed client."""
    look = (await asked.looks.look()).value
    contract = look.contracts.get(asked.name) if look is not None else None
    if contract is None:
        return None
    form = asked.fields.text("as", "json")
    own = {asked.name: dict(contract)}
    if form == "asyncapi":
        return JSONResponse(document(own, asked.name, __version__), headers=_file("asyncapi.json"))
    if form == "python":
        code = module_of(own, version=__version__)
        return Response(code, media_type="text/x-python; charset=utf-8", headers=_file("bus_types.py"))
    if form != "json":
        raise InvalidParameters(f"there is no {form!r}; as=json, as=asyncapi and as=python are there")
    return JSONResponse(own, headers=_file("contract.json"))


def _file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _reached(cards: Iterable[Card], api: str, event: str) -> list[tuple[str, str]]:
    wanted = {f"{api}.{event}", f"{api}.*"}
    listening = ((card, it) for card in cards for it in card.listeners if it.enabled)
    return sorted({(card.service, it.name) for card, it in listening if wanted & set(it.events)})


SCREENS = (
    Screen(path="/try/{name:path}", template="try.html", title="Try", make=trying, renews=False),
    Screen(path="/contracts/{name:path}", template="", title="Contract", make=download, renews=False),
)
