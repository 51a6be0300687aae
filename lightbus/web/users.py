"""Who looks at the console: everybody, somebody with a token, or whom others have let in."""

from __future__ import annotations

import inspect
import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .sessions import Sessions
from .tokens import Tokens

#: An ASGI scope.
Scope = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who looks at the console.

    Args:
        name: The name by which others know them.
    """

    name: str


#: Says who sends a request; None for nobody who may look.
Resolve = Callable[[Scope], User | Awaitable[User | None] | None]


class Door(Protocol):
    """A way in."""

    #: Whether somebody who is not known may log in here.
    has_login: bool

    async def user(self, scope: Scope) -> User | None:
        """Return who sends a request; None for nobody who may look."""


class Open:
    """Lets everybody in who reaches it."""

    has_login = False

    async def user(self, scope: Scope) -> User | None:
        """Return the user without a name."""
        return User("")


class Embedded:
    """Asks the application that the console is a part of."""

    has_login = False

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    async def user(self, scope: Scope) -> User | None:
        """Return whom the application names."""
        found = self._resolve(scope)
        return await found if inspect.isawaitable(found) else found


class ByProxy:
    """Believes a header, if it comes from a proxy that is trusted.

    Args:
        header: Its name.
        networks: The addresses of those proxies.
    """

    has_login = False

    def __init__(self, header: str, networks: Sequence[str]) -> None:
        self._header = header.lower().encode()
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]

    async def user(self, scope: Scope) -> User | None:
        """Return whom the proxy names."""
        if not self._is_trusted((scope.get("client") or ("",))[0]):
            return None
        named = headers(scope, self._header)
        # Of several, one may be the visitor's own.
        return User(named[0]) if len(named) == 1 and named[0] else None

    def _is_trusted(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


class ByToken:
    """Lets in whoever has a token: as a bearer, or once for a session of a browser."""

    has_login = True

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.sessions = Sessions(tokens)

    async def user(self, scope: Scope) -> User | None:
        """Return whose token, or whose session, it is."""
        given = headers(scope, b"authorization")
        if given:
            name = self._tokens.name(bearer(given[0])) if len(given) == 1 else None
        else:
            name = self.sessions.name(scope)
        return User(name) if name is not None else None

    def log_in(self, token: str) -> str | None:
        """Begin a session; return its id, or None if there is no such token."""
        return self.sessions.begin(token)


def bearer(header: str) -> str:
    """Return the token of an Authorization header; empty if it has none."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def headers(scope: Scope, name: bytes) -> list[str]:
    """Return the values of a header, as they came."""
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key.lower() == name]
