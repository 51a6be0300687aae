"""What a built page asks a browser to load, where its links lead, and what can be linked to in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: The attributes by which an element is loaded, and the elements whose `href` is no mere link.
_LOADED = {"src", "srcset", "poster", "data"}
_LOADING = {"link", "image", "use"}


@dataclass(slots=True)
class Page:
    """One page of the site.

    Args:
        file: The file.
        loads: The addresses that a browser loads with it.
        links: Those that a reader may follow.
        anchors: The ids of its elements.
    """

    file: Path
    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def target(self, link: str) -> tuple[Path, str]:
        """The file to which a link of this page leads, and the anchor in it."""
        parts = urlsplit(link)
        file = (self.file.parent / unquote(parts.path)).resolve() if parts.path else self.file
        return file, unquote(parts.fragment)


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id":
                self._page.anchors.add(value)
            elif name in _LOADED or (name.endswith("href") and tag in _LOADING):
                self._page.loads.append(value)
            elif name == "href":
                self._page.links.append(value)


def pages(site: Path) -> dict[Path, Page]:
    """The pages of a site by their files."""
    found = {}
    for file in sorted(site.rglob("*.html")):
        page = found[file.resolve()] = Page(file.resolve())
        _Reader(page).feed(file.read_text())
    return found
