"""The files of pages: styles, scripts and the icon, with names that change with what is in them."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "static"
#: A browser may keep a file for so long as its address has its digest.
_KEPT = "public, max-age=31536000, immutable"


@cache
def digest_of(name: str) -> str:
    """Return what tells the content of a file from that of another version."""
    return hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]


class _Kept(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == 200 and scope["query_string"] == f"v={digest_of(path)}".encode():
            response.headers["Cache-Control"] = _KEPT
        return response


def static_files() -> StaticFiles:
    """Return the application that serves them."""
    return _Kept(directory=FOLDER)
