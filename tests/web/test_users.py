"""Who may look at the console: by a token, by a proxy, or by the application that it is a part of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from lightbus.exceptions import ConfigurationError
from lightbus.web import User, app
from lightbus.web.access.sessions import LASTS, Sessions
from lightbus.web.access.tokens import Tokens
from tests.web.conftest import ANN, BOB, ORIGIN, OURS, browsing, manifest, visitor

HTTPS = "https://bus.example.com"


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.write_text(f"# people\n\nann {ANN}\nbob\t{BOB}\n")
    return file


def put(file: Path, text: str | None) -> None:
    """Write a file, or remove it."""
    file.unlink(missing_ok=True)
    if text is not None:
        file.write_text(text)


def by_token(file: Path) -> tuple[str, ...]:
    return ("web.auth=token", f"web.token_file={file}", "web.hosts=bus.example.com")


async def log_in(browser: httpx2.AsyncClient, token: str, origin: str = ORIGIN) -> httpx2.Response:
    return await browser.post("/login", data={"token": token}, headers={**OURS, "Origin": origin})


async def test_without_a_token_there_is_a_page_to_log_in(tokens: Path) -> None:
    async with browsing(*by_token(tokens)) as browser:
        answer = await browser.get("/")
    assert answer.status_code == 401 and 'type="password"' in answer.text
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_token_begins_a_session(tokens: Path) -> None:
    async with browsing(*by_token(tokens)) as browser:
        answer = await log_in(browser, f" {ANN} ")
        assert (answer.status_code, answer.headers["hx-refresh"]) == (204, "true")
        page = await browser.get("/")
        assert page.status_code == 503 and "<span>ann</span>" in page.text and "Log out" in page.text
        assert ANN not in page.text + answer.headers["set-cookie"]


async def test_a_cookie_of_https_is_for_this_host_alone(tokens: Path) -> None:
    async with browsing(*by_token(tokens), origin=HTTPS) as browser:
        cookie = (await log_in(browser, ANN, HTTPS)).headers["set-cookie"]
        assert cookie.startswith("__Host-lightbus=")
        parts = cookie.split("; ")[1:]
        assert parts == [f"Max-Age={12 * 3600}", "Path=/", "HttpOnly", "SameSite=Strict", "Secure"]
        assert (await browser.get("/")).status_code == 503


async def test_a_cookie_of_plain_http_counts_on_this_machine_alone(tokens: Path) -> None:
    async with browsing(*by_token(tokens)) as browser:
        cookie = (await log_in(browser, ANN)).headers["set-cookie"]
        assert cookie.startswith("lightbus=") and "HttpOnly; SameSite=Strict" in cookie
        sent = {"Cookie": cookie.partition(";")[0]}
        assert (await browser.get("/", headers=sent)).status_code == 503
        elsewhere = {**sent, "Host": "bus.example.com"}
        browser.cookies.clear()
        assert (await browser.get("/", headers=elsewhere)).status_code == 401


async def test_a_token_does_not_travel_by_plain_http(tokens: Path) -> None:
    plain = "http://bus.example.com"
    async with browsing(*by_token(tokens), origin=plain) as browser:
        answer = await log_in(browser, ANN, plain)
    assert answer.status_code == 403 and "by https" in answer.text and "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "wrong", ["", "nonsense", ANN[:-1], ANN + "x", ANN.upper(), f"{ANN}\x00", "ann", "é" * 30, "#"]
)
async def test_a_wrong_token_begins_none(tokens: Path, wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    async with browsing(*by_token(tokens)) as browser:
        answer = await log_in(browser, wrong)
        assert answer.status_code == 401 and "There is no such token." in answer.text
        assert "set-cookie" not in answer.headers
        bearer = {b"Authorization": b"Bearer " + wrong.encode()}
        assert (await browser.get("/", headers=bearer)).status_code == 401
    assert "a wrong token was given to the console from 127.0.0.1" in caplog.text
    assert not wrong or len(wrong) < 5 or wrong not in caplog.text


@pytest.mark.parametrize(
    "form", [b"", b"token", b"token=%ff%fe", b"&" * 5000, b"token=a&token=b", b"\x00\xff", b"token[]=a"]
)
async def test_any_form_gets_an_answer(tokens: Path, form: bytes) -> None:
    async with browsing(*by_token(tokens)) as browser:
        answer = await browser.post("/login", content=form, headers=OURS)
    assert answer.status_code in (400, 401) and "set-cookie" not in answer.headers


async def test_a_script_sends_its_token_as_a_bearer(tokens: Path) -> None:
    async with browsing(*by_token(tokens)) as browser:
        page = await browser.get("/", headers={"Authorization": f"bearer {BOB}"})
        assert page.status_code == 503 and "<span>bob</span>" in page.text
        for header in (f"Basic {BOB}", BOB, f"Bearer{BOB}", "Bearer", ""):
            assert (await browser.get("/", headers={"Authorization": header})).status_code == 401


async def test_a_wrong_bearer_is_not_mended_by_a_session(tokens: Path) -> None:
    async with browsing(*by_token(tokens)) as browser:
        await log_in(browser, ANN)
        assert (await browser.get("/", headers={"Authorization": "Bearer x"})).status_code == 401


async def test_a_session_that_somebody_else_has_chosen_is_never_taken(tokens: Path) -> None:
    async with browsing(*by_token(tokens)) as browser:
        browser.cookies.set("lightbus", "chosen-by-somebody-else")
        answer = await log_in(browser, ANN)
        assert "chosen" not in answer.headers["set-cookie"]
        browser.cookies.clear()
        chosen = {"Cookie": "lightbus=chosen-by-somebody-else"}
        assert (await browser.get("/", headers=chosen)).status_code == 401


async def test_another_login_ends_the_session_before(tokens: Path) -> None:
    async with browsing(*by_token(tokens)) as browser:
        first = (await log_in(browser, ANN)).headers["set-cookie"].partition(";")[0]
        await log_in(browser, BOB)
        browser.cookies.clear()
        assert (await browser.get("/", headers={"Cookie": first})).status_code == 401


async def test_logging_out_ends_the_session_for_everybody(tokens: Path) -> None:
    async with browsing(*by_token(tokens)) as browser:
        kept = (await log_in(browser, ANN)).headers["set-cookie"].partition(";")[0]
        answer = await browser.post("/logout", headers=OURS)
        assert answer.headers["hx-refresh"] == "true"
        assert all("Max-Age=0" in each for each in answer.headers.get_list("set-cookie"))
        assert (await browser.get("/", headers={"Cookie": kept})).status_code == 401


def test_a_session_lasts_twelve_hours(tokens: Path) -> None:
    now = 0.0
    sessions = Sessions(Tokens(str(tokens)), lambda: now)
    session_id = sessions.begin(ANN)
    headers = [(b"host", b"localhost"), (b"cookie", f"lightbus={session_id}".encode())]
    now = LASTS - 1
    assert LASTS == 12 * 3600 and sessions.user({"headers": headers}) == User("ann")
    now = LASTS
    assert sessions.user({"headers": headers}) is None
    now = 0.0
    assert sessions.user({"headers": headers}) is None


def test_a_broken_cookie_is_none(tokens: Path) -> None:
    sessions = Sessions(Tokens(str(tokens)))
    for cookie in (b"lightbus", b"=;;=\xff", b"lightbus=\x00", b'lightbus="', b"a" * 5000):
        assert sessions.user({"headers": [(b"host", b"localhost"), (b"cookie", cookie)]}) is None


async def test_a_token_that_is_taken_away_ends_its_sessions(tokens: Path) -> None:
    async with browsing(*by_token(tokens)) as browser:
        await log_in(browser, ANN)
        assert (await browser.get("/")).status_code == 503
        put(tokens, f"bob {BOB}\ncarol carol-0123456789abcdefghij\n")
        assert (await browser.get("/")).status_code == 401
        new = {"Authorization": "Bearer carol-0123456789abcdefghij"}
        assert (await browser.get("/", headers=new)).status_code == 503


@pytest.mark.parametrize("broken", ["ann short\n", None, f"ann {ANN} more\n"])
async def test_nobody_gets_in_while_the_file_is_broken(
    tokens: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with browsing(*by_token(tokens)) as browser:
        put(tokens, broken)
        given = {"Authorization": f"Bearer {BOB}"}
        assert [(await browser.get("/", headers=given)).status_code for _ in range(3)] == [401] * 3
        assert caplog.text.count("nobody gets into the console until this is mended") == 1
        put(tokens, f"bob {BOB}\n")
        assert (await browser.get("/", headers=given)).status_code == 503


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ann\n", ":1: must be a name, a token and"),
        ("# x\nann too-short\n", ":2: the token of ann has fewer than 20 characters"),
        (f"ann {ANN}\nbob {ANN}\n", ":2: bob has the token of somebody else"),
        (b"\xff\xfe", "it is no text"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_can_not_be_used_is_told_with_its_place(
    tmp_path: Path, text: str | bytes | None, told: str
) -> None:
    file = tmp_path / "tokens"
    if text is not None:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigurationError) as caught:
        app(manifest(*by_token(file)))
    assert str(caught.value).startswith(f"--set web.token_file  web.token_file: {file}")
    assert told in str(caught.value) and ANN not in str(caught.value)


BY_PROXY = ("web.auth=proxy", "web.trusted_proxies=10.0.0.0/8,fd00::/8,192.168.1.7")


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("10.1.2.3", [("X-Forwarded-User", "ann")], 503),
        ("192.168.1.7", [("x-forwarded-user", "ann")], 503),
        ("fd00::1", [("X-Forwarded-User", "ann")], 503),
        ("::ffff:10.1.2.3", [("X-Forwarded-User", "ann")], 503),
        ("192.168.1.8", [("X-Forwarded-User", "ann")], 403),
        ("127.0.0.1", [("X-Forwarded-User", "ann")], 403),
        ("not an address", [("X-Forwarded-User", "ann")], 403),
        ("10.1.2.3", [], 403),
        ("10.1.2.3", [("X-Forwarded-User", "")], 403),
        ("10.1.2.3", [("X-Forwarded-User", "ann"), ("X-Forwarded-User", "admin")], 403),
        ("11.1.2.3", [("X-Forwarded-User", "ann"), ("X-Forwarded-For", "10.1.2.3")], 403),
    ],
)
async def test_only_a_trusted_proxy_names_users(
    client: str, headers: list[tuple[str, str]], status: int
) -> None:
    async with browsing(*BY_PROXY, client=client) as browser:
        answer = await browser.get("/", headers=headers)
    assert answer.status_code == status
    assert ("<span>ann</span>" in answer.text) is (status == 503)
    assert "Log out" not in answer.text


async def test_the_header_of_the_proxy_is_configured() -> None:
    settings = (*BY_PROXY, "web.user_header=X-Auth-Request-User")
    async with browsing(*settings, client="10.0.0.1") as browser:
        assert (await browser.get("/", headers={"X-Forwarded-User": "ann"})).status_code == 403
        assert (await browser.get("/", headers={"X-Auth-Request-User": "ann"})).status_code == 503


async def _later(scope: Any) -> User | None:
    return User("<b>late</b>")


@pytest.mark.parametrize(
    ("resolve", "status"),
    [(lambda scope: User("ann"), 503), (_later, 503), (lambda scope: None, 403)],
)
async def test_the_application_around_it_names_users(resolve: Any, status: int) -> None:
    async with browsing("web.auth=token", "web.token_file=/nowhere", resolve=resolve) as browser:
        answer = await browser.get("/")
        login = await browser.post("/login", data={"token": ANN}, headers=OURS)
    assert (answer.status_code, login.status_code) == (status, 404)
    assert "<b>late" not in answer.text


async def test_there_is_no_login_where_nobody_is_asked() -> None:
    async with browsing() as browser:
        assert (await log_in(browser, ANN)).status_code == 404


async def test_only_so_many_sessions_are_kept(tokens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightbus.web.access.sessions._MOST", 2)
    console = app(manifest(*by_token(tokens)))
    async with visitor(console) as browser:
        kept = [(await log_in(browser, ANN)).headers["set-cookie"].partition(";")[0]]
        for _ in range(2):
            browser.cookies.clear()
            kept.append((await log_in(browser, ANN)).headers["set-cookie"].partition(";")[0])
        browser.cookies.clear()
        found = [(await browser.get("/", headers={"Cookie": cookie})).status_code for cookie in kept]
    await console.close_async()
    assert found == [401, 503, 503]
