"""Forms that are to be confirmed: kept here, so that no page shows again what is hidden in them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lightbus.web.access.rights import User

#: The most that are kept, and for how many seconds.
_MOST, _KEPT = 100, 900.0

Values = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A form: its fields, by whom and when it was filled in."""

    values: Values
    user: User
    at: float


class Drafts:
    """Keeps forms until whoever has filled them in confirms them.

    Args:
        now: Returns the time in seconds, by any clock that does not go back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._kept: dict[str, _Draft] = {}

    def keep(self, values: Values, user: User, key: str = "") -> str:
        """Keep a form; return its key, which may be the one that it had before."""
        while len(self._kept) >= _MOST:
            del self._kept[next(iter(self._kept))]
        key = key or secrets.token_urlsafe(12)
        self._kept[key] = _Draft(values, user, self._now())
        return key

    def look(self, key: str, user: User) -> Values | None:
        """Return a form; None if this user has none such."""
        found = self._kept.get(key)
        if found is None or found.user != user or self._now() - found.at > _KEPT:
            return None
        return found.values

    def take(self, key: str, user: User) -> Values | None:
        """Return a form, and keep it no longer: it is confirmed once. None if this user has none such."""
        values = self.look(key, user)
        if values is not None:
            del self._kept[key]
        return values
