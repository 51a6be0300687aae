"""What tests of the console in a browser share: a bus, windows, keys, and what is looked for in pages."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote, urlencode, urlsplit

import playwright.sync_api
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize
from starlette.routing import Route

from lightbus.manifest.load import load
from lightbus.manifest.model import Permission
from lightbus.web import app
from tests.conftest import missing
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server, free_port
from tests.web.bus import STREAM
from tests.web.conftest import ANN, BOB, EVE
from tests.web.routes import ADDRESSES
from tests.web.test_roles import FORMS
from tests.web.test_server import start
from tests.website.checks import PATIENCE, SCHEMES, WIDTHS, Scheme, browser, find_browser, resize

LOOK = (Path(__file__).parents[1] / "website" / "faults.js").read_text()
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
GROUP = "shop-mailer"
DEAD = f"{{{STREAM}}}:dead:{GROUP}"
WIDE: ViewportSize = {"width": 1280, "height": 900}
#: What is hidden, unless somebody reveals it.
SECRET = "canary@example.com"
TOKENS = f"ann {ANN} ops\nbob {BOB} dev\neve {EVE}\n"
#: Routes that show no page.
FILES = ("/events.jsonl", "/tail/stream", "/contracts/{name:path}", "/metrics")
#: What a browser says of an answer that is no page with the status 200, which some pages here are.
REFUSALS = ("401", "403", "404", "409", "422", "502", "503")
ROLES = {"ops": ",".join(get_args(Permission)), "dev": "call,fire"}

ACCOUNTS = """
    from dataclasses import dataclass
    from typing import Annotated, Literal

    from lightbus import Api, Event, Parameter, Sensitive

    @dataclass
    class Address:
        city: str
        lines: list[str]

    class AuthApi(Api):
        user_registered = Event(
            parameters=(Parameter("username", str), Parameter("email", Annotated[str, Sensitive], ""))
        )

        class Meta:
            name = "auth"

        async def check_password(self, username: str) -> bool:
            raise ValueError(username)

        async def find(
            self,
            username: str,
            address: Address | None = None,
            kind: Literal["person", "robot"] = "person",
            tags: list[str] = (),
            more: dict[str, int] | None = None,
            is_active: bool = True,
        ) -> dict[str, str]:
            '''Find somebody by name.'''
            return {"found": f"{username} is a {kind}"}
"""
LISTENING = """
    service_name: shop
    bus: {remote_control: true}
    policies: {once: {attempts: 1}}
    listeners:
      mailer: {events: [auth.user_registered], handler: 'bus:send', on_error: once}
    schedules:
      close: {every: 1h, call: 'bus:close', missed: run_once}
"""
SEND = """
    def send(event_message, username, email=""):
        if username == "bad":
            raise ValueError("no mail to " + email)

    def close():
        return None
"""


#: Whether somebody sees what has the focus.
IS_SEEN = """() => {
  const it = document.activeElement, style = getComputedStyle(it), box = it.getBoundingClientRect();
  const isWithin = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  const isMarked = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  return isWithin && isMarked && it.matches(":focus-visible");
}"""


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

    def fire(self, username: str) -> str:
        """Fire an event; returns the address of its page."""
        fired = {"api_name": "auth", "event_name": "user_registered", "version": "1", "id": f"of-{username}"}
        arguments = {":username": json.dumps(username), ":email": json.dumps(SECRET)}
        fields = [part for pair in (fired | arguments).items() for part in pair]
        native_id: bytes = self.server.execute("XADD", STREAM, "*", *fields)
        return f"/events/of-{username}?{urlencode({'at': native_id.decode()})}"

    def letters(self) -> list[dict[str, str]]:
        """The place and id of each dead letter."""
        found: Any = self.server.execute("XRANGE", DEAD, "-", "+")
        return [{"id": entry_id.decode(), "place": DEAD} for entry_id, _ in found]

    def put_aside(self) -> dict[str, str]:
        """Fire what can't be handled; returns the place and id of its letter."""
        before = self.letters()
        self.fire("bad")
        eventually(lambda: len(self.letters()) > len(before))
        return self.letters()[-1]


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bus]:
    server = Server()
    project = Project(tmp_path_factory.mktemp("console"), server.url)
    project.write("accounts/bus.py", ACCOUNTS)
    project.write("shop/bus.py", SEND)
    project.write("shop/lightbus.yaml", LISTENING)
    project.write("tokens", TOKENS)
    it = Bus(project, server)
    roles = [part for name, may in ROLES.items() for part in ("--set", f"web.roles.{name}={may}")]
    try:
        project.within("accounts").host("-s", "accounts", "-p", "accounts-1")
        project.within("shop").host("-p", "shop-1")
        server.execute("XGROUP", "CREATE", STREAM, "shop-welcome", "0", "MKSTREAM")
        patient = ("--set", "apis.default.rpc_timeout=60s")
        start(project, it.port, "--auth", "token", "--token-file", "tokens", *patient, *roles)
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
def opened(chromium: Browser, allowed: Sequence[str] = REFUSALS) -> Iterator[Page]:
    """A window; a violation of the policy, an error, and a request to elsewhere fail the test."""
    faults: list[str] = []
    context: BrowserContext = chromium.new_context(viewport=WIDE)

    def pass_on(route: playwright.sync_api.Route) -> None:
        host = urlsplit(route.request.url).hostname
        if host in ("localhost", "127.0.0.1"):
            route.continue_()
        else:
            faults.append(f"asks {route.request.url}")
            route.abort()

    context.route("**/*", pass_on)
    context.add_init_script(
        "addEventListener('securitypolicyviolation', (e) => console.error(`policy: ${e.violatedDirective}`))"
    )
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    try:
        yield page
    finally:
        context.close()
    found = [each for each in faults if not any(known in each for known in allowed)]
    assert found == []


