"""The console in a real browser: what its pages show, by keyboard alone, and what nobody can make them do."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, Route

from lightbus.web.contents import ACTIONS, VIEWS
from tests.conftest import IS_WHOLE
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server, free_port
from tests.web import walks
from tests.web.browser import (
    GROUP,
    REFUSALS,
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
from tests.web.test_server import start
from tests.website.checks import SCHEMES

#: The addresses of the actions that a page offers.
_OFFERED = """[...document.querySelectorAll("[href^='/actions/'], [action^='/actions/']")]
    .map((it) => it.getAttribute("href") || it.getAttribute("action"))"""
#: Sends the forms of actions; returns the status of the answer to each.
_SEND = """async (forms) => {
  const headers = { "X-Lightbus-Console": "1", "Content-Type": "application/x-www-form-urlencoded" };
  const answers = {};
  for (const [name, body] of Object.entries(forms)) {
    answers[name] = (await fetch(`/actions/${name}`, { method: "POST", headers, body })).status;
  }
  return answers;
}"""
#: The route of a page that needs no permission, and is there for everybody who looks.
FOR_ALL = [view.path for view in VIEWS if "{" not in view.path] + ["/events", "/dead", "/audit"]
#: The forms that are looked at each time: one of each kind.
FORMS = ("pause", "remove")

#: The pages that offer an action.
ACTING = ("/listeners/", "/schedules", "/dead", "/try/", "/events/")


class Faults(list[str]):
    """What is wrong with pages to which somebody comes on the way; ``make soak`` looks at all of them."""

    def look(self, page: Page) -> None:
        """Look at a page."""
        if IS_WHOLE:
            self.extend(faults_of(page))


def looked_at(bus: Bus) -> list[str]:
    """The addresses that are looked at: all, or one of each page and some forms."""
    them = addresses(bus)
    if IS_WHOLE:
        return [each for some in them.values() for each in some]
    return [
        some[0]
        for route, some in them.items()
        if not route.startswith("/actions/") or route.removeprefix("/actions/") in FORMS
    ]


def test_the_overview_shows_who_is_there_and_what_waits(bus: Bus, chromium: Browser) -> None:
    bus.put_aside()
    assert bus.project.within("accounts").run("call", "auth.check_password", "username=a").returncode == 1
    with opened(chromium) as page:
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


@pytest.mark.timeout(600)
def test_each_page_is_readable_and_accessible_wide_and_narrow_light_and_dark(
    bus: Bus, chromium: Browser
) -> None:
    found: list[str] = []
    with opened(chromium) as page:
        log_in(page, bus.address)
        for number, path in enumerate([*looked_at(bus), "/nothing"]):
            page.goto(f"{bus.address}{path}")
            found += faults_of(page, SCHEMES if IS_WHOLE else SCHEMES[number % 2 :][:1])
            assert SECRET not in page.content(), path
    assert found == []


@pytest.mark.timeout(600)
def test_dead_letters_events_and_forms_need_no_mouse(bus: Bus, chromium: Browser) -> None:
    found = Faults()
    with opened(chromium) as page:
        log_in(page, bus.address)
        bus.put_aside()
        walks.edit_a_letter(bus, page, found.look)
        walks.find_an_event_and_reveal_it(bus, page, found.look)
        walks.watch_events(bus, page, found.look)
        walks.open_an_event_and_fire_it_again(bus, page, found.look)
        walks.call(bus, page, found.look)
        if IS_WHOLE:
            bus.put_aside()
            walks.reveal_a_letter(bus, page, found.look)
            walks.replay_a_letter(bus, page)
            walks.drop_a_letter(bus, page)
        walks.drop_many(bus, page, found.look)
    assert found == []


@pytest.mark.timeout(600)
def test_listeners_groups_and_schedules_need_no_mouse(bus: Bus, chromium: Browser) -> None:
    found = Faults()
    with opened(chromium) as page:
        log_in(page, bus.address)
        page.goto(bus.address)
        page.keyboard.press("Tab")
        page.wait_for_selector(".skip:focus")
        assert page.locator(".skip").bounding_box()["y"] >= 0  # type: ignore[index]
        page.keyboard.press("Enter")
        page.wait_for_selector("#page:focus")
        walks.escape(bus, page)
        walks.stay_where_one_reads(bus, page)
        walks.pause_and_resume(bus, page, found.look)
        walks.turn_the_pages_of_a_long_table(bus, page, found.look)
        acts = ["listener.pause", "listener.resume"]
        if IS_WHOLE:
            walks.run_a_schedule(bus, page)
            walks.change_a_group(bus, page)
            acts += ["schedule.run", "group.seek", "group.rm"]
        page.goto(f"{bus.address}/graph")
        reach(page, "#focus")
        page.keyboard.type("shop")
        reach(page, "form.focus button")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert "mailer" in page.locator("figure.graph").inner_text()
        page.goto(f"{bus.address}/audit")
        told = page.locator("main table").inner_text()
        assert [act for act in acts if act not in told] == []
    assert found == []


@pytest.mark.timeout(300)
def test_each_role_sees_what_it_may_do_and_nothing_else(bus: Bus, chromium: Browser) -> None:
    them = addresses(bus)
    paths = [path for route, some in them.items() for path in some[:1] if not route.startswith("/actions/")]
    if not IS_WHOLE:
        paths = [path for path in paths if path.startswith(ACTING)]
    # What lies open on a page: the others are on forms that lead on.
    on_pages = {
        "pause", "seek", "move", "remove", "run_schedule", "replay", "drop", "edit", "reveal", "reveal_event",
        "pause_schedule", "replay_many", "drop_many", "call",
    }  # fmt: skip
    needed = {action.name: action.permission for action in ACTIONS}
    # Who may do everything does so in the other tests.
    people = ((BOB, ROLES["dev"]), (EVE, ""), (ANN, ROLES["ops"]))
    for token, permitted in people if IS_WHOLE else people[:2]:
        may = {name for name, permission in needed.items() if permission in permitted.split(",")}
        with opened(chromium) as page:
            log_in(page, bus.address, token)
            found: set[str] = set()
            for path in paths:
                page.goto(f"{bus.address}{path}")
                found |= {each.split("/")[2].partition("?")[0] for each in page.evaluate(_OFFERED)}
            assert found - may == set() and (on_pages & may) <= found, token
            if "drop" not in may:
                page.goto(f"{bus.address}{them['/actions/drop'][0]}")
                assert "You may not do this" in page.locator("main").inner_text()
            # As a page of the console would send it, if it had such a form.
            sent = {name: them[f"/actions/{name}"][0].partition("?")[2] for name in needed.keys() - may}
            before = bus.server.execute("XLEN", "lightbus:audit")
            assert page.evaluate(_SEND, sent) == dict.fromkeys(sent, 403), token
            assert bus.server.execute("XLEN", "lightbus:audit") == before


def test_everything_from_the_bus_is_text(bus: Bus, chromium: Browser) -> None:
    evil(bus.server)
    try:
        with opened(chromium) as page:
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
                assert "62615533" not in page.locator("main").inner_text()
    finally:
        # Not all cards: those who have them show them again after a while.
        strangers = [f"{name}\0{name}{number}" for number, name in enumerate(EVIL)]
        assert bus.server.execute("ZREM", "lightbus:cards", *strangers) == len(EVIL)
        bus.server.execute("DEL", *(f"{name}.*:stream" for name in EVIL))


def test_a_page_renews_itself_and_disturbs_nobody(bus: Bus, chromium: Browser) -> None:
    with opened(chromium, allowed=(*REFUSALS, "net::ERR_", "htmx:")) as page:
        log_in(page, bus.address)
        page.evaluate("document.querySelector('h1').dataset.old = '1'")
        page.focus(".brand")
        page.wait_for_selector("h1:not([data-old])")
        assert page.evaluate("document.activeElement.className") == "brand"
        # Also of what has no id, and of what acts on something.
        for path, selector in (
            ("/apis/auth", "a[href='/try/auth.find']"),
            ("/schedules", "form[action='/actions/run_schedule'] button"),
        ):
            page.goto(f"{bus.address}{path}")
            page.wait_for_selector(selector)
            reach(page, selector)
            page.evaluate("document.activeElement.dataset.old = '1'")
            page.wait_for_selector(f"{selector}:focus-visible:not([data-old])")
        _charts_that_are_gone_leave_nothing(bus, page)
        page.goto(bus.address)
        page.evaluate(
            "document.addEventListener('htmx:beforeRequest', (e) => { window.refused = e.defaultPrevented })"
        )

        def is_refused() -> bool:
            # Again and again: a renewal that has begun already takes the selection with it.
            page.evaluate("getSelection().selectAllChildren(document.querySelector('h1'))")
            return page.evaluate("window.refused") is True

        eventually(is_refused, 60)
        page.keyboard.press("Escape")
        assert page.evaluate("String(getSelection())") == ""
        # Nobody looks; whoever does again sees what is new at once.
        page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
        page.evaluate("window.refused = false")
        eventually(lambda: page.evaluate("window.refused === true"), 60)
        page.evaluate("document.querySelector('h1').dataset.old = '1'")
        page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_selector("h1:not([data-old])")
        assert not page.locator("#silence").is_visible()
        page.context.set_offline(True)
        page.wait_for_selector("#silence:visible")
        page.context.set_offline(False)
        page.wait_for_selector("#silence:visible", state="hidden")
        # So it is where a proxy answers in its place.
        page.route(f"{bus.address}/", lambda route: route.fulfill(status=502, body="Bad Gateway"))
        page.wait_for_selector("#silence:visible")
        assert page.locator("h1").inner_text() == "Overview"
        page.unroute(f"{bus.address}/")
        page.wait_for_selector("#silence:visible", state="hidden")
        # Nor is what somebody writes renewed away.
        page.goto(f"{bus.address}/graph")
        page.focus("#focus")
        page.evaluate(
            "document.addEventListener('htmx:beforeRequest', (e) => { window.refused = e.defaultPrevented })"
        )
        eventually(lambda: page.evaluate("window.refused === true"), 60)
        _what_is_written_meanwhile_stays(bus, page)


def _what_is_written_meanwhile_stays(bus: Bus, page: Page) -> None:
    """Write while a renewal is on its way, which has begun before."""
    held: list[Route] = []
    page.goto(f"{bus.address}/graph")
    page.route(f"{bus.address}/graph", lambda route: held.append(route))
    page.wait_for_selector("#page.htmx-request")
    page.focus("#focus")
    page.keyboard.type("shop")
    for each in held:
        each.continue_()
    page.unroute(f"{bus.address}/graph")
    page.wait_for_selector("#page:not(.htmx-request)")
    assert page.locator("#focus").input_value() == "shop"


def _charts_that_are_gone_leave_nothing(bus: Bus, page: Page) -> None:
    """Renew a page with charts again and again: what was drawn before listens to nothing any more."""
    bus.put_aside()
    page.goto(f"{bus.address}/listeners/shop-mailer")
    page.wait_for_selector("figure canvas")
    asking = page.context.new_cdp_session(page)
    asking.send("Performance.enable")

    def listening() -> int:
        asking.send("HeapProfiler.collectGarbage")
        found = asking.send("Performance.getMetrics")["metrics"]
        return next(int(each["value"]) for each in found if each["name"] == "JSEventListeners")

    counts = []
    for _ in range(6):
        page.evaluate("document.querySelector('h1').dataset.old = '1'")
        page.evaluate("htmx.trigger('#page', 'seen')")
        # What waits for a selector would hold what it has found.
        page.locator("h1:not([data-old])").wait_for()
        page.locator("figure canvas").first.wait_for()
        counts.append(listening())
    asking.detach()
    assert counts[-1] - counts[1] < 20, counts


@pytest.mark.timeout(300)
def test_an_empty_bus_says_what_to_do(tmp_path: Path, redis_server: Server, chromium: Browser) -> None:
    project, port = Project(tmp_path, redis_server.url), free_port()
    (tmp_path / "tokens").write_text(f"ann {ANN}\n")
    address, found = f"http://localhost:{port}", Faults()
    try:
        console = start(project, port, "--auth", "token", "--token-file", "tokens")
        with opened(chromium, allowed=(*REFUSALS, "htmx:", "net::ERR_", "[object Event]")) as page:
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
                found.look(page)
            _attack(page, address)
            # It loads itself again then; its own renewal may show the form before.
            with page.expect_navigation():
                page.click("#logout")
            page.wait_for_selector("#token")
            page.reload()
            page.wait_for_selector("#token")
            # Whoever watches events is told that the console has ended; the next one asks for a token.
            log_in(page, address)
            page.goto(f"{address}/tail")
            page.wait_for_selector("#pause")
            assert console.terminate() == 0
            page.wait_for_selector("#silence:visible")
            start(project, port, "--auth", "token", "--token-file", "tokens")
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
