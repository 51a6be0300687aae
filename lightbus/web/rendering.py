"""Pages of templates, in which everything that comes from the bus is text."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from starlette.responses import HTMLResponse, Response

from lightbus import __version__

from .access.rights import User
from .files import digest_of
from .flashes import Flashes
from .words import FILTERS

_TEMPLATES = Path(__file__).parent / "templates"
#: Without eval and styles of its own, which the policy forbids; and some refusals have a page to show.
_HTMX = {
    "allowEval": False,
    "allowScriptTags": False,
    "includeIndicatorStyles": False,
    "selfRequestsOnly": True,
    "historyCacheSize": 0,
    "refreshOnHistoryMiss": True,
    "responseHandling": [
        {"code": "204", "swap": False},
        # Each refusal, and each call that did not end well, is a page.
        {"code": "[245]..", "swap": True},
        {"code": "...", "swap": False, "error": True},
    ],
}


@cache
def _templates() -> jinja2.Environment:
    """Return the templates, which are the same for all consoles of a process."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters.update(FILTERS)
    found.globals |= {"digest_of": digest_of, "htmx": json.dumps(_HTMX), "version": __version__}
    return found


def prepare() -> None:
    """Read all templates, so that the first page of each kind need not wait for that."""
    for name in _templates().list_templates():
        _templates().get_template(name)


def part(template: str, **about: Any) -> str:
    """Return what is no whole page.

    Args:
        template: Its template.
        about: What the template shows.
    """
    return _templates().get_template(template).render(about)


class Rendering:
    """Makes pages.

    Args:
        refresh: Seconds after which a page is renewed.
        has_login: Whether there are sessions, which one may end.
        may: Returns the names of the actions that somebody may take.
        flashes: What was done, for the page that tells of it.
        navigation: The pages that each page leads to.
    """

    def __init__(
        self,
        refresh: float,
        *,
        has_login: bool,
        may: Callable[[User], frozenset[str]],
        flashes: Flashes,
        navigation: Sequence[tuple[str, str]],
    ) -> None:
        self._about = {"refresh": refresh, "has_login": has_login, "navigation": navigation}
        self._may = may
        self._flashes = flashes

    @staticmethod
    def root(scope: Mapping[str, Any]) -> str:
        """Return the path beneath which the console is, without a slash at its end."""
        return str(scope.get("root_path", "")).rstrip("/")

    def page(
        self, scope: Mapping[str, Any], template: str, user: User | None, status: int = 200, **about: Any
    ) -> Response:
        """Return the answer with a page.

        Args:
            scope: The scope of the request.
            template: The page's template.
            user: Who looks.
            status: The status.
            about: What the template shows.
        """
        known = {
            **self._about,
            "root": self.root(scope),
            "user": user,
            "may": self._may(user) if user is not None else frozenset(),
            "said": self._flashes.said(scope.get("query_string", b""), user),
            "now": time.time(),
            "renews": True,
        }
        text = _templates().get_template(template).render(known, **about)
        return HTMLResponse(text, status)

    def login(self, scope: Mapping[str, Any], wrong: str = "") -> Response:
        """Return the page that asks for a token.

        Args:
            scope: The scope of the request.
            wrong: What was wrong with the one before.
        """
        response = self.page(scope, "login.html", None, 401, title="Log in", wrong=wrong)
        response.headers["WWW-Authenticate"] = 'Bearer realm="lightbus"'
        return response

    def error(self, scope: Mapping[str, Any], status: int, why: str, user: User | None = None) -> Response:
        """Return a page that says why there is no other."""
        return self.page(scope, "error.html", user, status, title="Not shown", why=why, code=status)
