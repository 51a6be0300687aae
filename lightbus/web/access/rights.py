"""Users of the console, and what each of them may do besides looking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lightbus.manifest.model import WebOptions


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who looks at the console.

    Args:
        name: The name by which others know them.
        role: Their role, which says what they may do; None for what everybody may.
    """

    name: str
    role: str | None = None


class Rights:
    """Says who may do what.

    Args:
        options: Those of the console.
    """

    def __init__(self, options: WebOptions) -> None:
        self._for_all = frozenset[str](options.allow)
        self._by_role: Mapping[str, frozenset[str]] = {
            role: frozenset(permissions) for role, permissions in options.roles.items()
        }

    def of(self, user: User) -> frozenset[str]:
        """Return what somebody may do; nothing if nobody knows their role."""
        if user.role is None:
            return self._for_all
        return self._by_role.get(user.role, frozenset())
