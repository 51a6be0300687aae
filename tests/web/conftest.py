"""What the tests of the console share: one in this process, asked as a browser asks."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from lightbus.manifest.load import load
from lightbus.manifest.model import Manifest
from lightbus.web import Resolve, app, looks
from tests.host.conftest import bench as bench
from tests.host.conftest import in_process as in_process

NOBODY = "redis://127.0.0.1:1/0"
ORIGIN = "http://localhost:8098"
#: What a page of the console sends.
OURS = {
    "Origin": ORIGIN,
    "Sec-Fetch-Site": "same-origin",
    "X-Lightbus-Console": "1",
    "HX-Request": "true",
}
#: Tokens of people.
ANN, BOB, EVE = (f"{name}-0123456789abcdefghij" for name in ("ann", "bob", "eve"))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that is held up for a moment does not count as away, but where a test is about that."""
    monkeypatch.setattr(looks, "_PATIENCE", 20.0)


def manifest(*settings: str, url: str = NOBODY) -> Manifest:
    """A manifest of nothing but settings."""
    return load(overrides=[f"bus.redis.url={url}", *settings], environ={}, look_around=False)


@contextlib.asynccontextmanager
async def browsing(
    *settings: str,
    url: str = NOBODY,
    resolve: Resolve | None = None,
    origin: str = ORIGIN,
    client: str = "127.0.0.1",
) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody who looks at a console of this process."""
    console = app(manifest(*settings, url=url), resolve)
    try:
        async with visitor(console, origin, client) as it:
            yield it
    finally:
        await console.close_async()


def visitor(console: Any, origin: str = ORIGIN, client: str = "127.0.0.1") -> httpx2.AsyncClient:
    """Somebody who looks at a console; errors are for the server, and not for the test."""
    transport = httpx2.ASGITransport(app=console, raise_app_exceptions=False, client=(client, 40_000))
    return httpx2.AsyncClient(transport=transport, base_url=origin)
