"""What holds for each route of the console: whom it refuses, what it hides, and where its links lead."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, get_args

import httpx2
import pytest
from fastapi import FastAPI

from lightbus.manifest.model import Permission
from lightbus.web import User, app, tails
from lightbus.web.access.guard import MOST_BYTES
from lightbus.web.access.sessions import LASTS
from lightbus.web.contents import ACTIONS
from tests.support.servers import Server
from tests.web.bus import shop
from tests.web.conftest import ANN, OURS, manifest, visitor
from tests.web.routes import Wish, asking, everything, wishes
from tests.web.test_actions import PLAIN
from tests.web.test_dead import PLACE
from tests.web.test_events import Watcher, prepare, watched
from tests.web.test_roles import FORMS, as_, by_header, roles

PERMISSIONS: tuple[str, ...] = get_args(Permission)
ALL = f"web.allow={','.join(PERMISSIONS)}"
LOGIN = ("web.auth=token", "web.token_file=tests/web/tokens.txt", ALL)
#: Both values that must never leave, in part.
CANARIES = ("canary@", "anary-4711")


@pytest.fixture(autouse=True)
def nobody_may_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer without end would never be there as a whole."""
    monkeypatch.setattr(tails, "MOST", 0)


async def send(browser: httpx2.AsyncClient, wish: Wish, headers: Mapping[str, str]) -> httpx2.Response:
    """Send it as a page of the console does."""
    given: dict[str, Any] = {"data": dict(wish.form)} if wish.method == "POST" else {}
    answer = await browser.request(wish.method, wish.path, headers={**OURS, **headers}, **given)
    # The heading above that of a dead letter has the first word alone.
    assert "Traceback (most" not in answer.text, wish
    return answer


async def test_no_route_answers_to_the_name_of_another_host() -> None:
    async with asking(ALL) as (console, browser):
        for wish in wishes(console):
            for host in ("evil.example", "127.0.0.1.nip.io", "localhost.evil.example", "[::2]", ""):
                answer = await send(browser, wish, {"Host": host})
                assert answer.status_code == 421, (wish, host)
                assert "lightbus" not in answer.headers.get("set-cookie", "")


async def test_no_route_is_open_without_a_token_that_counts_now(tmp_path: Any) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ann {ANN}\n")
    settings = ("web.auth=token", f"web.token_file={tokens}", ALL)
    async with asking(*settings) as (console, browser):
        sessions = console._door.sessions  # type: ignore[attr-defined]
        expired, taken_away = (sessions.begin(ANN) for _ in range(2))
        began = sessions._now()
        lacks: dict[str, dict[str, str]] = {
            "nothing": {},
            "a wrong token": {"Authorization": f"Bearer {ANN}x"},
            "no token": {"Authorization": f"Basic {ANN}"},
            "a session that somebody has chosen": {"Cookie": "lightbus=chosen-by-somebody-else"},
            "a session that is over": {"Cookie": f"lightbus={expired}"},
            "a session whose token was taken away": {"Cookie": f"lightbus={taken_away}"},
            "a token that was taken away": {"Authorization": f"Bearer {ANN}"},
        }
        for lack, headers in lacks.items():
            if "taken away" in lack:
                tokens.write_text("bob bob-0123456789abcdefghij\n")
            elif "over" in lack:
                sessions._now = lambda: began + LASTS
            for wish in wishes(console):
                answer = await send(browser, wish, headers)
                if wish.needs is None:
                    assert answer.status_code in (200, 204, 401), (wish, lack)
                else:
                    assert answer.status_code == 401, (wish, lack)
                browser.cookies.clear()
            sessions._now = lambda: began


