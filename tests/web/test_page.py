"""The code of the page of the console is run: a console as a part of an application of one's own."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lightbus.web.access.guard import Receive, Send
from tests.support.servers import Server

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "console.md"


@pytest.mark.parametrize(
    ("session", "status"), [({"user": "ann", "is_staff": True}, 200), ({"user": "bob"}, 403), ({}, 403)]
)
async def test_an_application_shows_the_console_to_its_own_staff(
    session: dict[str, object],
    status: int,
    redis_server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "lightbus.yaml").write_text(f"bus: {{redis: {{url: '{redis_server.url}'}}}}\n")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await names["app"]({**scope, "session": session}, receive, send)

    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://shop.example") as visitor:
        answer = await visitor.get("/bus/")
    assert answer.status_code == status
    assert ("No process is on the bus" in answer.text) == (status == 200)
