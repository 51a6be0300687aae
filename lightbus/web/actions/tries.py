"""Calling a procedure and firing an event, by a form that was made from its contract."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import quote

from lightbus.exceptions import AuditRefused, InvalidParameters, LightbusException, ValidationError
from lightbus.insight.control.tries import call, fire
from lightbus.insight.masking import Masked
from lightbus.web.asking import Asked
from lightbus.web.pages.trying.filled import filled_in
from lightbus.web.pages.trying.page import Outcome, Trying, form_of, refilled
from lightbus.web.pages.trying.said import as_command, as_python

from .action import Action, Field, Shown

#: The statuses of HTTP where it was not done, and where the other side failed.
_UNFIT, _FAILED = 422, 502
#: The most fields of such a form.
_MOST_FIELDS = 500


@dataclass(frozen=True, slots=True)
class _Try:
    """A form that was filled in.

    Args:
        form: The form.
        kwargs: The arguments.
        masked: What may be shown of these.
    """

    form: Trying
    kwargs: dict[str, Any]
    masked: Masked

    def shown(self, asked: Asked, outcome: Outcome, status: int = 200) -> Shown:
        """Return the page that says what came of it, with the form to try again."""
        form, seen = self.form, self.masked.value
        given = refilled(asked.fields.values, self.masked)
        said = replace(
            outcome,
            command=as_command(form.verb, form.target, seen),
            python=as_python(form.verb, form.target, seen),
        )
        about = {"it": replace(form, given=given), "outcome": said, "name": form.target}
        return Shown("tried.html", "Try", about, status)


async def _call(asked: Asked) -> Shown:
    read = await _read(asked, "call")
    if isinstance(read, Shown):
        return read
    form, masking = read.form, asked.looks.masking
    try:
        result = await call(asked.client, form.api, form.name, read.kwargs, asked.by)
    except AuditRefused:
        raise
    except LightbusException as e:
        return read.shown(asked, Outcome(error=read.masked.text(str(e))), _status_of(e))
    seen = masking.result(form.api, form.name, result).value
    return read.shown(asked, Outcome(result=json.dumps(seen, ensure_ascii=False, indent=2)))


async def _fire(asked: Asked) -> Shown:
    read = await _read(asked, "fire")
    if isinstance(read, Shown):
        return read
    version = asked.fields.text("version") or "1"
    if not version.isdecimal() or len(version) > 9:
        return read.shown(asked, Outcome(error="The version is a number, such as 1."), _UNFIT)
    form = read.form
    try:
        message = await fire(asked.client, form.api, form.name, read.kwargs, int(version), asked.by)
    except AuditRefused:
        raise
    except LightbusException as e:
        return read.shown(asked, Outcome(error=read.masked.text(str(e))), _status_of(e))
    return read.shown(asked, Outcome(event_id=message.id))


async def _read(asked: Asked, verb: Literal["call", "fire"]) -> _Try | Shown:
    """Read the form; return the page that says what is wrong with it, if something is.

    Raises:
        InvalidParameters: There is no such procedure or event.
    """
    target = asked.fields.text("target")
    form = await form_of(asked, target)
    if form is None or form.verb != verb:
        what = "procedure" if verb == "call" else "event"
        raise InvalidParameters(f"no contract on the bus has the {what} {target}")
    try:
        kwargs = filled_in(form.fields, asked.fields.values)
    except InvalidParameters as e:
        # What is hidden can't be told in a form that can't be read, so that nothing of it is shown again.
        about = {"it": form, "outcome": Outcome(error=str(e)), "name": form.target}
        return Shown("tried.html", "Try", about, _UNFIT)
    masking = asked.looks.masking
    masked = (masking.call if verb == "call" else masking.event)(form.api, form.name, kwargs)
    return _Try(form, kwargs, masked)


def _status_of(error: LightbusException) -> int:
    return _UNFIT if isinstance(error, ValidationError) else _FAILED


def _action(name: Literal["call", "fire"], title: str, act: Callable[[Asked], Awaitable[Shown]]) -> Action:
    return Action(
        name=name,
        permission=name,
        title=title,
        act=act,
        fields=(
            Field(name="target", label="Of", hint="Such as auth.check_password.", is_required=True),
            Field(name="json", label="Arguments", hint="All of them, as a JSON object.", is_long=True),
        ),
        back=lambda asked: f"/try/{quote(asked.fields.text('target'))}",
        most_fields=_MOST_FIELDS,
    )


ACTIONS = (_action("call", "Call", _call), _action("fire", "Fire", _fire))
