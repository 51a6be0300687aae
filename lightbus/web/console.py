"""The console as an ASGI application."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping, MutableMapping
from contextlib import ExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route

from lightbus.exceptions import ConfigurationError, LightbusException, TransportUnavailable
from lightbus.insight.audit import Actor
from lightbus.manifest.model import Manifest
from lightbus.runtime.tasks import Precedence

from .access.guard import Guard, Message, Receive, Refused, Send
from .access.hosts import is_loopback, known_names, name_of_host
from .access.rights import Rights, User
from .access.sessions import cookie
from .access.tokens import Tokens
from .access.users import ByProxy, ByToken, Door, Embedded, Open, Resolve
from .actions.action import Action
from .actions.desk import Desk
from .actions.drafts import Drafts
from .asking import Asked, Fields, Long, Screen, View
from .contents import ACTIONS, NAVIGATION, SCREENS, VIEWS
from .files import static_files
from .flashes import SAID, Flashes
from .looks import Looks
from .reading import Kept, Seen
from .rendering import Rendering, prepare

logger = logging.getLogger(__name__)

#: The most fields of a form.
_MOST_FIELDS = 20
#: And of the query in an address.
_MOST_ASKED = 100
#: Seconds that the first look may keep a server from being ready: pages wait for the rest of it.
_FIRST = 3.0
#: The name in the audit of somebody who was not asked for one.
_NOBODY_KNOWN = "anonymous"
_SENTENCES = {
    404: "There is no such page. The console begins at its first page.",
    405: "This page takes no such request.",
}


class Console:
    """The console, to be served or mounted; made by :func:`lightbus.web.app`.

    Args:
        manifest: The manifest.
        resolve: Says who sends a request; None for what ``web.auth`` says.
    """

    def __init__(self, manifest: Manifest, resolve: Resolve | None = None) -> None:
        options = manifest.web
        self._manifest = manifest
        self._precedence = Precedence()
        self._looks = Looks(manifest, self._precedence)
        self._kept = Kept()
        self._is_ending = False
        self._door = _door(manifest, resolve)
        self._rights = Rights(options)
        self._drafts = Drafts()
        flashes = Flashes()
        self._rendering = Rendering(
            options.refresh,
            has_login=self._door.has_login,
            may=self._may,
            flashes=flashes,
            navigation=NAVIGATION,
        )
        self._desk = Desk(self._rendering, flashes)
        #: The routes to all that it shows and does.
        self.routes: list[BaseRoute] = [
            *(self._screen_route(each) for each in SCREENS),
            *(self._route(each) for each in VIEWS),
            *(self._action_route(each) for each in ACTIONS),
            Route("/login", self._log_in, methods=["POST"]),
            Route("/logout", self._log_out, methods=["POST"]),
            Mount("/static", static_files()),
        ]
        pages = Starlette(
            routes=self.routes,
            exception_handlers={
                HTTPException: self._not_found,
                Refused: self._refused,
                ClientDisconnect: self._left,
                Exception: self._failed,
            },
            lifespan=self._lifespan,
        )
        # Whom an application has let in by cookies of its own, no other name of the host has.
        names = known_names(options.listen, options.hosts) if resolve is None or options.hosts else None
        self._guard = Guard(pages, self._answer_refused, options.root_path, names)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] != "http":
            await self._guard(scope, receive, send)
            return
        with ExitStack() as until_answered:
            until_answered.enter_context(self._precedence.urgent())

            async def answer(message: Message) -> None:
                # What comes after the head of an answer may have no end.
                until_answered.close()
                await send(message)

            await self._guard(scope, receive, answer)

    async def get_ready(self) -> None:
        """Do what the first pages would wait for; a server calls this before anybody asks."""
        prepare()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST):
                await self._looks.look()

    def end_streams(self) -> None:
        """End the answers that would go on for ever: a server that stops waits for all answers."""
        self._is_ending = True

    async def close_async(self) -> None:
        """Leave the bus; a server of its own does this at its end, and one that it is mounted in does not."""
        self.end_streams()
        await self._looks.close()

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        # What another console, or this one before it was killed, has left undone.
        self._looks.errands.wake()
        try:
            yield
        finally:
            await self.close_async()

    def _route(self, view: View) -> Route:
        """Return the route of a page that shows what is on the bus."""

        async def answer(request: Request) -> Response:
            user = await self._user(request)
            name = str(request.path_params.get("name", request.query_params.get("focus", "")))
            seen = await (self._looks.look_at_letters() if view.shows_letters else self._looks.look())
            it = view.make(seen.value, self._looks.paces, name) if seen.value is not None else None
            if it is None and seen.value is not None:
                why = f"There is no {view.title.lower()} {name} on the bus now."
                return self._rendering.error(request.scope, 404, why, user)
            it = it.part(_query(request)) if isinstance(it, Long) else it
            about = {"title": view.title, "name": name, "seen": seen, "it": it}
            status = 503 if it is None else 200
            return self._rendering.page(request.scope, view.template, user, status, **about)

        return Route(view.path, answer)

    def _screen_route(self, screen: Screen) -> Route:
        """Return the route of a page that asks the bus itself."""

        async def answer(request: Request) -> Response:
            user = await self._user(request)
            if screen.permission is not None and screen.permission not in self._rights.of(user):
                needed = f"it needs {screen.permission}, by web.roles or web.allow"
                raise Refused(403, f"You may not see this: {needed}.")
            asked = self._asked(request, user, _query(request))
            try:
                seen = await self._seen(screen, asked)
            except LightbusException as e:
                return self._rendering.error(request.scope, 422, str(e), user)
            it = seen.value
            if isinstance(it, StreamingResponse):
                it.body_iterator = self._while_known(request, it.body_iterator)
            if isinstance(it, Response):
                return it
            if it is None and not seen.trouble:
                why = f"There is no {screen.title.lower()} {asked.name} on the bus now."
                return self._rendering.error(request.scope, 404, why, user)
            about = {"title": screen.title, "name": asked.name, "seen": seen, "it": it, "asked": asked}
            status = 503 if it is None else 200
            # One that can't be asked for goes on by itself.
            renews = screen.renews or bool(seen.trouble)
            return self._rendering.page(request.scope, screen.template, user, status, renews=renews, **about)

        return Route(screen.path, answer)

    async def _seen(self, screen: Screen, asked: Asked) -> Seen[Any]:
        """Ask the bus for a page; while it can't be asked, return what the page has shown last.

        Raises:
            LightbusException: It can't be shown for another reason.
        """
        words = tuple((name, *values) for name, values in asked.fields.values.items() if name != SAID)
        key = (screen.path, asked.name, words)
        before = self._kept.last(key)
        # Else each page would find out by itself, which takes seconds where a broker does not say anything.
        trouble = (await self._looks.look()).trouble if before is not None else ""
        if before is not None and trouble:
            return replace(before, trouble=trouble)
        try:
            seen = Seen(await screen.make(asked), time.time())
        except TransportUnavailable as e:
            return replace(before or Seen(), trouble=str(e))
        if seen.value is not None and not isinstance(seen.value, Response):
            self._kept.keep(key, seen)
        return seen

    def _action_route(self, action: Action) -> Route:
        """Return the route of an action: its form, and what is sent by that."""

        async def answer(request: Request) -> Response:
            user = await self._user(request)
            if request.method != "POST":
                return await self._desk.show(
                    action, self._asked(request, user, _query(request)), request.scope
                )
            form = Fields(await _form(request, action.most_fields))
            try:
                return await self._desk.take(action, self._asked(request, user, form), request.scope)
            finally:
                self._looks.renew()

        return Route(f"/actions/{action.name}", answer, methods=["GET", "POST"])

    def _asked(self, request: Request, user: User, fields: Fields) -> Asked:
        by = Actor(
            user=user.name or _NOBODY_KNOWN,
            role=user.role or "",
            origin="console",
            address=self._door.address(request.scope),
            reason=fields.text("because"),
        )
        name = str(request.path_params.get("name", ""))
        root = self._rendering.root(request.scope)
        may = self._may(user)
        return Asked(self._looks, self._manifest, user, may, by, name, fields, self._drafts, root)

    async def _while_known(self, request: Request, parts: AsyncIterable[Any]) -> AsyncIterator[Any]:
        """Go through an answer that may have no end, as long as whoever gets it may look."""
        async with aclosing(cast(Any, parts)) as coming:
            async for part in coming:
                if self._is_ending or await self._door.user(request.scope) is None:
                    return
                yield part

    def _may(self, user: User) -> frozenset[str]:
        """Return the names of the actions that somebody may take."""
        permitted = self._rights.of(user)
        return frozenset(action.name for action in ACTIONS if action.permission in permitted)

    async def _user(self, request: Request) -> User:
        """Return who sends a request.

        Raises:
            Refused: Nobody who may look.
        """
        user = await self._door.user(request.scope)
        if user is None:
            raise Refused(
                401 if self._door.has_login else 403,
                "" if self._door.has_login else "You are not known here, so there is nothing to be seen.",
            )
        return user

    async def _log_in(self, request: Request) -> Response:
        if not isinstance(self._door, ByToken):
            raise HTTPException(404)
        origin = urlsplit(request.headers.get("origin", ""))
        if origin.scheme != "https" and not is_loopback(name_of_host(request.scope)):
            raise Refused(
                403,
                "A token must not travel by plain http, where others can read it. Open the console by https; "
                "the proxy before it has to keep the headers Host and Origin.",
            )
        form = await _form(request)
        session_id = self._door.log_in(form.get("token", [""])[0].strip())
        if session_id is None:
            client = request.client.host if request.client else "somebody"
            logger.warning("a wrong token was given to the console from %s", client)
            return self._rendering.login(request.scope, "There is no such token.")
        self._door.sessions.end(request.scope)
        response = self._anew(request)
        response.headers["Set-Cookie"] = cookie(session_id, is_safe=origin.scheme == "https")
        return response

    async def _log_out(self, request: Request) -> Response:
        if isinstance(self._door, ByToken):
            self._door.sessions.end(request.scope)
        response = self._anew(request)
        for is_safe in (True, False):
            response.headers.append("Set-Cookie", cookie("", is_safe=is_safe, lasts=0))
        return response

    def _anew(self, request: Request) -> Response:
        """Return the answer that lets a browser show the page anew, with a script or without one."""
        if "hx-request" in request.headers:
            return Response(status_code=204, headers={"HX-Refresh": "true"})
        return RedirectResponse(f"{self._rendering.root(request.scope)}/", 303)

    async def _not_found(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return self._rendering.error(
            request.scope, status, _SENTENCES.get(status, "That was not understood.")
        )

    async def _refused(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, Refused):
            raise error
        if error.status == 401:
            return self._rendering.login(request.scope)
        return self._rendering.error(request.scope, error.status, error.why)

    async def _left(self, request: Request, error: Exception) -> Response:
        # Nobody gets it: whoever has begun to send a form is gone.
        return Response(status_code=400)

    async def _failed(self, request: Request, error: Exception) -> Response:
        # The server logs it.
        return self._rendering.error(
            request.scope, 500, "The page can't be shown; the log of the console says why."
        )

    def _answer_refused(self, scope: Mapping[str, Any], error: Refused) -> Response:
        return self._rendering.error(scope, error.status, error.why)


async def _form(request: Request, most: int = _MOST_FIELDS) -> dict[str, list[str]]:
    """Return the fields of a form; raises as :func:`_parsed`."""
    return _parsed((await request.body()).decode("utf-8", "replace"), most)


def _query(request: Request) -> Fields:
    """Return the fields of the query in an address; raises as :func:`_parsed`."""
    return Fields(_parsed(request.scope["query_string"].decode("latin-1"), _MOST_ASKED))


def _parsed(text: str, most: int = _MOST_FIELDS) -> dict[str, list[str]]:
    """Return the fields of a form or of a query.

    Raises:
        Refused: It is none, or has too many fields.
    """
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=most)
    except ValueError:
        raise Refused(400, "The form was not understood, so nothing was done.") from None


def _door(manifest: Manifest, resolve: Resolve | None) -> Door:
    """Return the way in.

    Raises:
        ConfigurationError: The file of tokens can't be used.
    """
    options = manifest.web
    if resolve is not None:
        return Embedded(resolve)
    if options.auth == "proxy":
        return ByProxy(options.user_header, options.trusted_proxies, options.role_header or "")
    if options.auth == "token":
        try:
            return ByToken(Tokens(options.token_file or "", options.roles))
        except ConfigurationError as e:
            place = manifest.origin("web.token_file")
            raise ConfigurationError(f"{place or 'the manifest'}  web.token_file: {e}") from None
    return Open()
