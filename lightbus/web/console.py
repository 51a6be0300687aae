"""The console as an ASGI application."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from lightbus.exceptions import ConfigurationError
from lightbus.insight.traffic.numbers import as_prometheus, numbers, state_of
from lightbus.insight.traffic.pace import Paces
from lightbus.manifest.model import Manifest

from .files import static_files
from .guard import Guard, Receive, Refused, Send
from .hosts import is_loopback, known_names, name_of_host
from .looks import Look, Looks
from .pages import apis, calls, graph, home, listeners, schedules, services
from .rendering import Rendering
from .sessions import cookie
from .tokens import Tokens
from .users import ByProxy, ByToken, Door, Embedded, Open, Resolve, User

logger = logging.getLogger(__name__)

#: Makes what a page shows of a look at the bus and of the name in its address; None if there is none such.
Make = Callable[[Look, Paces, str], Any]
#: The address, template and title of each page that shows what is on the bus, and what makes it.
PAGES: Sequence[tuple[str, str, str, Make]] = (
    ("/", "home.html", "Overview", home.home),
    ("/services/{name:path}", "service.html", "Service", services.service),
    ("/apis/{name:path}", "api.html", "API", apis.api),
    ("/listeners", "listeners.html", "Listeners", listeners.listeners),
    ("/listeners/{name:path}", "listener.html", "Listener", listeners.listener),
    ("/calls", "calls.html", "Calls", calls.calls),
    ("/schedules", "schedules.html", "Schedules", schedules.schedules),
    ("/graph", "graph.html", "Graph", graph.graph),
)
#: The most fields of a form.
_MOST_FIELDS = 20
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
        self._looks = Looks(manifest)
        self._door = _door(manifest, resolve)
        self._rendering = Rendering(options.refresh, has_login=self._door.has_login)
        pages = Starlette(
            routes=[
                *(self._route(*each) for each in PAGES),
                Route("/metrics", self._metrics),
                Route("/login", self._log_in, methods=["POST"]),
                Route("/logout", self._log_out, methods=["POST"]),
                Mount("/static", static_files()),
            ],
            exception_handlers={
                HTTPException: self._not_found,
                Refused: self._refused,
                Exception: self._failed,
            },
            lifespan=self._lifespan,
        )
        # Whom an application has let in by cookies of its own, no other name of the host has.
        names = known_names(options.listen, options.hosts) if resolve is None or options.hosts else None
        self._guard = Guard(pages, self._answer_refused, options.root_path, names)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        await self._guard(scope, receive, send)

    async def close_async(self) -> None:
        """Leave the bus; a server of its own does this at its end, and one that it is mounted in does not."""
        await self._looks.close()

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self.close_async()

    def _route(self, path: str, template: str, title: str, make: Make) -> Route:
        """Return the route of a page that shows what is on the bus."""

        async def answer(request: Request) -> Response:
            user = await self._user(request)
            name = str(request.path_params.get("name", request.query_params.get("focus", "")))
            seen = await self._looks.look()
            it = make(seen.value, self._looks.paces, name) if seen.value is not None else None
            if it is None and seen.value is not None:
                why = f"There is no {title.lower()} {name} on the bus now."
                return self._rendering.error(request.scope, 404, why, user)
            about = {"title": title, "name": name, "seen": seen, "it": it}
            return self._rendering.page(request.scope, template, user, 503 if it is None else 200, **about)

        return Route(path, answer)

    async def _metrics(self, request: Request) -> Response:
        """Answer a collector of metrics: with numbers of the whole bus."""
        await self._user(request)
        seen = await self._looks.look()
        age = time.time() - seen.at if seen.value is not None else None
        families = [*state_of(age, is_readable=not seen.trouble)]
        if seen.value is not None and not seen.trouble:
            # Where it can't be read, old numbers would look like new ones.
            families += numbers(seen.value.overview, self._looks.paces)
        return Response(as_prometheus(families), media_type="text/plain; version=0.0.4")

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
        kept = cookie(session_id, is_safe=origin.scheme == "https")
        return Response(status_code=204, headers={"HX-Refresh": "true", "Set-Cookie": kept})

    async def _log_out(self, request: Request) -> Response:
        if isinstance(self._door, ByToken):
            self._door.sessions.end(request.scope)
        response = Response(status_code=204, headers={"HX-Refresh": "true"})
        for is_safe in (True, False):
            response.headers.append("Set-Cookie", cookie("", is_safe=is_safe, lasts=0))
        return response

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

    async def _failed(self, request: Request, error: Exception) -> Response:
        # The server logs it.
        return self._rendering.error(
            request.scope, 500, "The page can't be shown; the log of the console says why."
        )

    def _answer_refused(self, scope: Mapping[str, Any], error: Refused) -> Response:
        return self._rendering.error(scope, error.status, error.why)


async def _form(request: Request) -> dict[str, list[str]]:
    """Return the fields of a form.

    Raises:
        Refused: It is none, or too long.
    """
    try:
        return parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS)
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
        return ByProxy(options.user_header, options.trusted_proxies)
    if options.auth == "token":
        try:
            return ByToken(Tokens(options.token_file or ""))
        except ConfigurationError as e:
            place = manifest.origin("web.token_file")
            raise ConfigurationError(f"{place or 'the manifest'}  web.token_file: {e}") from None
    return Open()
