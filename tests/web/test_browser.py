"""The console in a real browser: what its pages show, and what nobody can make them do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route

from lightbus.manifest.model import Permission
from lightbus.web.contents import NAVIGATION
from tests.conftest import missing
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server, free_port
from tests.web.bus import EVIL, evil
from tests.web.conftest import ANN
from tests.web.test_roles import FORMS
from tests.web.test_server import BUS, start
from tests.website.checks import PATIENCE, WIDTHS, Scheme, browser, find_browser

LOOK = (Path(__file__).parents[1] / "website" / "faults.js").read_text()
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
LISTENING = """
    service_name: shop
    policies: {once: {attempts: 1}}
    listeners:
      mailer: {events: [auth.user_registered], handler: 'bus:send', on_error: once}
"""
SEND = """
    def send(event_message, username):
        if username == "bad":
            raise ValueError("no")
"""


class Bus:
    """A bus on which something happens, with a console.

    Args:
        project: Where commands are run.
        server: Its Redis.
    """

    def __init__(self, project: Project, server: Server) -> None:
        self.project, self.server = project, server
        self.port = free_port()

    @property
    def address(self) -> str:
        """Of the console."""
        return f"http://localhost:{self.port}"


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bus]:
    server = Server()
    folder = tmp_path_factory.mktemp("console")
    project = Project(folder, server.url)
    project.write("accounts/bus.py", BUS)
    project.write("shop/bus.py", SEND)
    project.write("shop/lightbus.yaml", LISTENING)
    it = Bus(project, server)
    try:
        project.within("accounts").host("-s", "accounts", "-p", "accounts-1")
        project.within("shop").host("-p", "shop-1")
        start(project, it.port, "--allow", ",".join(get_args(Permission)))
        yield it
    finally:
        project.close()
        server.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        missing("no browser: apt-get install chromium")
    with browser(program) as started:
        yield started


@contextlib.contextmanager
def opened(
    chromium: Browser, scheme: Scheme = "light", width: int = 1280, allowed: tuple[str, ...] = ()
) -> Iterator[Page]:
    """A window; a violation of the policy, an error, and a request to elsewhere fail the test."""
    faults: list[str] = []
    context: BrowserContext = chromium.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 900}
    )

    def pass_on(route: Route) -> None:
        host = urlsplit(route.request.url).hostname
        if host in ("localhost", "127.0.0.1"):
            route.continue_()
        else:
            faults.append(f"asks {route.request.url}")
            route.abort()

    context.route("**/*", pass_on)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    try:
        yield page
    finally:
        context.close()
    assert [each for each in faults if not any(known in each for known in allowed)] == []


def section(page: Page, title: str) -> str:
    """The text of a part of the page."""
    return page.locator(f"section[aria-labelledby={title}]").inner_text()


def test_the_overview_shows_who_is_there_and_what_waits(bus: Bus, chromium: Browser) -> None:
    owner = bus.project.within("accounts")
    assert owner.run("fire", "auth.user_registered", "username=bad").returncode == 0
    assert owner.run("call", "auth.check_password", "username=a").returncode == 1
    with opened(chromium) as page:
        page.goto(bus.address)

        def are_shown(text: str, *wanted: str) -> None:
            assert [word for word in wanted if word not in text] == []

        def is_all_there() -> bool:
            are_shown(page.locator("main").inner_text(), "auth.check_password")
            are_shown(section(page, "services"), "accounts", "shop", "1 ready", "auth")
            are_shown(section(page, "listeners"), "mailer", "auth.*", "dead")
            are_shown(page.locator(".figures").inner_text(), "1\ndead letter")
            return True

        # Renews itself: a card is shown again every ten seconds.
        eventually(is_all_there, 60)
        assert page.title() == "Overview · Lightbus"


def accessible(page: Page, rules: str = "{}") -> list[str]:
    """The serious faults of accessibility of a page."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = page.evaluate(f"axe.run(document, {{resultTypes: ['violations'], {rules[1:-1]}}})")
    return [
        f"{urlsplit(page.url).path}: {each['id']} ({each['help']}): {node['html'][:200]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def paths() -> list[str]:
    """The address of each page that shows something."""
    named = ["/tail", "/services/shop", "/apis/auth", "/listeners/shop-mailer", "/graph?focus=shop"]
    # One that is done at once, one that says first what it would do, and one that wants a reason.
    forms = [f"/actions/{name}?{urlencode(FORMS[name])}" for name in ("pause", "seek", "remove", "fire")]
    return [*(path for path, _ in NAVIGATION), *named, *forms, "/nothing"]


@pytest.mark.timeout(400)
def test_each_page_is_readable_and_accessible_wide_and_narrow_light_and_dark(
    bus: Bus, chromium: Browser
) -> None:
    found: list[str] = []
    with opened(chromium, allowed=("404", "409", "422", "503")) as page:
        for path in paths():
            page.set_viewport_size({"width": 1280, "height": 900})
            page.emulate_media(color_scheme="light")
            page.goto(f"{bus.address}{path}")
            found += accessible(page)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                found += [f"{path}: {fault}" for fault in page.evaluate(LOOK, width)["faults"]]
            page.emulate_media(color_scheme="dark")
            ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            assert sum(map(int, ground[4:-1].split(","))) < 200
            found += accessible(page, "{runOnly: ['color-contrast']}")
    assert found == []


def test_everything_from_the_bus_is_text(bus: Bus, chromium: Browser) -> None:
    evil(bus.server)
    try:
        with opened(chromium) as page:
            page.goto(bus.address)
            eventually(lambda: EVIL[0] in section(page, "failing"), 60)
            page.hover("section[aria-labelledby=services] tbody tr:nth-child(3)")
            for name in EVIL[:-1]:
                assert name in section(page, "services")
            assert page.evaluate("window.evil") is None
            assert page.locator("img, main script, main b:not(.figures b)").count() == 0
            assert page.locator("[onmouseover], [onerror]").count() == 0
            assert "49" not in section(page, "services")
    finally:
        bus.server.execute("DEL", "lightbus:cards", *(f"{name}.*:stream" for name in EVIL))


def test_a_page_renews_itself_and_leaves_the_focus_where_it_was(bus: Bus, chromium: Browser) -> None:
    with opened(chromium) as page:
        page.goto(bus.address)
        page.evaluate("document.querySelector('h1').dataset.old = '1'")
        page.focus(".brand")
        page.wait_for_selector("h1:not([data-old])")
        assert page.evaluate("document.activeElement.className") == "brand"


def test_a_page_waits_while_somebody_selects_text(bus: Bus, chromium: Browser) -> None:
    with opened(chromium) as page:
        page.goto(bus.address)
        with page.expect_response(lambda answer: urlsplit(answer.url).path == "/"):
            pass  # It renews itself as long as nothing is selected.
        page.evaluate(
            "document.addEventListener('htmx:beforeRequest', (e) => { window.refused = e.defaultPrevented })"
        )

        def is_refused() -> bool:
            # Again and again: a renewal that has begun already takes the selection with it.
            page.evaluate("getSelection().selectAllChildren(document.querySelector('h1'))")
            return page.evaluate("window.refused") is True

        eventually(is_refused, 60)


def test_it_says_when_the_console_does_not_answer(bus: Bus, chromium: Browser) -> None:
    with opened(chromium, allowed=("net::ERR_", "htmx:")) as page:
        page.goto(bus.address)
        assert not page.locator("#silence").is_visible()
        page.context.set_offline(True)
        page.wait_for_selector("#silence:visible")
        page.context.set_offline(False)
        page.wait_for_selector("#silence:visible", state="hidden")


def test_the_keyboard_is_enough(bus: Bus, chromium: Browser) -> None:
    with opened(chromium) as page:
        page.goto(bus.address)
        page.keyboard.press("Tab")
        page.wait_for_selector(".skip:focus")
        assert page.locator(".skip").bounding_box()["y"] >= 0  # type: ignore[index]
        page.keyboard.press("Enter")
        page.wait_for_selector("#page:focus")


def test_a_listener_is_paused_and_goes_on_by_keyboard_alone(bus: Bus, chromium: Browser) -> None:
    def go_to(page: Page, words: str) -> None:
        """Press Tab until the focus is on the link or button with these words."""
        page.evaluate("document.activeElement.blur()")
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.innerText") == words:
                return
        raise AssertionError(f"{words} is not reached by the keyboard")

    with opened(chromium) as page:
        page.goto(f"{bus.address}/listeners/shop-mailer")
        go_to(page, "Pause")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        page.wait_for_selector("#f-until")
        page.focus("#f-until")
        page.keyboard.type("2h")
        page.keyboard.press("Tab")
        page.keyboard.type("it sends too much")
        page.keyboard.press("Enter")
        page.wait_for_selector(".said")
        assert "shop-mailer is paused until" in page.locator(".said").inner_text()
        assert urlsplit(page.url).path == "/listeners/shop-mailer"
        assert page.evaluate("document.activeElement.id") == "page"
        page.wait_for_selector("text=It is paused")
        go_to(page, "Resume")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=shop-mailer goes on")
        # It renews itself, and what was done stays told.
        page.evaluate("document.querySelector('h1').dataset.old = '1'")
        page.wait_for_selector("h1:not([data-old])")
        assert "goes on" in page.locator(".said").inner_text()


def test_what_somebody_writes_is_not_renewed_away(bus: Bus, chromium: Browser) -> None:
    with opened(chromium) as page:
        page.goto(f"{bus.address}/graph")
        page.focus("#focus")
        page.evaluate(
            "document.addEventListener('htmx:beforeRequest', (e) => { window.refused = e.defaultPrevented })"
        )
        eventually(lambda: page.evaluate("window.refused === true"), 60)


def test_an_empty_bus_says_what_to_do(tmp_path: Path, redis_server: Server, chromium: Browser) -> None:
    project, port = Project(tmp_path, redis_server.url), free_port()
    (tmp_path / "tokens").write_text(f"ann {ANN}\n")
    try:
        start(project, port, "--auth", "token", "--token-file", "tokens")
        with opened(chromium, allowed=("401", "403", "htmx:")) as page:
            _log_in(page, f"http://localhost:{port}")
            assert "lightbus run" in section(page, "services")
            _attack(page, f"http://localhost:{port}")
            # It loads itself again then; its own renewal may show the form before.
            with page.expect_navigation():
                page.click("#logout")
            page.wait_for_selector("#token")
            page.reload()
            page.wait_for_selector("#token")
    finally:
        project.close()


def _log_in(page: Page, address: str) -> None:
    """Log in by keyboard: first with a wrong token."""
    page.goto(address)
    page.wait_for_selector("#token:focus")
    assert accessible(page) == []
    for token, shown in (("nonsense", "#wrong"), (ANN, "section[aria-labelledby=services]")):
        page.locator("#token").focus()
        page.keyboard.type(token)
        page.keyboard.press("Enter")
        page.wait_for_selector(shown)
    assert "ann" in page.locator("header").inner_text()
    assert page.evaluate("document.cookie") == ""  # No script can read it.


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
