"""The page of the audit: what people have done to the bus."""

from __future__ import annotations

from dataclasses import dataclass

from lightbus.insight.audit import Wanted, acts, details
from lightbus.insight.verdicts import Verdict, of_act
from lightbus.transports.audit import Act
from lightbus.web.asking import Asked, Screen

#: How many acts a page has.
_MOST = 50


@dataclass(frozen=True, slots=True)
class Acts:
    """A page of the audit.

    Args:
        acts: The acts, the newest first, each with how it ended and what else there is to say of it.
        action: The action that is meant, such as ``dlq``; empty for all.
        user: The user who is meant; empty for all.
        is_first: Whether no newer acts are on other pages.
        next: The id after which the next page begins; empty if there is none.
    """

    acts: list[tuple[Act, Verdict, str]]
    action: str
    user: str
    is_first: bool
    next: str


async def audit(asked: Asked) -> Acts:
    """Ask for a page; raises as :func:`lightbus.insight.audit.acts`."""
    action, user, before = map(asked.fields.text, ("action", "user", "before"))
    # One more than is shown tells whether there is another page.
    found = await acts(asked.client, Wanted(action=action, user=user), before=before, limit=_MOST + 1)
    shown = found[:_MOST]
    return Acts(
        [(act, of_act(act), "; ".join(details(act))) for act in shown],
        action,
        user,
        not before,
        shown[-1].id if len(found) > _MOST else "",
    )


SCREENS = (Screen(path="/audit", template="audit.html", title="Audit", make=audit, renews=False),)
