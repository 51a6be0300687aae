"""What an action is, and what comes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightbus.manifest.model import Permission
from lightbus.web.asking import Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of the form of an action.

    Args:
        name: Its name.
        label: What it is, in a word or two; left out, it is not shown and only kept.
        hint: What may be in it.
        is_required: Whether it must be filled in.
        is_long: Whether it has several lines.
    """

    name: str
    label: str = ""
    hint: str = ""
    is_required: bool = False
    is_long: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What an action would do, to be confirmed by whoever wants it.

    Args:
        sentences: What would become of what.
        typed: What has to be typed, such as the count of what would be gone; empty if a button is enough.
        code: What it would be done with, such as arguments as JSON, without what is hidden; may be empty.
        draft: The key of the form, where that is kept for the confirmation; empty where its fields tell all.
    """

    sentences: Sequence[str]
    typed: str = ""
    code: str = ""
    draft: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """Something was done, and another page tells of it.

    Args:
        sentence: What was done.
        to: The page, such as ``/listeners``, beneath the root of the console.
        is_good: Whether nothing of it has gone wrong.
    """

    sentence: str
    to: str
    is_good: bool = True


@dataclass(frozen=True, slots=True)
class Shown:
    """A page of its own, which is not kept anywhere: a secret that was revealed, or what a call has returned.

    Args:
        template: Its template, which extends ``base.html``.
        title: Its title.
        about: What the template shows.
        status: The status of HTTP.
    """

    template: str
    title: str
    about: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that may be done, at ``/actions/{name}``: its form is shown there, and is sent there.

    Args:
        name: Its name.
        permission: What somebody must be permitted, to do it.
        title: What it does, such as "Pause"; its button says the same.
        act: Does it. It gives ``by`` to what does it in ``insight``, which notes it in the audit before and
            after. What it raises as a LightbusException is shown as a sentence above the form.
        fields: Those of its form. The first one says to what it is done.
        plan: Says what would be done, or shows the form again with what is wrong with it; it is done only
            once that was confirmed. None if it does no harm.
        needs_reason: Whether a reason has to be given.
        back: Returns the page to which somebody goes who does not want it after all.
        most_fields: The most fields of its form.
    """

    name: str
    permission: Permission
    title: str
    act: Callable[[Asked], Awaitable[Done | Shown]]
    fields: Sequence[Field]
    plan: Callable[[Asked], Awaitable[Plan | Shown]] | None = None
    needs_reason: bool = False
    back: Callable[[Asked], str] = lambda asked: "/"
    most_fields: int = 50
