"""Some pages in a real browser, from the disk, wide and narrow, light and dark; `make site-check` has all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from docs.drawings.__main__ import DRAWINGS
from tests.conftest import missing
from tests.support.eventually import eventually

from .checks import SCHEMES, WIDTHS, Scheme, browser, find_browser, found_by_search, opened, visit

PAGES = ["index", "tutorial/quickstart", "how-to/retries", "explanation/delivery"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        missing("no browser: apt-get install chromium")
    with browser(program) as started:
        yield started


def test_pages_are_whole_and_their_links_lead_somewhere(chromium: Browser, site: Path) -> None:
    seen = visit(chromium, [site / f"{name}.html" for name in PAGES], WIDTHS, SCHEMES)
    assert seen.faults + seen.broken() == []
    assert {"drawing-calls-and-events", "drawing-retries", "drawing-life-of-an-event"} == seen.drawings


@pytest.mark.parametrize("width", WIDTHS)
def test_search_from_the_disk_finds_what_one_looks_for(chromium: Browser, site: Path, width: int) -> None:
    faults: list[str] = []
    with opened(chromium, "light", faults, width) as page:
        page.goto((site / "index.html").as_uri())
        assert found_by_search(page, "retry", "how-to/retries.html")
    assert faults == []


@pytest.mark.parametrize("preferred", SCHEMES)
def test_the_page_turns_dark_and_light_by_its_switch(
    chromium: Browser, site: Path, preferred: Scheme
) -> None:
    with opened(chromium, preferred, []) as page:
        page.goto((site / "explanation" / "architecture.html").as_uri())
        box = page.locator("#drawing-rooms .r").first
        before = box.evaluate("box => getComputedStyle(box).fill")
        page.locator("[data-md-component=palette] label:not([hidden])").click()
        other = {"light": "slate", "dark": "default"}[preferred]
        page.locator(f"body[data-md-color-scheme={other}]").wait_for()
        both = {"rgb(255, 255, 255)", "rgb(38, 45, 66)"}
        eventually(lambda: {before, box.evaluate("box => getComputedStyle(box).fill")} == both)


def test_a_link_to_a_key_of_the_manifest_leads_to_its_line(chromium: Browser, site: Path) -> None:
    with opened(chromium, "light", []) as page:
        page.goto((site / "reference" / "configuration.html").as_uri() + "#apis-rpc_timeout")

        def is_seen() -> bool:
            box = page.locator("a.key:target").bounding_box()
            return box is not None and 0 < box["y"] < 800

        eventually(is_seen)


def test_the_home_page_says_what_it_is_in_one_screen(chromium: Browser, site: Path) -> None:
    with opened(chromium, "light", []) as page:
        page.goto((site / "index.html").as_uri())
        for part in ("pre", "figure.drawing", ".figures", ".why", ".next"):
            box = page.locator(f".home {part}").first.bounding_box()
            assert box is not None and box["y"] + box["height"] <= 800, part


WRONG = """<!doctype html><body data-md-color-scheme="default">
<div class="md-content"><div class="md-content__inner">
<pre style="width: 99px"><code style="display: block; overflow-x: auto">a line that is longer</code></pre>
<p style="margin-right: -3000px"><b>wide</b></p> <p style="width: 9px; overflow: hidden">hidden</p>
<p style="color: #ddd">pale</p> <img src="none.png">
<a href="none.html">a page</a> <a href="#none">a place</a>
<figure class="drawing"><svg id="drawn" viewBox="0 0 10 10"><rect width="10" height="10" fill="#888"/>
<text x="8" y="9">out of it</text><text x="1" y="5" font-size="2" fill="#999">dim</text></svg></figure>
</div></div><script src="http://127.0.0.1:1/script.js"></script><script>nothing.there</script></body>"""


def test_what_is_wrong_with_a_page_is_noticed(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "wrong.html").write_text(WRONG)
    seen = visit(chromium, [tmp_path / "wrong.html"], [1280], ["dark"])
    told = "\n".join(seen.faults + seen.broken())
    for words in (
        "the page is 4",
        "wider than its column: a line that is longer",
        "<p> sticks out by",
        "<p> is cut: hidden",
        "p. has a contrast of 1.",
        "no picture: none.png",
        "none.html leads to no page",
        "wrong.html#none leads to no place in its page",
        "drawn cuts: out of it",
        "drawn has a contrast of 1.",
        "asks the network for http://127.0.0.1:1/script.js",
        "nothing is not defined",
        "wrong.html is not dark",
    ):
        assert words in told, told


def test_each_drawing_is_on_a_page(site: Path) -> None:
    pages = "\n".join(page.read_text() for page in site.rglob("*.html"))
    assert [name for name in DRAWINGS if f'id="drawing-{Path(name).stem}"' not in pages] == []
