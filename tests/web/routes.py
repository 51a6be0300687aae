"""Each route of the console, as somebody asks for it: from the list of routes, so that none is left out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from starlette.routing import Mount, Route

from lightbus.transports.redis.keys import queue_key
from lightbus.web import app
from lightbus.web.console import Console
from lightbus.web.contents import ACTIONS, SCREENS
from tests.support.servers import Server
from tests.web.bus import show_group
from tests.web.conftest import manifest, visitor
from tests.web.test_dead import PLACE, put_aside
from tests.web.test_events import prepare
from tests.web.test_roles import FORMS

#: Of each route to look at, an address that leads there on the bus of :func:`tests.web.bus.shop`.
ADDRESSES: Mapping[str, str] = {
    "/": "/",
    "/services/{name:path}": "/services/shop",
    "/apis/{name:path}": "/apis/auth",
    "/listeners": "/listeners",
    "/listeners/{name:path}": "/listeners/shop-mailer",
    "/calls": "/calls",
    "/schedules": "/schedules",
    "/graph": "/graph",
    "/events": "/events",
    "/events.jsonl": "/events.jsonl",
    "/events/{name:path}": "/events/id-0",
    "/tail": "/tail",
    "/tail/stream": "/tail/stream",
    "/dead": "/dead",
    "/dead/list": "/dead/list",
    "/dead/letter": f"/dead/letter?{urlencode(PLACE)}",
    "/dead/export": f"/dead/export?{urlencode({'confirmed': '1', 'because': 'a report'})}",
    "/try/{name:path}": "/try/auth.user_registered",
    "/contracts/{name:path}": "/contracts/auth",
    "/audit": "/audit",
    "/metrics": "/metrics",
    "/static": "/static/console.css",
}
#: What is sent to routes that are no actions.
SENT: Mapping[str, Mapping[str, str]] = {"/login": {"token": "nonsense-nonsense-nonsense"}, "/logout": {}}


@dataclass(frozen=True)
class Wish:
    """A request.

    Args:
        method: ``GET`` or ``POST``.
        path: The address.
        form: What is sent.
        needs: The permission that it takes; empty if everybody may who looks, and None where nobody is asked.
    """

    method: str
    path: str
    form: Mapping[str, str] = field(default_factory=dict)
    needs: str | None = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def wishes(console: Console) -> Iterator[Wish]:
    """Go through a request for each route and each method.

    Raises:
        KeyError: Nobody has said how a new route is asked for.
    """
    permitted = {f"/actions/{action.name}": action for action in ACTIONS}
    screens = {screen.path: screen.permission or "" for screen in SCREENS}
    for route in console.routes:
        if isinstance(route, Mount):
            yield Wish("GET", ADDRESSES[route.path], needs=None)
            continue
        assert isinstance(route, Route)
        action = permitted.get(route.path)
        for method in sorted((route.methods or set()) - {"HEAD"}):
            if action is not None:
                form = FORMS[action.name]
                query = f"?{urlencode(form)}" if method == "GET" else ""
                sent = form if method == "POST" else {}
                yield Wish(method, route.path + query, sent, action.permission)
            elif method == "GET":
                yield Wish(method, ADDRESSES[route.path], needs=screens.get(route.path, ""))
            else:
                yield Wish(method, route.path, SENT[route.path], None)


@asynccontextmanager
async def asking(*settings: str, url: str = "", **more: Any) -> AsyncIterator[tuple[Console, Any]]:
    """A console, and somebody who asks it."""
    console = app(manifest(*settings, **({"url": url} if url else {})), **more)
    try:
        async with visitor(console) as browser:
            yield console, browser
    finally:
        await console.close_async()


async def everything(server: Server) -> None:
    """A bus on which every page has something to show, and much to hide."""
    server.execute("FLUSHALL")
    prepare(server, 3)
    contract = json.loads(server.execute("GET", "schema:auth"))
    put_aside(server)
    show_group(server, "shop-welcome")
    events = json.loads(server.execute("GET", "schema:auth"))["events"] | contract["events"]
    procedure = {"parameters": events["user_registered"]["parameters"], "response": {"type": "boolean"}}
    both = {"rpcs": {"check_password": procedure}, "events": events}
    server.execute("SET", "schema:auth", json.dumps(both))
    call = {"metadata": {"id": "1", "api_name": "auth", "procedure_name": "check_password"}}
    sent = {**call, "kwargs": {"email": "canary@example.com", "username": "canary@example.com"}}
    server.execute("RPUSH", queue_key("auth"), json.dumps(sent))
