"""Calling a procedure and firing an event, by a form that was made from its contract."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import quote

from lightbus.exceptions import AuditRefused, InvalidParameters, LightbusException, ValidationError
from lightbus.insight.control.tries import call, check_event, fire
from lightbus.insight.masking import Masked, restore
from lightbus.web.asking import Asked, Fields
from lightbus.web.pages.trying.filled import filled_in
from lightbus.web.pages.trying.page import Outcome, Trying, alike, form_of, refilled
from lightbus.web.pages.trying.said import as_command, as_python

from .action import Action, Field, Plan, Shown

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
        typed: What may be shown of them as they were typed, with masks that stand for what is hidden.
        fields: The fields of the form.
    """

    form: Trying
    kwargs: dict[str, Any]
    masked: Masked
    typed: Masked
    fields: Fields

    @property
    def version(self) -> int:
        """The version of the event.

        Raises:
            InvalidParameters: It is no number.
        """
        text = self.fields.text("version") or "1"
        if not text.isdecimal() or len(text) > 9:
            raise InvalidParameters("The version is a number, such as 1.")
        return int(text)

    def shown(self, outcome: Outcome, status: int = 200) -> Shown:
        """Return the page that says what came of it, with the form to try again."""
        form, seen = self.form, self.masked.value
        given = refilled(self.fields.values, self.typed)
        said = replace(
            outcome,
            command=as_command(form.verb, form.target, seen),
            python=as_python(form.verb, form.target, seen),
        )
        about = {"it": replace(form, given=given), "outcome": said, "name": form.target}
        return Shown("tried.html", "Try", about, status)

    def failed(self, error: LightbusException) -> Shown:
        """Return the page that says why it did not end well."""
        status = _UNFIT if isinstance(error, InvalidParameters | ValidationError) else _FAILED
        return self.shown(Outcome(error=self.masked.text(str(error))), status)


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
        return read.failed(e)
    seen = masking.result(form.api, form.name, result).value
    return read.shown(Outcome(result=json.dumps(seen, ensure_ascii=False, indent=2)))


async def _plan_fire(asked: Asked) -> Plan | Shown:
    read = await _read(asked, "fire")
    if isinstance(read, Shown):
        return read
    form = read.form
    try:
        version = read.version
        await check_event(asked.client, form.api, form.name, read.kwargs)
    except LightbusException as e:
        return read.failed(e)
    reached = ", ".join(f"{name} of {service}" for service, name in form.reaches)
    return Plan(
        [
            f"{form.target} in version {version} is fired, as if its owner had fired it.",
            f"It reaches {reached}." if reached else "No process shows a listener that asks for it.",
        ],
        code=json.dumps(read.masked.value, ensure_ascii=False, indent=2),
        draft=asked.drafts.keep(read.fields.values, asked.user),
    )


async def _fire(asked: Asked) -> Shown:
    read = await _read(asked, "fire")
    if isinstance(read, Shown):
        return read
    form = read.form
    try:
        message = await fire(asked.client, form.api, form.name, read.kwargs, read.version, asked.by)
    except AuditRefused:
        if key := asked.fields.text("draft"):
            # It was not done, so that it may be confirmed once more.
            asked.drafts.keep(read.fields.values, asked.user, key)
        raise
    except LightbusException as e:
        return read.failed(e)
    return read.shown(Outcome(event_id=message.id))


def _drafted(asked: Asked) -> Asked:
    """Return what was asked with the fields of the form that is confirmed, where that was kept.

    Raises:
        InvalidParameters: It is not kept any more.
    """
    key = asked.fields.text("draft")
    if not key:
        return asked
    values = asked.drafts.take(key, asked.user)
    if values is None:
        raise InvalidParameters(
            "this form was confirmed before, or is kept no longer; nothing was done, so fill it in once more"
        )
    return replace(asked, fields=Fields(values))


async def _read(asked: Asked, verb: Literal["call", "fire"]) -> _Try | Shown:
    """Read the form, or the one that is confirmed; return the page that says what is wrong with it.

    Raises:
        InvalidParameters: There is no such procedure or event, or what is confirmed is not kept any more.
        LightbusException: The event that it was filled in like is gone.
    """
    if verb == "fire":
        asked = _drafted(asked)
    target = asked.fields.text("target")
    form = await form_of(asked, target)
    if form is None or form.verb != verb:
        what = "procedure" if verb == "call" else "event"
        raise InvalidParameters(f"no contract on the bus has the {what} {target}")
    try:
        kwargs = filled_in(form.fields, asked.fields.values)
    except InvalidParameters as e:
        # What is hidden can't be told in a form that can't be read, so that nothing of it is shown again.
        return _unfit(form, str(e))
    masking = asked.looks.masking
    mask = masking.call if verb == "call" else masking.event
    typed = mask(form.api, form.name, kwargs)
    if form.like:
        message = await alike(asked, form)
        try:
            kwargs = restore(kwargs, masking.message(message).kwargs, message.kwargs)
        except InvalidParameters as e:
            form = replace(form, given=refilled(asked.fields.values, typed))
            return _unfit(form, str(e))
    return _Try(form, kwargs, mask(form.api, form.name, kwargs), typed, asked.fields)


def _unfit(form: Trying, why: str) -> Shown:
    """Return the page that says what is wrong with a form that was filled in."""
    about = {"it": form, "outcome": Outcome(error=why), "name": form.target}
    return Shown("tried.html", "Try", about, _UNFIT)


def _to_form(asked: Asked) -> str:
    return f"/try/{quote(asked.fields.text('target'))}"


ACTIONS = (
    Action(
        name="call",
        permission="call",
        title="Call",
        act=_call,
        fields=(
            Field(name="target", label="Of", hint="Such as auth.check_password.", is_required=True),
            Field(name="json", label="Arguments", hint="All of them, as a JSON object.", is_long=True),
        ),
        back=_to_form,
        most_fields=_MOST_FIELDS,
    ),
    Action(
        name="fire",
        permission="fire",
        title="Fire",
        act=_fire,
        plan=_plan_fire,
        fields=(Field(name="target", is_required=True),),
        back=_to_form,
        most_fields=_MOST_FIELDS,
    ),
)
