"""Sessions of browsers: each begins with a token, and lasts twelve hours at most."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any

from .hosts import is_loopback, name_of_host
from .rights import User
from .tokens import Tokens, digest

#: Seconds that a session lasts.
LASTS = 12 * 3600.0
#: By https a browser gives this name to no cookie that another host or an unsafe page has set.
SAFE = "__Host-lightbus"
#: By plain http, on this machine alone: a browser would refuse the other one.
PLAIN = "lightbus"
#: The most sessions; the oldest one makes room.
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Session:
    token: bytes
    until: float


class Sessions:
    """The sessions of this process; they end with it.

    Args:
        tokens: A session ends when its token is none any more.
        now: Returns the time in seconds.
    """

    def __init__(self, tokens: Tokens, now: Callable[[], float] = time.monotonic) -> None:
        self._tokens = tokens
        self._now = now
        self._held: dict[bytes, _Session] = {}

    def begin(self, token: str) -> str | None:
        """Begin a session, whose id nobody has known before; return it, or None without such a token."""
        if self._tokens.user(token) is None:
            return None
        while len(self._held) >= _MOST:
            del self._held[next(iter(self._held))]
        session_id = secrets.token_urlsafe(32)
        self._held[digest(session_id)] = _Session(digest(token), self._now() + LASTS)
        return session_id

    def user(self, scope: Mapping[str, Any]) -> User | None:
        """Return whose session a request belongs to."""
        for key in _ids(scope):
            session = self._held.get(key)
            if session is not None and self._now() < session.until:
                user = self._tokens.user_of(session.token)
                if user is not None:
                    return user
            self._held.pop(key, None)
        return None

    def end(self, scope: Mapping[str, Any]) -> None:
        """End the session that a request belongs to."""
        for key in _ids(scope):
            self._held.pop(key, None)


def cookie(session_id: str, *, is_safe: bool, lasts: float = LASTS) -> str:
    """Return the header that lets a browser keep a session.

    Args:
        session_id: The session; empty to forget it.
        is_safe: Whether the browser came by https.
        lasts: Seconds for which it keeps it.
    """
    name, secure = (SAFE, "; Secure") if is_safe else (PLAIN, "")
    return f"{name}={session_id}; Max-Age={lasts:.0f}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _ids(scope: Mapping[str, Any]) -> list[bytes]:
    """Return the sessions that a request names, as they are held."""
    names = (SAFE, PLAIN) if is_loopback(name_of_host(scope)) else (SAFE,)
    found = []
    for key, value in scope["headers"]:
        if key.lower() != b"cookie":
            continue
        try:
            cookies = SimpleCookie(value.decode("latin-1"))
        except CookieError:
            continue
        found += [digest(cookies[name].value) for name in names if name in cookies]
    return found
