"""Takes the pictures of the console from ``make console``: ``python -m docs.screenshots.console``.

Each screen is taken at the width of a desk and at that of a phone, light and dark: those that the docs show,
or those whose names come after it, to look at any other; with ``--to FOLDER``, the pictures are put there.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page

from tests.support.processes import Process
from tests.website.checks import SCHEMES, browser, find_browser

DOCS = Path(__file__).parents[1]
PICTURES = DOCS / "console"


@dataclass(frozen=True, slots=True)
class Screen:
    """A screen of which pictures are taken.

    Args:
        path: Its address.
        shown: What is there once it has enough to show.
        then: Links that are followed from there, one after the other.
    """

    path: str
    shown: str = "main table"
    then: tuple[str, ...] = ()


#: The name of each picture, and its screen.
SCREENS: Mapping[str, Screen] = {
    "overview": Screen("/", "h2#failing"),
    "service": Screen("/services/shop"),
    "api": Screen("/apis/shop.orders"),
    "call": Screen("/try/shop.orders.place", "form.try"),
    "fire": Screen("/actions/fire?target=shop.orders.placed&/order_id=1&/customer=Ann&/skus=cup", "ul.plan"),
    "listeners": Screen("/listeners"),
    "listener": Screen("/listeners/shop-reserve_stock", "section[aria-labelledby=hour] canvas"),
    "seek": Screen("/actions/seek?target=mail-welcome&to=end", "ul.plan"),
    "events": Screen("/events"),
    "event": Screen("/events", "h2#where", ("main td a[href^='/events/']",)),
    "tail": Screen("/tail", "#tail tr:nth-child(3)"),
    "dead": Screen("/dead"),
    "letters": Screen("/dead/list"),
    "letter": Screen("/dead/list", "h2#arguments", ("main td a[href^='/dead/letter']",)),
    "calls": Screen("/calls"),
    "schedules": Screen("/schedules"),
    "graph": Screen("/graph", "figure.graph svg"),
    "audit": Screen("/audit"),
}
#: The screens whose pictures are in the docs: not all, as a repository carries each picture for ever.
IN_DOCS = ("overview", "listener", "fire")
#: The width and height of each kind of window, and what the names of its pictures end with.
WINDOWS = {"": (1280, 900), "-phone": (390, 844)}
#: A listener that is paused, as people see it on each page that shows it; so the audit has something, too.
_PAUSED = "mail-thank"
#: Where the shop is in the pictures: not where it is on the machine that takes them.
_FOLDER = "/srv"
_REPLACE = """([old, by]) => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(old, by);
}"""
#: Seconds until there is something to see.
_PATIENCE = 120.0
#: Seconds for which the console is looked at before, so that its charts have something to draw.
_WATCHED = 60.0


def main() -> None:
    """Start the shop, and take pictures of screens, wide and narrow, light and dark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*SCREENS, []], default=[])
    parser.add_argument("--to", type=Path, default=PICTURES)
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    with opened() as (page, address):
        page.goto(f"{address}/actions/pause?target={_PAUSED}&until=2h")
        page.fill("#because", "the mail server moves")
        page.locator("main form button").click()
        page.wait_for_selector(".said")
        page.goto(address)
        page.wait_for_timeout(_WATCHED * 1000)
        for name in options.names or IN_DOCS:
            take(page, address, name, options.to)


@contextmanager
def opened() -> Iterator[tuple[Page, str]]:
    """Start the shop, and open a window of somebody who may do everything; also returns its address."""
    program = find_browser()
    if program is None:
        raise SystemExit("there is no browser: apt-get install chromium")
    command = [sys.executable, "-m", "examples.console"]
    with Process(command, cwd=DOCS.parent) as shop, browser(program) as chromium:
        shop.wait_for_line("Ctrl-C ends it all", timeout=_PATIENCE)
        said = shop.output()
        address = re.findall(r"http://127\.0\.0\.1:\d+", said)[0]
        token = re.findall(r"([0-9a-f]{24})  ann", said)[0]
        context = chromium.new_context(extra_http_headers={"Authorization": f"Bearer {token}"})
        context.set_default_timeout(_PATIENCE * 1000)
        page = context.new_page()
        yield page, address
        shop.interrupt()
        shop.wait()


def take(page: Page, address: str, name: str, folder: Path) -> None:
    """Take the pictures of one screen."""
    it = SCREENS[name]
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(address + it.path)
    for link in it.then:
        with page.expect_navigation():
            page.locator(link).first.click()
    page.wait_for_selector(it.shown)
    for window, (width, height) in WINDOWS.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            # Each time: it may have renewed itself.
            page.evaluate(_REPLACE, [str(DOCS.parent), _FOLDER])
            page.screenshot(path=folder / f"{name}{window}-{scheme}.png")


if __name__ == "__main__":
    main()
