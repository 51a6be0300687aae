"""The console in a real browser: what its pages show, and what nobody can make them do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route

from tests.conftest import missing
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server, free_port
from tests.web.bus import EVIL, evil
from tests.web.conftest import ANN
from tests.web.test_server import BUS, start
from tests.website.checks import PATIENCE, SCHEMES, WIDTHS, Scheme, browser, find_browser

LOOK = (Path(__file__).parents[1] / "website" / "faults.js").read_text()
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
        start(project, it.port)
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


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_is_readable_wide_and_narrow_light_and_dark(
    bus: Bus, chromium: Browser, width: int, scheme: Scheme
) -> None:
    with opened(chromium, scheme, width) as page:
        page.goto(bus.address)
        page.wait_for_selector("section table")
        assert page.evaluate(LOOK, width)["faults"] == []
        ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) < 200) is (scheme == "dark")


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