async def test_nobody_gets_past_the_login_however_an_address_is_written() -> None:
    async with asking(*LOGIN) as (console, browser):
        for wish in wishes(console):
            path, _, query = wish.path.partition("?")
            for written in (
                *(f"/{path}", f"{path}/", f"{path}/..", f"{path}/.", f"{path}%00", f"{path}%2f", f"{path};x"),
                *(f"/x/..{path}", f"/%2e{path}", f"/static/..{path}", f"/static/%2e%2e{path}"),
                *(f"/static/..%2f{path[1:]}", path.upper(), path.replace("/", "\\"), f"{path}%0d%0aX: y"),
            ):
                given: dict[str, Any] = {"data": dict(wish.form)} if wish.method == "POST" else {}
                target = f"{written}?{query}" if query else written
                answer = await browser.request(wish.method, target, headers=OURS, **given)
                is_file = answer.headers.get("content-type", "").startswith(("text/css", "text/javascript"))
                assert is_file or answer.status_code in (204, 307, 401, 404, 405), (wish, written)
                where = answer.headers.get("location", "http://localhost:8098/")
                assert where.startswith("http://localhost:8098/") and "x" not in answer.headers
                assert "Traceback" not in answer.text and "import " not in answer.text


async def test_each_route_is_only_changed_by_a_page_of_the_console() -> None:
    changed: tuple[dict[str, str], ...] = (
        *({**OURS, "Sec-Fetch-Site": site} for site in ("cross-site", "same-site")),
        {**OURS, "Sec-Fetch-Site": "", "Origin": "https://evil.example"},
        {**OURS, "Sec-Fetch-Site": "none", "Origin": "null"},
        # Pages send forms without a script, too.
        *({**PLAIN, "Sec-Fetch-Site": site} for site in ("cross-site", "same-site", "none")),
        {**PLAIN, "Sec-Fetch-Site": "same-origin, cross-site"},
        *({**PLAIN, "Sec-Fetch-Mode": mode} for mode in ("no-cors", "cors")),
    )
    async with asking(*LOGIN) as (console, browser):
        for wish in wishes(console):
            path = wish.path.partition("?")[0]
            for headers in changed:
                answer = await browser.post(path, data=dict(wish.form), headers=headers)
                assert answer.status_code == 403 and "so nothing was done" in answer.text, (wish, headers)


async def test_no_route_reads_more_than_it_has_to() -> None:
    async with asking(ALL) as (console, browser):
        for wish in wishes(console):
            path = wish.path.partition("?")[0]
            long = await browser.post(path, content=b"a" * (MOST_BYTES + 1), headers=OURS)
            assert long.status_code == 413, wish
            many = await browser.get(path, params={f"n{n}": "" for n in range(1_000)})
            assert many.status_code in (200, 400, 405, 503), wish
            if wish.method == "POST":
                full = await browser.post(path, content=b"&a=b" * 10_000, headers=OURS)
                assert full.status_code in (204, 400, 404), wish


async def test_each_role_reaches_what_it_is_permitted_and_nothing_else() -> None:
    all_but = {f"not{number}": ",".join({*PERMISSIONS} - {each}) for number, each in enumerate(PERMISSIONS)}
    async with asking(*roles(nothing="", **all_but), resolve=by_header) as (console, browser):
        for wish in wishes(console):
            others = [f"not{PERMISSIONS.index(wish.needs)}"] if wish.needs else []
            for role in (None, "", "nothing", "nobody knows", *others) if wish.needs else ("nothing",):
                answer = await send(browser, wish, as_(role))
                if wish.needs:
                    assert answer.status_code == 403 and "You may not" in answer.text, (wish, role)
                else:
                    assert answer.status_code in (200, 204, 404, 422, 503), (wish, role)


async def test_each_permission_opens_its_routes(redis_server: Server) -> None:
    shop(redis_server)
    settings = roles(**{f"may{number}": each for number, each in enumerate(PERMISSIONS)})
    async with asking(*settings, url=redis_server.url, resolve=by_header) as (console, browser):
        for wish in wishes(console):
            if wish.needs:
                answer = await send(browser, wish, as_(f"may{PERMISSIONS.index(wish.needs)}"))
                assert answer.status_code != 403, wish


