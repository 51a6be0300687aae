"""Takes the pictures of the console from ``make console``: ``python -m docs.screenshots.console``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from playwright.sync_api import Page

from tests.support.processes import Process
from tests.website.checks import SCHEMES, browser, find_browser

DOCS = Path(__file__).parents[1]
PICTURES = DOCS / "console"
#: The name of each picture, its page, and what is there once it has enough to show.
PAGES = {
    "overview": ("/", "h2#failing"),
    "listener": ("/listeners/shop-reserve_stock", "section[aria-labelledby=hour] canvas"),
    "seek": ("/actions/seek?target=mail-welcome&to=end", "ul.plan"),
}
_WIDTH, _HEIGHT = 1280, 900
#: Seconds until there is something to see.
_PATIENCE = 120.0
#: Seconds for which the console is looked at before, so that its charts have something to draw.
_WATCHED = 60.0


def main() -> None:
    """Start the shop, and take a picture of each page, light and dark."""
    program = find_browser()
    if program is None:
        raise SystemExit("there is no browser: apt-get install chromium")
    PICTURES.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "examples.console"]
    with Process(command, cwd=DOCS.parent) as shop, browser(program) as chromium:
        shop.wait_for_line("Ctrl-C ends it all", timeout=_PATIENCE)
        said = shop.output()
        address = re.findall(r"http://127\.0\.0\.1:\d+", said)[0]
        token = re.findall(r"([0-9a-f]{24})  ann", said)[0]
        context = chromium.new_context(extra_http_headers={"Authorization": f"Bearer {token}"})
        page = context.new_page()
        page.set_viewport_size({"width": _WIDTH, "height": _HEIGHT})
        page.goto(address)
        page.wait_for_timeout(_WATCHED * 1000)
        for name, (path, shown) in PAGES.items():
            page.goto(address + path)
            page.wait_for_selector(shown, timeout=_PATIENCE * 1000)
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                _take(page, f"{name}-{scheme}")
        shop.interrupt()
        shop.wait()


def _take(page: Page, name: str) -> None:
    page.screenshot(path=PICTURES / f"{name}.png")


if __name__ == "__main__":
    main()
