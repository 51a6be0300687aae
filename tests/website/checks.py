"""Opens pages of the site from the disk in a real browser, and tells what is wrong with them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urldefrag, urlsplit

from playwright.sync_api import Browser, Page, TimeoutError, sync_playwright

Scheme = Literal["light", "dark"]
WIDTHS = (1280, 390)
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
#: Milliseconds for what a browser waits for; they are spent only where something is wrong.
PATIENCE = 90_000
_LOOK = (Path(__file__).parent / "faults.js").read_text()
_SEARCH = "[data-md-component=search-query]"
_FOUND = ".md-search-result__item a"
#: So ends a request whose page somebody leaves.
_LEFT = "net::ERR_ABORTED"


def find_browser() -> str | None:
    """Return the path of a Chromium that is installed, such as Debian's; or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next(filter(None, map(shutil.which, names)), None)


@contextlib.contextmanager
def browser(program: str) -> Iterator[Browser]:
    """Start a browser without a window.

    Args:
        program: Its path.
    """
    options = [
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
    ]  # it may run as root, in a container
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=options, timeout=PATIENCE)
        try:
            yield started
        finally:
            started.close()


@dataclass(slots=True)
class Visit:
    """What was seen on pages.

    Args:
        faults: A sentence for each fault.
        links: For each page, where its links lead.
        ids: For each page, what can be linked to.
        drawings: The ids of all drawings.
    """

    faults: list[str] = field(default_factory=list)
    links: dict[str, set[str]] = field(default_factory=dict)
    ids: dict[str, set[str]] = field(default_factory=dict)
    drawings: set[str] = field(default_factory=set)

    def broken(self) -> list[str]:
        """Return the links that lead to no file, or to no place in a page that was visited."""
        found = []
        for page, links in self.links.items():
            for link in sorted(links):
                if urlsplit(link).scheme != "file":
                    continue
                address, anchor = urldefrag(link)
                if not Path(unquote(urlsplit(address).path)).is_file():
                    found.append(f"{_name(page)}: {link} leads to no page")
                elif anchor and unquote(anchor) not in self.ids.get(address, {unquote(anchor)}):
                    found.append(f"{_name(page)}: {link} leads to no place in its page")
        return found


def visit(
    chromium: Browser, files: Iterable[Path], widths: Iterable[int], schemes: Iterable[Scheme]
) -> Visit:
    """Open each page in each width and colour scheme, and note what is wrong.

    Args:
        chromium: The browser.
        files: The pages.
        widths: How wide its window is, in pixels.
        schemes: What its reader prefers.
    """
    seen = Visit()
    files = list(files)
    for scheme in schemes:
        with opened(chromium, scheme, seen.faults) as page:
            for file in files:
                address = file.resolve().as_uri()
                page.goto(address)
                for width in widths:
                    resize(page, width, 800)
                    look = page.evaluate(_LOOK, width)
                    seen.faults += [
                        f"{_name(address)} at {width}, {scheme}: {each}" for each in look["faults"]
                    ]
                seen.links.setdefault(address, set()).update(look["links"])
                seen.ids.setdefault(address, set()).update(look["ids"])
                seen.drawings.update(look["drawings"])
                is_dark = page.evaluate("document.body.dataset.mdColorScheme") == "slate"
                if is_dark != (scheme == "dark"):
                    seen.faults.append(f"{_name(address)} is not {scheme}")
    return seen


def resize(page: Page, width: int, height: int) -> None:
    """Give a page another size, of which all that is drawn by it has heard."""
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_function("(width) => innerWidth === width", arg=width)
    page.evaluate("new Promise(requestAnimationFrame)")


@contextlib.contextmanager
def opened(chromium: Browser, scheme: Scheme, faults: list[str], width: int = 1280) -> Iterator[Page]:
    """Open a window; what its pages ask of the network, and their errors, are faults.

    Args:
        chromium: The browser.
        scheme: What its reader prefers.
        faults: Where they are noted.
        width: How wide it is.
    """
    context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(f"{_name(page.url)}: {error}"))
    page.on(
        "request",
        lambda request: (
            None
            if urlsplit(request.url).scheme in {"file", "data", "blob"}
            else faults.append(f"{_name(page.url)} asks the network for {request.url}")
        ),
    )
    page.on(
        "requestfailed",
        lambda request: (
            None
            if request.failure == _LEFT
            else faults.append(f"{_name(page.url)}: {request.url} can't be loaded: {request.failure}")
        ),
    )
    try:
        yield page
    finally:
        context.close()


def found_by_search(page: Page, words: str, wanted: str) -> bool:
    """Tell whether the site's search finds a page for some words, within the patience of the browser.

    Args:
        page: A page of the site.
        words: What a reader types.
        wanted: The address of the page, or its end.
    """
    if not page.locator(_SEARCH).is_visible():
        page.locator("label.md-header__button[for=__search]").click()
    page.locator(_SEARCH).press_sequentially(words)  # the keys begin the search
    # What is found for the first letters is shown, too.
    with contextlib.suppress(TimeoutError):
        page.locator(f"{_FOUND}[href*='{wanted}']").first.wait_for(state="attached")
        return True
    return False


def _name(address: str) -> str:
    return "/".join(urlsplit(address).path.split("/")[-2:])
