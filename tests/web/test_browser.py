"""The console in a real browser: what its pages show, by keyboard alone, and what nobody can make them do."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page

from lightbus.web.contents import ACTIONS, SCREENS, VIEWS
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server, free_port
from tests.web.browser import (
    GROUP,
    ROLES,
    SECRET,
    Bus,
    addresses,
    faults_of,
    log_in,
    opened,
    reach,
    section,
    sent,
)
from tests.web.browser import bus as bus
from tests.web.browser import chromium as chromium
from tests.web.bus import EVIL, evil
from tests.web.conftest import ANN, BOB, EVE
from tests.web.test_roles import FORMS
from tests.web.test_server import start
from tests.web.walks import (
    call,
    change_a_group,
    drop_a_letter,
    edit_a_letter,
    open_an_event_and_fire_it_again,
    pause_and_resume,
    replay_many,
    reveal,
    run_a_schedule,
    watch_events,
)

#: What a browser says of an answer that is no page with the status 200, which some pages here are.
REFUSALS = ("401", "403", "404", "409", "422", "502", "503")
#: The addresses of the actions that a page offers.
_OFFERED = """[...document.querySelectorAll("[href^='/actions/'], [action^='/actions/']")]
    .map((it) => it.getAttribute("href") || it.getAttribute("action"))"""
#: The route of a page that needs no permission, and is there for everybody who looks.
FOR_ALL = [view.path for view in VIEWS if "{" not in view.path] + ["/events", "/dead", "/audit"]


def paths_of(bus: Bus) -> dict[str, list[str]]:
    """For each route the addresses at which it is looked at."""
    letter = bus.letters()[-1] if bus.letters() else bus.put_aside()
    event = bus.fire("good")
    native_id = event.partition("at=")[2]
    forms = {name: dict(fields) for name, fields in FORMS.items()}
    for name in ("replay", "drop", "edit", "reveal"):
        forms[name] |= letter
    forms["reveal_event"] |= {"id": "of-good", "at": native_id}
    forms["fire"] |= {"/email": "ann@example.com"}
    return addresses(letter, event, forms)


def test_the_overview_shows_who_is_there_and_what_waits(bus: Bus, chromium: Browser) -> None:
    bus.put_aside()
    with pytest.raises(Exception, match="username"):
        bus.project.call("auth.check_password", username="username")
    with opened(chromium, allowed=REFUSALS) as page:
        log_in(page, bus.address)

        def are_shown(text: str, *wanted: str) -> None:
            assert [word for word in wanted if word not in text] == []

        def is_all_there() -> bool:
            are_shown(page.locator("main").inner_text(), "auth.check_password")
            are_shown(section(page, "services"), "accounts", "shop", "1 ready", "auth")
            are_shown(section(page, "listeners"), "mailer", "auth.*", "dead")
            are_shown(section(page, "dead"), GROUP, "auth.user_registered", "ValueError")
            are_shown(page.locator(".figures").inner_text(), "1\ndead letter")
            return True

        # Renews itself: a card is shown again every ten seconds.
        eventually(is_all_there, 60)
        assert page.title() == "Overview · Lightbus"
        assert SECRET not in page.content()


def test_no_page_of_the_console_is_forgotten_here(bus: Bus) -> None:
    routes = [*(it.path for it in (*VIEWS, *SCREENS)), *(f"/actions/{each.name}" for each in ACTIONS)]
    assert set(paths_of(bus)) == set(routes)


@pytest.mark.timeout(400)
def test_each_page_is_readable_and_accessible_wide_and_narrow_light_and_dark(
    bus: Bus, chromium: Browser
) -> None:
    found: list[str] = []
    with opened(chromium, allowed=REFUSALS) as page:
        log_in(page, bus.address)
        for path in [*(each for them in paths_of(bus).values() for each in them), "/nothing"]:
            page.goto(f"{bus.address}{path}")
            found += faults_of(page)
            assert SECRET not in page.content(), path
    assert found == []


@pytest.mark.timeout(400)
def test_dead_letters_and_events_need_no_mouse(bus: Bus, chromium: Browser) -> None:
    found: list[str] = []
    with opened(chromium, allowed=REFUSALS) as page:
        log_in(page, bus.address)
        bus.put_aside()
        edit_a_letter(bus, page)
        letter = bus.put_aside()
        reveal(bus, page, found)
        drop_a_letter(bus, page, letter)
        bus.put_aside()
        replay_many(bus, page, found)
        watch_events(bus, page)
        open_an_event_and_fire_it_again(bus, page, found)
        call(bus, page, found)
    assert found == []


@pytest.mark.timeout(400)
def test_listeners_groups_and_schedules_need_no_mouse(bus: Bus, chromium: Browser) -> None:
    with opened(chromium, allowed=REFUSALS) as page:
        log_in(page, bus.address)
        page.keyboard.press("Tab")
        page.wait_for_selector(".skip:focus")
        assert page.locator(".skip").bounding_box()["y"] >= 0  # type: ignore[index]
        page.keyboard.press("Enter")
        page.wait_for_selector("#page:focus")
        pause_and_resume(bus, page)
        run_a_schedule(bus, page)
        change_a_group(bus, page)
        page.goto(f"{bus.address}/graph")
        reach(page, "#focus")
        page.keyboard.type("shop")
        reach(page, "form.focus button")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert "mailer" in page.locator("figure.graph").inner_text()
        page.goto(f"{bus.address}/audit")
        acts = page.locator("main table").inner_text()
        for act in ("listener.pause", "listener.resume", "schedule.run", "group.seek", "group.rm"):
            assert act in acts


@pytest.mark.timeout(300)
def test_each_role_sees_what_it_may_do_and_nothing_else(bus: Bus, chromium: Browser) -> None:
    paths = paths_of(bus)
    looked_at = [
        each for route, them in paths.items() if not route.startswith("/actions/") for each in them[:1]
    ]
    # What lies open on a page: the others are on forms that lead on.
    on_pages = {
        "pause", "seek", "move", "remove", "run_schedule", "replay", "drop", "edit", "reveal", "reveal_event",
        "replay_many", "drop_many", "call",
    }  # fmt: skip
    needed = {action.name: action.permission for action in ACTIONS}
    for token, permitted in ((ANN, ROLES["ops"]), (BOB, ROLES["dev"]), (EVE, "")):
        may = {name for name, permission in needed.items() if permission in permitted.split(",")}
        with opened(chromium, allowed=REFUSALS) as page:
            log_in(page, bus.address, token)
            found: set[str] = set()
            for path in looked_at:
                page.goto(f"{bus.address}{path}")
                found |= {each.split("/")[2].partition("?")[0] for each in page.evaluate(_OFFERED)}
            assert found - may == set() and (on_pages & may) <= found, token
            if "drop" not in may:
                page.goto(f"{bus.address}{paths['/actions/drop'][0]}")
                assert "You may not do this" in page.locator("main").inner_text()


def test_everything_from_the_bus_is_text(bus: Bus, chromium: Browser) -> None:
    evil(bus.server)
    try:
        with opened(chromium, allowed=REFUSALS) as page:
            log_in(page, bus.address)
            eventually(lambda: EVIL[0] in section(page, "failing"), 60)
            page.hover("section[aria-labelledby=services] tbody tr:nth-child(3)")
            for name in EVIL[:-1]:
                assert name in section(page, "services")
            for path in ("/", f"/apis/{quote(EVIL[0], safe='')}", "/graph", "/calls", "/schedules"):
                page.goto(f"{bus.address}{path}")
                assert page.evaluate("window.evil") is None
                assert page.locator("img, main script, main b:not(.figures b)").count() == 0
                assert page.locator("[onmouseover], [onerror]").count() == 0
                assert "49" not in page.locator("main").inner_text().split()
    finally:
        bus.server.execute("DEL", "lightbus:cards", *(f"{name}.*:stream" for name in EVIL))


def test_a_page_renews_itself_and_disturbs_nobody(bus: Bus, chromium: Browser) -> None:
    with opened(chromium, allowed=(*REFUSALS, "net::ERR_", "htmx:")) as page:
        log_in(page, bus.address)
        page.evaluate("document.querySelector('h1').dataset.old = '1'")
        page.focus(".brand")
        page.wait_for_selector("h1:not([data-old])")
        assert page.evaluate("document.activeElement.className") == "brand"
        page.evaluate(
            "document.addEventListener('htmx:beforeRequest', (e) => { window.refused = e.defaultPrevented })"
        )

        def is_refused() -> bool:
            # Again and again: a renewal that has begun already takes the selection with it.
            page.evaluate("getSelection().selectAllChildren(document.querySelector('h1'))")
            return page.evaluate("window.refused") is True

        eventually(is_refused, 60)
        page.evaluate("getSelection().removeAllRanges()")
        assert not page.locator("#silence").is_visible()
        page.context.set_offline(True)
        page.wait_for_selector("#silence:visible")
        page.context.set_offline(False)
        page.wait_for_selector("#silence:visible", state="hidden")
        # Nor is what somebody writes renewed away.
        page.goto(f"{bus.address}/graph")
        page.focus("#focus")
        page.evaluate(
            "document.addEventListener('htmx:beforeRequest', (e) => { window.refused = e.defaultPrevented })"
        )
        eventually(lambda: page.evaluate("window.refused === true"), 60)


@pytest.mark.timeout(300)
def test_an_empty_bus_says_what_to_do(tmp_path: Path, redis_server: Server, chromium: Browser) -> None:
    project, port = Project(tmp_path, redis_server.url), free_port()
    (tmp_path / "tokens").write_text(f"ann {ANN}\n")
    address, found = f"http://localhost:{port}", list[str]()
    try:
        start(project, port, "--auth", "token", "--token-file", "tokens")
        with opened(chromium, allowed=(*REFUSALS, "htmx:")) as page:
            page.goto(address)
            page.wait_for_selector("#token:focus")
            found += faults_of(page)
            page.keyboard.type("nonsense")
            assert "no such token" in sent(page, "#wrong")
            found += faults_of(page)
            log_in(page, address)
            assert "ann" in page.locator("header").inner_text()
            assert page.evaluate("document.cookie") == ""  # No script can read it.
            assert "lightbus run" in section(page, "services")
            for path in FOR_ALL:
                page.goto(f"{address}{path}")
                assert page.locator(".empty").count() > 0, path
                found += faults_of(page)
            _attack(page, address)
            # It loads itself again then; its own renewal may show the form before.
            with page.expect_navigation():
                page.click("#logout")
            page.wait_for_selector("#token")
            page.reload()
            page.wait_for_selector("#token")
    finally:
        project.close()
    assert found == []


def _attack(page: Page, address: str) -> None:
    """Let a page of another site send what ends the session; it goes on."""
    evil = page.context.new_page()
    form = f'<form method="post" action="{address}/logout"><input name="x"></form>'
    evil.route("http://127.0.0.1:9/*", lambda route: route.fulfill(body=form, content_type="text/html"))
    evil.goto("http://127.0.0.1:9/")
    # The navigation, and not only its answer: whatever goes elsewhere meanwhile would be interrupted by it.
    with evil.expect_navigation(url=f"{address}/logout") as answer:
        evil.evaluate("document.forms[0].submit()")
    assert answer.value.status == 403
    sent = json.dumps([f"{address}/logout", {"method": "POST", "mode": "no-cors", "credentials": "include"}])
    evil.goto("http://127.0.0.1:9/")
    evil.evaluate(f"fetch(...{sent}).catch(() => null)")
    evil.close()
    page.reload()
    assert "ann" in page.locator("header").inner_text()
