"""Where actions are asked for: whether somebody may, whether it is meant, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import RedirectResponse, Response

from lightbus.exceptions import (
    AuditRefused,
    InvalidParameters,
    LightbusException,
    LightbusTimeout,
    TransportUnavailable,
)
from lightbus.web.access.guard import Refused
from lightbus.web.asking import Asked
from lightbus.web.flashes import Flashes
from lightbus.web.rendering import Rendering

from .action import Action, Field, Plan, Shown

logger = logging.getLogger(__name__)

#: The status of HTTP for each kind of error; for another one, that what is there does not allow it.
_STATUSES = ((InvalidParameters, 422), ((AuditRefused, TransportUnavailable), 503), (LightbusTimeout, 504))
_NOT_ALLOWED = 409
#: The most letters of a reason.
_LONGEST_REASON = 500
_TEMPLATE = "action.html"


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why something was not done."""

    why: str
    status: int


class Desk:
    """Shows the forms of actions, and does what they say.

    Args:
        rendering: Makes pages.
        flashes: Keeps what was done for the page that tells of it.
    """

    def __init__(self, rendering: Rendering, flashes: Flashes) -> None:
        self._rendering = rendering
        self._flashes = flashes

    async def show(self, action: Action, asked: Asked, scope: Mapping[str, Any]) -> Response:
        """Return the form of an action, with what it would do where all is filled in that has to be."""
        _see_that_one_may(action, asked)
        return await self._form(action, asked, scope)

    async def take(self, action: Action, asked: Asked, scope: Mapping[str, Any]) -> Response:
        """Do what a form says, or ask first whether that is meant."""
        _see_that_one_may(action, asked)
        trouble = _unconfirmed(action, asked)
        if trouble is not None:
            return await self._form(action, asked, scope, trouble)
        try:
            done = await action.act(asked)
        except LightbusException as e:
            logger.info("%s by %s was not done: %s", action.name, asked.by.user, e)
            return await self._form(action, asked, scope, _trouble_of(e))
        if isinstance(done, Shown):
            return self._shown(done, asked, scope)
        to = self._flashes.say(done.sentence, done.to, asked.user, is_good=done.is_good)
        return RedirectResponse(self._rendering.root(scope) + to, 303)

    def _shown(self, it: Shown, asked: Asked, scope: Mapping[str, Any]) -> Response:
        about = {"title": it.title, **it.about}
        return self._rendering.page(scope, it.template, asked.user, it.status, **about)

    async def _form(
        self, action: Action, asked: Asked, scope: Mapping[str, Any], trouble: _Trouble | None = None
    ) -> Response:
        plan: Plan | Shown | None = None
        if action.plan is not None and not _missing(action, asked):
            try:
                plan = await action.plan(asked)
            except LightbusException as e:
                # Why it was not done comes before what is wrong with doing it again.
                trouble = trouble if trouble is not None and trouble.why else _trouble_of(e)
        if isinstance(plan, Shown):
            return self._shown(plan, asked, scope)
        about = {
            "title": action.title,
            "action": action,
            "asked": asked,
            "plan": plan,
            "target": asked.fields.text(action.fields[0].name),
            "back": action.back(asked),
            # With these fields a page has led here.
            "meant": {each.name: text for each, text in _texts(action, asked) if text and not each.label},
            # What nobody has asked for yet is no trouble.
            "trouble": trouble.why if trouble is not None else "",
        }
        return self._rendering.page(
            scope, _TEMPLATE, asked.user, trouble.status if trouble is not None else 200, **about
        )


def _see_that_one_may(action: Action, asked: Asked) -> None:
    """Refuse what somebody is not permitted, before anything is asked.

    Raises:
        Refused: They may not.
    """
    if action.name in asked.may:
        return
    logger.warning("%s was refused to %s from %s", action.name, asked.by.user, asked.by.address or "nowhere")
    role = asked.user.role
    if role is None:
        how = f"nobody may who has no role; web.allow can permit {action.permission}"
    else:
        how = f"the role {role} does not permit {action.permission}; web.roles says what it does"
    raise Refused(403, f"You may not do this: {how}. Nothing was done.")


def _unconfirmed(action: Action, asked: Asked) -> _Trouble | None:
    """Return why an action is not done yet: something is missing, or it was not confirmed."""
    missing = _missing(action, asked)
    if missing:
        return _Trouble(f"Fill in: {', '.join(missing)}.", 422)
    if len(asked.by.reason) > _LONGEST_REASON:
        return _Trouble(f"The reason has more than {_LONGEST_REASON} letters.", 422)
    fields = asked.fields
    if action.plan is not None and not fields.text("confirmed"):
        # This is how it is asked for: nothing is wrong.
        return _Trouble("", 200)
    typed, wanted = (fields.text(name, "yes").replace(",", "") for name in ("confirmed", "typed"))
    if action.plan is not None and typed != wanted:
        return _Trouble(f"Type {wanted} if you mean it. Nothing was done.", 422)
    if action.needs_reason and not asked.by.reason:
        return _Trouble("Say why; the audit shows it. Nothing was done.", 422)
    return None


def _missing(action: Action, asked: Asked) -> list[str]:
    """Return the labels of what has to be filled in and is not."""
    texts = _texts(action, asked)
    return [each.label or each.name for each, text in texts if each.is_required and not text]


def _texts(action: Action, asked: Asked) -> list[tuple[Field, str]]:
    """Return the fields of an action, each with what it has."""
    return [(each, asked.fields.text(each.name)) for each in action.fields]


def _trouble_of(error: LightbusException) -> _Trouble:
    status = next((status for kinds, status in _STATUSES if isinstance(error, kinds)), _NOT_ALLOWED)
    # As it is: it may begin with the name of a process.
    return _Trouble(f"{str(error).rstrip('.')}.", status)