async def test_nothing_hidden_is_in_any_byte_of_any_route_but_what_reveals_it(
    redis_server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await everything(redis_server)
    async with asking(ALL, url=redis_server.url) as (console, browser):
        every = list(wishes(console))
        for wish in sorted(every, key=lambda wish: wish.method):
            form = dict(wish.form)
            if wish.method == "POST":
                await everything(redis_server)
                console._looks.renew()
            if form.get("place"):
                form |= {**PLACE, "kwargs": json.dumps({"name": "Eve", "email": "•••", "more": 5})}
            if wish.path in ("/actions/call", "/actions/fire"):
                form |= {"/email": "canary@example.com"}
            answer = await send(browser, Wish(wish.method, wish.path, form), {})
            assert answer.status_code in (200, 204, 303, 404, 409, 422, 502), (wish, answer.text)
            told = f"{answer.text} {answer.headers}"
            if wish == Wish("POST", "/actions/reveal", wish.form, "reveal"):
                assert all(each in told for each in CANARIES[1:]), "it is there"
            else:
                assert not [each for each in CANARIES if each in told], wish
        monkeypatch.setattr(tails, "MOST", 1)
        redis_server.execute("FLUSHALL")
        prepare(redis_server)
        watcher = Watcher(console)
        await watched(watcher, redis_server, 7)
        assert not [each for each in CANARIES if each in watcher.text] and "•••" in watcher.text
        watcher.is_gone.set()
        await watcher.task
    assert not [each for each in CANARIES if each in caplog.text]


async def test_each_link_and_form_of_a_mounted_console_stays_beneath_its_path(redis_server: Server) -> None:
    prefix, outer = "/deep/bus", FastAPI()
    await everything(redis_server)
    console = app(manifest(ALL, url=redis_server.url), lambda scope: User("ann"))
    outer.mount(prefix, console)
    async with visitor(outer, "https://shop.example") as browser:
        own = {**OURS, "Origin": "https://shop.example"}
        for wish in wishes(console):
            given: dict[str, Any] = {"data": dict(wish.form)} if wish.method == "POST" else {}
            answer = await browser.request(wish.method, prefix + wish.path, headers=own, **given)
            if wish.path == "/login":
                assert answer.status_code == 404, "the application has users of its own"
                continue
            assert answer.status_code in (200, 204, 303, 409, 422, 502), (wish, answer.text)
            led = [answer.headers[name] for name in ("location", "hx-redirect") if name in answer.headers]
            if answer.headers.get("content-type", "").startswith("text/html"):
                found = re.findall(r'\b(?:href|src|action|hx-get|hx-post|sse-connect)="([^"]*)"', answer.text)
                led += [link for link in found if link and not link.startswith("#")]
                assert f'action="{prefix}' in answer.text or f'href="{prefix}' in answer.text, wish
            assert [link for link in led if not link.startswith(f"{prefix}/")] == [], wish
    await console.close_async()


async def test_each_form_says_whether_a_reason_has_to_be_given(redis_server: Server) -> None:
    needed = {}
    async with asking(ALL, url=redis_server.url) as (_, browser):
        for action in ACTIONS:
            await everything(redis_server)
            path, form = f"/actions/{action.name}", {**FORMS[action.name], "because": "", "confirmed": ""}
            form |= PLACE if form.get("place") else {}
            page = (await browser.get(path, params=form)).text
            if 'id="because"' not in page:
                continue
            typed = re.search(r'name="typed" value="([^"]*)"', page)
            sure = {"typed": typed[1], "confirmed": typed[1]} if typed else {"confirmed": "yes"}
            answer = await browser.post(path, data={**form, **sure}, headers=OURS)
            needed[action.name] = "Say why" in answer.text
            assert ("may be left out" in page) != needed[action.name], action.name
    assert needed["remove"] and not needed["fire"] and len(needed) == len(ACTIONS)
