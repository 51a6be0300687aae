"""What is refused before any page is made, and what keeps a browser from harm."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from lightbus.web import User, app
from lightbus.web.access import guard
from lightbus.web.access.guard import MOST_BYTES
from tests.web.conftest import OURS, browsing, manifest, visitor

LOGIN = ("web.auth=token", "web.token_file=tests/web/tokens.txt")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8098", 503),  # Redis is away, so the page has nothing to show.
        ("127.0.0.1", 503),
        ("[::1]:8098", 503),
        ("LOCALHOST", 503),
        ("localhost.", 503),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.nip.io", 421),
        ("127.0.0.1@evil.example", 421),
        ("127.0.0.2", 421),
        ("", 421),
        ("<script>alert(1)</script>", 421),
        ("localhost:8098:1", 421),
    ],
)
async def test_only_names_of_the_console_are_answered_to(host: str, status: int) -> None:
    async with browsing() as browser:
        answer = await browser.get("/", headers={"Host": host})
    assert answer.status_code == status
    assert "<script>alert" not in answer.text
    if status == 421:
        assert "web.hosts" in answer.text and "lightbus" not in answer.headers.get("set-cookie", "")


async def test_a_configured_name_is_answered_to() -> None:
    async with browsing("web.hosts=bus.example.com") as browser:
        assert (await browser.get("/", headers={"Host": "bus.example.com"})).status_code == 503
        assert (await browser.get("/", headers={"Host": "other.example.com"})).status_code == 421


async def test_the_address_it_listens_at_is_answered_to() -> None:
    settings = ("web.listen=10.1.2.3:8098", "web.auth=proxy", "web.trusted_proxies=10.0.0.0/8")
    async with browsing(*settings) as browser:
        assert (await browser.get("/", headers={"Host": "10.1.2.3:8098"})).status_code == 403
        assert (await browser.get("/", headers={"Host": "10.1.2.4:8098"})).status_code == 421


WITHOUT: dict[str, str | None] = {"Sec-Fetch-Site": None}


@pytest.mark.parametrize(
    ("changed", "is_taken"),
    [
        ({}, True),
        (WITHOUT, True),  # an old browser, whose Origin is ours
        ({**WITHOUT, "Origin": "http://LOCALHOST:8098"}, True),
        ({"X-Lightbus-Console": None}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({**WITHOUT, "Origin": "http://evil.example"}, False),
        ({**WITHOUT, "Origin": "http://localhost:8099"}, False),
        ({**WITHOUT, "Origin": "http://localhost:8098.evil.example"}, False),
        ({**WITHOUT, "Origin": "null"}, False),
        ({**WITHOUT, "Origin": None}, False),
        ({**WITHOUT, "Origin": None, "Referer": "http://localhost:8098/"}, False),
        # A browser sends the password of a proxy before it by itself.
        ({"Sec-Fetch-Site": "cross-site", "Authorization": "Basic YTpi"}, False),
        # No browser sends a token by itself.
        ({"Sec-Fetch-Site": "cross-site", "Authorization": "Bearer abc"}, True),
    ],
)
async def test_only_pages_of_the_console_change_anything(
    changed: dict[str, str | None], is_taken: bool
) -> None:
    sent = {name: value for name, value in {**OURS, **changed}.items() if value is not None}
    async with browsing(*LOGIN) as browser:
        answer = await browser.post("/logout", headers=sent)
    assert (answer.status_code == 204) is is_taken
    if not is_taken:
        assert answer.status_code == 403
        assert "so nothing was done" in answer.text and "set-cookie" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"])
async def test_another_method_does_nothing(method: str) -> None:
    async with browsing(*LOGIN) as browser:
        answer = await browser.request(method, "/logout", headers=OURS)
    assert answer.status_code == 405 and "set-cookie" not in answer.headers


async def test_more_than_is_allowed_is_not_read_to_its_end() -> None:
    sent = 0

    async def pieces() -> Any:
        nonlocal sent
        while True:
            sent += 1
            yield b"token=" + b"a" * 4096

    async with browsing(*LOGIN) as browser:
        long = await browser.post("/login", headers=OURS, content=b"a" * (MOST_BYTES + 1))
        # The length is not said.
        endless = await asyncio.wait_for(_post_in_pieces(browser, pieces()), 60)
    assert (long.status_code, endless) == (413, 413)
    assert "64 KiB" in long.text and sent <= MOST_BYTES // 4096 + 2


async def _post_in_pieces(browser: Any, pieces: Any) -> int:
    """Post to the application itself: the client would read all of it first."""
    console, status = browser._transport.app, 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": await anext(pieces), "more_body": True}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"host", b"localhost:8098"), *((k.lower().encode(), v.encode()) for k, v in OURS.items())]
    scope = {"type": "http", "method": "POST", "path": "/login", "query_string": b"", "headers": headers}
    await console({**scope, "root_path": "", "client": ("127.0.0.1", 1)}, receive, send)
    return status


async def test_a_form_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_PATIENCE", 0.05)

    async def pieces() -> Any:
        yield b"token="
        await asyncio.sleep(60)

    async with browsing(*LOGIN) as browser:
        assert await asyncio.wait_for(_post_in_pieces(browser, pieces()), 60) == 408


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/nothing", "/static/console.css", "/static/nothing", "/login", "/%00", "/%ff"),
        *("/static/../console.py", "/static/%2e%2e/console.py", "/static/..%2fconsole.py"),
        *("/static//etc/passwd", "/static/%2fetc%2fpasswd", "/static/..\\console.py", "/static/%00"),
        *("//evil.example/", "/static/", "/static/templates/../../templates/base.html"),
    ],
)
async def test_every_answer_keeps_the_browser_from_harm(path: str) -> None:
    async with browsing() as browser:
        answer = await browser.get(path)
    assert answer.status_code in (200, 404, 405, 503)
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "server" not in answer.headers
    for secret in ("Traceback", "import ", "root:", "{%"):
        assert secret not in answer.text
    assert answer.headers["cache-control"] == "no-store" or path == "/static/console.css"


async def test_a_file_may_be_kept_under_the_address_of_its_content_alone() -> None:
    async with browsing() as browser:
        page = (await browser.get("/nothing")).text
        address = page.partition('href="')[2].partition("/static/console.css")[2].partition('"')[0]
        kept = await browser.get(f"/static/console.css{address}")
        other = await browser.get("/static/console.css?v=1")
    assert "immutable" in kept.headers["cache-control"] and kept.text == other.text
    assert "immutable" not in other.headers.get("cache-control", "")


async def test_a_page_that_fails_tells_nothing_of_the_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with browsing() as browser:
        monkeypatch.setattr("lightbus.web.looks.Looks.look", lambda self: 1 / 0)
        answer = await browser.get("/")
    assert answer.status_code == 500
    assert "the log of the console says why" in answer.text and "ZeroDivision" not in answer.text
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize("asked", ["/bus/static/icon.svg", "/static/icon.svg"])
async def test_a_proxy_may_strip_the_path_or_not(asked: str) -> None:
    async with browsing("web.root_path=/bus") as browser:
        assert (await browser.get(asked)).status_code == 200
        page = (await browser.get("/bus/")).text
    assert 'href="/bus/static/console.css' in page and 'href="/static' not in page


@pytest.mark.parametrize("prefix", ["/inside", "/deep/inside"])
async def test_it_may_be_a_part_of_another_application(prefix: str) -> None:
    console = app(manifest(), lambda scope: User("ann"))
    outer: Any = Starlette(routes=[Mount(prefix, console)])
    async with visitor(outer, "https://anywhere.example") as browser:
        page = await browser.get(f"{prefix}/")
        style = await browser.get(f"{prefix}/static/console.css")
    await console.close_async()
    assert page.status_code == 503 and f'href="{prefix}/static/' in page.text and style.status_code == 200


async def test_a_part_of_another_application_answers_to_configured_names_alone() -> None:
    async with browsing("web.hosts=a.example", resolve=lambda scope: User("ann")) as browser:
        assert (await browser.get("/", headers={"Host": "b.example"})).status_code == 421


async def test_a_websocket_is_closed() -> None:
    sent = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    console = app(manifest())
    await console({"type": "websocket", "path": "/", "headers": []}, send, send)  # type: ignore[arg-type]
    assert sent == ["websocket.close"]
