"""Sentences about what was done, which the next page shows to whoever has done it, and to nobody else."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from .access.rights import User

#: The most that are kept, and for how many seconds.
_MOST, _KEPT = 1_000, 600.0
#: The name under which the address of a page has the key of one.
SAID = "said"


@dataclass(frozen=True, slots=True)
class Flash:
    """Something that was done.

    Args:
        sentence: What.
        at: When, as a Unix time.
        is_good: Whether nothing of it has gone wrong.
        user: By whom.
    """

    sentence: str
    at: float
    is_good: bool
    user: User


class Flashes:
    """Keeps what is said for as long as somebody may look at it.

    Args:
        now: Returns the time, as a Unix time.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._kept: dict[str, Flash] = {}

    def say(self, sentence: str, path: str, user: User, *, is_good: bool) -> str:
        """Keep a sentence; return the address of a page with the key of the sentence."""
        while len(self._kept) >= _MOST:
            del self._kept[next(iter(self._kept))]
        key = secrets.token_urlsafe(12)
        self._kept[key] = Flash(sentence, self._now(), is_good, user)
        page, hash_, place = path.partition("#")
        return f"{page}{'&' if '?' in page else '?'}{SAID}={key}{hash_}{place}"

    def said(self, query: bytes, user: User | None) -> Flash | None:
        """Return what the query of an address names, if it was said to this user, and not long ago."""
        if b"said=" not in query:
            return None
        try:
            key = parse_qs(query.decode("latin-1"), max_num_fields=100).get(SAID, [""])[-1]
        except ValueError:
            return None
        found = self._kept.get(key)
        if found is None or found.user != user or self._now() - found.at > _KEPT:
            return None
        return found
