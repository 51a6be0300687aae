"""Who may do what: each role and each action, in every way in which a role is given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest

from lightbus.exceptions import ConfigurationError
from lightbus.manifest.load import load
from lightbus.manifest.model import Permission
from lightbus.web import User, app
from lightbus.web.access.guard import OURS as OUR_HEADER
from lightbus.web.contents import ACTIONS, SCREENS
from tests.support.servers import Server
from tests.web.bus import STREAM, shop
from tests.web.conftest import ANN, BOB, OURS, browsing, manifest
from tests.web.test_pages import read

#: A dead letter that is gone by now.
LETTER = {
    "id": "1-0",
    "place": "{auth.*:stream}:dead:shop-mailer",
    "kwargs": "{}",
    "because": "mended",
    "confirmed": "yes",
}
CLOSE = {"target": "close", "service": "shop"}
#: How the form of each action is filled in so that it is done.
FORMS: Mapping[str, Mapping[str, str]] = {
    "pause": {"target": "shop-welcome"},
    "resume": {"target": "shop-welcome"},
    "seek": {"target": "shop-welcome", "to": "end", "confirmed": "yes"},
    "move": {"target": "shop-welcome", "to": "shop-greet", "confirmed": "yes"},
    "remove": {"target": "shop-welcome", "confirmed": "yes", "because": "nobody needs it"},
    **dict.fromkeys(("run_schedule", "pause_schedule", "resume_schedule"), CLOSE),
    **dict.fromkeys(("replay", "drop", "edit", "reveal"), LETTER),
    **{name: {"listener": "shop-mailer", "because": "mended"} for name in ("replay_many", "drop_many")},
    "stop_errand": {"errand": "0123456789abcdef"},
    "call": {"target": "auth.check_password", "/username": "ann"},
    "fire": {"target": "auth.user_registered", "/username": "ann", "confirmed": "yes"},
    "reveal_event": {"id": "none", "because": "somebody has asked"},
}
#: What is answered to each by a bus of nothing but cards; 303 if not here.
ANSWERS = {
    **dict.fromkeys(("resume", "resume_schedule"), 409),
    "run_schedule": 409,
    **dict.fromkeys(("replay", "drop", "edit", "reveal", "reveal_event"), 409),
    **dict.fromkeys(("replay_many", "drop_many"), 409),
    "stop_errand": 422,
    "call": 502,
    "fire": 200,
}
#: What was done, or begun, has these statuses.
DONE = (200, 303, 502)
PERMISSIONS: tuple[str, ...] = get_args(Permission)


def roles(**roles: str) -> list[str]:
    """The settings of roles, each with its permissions."""
    return [f"web.roles.{name}={permissions}" for name, permissions in roles.items()]


def by_header(scope: Any) -> User | None:
    """The user and the role that a test sends."""
    sent = {key: value.decode() for key, value in scope["headers"]}
    return User(sent.get(b"x-user", "ann"), sent.get(b"x-role"))


def as_(role: str | None, **more: str) -> dict[str, str]:
    """The headers of somebody with a role."""
    return {**OURS, **({"X-Role": role} if role is not None else {}), **more}


def entries(server: Server) -> int:
    """How many entries the audit has."""
    found = server.execute("XLEN", "lightbus:audit")
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
async def test_an_action_is_taken_by_a_role_that_permits_it_and_by_no_other(
    action: Any, redis_server: Server
) -> None:
    shop(redis_server)
    others = ",".join(each for each in PERMISSIONS if each != action.permission)
    path, form = f"/actions/{action.name}", FORMS[action.name]
    settings = roles(may=action.permission, others=others)
    async with browsing(*settings, url=redis_server.url, resolve=by_header) as browser:
        before = redis_server.execute("XINFO", "GROUPS", STREAM)
        for role in (None, "others", "nobody knows", ""):
            asked = await browser.get(path, params=form, headers=as_(role))
            sent = await browser.post(path, data=form, headers=as_(role))
            assert (asked.status_code, sent.status_code) == (403, 403), role
            assert "You may not do this" in sent.text and "Nothing was done" in sent.text
        assert redis_server.execute("XINFO", "GROUPS", STREAM) == before and entries(redis_server) == 0
        assert (await browser.get(path, params=form, headers=as_("may"))).status_code in (200, 409)
        assert entries(redis_server) == 0, "looking at the form does nothing"
        done = await browser.post(path, data=form, headers=as_("may"))
    assert done.status_code == ANSWERS.get(action.name, 303), done.text
    assert entries(redis_server) == (2 if done.status_code in DONE else 0), "before it, and after"


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
@pytest.mark.parametrize(
    "changed",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": None, "Origin": "https://evil.example"},
        {OUR_HEADER.decode(): None},
        {"Host": "evil.example"},
    ],
    ids=str,
)
async def test_an_action_is_only_taken_from_a_page_of_the_console(
    action: Any, changed: dict[str, str | None]
) -> None:
    sent = {key.lower(): value for key, value in OURS.items()} | {k.lower(): v for k, v in changed.items()}
    headers = {key: value for key, value in sent.items() if value is not None}
    async with browsing(f"web.allow={action.permission}") as browser:
        answer = await browser.post(f"/actions/{action.name}", data=FORMS[action.name], headers=headers)
    assert answer.status_code == (421 if "Host" in changed else 403)


async def test_a_page_shows_somebody_only_what_they_may_do(redis_server: Server) -> None:
    shop(redis_server)
    settings = roles(all=",".join(PERMISSIONS), half="seek,pause")
    pages = ("/listeners/shop-welcome", "/listeners/shop-mailer", "/schedules")
    found: dict[str | None, set[str]] = {}
    async with browsing(*settings, url=redis_server.url, resolve=by_header) as browser:
        for role in (None, "half", "all"):
            texts = [(await browser.get(page, headers=as_(role))).text for page in pages]
            links = {link for text in texts for link in read(text).links if link.startswith("/actions/")}
            found[role] = {link.split("/")[2].partition("?")[0] for link in links}
    assert found == {
        None: set(),
        "half": {"seek", "pause", "pause_schedule"},
        "all": {"seek", "move", "remove", "pause", "pause_schedule", "run_schedule"},
    }


async def test_a_page_for_some_is_shown_to_no_others() -> None:
    for screen in (each for each in SCREENS if each.permission):
        others = ",".join(each for each in PERMISSIONS if each != screen.permission)
        async with browsing(*roles(others=others), resolve=by_header) as browser:
            for role in (None, "others"):
                assert (await browser.get(screen.path, headers=as_(role))).status_code == 403, screen.path


async def pausing(browser: httpx2.AsyncClient, headers: Mapping[str, str] = OURS) -> int:
    """The status of the answer to who wants to pause something, which is not there."""
    answer = await browser.get("/actions/pause", params={"target": "x-y"}, headers=headers)
    return answer.status_code


async def test_it_only_reads_unless_something_is_allowed() -> None:
    async with browsing() as browser:
        assert await pausing(browser) == 403
    async with browsing("web.allow=replay,pause") as browser:
        assert await pausing(browser) == 200


async def test_who_has_a_role_may_not_what_everybody_may() -> None:
    async with browsing("web.allow=pause", *roles(dev="call"), resolve=by_header) as browser:
        assert [await pausing(browser, as_(role)) for role in (None, "dev", "other")] == [200, 403, 403]


async def test_the_file_of_tokens_has_roles(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ann {ANN} ops\nbob {BOB}\n")
    settings = ("web.auth=token", f"web.token_file={tokens}", *roles(ops="pause", dev="call"))
    async with browsing(*settings) as browser:
        by = {name: {**OURS, "Authorization": f"Bearer {token}"} for name, token in (("a", ANN), ("b", BOB))}
        assert [await pausing(browser, by[name]) for name in "ab"] == [200, 403]
        assert "<span>ann</span> <small>ops</small>" in (await browser.get("/", headers=by["a"])).text
        # It counts at once, also for whoever is logged in.
        login = await browser.post("/login", data={"token": ANN}, headers=OURS)
        session = {"Cookie": login.headers["set-cookie"].partition(";")[0]}
        browser.cookies.clear()
        assert await pausing(browser, session) == 200
        tokens.write_text(f"ann {ANN} dev \nbob {BOB} ops\n")
        assert [await pausing(browser, each) for each in (by["a"], by["b"], session)] == [403, 200, 403]


def test_a_role_that_nobody_has_described_is_told_with_its_line(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ann {ANN} opz\n")
    with pytest.raises(ConfigurationError) as caught:
        app(manifest("web.auth=token", f"web.token_file={tokens}", *roles(ops="pause")))
    assert f"{tokens}:1: web.roles has no role 'opz' for ann; did you mean ops?" in str(caught.value)
    tokens.write_text(f"ann {ANN} ops admin\n")
    with pytest.raises(ConfigurationError, match="must be a name, a token and, for those who have one"):
        app(manifest("web.auth=token", f"web.token_file={tokens}", *roles(ops="pause")))


BY_PROXY = ("web.auth=proxy", "web.trusted_proxies=10.0.0.0/8", *roles(ops="pause"))


@pytest.mark.parametrize(
    ("setting", "sent", "status"),
    [
        ("web.role_header=X-Role", [("X-Role", "ops")], 200),
        ("web.role_header=X-Role", [("X-Role", "dev")], 403),
        ("web.role_header=X-Role", [], 403),
        ("web.role_header=X-Role", [("X-Role", "ops"), ("X-Role", "ops")], 403),
        ("web.role_header=X-Role", [("X-Forwarded-Role", "ops")], 403),
        # No header is believed that nobody has named.
        ("web.allow=call", [("X-Forwarded-Role", "ops")], 403),
    ],
)
async def test_only_the_header_that_is_configured_gives_a_role(
    setting: str, sent: list[tuple[str, str]], status: int
) -> None:
    async with browsing(*BY_PROXY, setting, client="10.0.0.1") as browser:
        headers = [("X-Forwarded-User", "ann"), *sent]
        answer = await browser.get("/actions/pause", params={"target": "x-y"}, headers=headers)
    assert answer.status_code == status


async def test_a_role_is_believed_from_a_trusted_proxy_alone() -> None:
    headers = {"X-Forwarded-User": "ann", "X-Role": "ops"}
    async with browsing(*BY_PROXY, "web.role_header=X-Role", client="11.0.0.1") as browser:
        assert (await browser.get("/", headers=headers)).status_code == 403


def test_roles_and_what_all_may_come_from_files_flags_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "lightbus.yaml"
    file.write_text("web: {roles: {ops: [pause, drop], dev: [call]}, allow: [fire]}\n")
    flags = {"web_allow": "call,pause"}
    environ = {"LIGHTBUS__WEB__ROLES__DEV": "call,fire", "LIGHTBUS__WEB__ROLES__QA": "reveal"}
    web = load([str(file)], flags=flags, environ=environ).web
    assert web.allow == ("call", "pause")
    assert web.roles == {"ops": ("pause", "drop"), "dev": ("call", "fire"), "qa": ("reveal",)}
