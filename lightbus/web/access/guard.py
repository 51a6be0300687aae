"""What stands before every page: it refuses what no page of ours sends, and keeps browsers from harm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from .hosts import host_of, name_of_host
from .users import bearer, headers

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

#: A header that only our own pages send; others' may not without being asked first.
OURS = b"x-lightbus-console"
#: The most bytes of what is sent to it.
MOST_BYTES = 64 * 1024
#: Seconds for a client to send the rest of a request, or to take a piece of the answer.
_PATIENCE = 10.0
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not "no-referrer": then a browser says "null" for the origin of its own form.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Refused(Exception):
    """A request that is not answered.

    Args:
        status: The status of HTTP.
        why: Says to people why, and what to do.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class Guard:
    """Stands before an application.

    Args:
        app: The application.
        refuse: Makes the answer to a request that is refused.
        root_path: The path beneath which a proxy shows it.
        names: The names by which it may be reached; None for any.
    """

    def __init__(
        self,
        app: App,
        refuse: Callable[[Mapping[str, Any], Refused], App],
        root_path: str,
        names: frozenset[str] | None,
    ) -> None:
        self._app = app
        self._refuse = refuse
        self._root_path = root_path
        self._names = names

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = self._beneath(scope)
        send = _with_headers(send)
        try:
            self._look_at(scope)
        except Refused as e:
            await self._refuse(scope, e)(scope, receive, send)
            return
        await self._app(scope, _limited(receive), send)

    def _beneath(self, scope: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Put the pages beneath the path that a proxy shows, whether it has stripped that or not."""
        root = self._root_path
        if not root or scope.get("root_path"):
            return scope
        path = scope["path"]
        is_whole = path == root or path.startswith(f"{root}/")
        return {**scope, "root_path": root, "path": path if is_whole else root + path}

    def _look_at(self, scope: Mapping[str, Any]) -> None:
        name = name_of_host(scope)
        if self._names is not None and name not in self._names:
            shown = name[:100] or "without a name"
            raise Refused(
                421,
                f"The console does not answer to the name {shown}. If that is one of its names, start it "
                f"with --host {shown}, or add it to web.hosts in the manifest.",
            )
        length = headers(scope, b"content-length")
        if length and length[0].isdecimal() and int(length[0][:20]) > MOST_BYTES:
            raise _too_long()
        # No browser sends a bearer's token by itself, as it does with cookies and passwords.
        is_script = any(map(bearer, headers(scope, b"authorization")))
        if scope["method"] not in _SAFE_METHODS and not is_script:
            self._see_that_it_is_ours(scope)

    def _see_that_it_is_ours(self, scope: Mapping[str, Any]) -> None:
        """Refuse what a page of another origin may have sent, with the cookies of this one."""
        site, origin = headers(scope, b"sec-fetch-site"), headers(scope, b"origin")
        if site:
            is_ours = site == ["same-origin"]
        else:
            is_ours = len(origin) == 1 and urlsplit(origin[0]).netloc.lower() == host_of(scope)
        # A form of ours that is sent without a script has no header of ours; but only browsers say this, and
        # no script can.
        is_form = bool(site) and headers(scope, b"sec-fetch-mode") == ["navigate"]
        if not is_ours or not (is_form or headers(scope, OURS)):
            raise Refused(
                403,
                "This was not sent by a page of the console, so nothing was done. Open the console anew and "
                "try again; a script sends its token in the header Authorization: Bearer.",
            )


def _limited(receive: Receive) -> Receive:
    """Let a client send no more than is allowed, and not for ever."""
    received, is_whole, until = 0, False, None

    async def receive_in_time() -> Message:
        nonlocal received, is_whole, until
        # All of it together: piece by piece, somebody could take hours.
        until = until or asyncio.get_running_loop().time() + _PATIENCE
        # Once all is there, it is waited for that the client goes away.
        message = await (receive() if is_whole else _before(until, receive))
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            is_whole = not message.get("more_body")
            if received > MOST_BYTES:
                raise _too_long()
        return message

    return receive_in_time


async def _before(until: float, receive: Receive) -> Message:
    try:
        async with asyncio.timeout_at(until):
            return await receive()
    except TimeoutError:
        raise Refused(408, "The request took too long to arrive; send it again.") from None


def _with_headers(send: Send) -> Send:
    """Add to an answer what keeps a browser from harm, and give up on a client that does not take it."""

    async def send_in_time(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {key.lower() for key, _ in message.get("headers", ())}
            extra = {**_HEADERS, "cache-control": "no-store"}
            added = [(k.encode(), v.encode()) for k, v in extra.items() if k.encode() not in given]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        async with asyncio.timeout(_PATIENCE):
            await send(message)

    return send_in_time


def _too_long() -> Refused:
    return Refused(413, f"What was sent is longer than {MOST_BYTES // 1024} KiB, and nothing was done.")