def log_in(page: Page, address: str, token: str = ANN) -> None:
    """Log in by keyboard."""
    page.goto(address)
    page.wait_for_selector("#token:focus")
    page.keyboard.type(token)
    page.keyboard.press("Enter")
    page.wait_for_selector("section[aria-labelledby=services]")


def section(page: Page, title: str) -> str:
    """The text of a part of the page."""
    return page.locator(f"section[aria-labelledby={title}]").inner_text()


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


def faults_of(page: Page, schemes: Sequence[Scheme] = SCHEMES) -> list[str]:
    """What is wrong with a page: for those who see little, wide and narrow, light and dark."""
    # Nor is it renewed meanwhile: what is looked at would be replaced.
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.wait_for_selector("#page:not(.htmx-request)", state="attached")
    page.evaluate("for (const it of document.querySelectorAll('details')) it.open = true")
    path = page.url.partition("//")[2].partition("/")[2]
    found: list[str] = []
    for width in (*WIDTHS, WIDE["width"]):
        resize(page, width, WIDE["height"])
        found += [f"/{path} at {width}: {fault}" for fault in page.evaluate(LOOK, width)["faults"]]
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) < 200) == (scheme == "dark")
        # What has no colour was looked at before.
        found += accessible(page, "{}" if scheme == schemes[0] else "{runOnly: ['color-contrast']}")
    page.emulate_media(color_scheme="light")
    page.evaluate("delete document.hidden")
    return found


def reach(page: Page, selector: str) -> None:
    """Go by the keyboard to what is meant: from where the focus is to the end of the page, or back."""
    for key in ("Tab", "Shift+Tab"):
        for _ in range(150):
            page.keyboard.press(key)
            if page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
                assert page.evaluate(IS_SEEN), f"nobody sees that the focus is on {selector} on {page.url}"
                return
            if page.evaluate("document.activeElement === document.body"):
                break
    raise AssertionError(f"{selector} is not reached by the keyboard on {page.url}")


def show(page: Page, address: str, selector: str) -> None:
    """Go to a page until it has something: it may show what was seen a moment ago."""
    eventually(lambda: page.goto(address) and page.locator(selector).count(), what=f"{selector} on {address}")


def follow(page: Page, selector: str) -> None:
    """Go to a link by keyboard alone, and follow it."""
    reach(page, selector)
    with page.expect_navigation():
        page.keyboard.press("Enter")


def write(page: Page, selector: str, text: str) -> None:
    """Go to a field by keyboard alone, and write something in the place of what is there."""
    reach(page, selector)
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)


def sent(page: Page, shown: str) -> str:
    """Press Enter, and return the text of what is shown then; the focus is somewhere all the time."""
    page.keyboard.press("Enter")
    page.wait_for_selector(shown)
    page.wait_for_selector(":focus", state="attached")
    return page.locator(shown).first.inner_text()


def addresses(bus: Bus) -> dict[str, list[str]]:
    """For each route of the console that shows a page the addresses at which it is looked at.

    Raises:
        KeyError: Nobody has said how a new route is asked for.
    """
    letter = bus.letters()[-1] if bus.letters() else bus.put_aside()
    event = bus.fire("good")
    at = event.partition("at=")[2]
    this, gone = urlencode(letter), urlencode({**letter, "id": "1-0"})
    like = f"like=of-good&at={at}"
    shown = {
        "/services/{name:path}": ["/services/shop", "/services/none"],
        "/listeners/{name:path}": ["/listeners/shop-mailer", "/listeners/shop-welcome"],
        "/listeners": ["/listeners", "/listeners?find=none"],
        "/graph": ["/graph", "/graph?focus=shop", "/graph?focus=nothing"],
        "/events": ["/events", "/events?api=none", "/events?where=nonsense"],
        "/events/{name:path}": [event, "/events/none"],
        "/dead/list": ["/dead/list", "/dead/list?event=none"],
        "/dead/letter": [f"/dead/letter?{this}", f"/dead/letter?{gone}"],
        "/dead/export": ["/dead/export", "/dead/export?confirmed=7&because=x"],
        "/try/{name:path}": ["/try/auth.find", f"/try/auth.user_registered?{like}"],
        "/audit": ["/audit", "/audit?user=nobody"],
    }
    forms = {name: dict(fields) for name, fields in FORMS.items()}
    for name in ("replay", "drop", "edit", "reveal"):
        forms[name] |= letter
    forms["reveal_event"] |= {"id": "of-good", "at": at}
    forms["fire"] |= {"/email": "ann@example.com"}
    found: dict[str, list[str]] = {}
    for route in app(load(overrides=[f"bus.redis.url={bus.server.url}"], look_around=False)).routes:
        if not isinstance(route, Route) or "GET" not in (route.methods or ()) or route.path in FILES:
            continue
        name = route.path.removeprefix("/actions/")
        if name == route.path:
            found[name] = shown.get(name) or [ADDRESSES[name]]
        else:
            found[route.path] = [f"{route.path}?{urlencode(forms[name], quote_via=quote)}"]
    return found
