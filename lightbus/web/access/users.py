"""Who looks at the console: everybody, somebody with a token, or whom others have let in."""

from __future__ import annotations

import inspect
import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from .rights import User
from .sessions import Sessions
from .tokens import Tokens

#: An ASGI scope.
Scope = Mapping[str, Any]


#: Says who sends a request; None for nobody who may look.
Resolve = Callable[[Scope], User | Awaitable[User | None] | None]


class Door(Protocol):
    """A way in."""

    #: Whether somebody who is not known may log in here.
    has_login: bool

    async def user(self, scope: Scope) -> User | None:
        """Return who sends a request; None for nobody who may look."""

    def address(self, scope: Scope) -> str:
        """Return from where it comes, as far as that is known."""
        return client_of(scope)


class Open(Door):
    """Lets everybody in who reaches it."""

    has_login = False

    async def user(self, scope: Scope) -> User | None:
        """Return the user without a name."""
        return User("")


class Embedded(Door):
    """Asks the application that the console is a part of."""

    has_login = False

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    async def user(self, scope: Scope) -> User | None:
        """Return whom the application names."""
        found = self._resolve(scope)
        return await found if inspect.isawaitable(found) else found


class ByProxy(Door):
    """Believes a header, if it comes from a proxy that is trusted.

    Args:
        header: Its name.
        networks: The addresses of those proxies.
        role_header: The name of the one with the role; empty where none is believed.
    """

    has_login = False

    def __init__(self, header: str, networks: Sequence[str], role_header: str = "") -> None:
        self._header = header.lower().encode()
        self._role_header = role_header.lower().encode()
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]

    async def user(self, scope: Scope) -> User | None:
        """Return whom the proxy names."""
        if not self._is_trusted(client_of(scope)):
            return None
        named = headers(scope, self._header)
        # Of several, one may be the visitor's own.
        if len(named) != 1 or not named[0]:
            return None
        roles = headers(scope, self._role_header) if self._role_header else []
        # A role that can't be told is one that nobody knows, and may do nothing.
        return User(named[0], roles[0] or None if len(roles) == 1 else "" if roles else None)

    def address(self, scope: Scope) -> str:
        """Return from where it came to the proxy, which adds that to a header."""
        client = client_of(scope)
        told = headers(scope, b"x-forwarded-for") if self._is_trusted(client) else []
        return told[-1].rpartition(",")[2].strip() if told else client

    def _is_trusted(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


class ByToken(Door):
    """Lets in whoever has a token: as a bearer, or once for a session of a browser."""

    has_login = True

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.sessions = Sessions(tokens)

    async def user(self, scope: Scope) -> User | None:
        """Return whose token, or whose session, it is."""
        given = headers(scope, b"authorization")
        if given:
            return self._tokens.user(bearer(given[0])) if len(given) == 1 else None
        return self.sessions.user(scope)

    def log_in(self, token: str) -> str | None:
        """Begin a session; return its id, or None if there is no such token."""
        return self.sessions.begin(token)


def client_of(scope: Scope) -> str:
    """Return the address of whoever has connected; empty if it is not known."""
    return str((scope.get("client") or ("",))[0])


def bearer(header: str) -> str:
    """Return the token of an Authorization header; empty if it has none."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def headers(scope: Scope, name: bytes) -> list[str]:
    """Return the values of a header, as they came."""
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key.lower() == name]
