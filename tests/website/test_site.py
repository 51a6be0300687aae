"""`make docs` builds every page; no link is broken, and reading them asks nobody on the network."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from docs.drawings.__main__ import DRAWINGS, FOLDER
from docs.hooks import home, repository
from lightbus.manifest.keys.entries import Entry
from lightbus.manifest.printing.reference import everything
from lightbus.transports.redis.options import RedisOptions
from tests.docs.pages import DOCS

from .built import Page, pages
from .conftest import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "floor.json"


@pytest.fixture(scope="module")
def built(site: Path) -> dict[Path, Page]:
    return pages(site)


def test_code_that_is_included_is_on_the_page(site: Path) -> None:
    page = (site / "tutorial" / "three-services.html").read_text()
    assert "async def charge" in re.sub("<[^>]*>", "", page)
    assert "--8&lt;--" not in page


def test_every_link_leads_to_a_page_and_a_place_in_it(built: dict[Path, Page]) -> None:
    broken = []
    for page in built.values():
        if page.file.name == "404.html":
            continue  # its links start at the root of the server that it is for
        for link in page.links:
            file, anchor = page.target(link)
            known = urlsplit(link).scheme or (file.exists() and (not anchor or anchor in built[file].anchors))
            if not known:
                broken.append(f"{page.file.name}: {link}")
    assert broken == []


def test_a_page_loads_only_files_of_the_site(built: dict[Path, Page], site: Path) -> None:
    foreign = [
        f"{page.file.name}: {address}"
        for page in built.values()
        for address in page.loads
        if page.file.name != "404.html" and not page.target(address)[0].exists()
    ]
    assert foreign == []
    styles = [*site.rglob("*.css"), *site.rglob("*.svg")]
    assert [
        style.name for style in styles if re.search(r"(?:url\(|@import) *[\"']?https?:", style.read_text())
    ] == []


def test_code_fits_into_the_88_columns_of_a_page(site: Path) -> None:
    long = [
        f"{page.relative_to(site)}: {line}"
        for page in sorted(site.rglob("*.html"))
        for code in re.findall(r"<pre\b.*?</pre>", page.read_text(), re.DOTALL)
        for line in unescape(re.sub("<[^>]*>", "", code)).splitlines()
        if len(line) > 88
    ]
    assert long == []


def test_each_key_of_the_manifest_can_be_linked_to(built: dict[Path, Page], site: Path) -> None:
    def below(entry: Entry) -> list[str]:
        # The keys of a connection are shown once, at bus.redis; another Redis refers to them.
        refers = entry.name == "redis" and entry.path != ("bus", "redis")
        shown = (each for each in entry.below() if not (refers and each.name in connection))
        return [anchor(entry), *(name for each in shown for name in below(each))]

    def anchor(entry: Entry) -> str:
        given = entry.path[:1] in {("apis",), ("policies",), ("listeners",), ("schedules",)}
        return "-".join(entry.path[:1] + entry.path[2:] if given else entry.path)

    connection = {each.name for each in fields(RedisOptions)}
    wanted = {name for each in everything().below() for name in below(each)}
    page = (site / "reference" / "configuration.html").resolve()
    assert {"bus-redis-url", "apis-rpc_timeout", "listeners-since", "bus-redis-sentinel-tls-verify"} <= wanted
    assert wanted - built[page].anchors == set()
    shown = set(re.findall('class="key" id="([^"]+)"', page.read_text()))
    assert shown - wanted == set(), "what looks like a key and is none"


def test_the_drawings_are_those_of_their_script() -> None:
    old = [name for name, draw in DRAWINGS.items() if (FOLDER / name).read_text() != draw().svg()]
    assert old == [], "run: python -m docs.drawings"


def test_drawings_are_part_of_their_page_and_turn_dark_with_it(site: Path) -> None:
    page = (site / "explanation" / "architecture.html").read_text()
    assert (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 880 610" id="drawing-rooms" role="img"' in page
    )
    assert 'aria-label="The rooms of the package, from the ground up"' in page
    assert "[data-md-color-scheme=slate] #drawing-rooms{" in page
    assert "prefers-color-scheme: dark){" not in page and '<title id="t">' not in page


@pytest.mark.parametrize(
    ("figure", "shown"), [(0.3049, "0.30"), (30_793.03, "30,000"), (123_936.9, "120,000"), (99.9, "99")]
)
def test_a_measured_figure_is_shown_with_two_digits(figure: float, shown: str) -> None:
    assert home.shown(figure) == shown


def test_the_home_page_has_the_figures_of_the_last_benchmark(site: Path) -> None:
    page = (site / "index.html").read_text()
    found = re.findall(r'<b data-figure="(\w+)">([^<]*)</b>', page)
    assert [name for name, _ in found] == ["rpc_50", "fire_50", "consume", "latency_p50_ms"]
    assert [shown for _, shown in found] == [home.measured(name) for name, _ in found]

    slowest = min(each["rpc_50"] for each in json.loads(RESULTS.read_text())["rounds"]["Lightbus"])
    assert found[0][1] == home.shown(slowest)
    where = re.findall(r'<span data-figure="where">([^<]*)</span>', page)
    assert where == [home.measured("where")]
    assert all(part in RESULTS.read_text() for part in where[0].split(" with "))


def test_the_link_to_the_repository_is_that_of_the_package(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project.urls]\nDocs = "https://a.example"\nSource = "https://git.example/bus/light"\n'
    )
    assert repository.found_in(project) == "https://git.example/bus/light"
    project.write_text("[project]\nname = 'lightbus'\n")
    assert repository.found_in(project) is None
    # The theme's own asks GitHub how many stars there are.
    assert "data-md-component" not in (DOCS / "theme" / "partials" / "source.html").read_text()


def test_links_of_texts_beside_it_lead_somewhere() -> None:
    for name in ("CHANGELOG.md", "examples/shop/README.md", "examples/quickstart/README.md"):
        file = ROOT / name
        for target in re.findall(r"\]\(([^)#]+)", file.read_text()):
            assert "://" in target or (file.parent / target).exists(), f"{name}: {target}"
