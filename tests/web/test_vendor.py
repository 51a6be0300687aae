"""What others have written and browsers get from the console: which version, from where, and unchanged."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from lightbus.insight.graph.drawings.svg import _LINES
from lightbus.web.files import FOLDER

AXE = Path(__file__).parent / "axe"
_ROW = re.compile(r"^(\S+) +(\S+) +(\S+) +([0-9a-f]{64})$", re.MULTILINE)
ROWS = _ROW.findall((FOLDER / "VENDOR.txt").read_text())
OURS = {"chart.js", "console.css", "console.js", "icon.svg", "VENDOR.txt"}
#: Files of others that do not say their version.
NAMELESS = {"sse.min.js"}


@pytest.mark.parametrize(("name", "package", "version", "digest"), ROWS)
def test_a_file_is_as_its_package_has_it(name: str, package: str, version: str, digest: str) -> None:
    content = (FOLDER / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest
    if name.endswith(".js") and name not in NAMELESS:
        assert version.encode() in content, f"{package} is of another version"


def test_what_finds_faults_of_accessibility_is_as_its_package_has_it() -> None:
    rows = _ROW.findall((AXE / "VENDOR.txt").read_text())
    assert {file.name for file in AXE.iterdir()} == {name for name, *_ in rows} | {"VENDOR.txt"}
    for name, _, version, digest in rows:
        content = (AXE / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        assert name != "axe.min.js" or f"axe v{version}".encode() in content[:100]


def test_each_file_is_ours_or_listed_with_its_licence() -> None:
    listed = {name for name, *_ in ROWS}
    assert {file.name for file in FOLDER.iterdir()} == listed | OURS
    licensed = {package for name, package, *_ in ROWS if name.endswith(".LICENSE.txt")}
    assert licensed == {package for _, package, *_ in ROWS}


def test_our_own_scripts_are_short() -> None:
    scripts = [file for file in FOLDER.glob("*.js") if file.name in OURS]
    lines = [line.strip() for file in scripts for line in file.read_text().splitlines()]
    assert sum(1 for line in lines if line and not line.startswith("//")) < 150


def test_pages_need_nothing_from_elsewhere() -> None:
    own = [
        FOLDER / "console.css",
        FOLDER / "console.js",
        FOLDER / "chart.js",
        *(FOLDER.parent / "templates").iterdir(),
    ]
    for file in own:
        text = Path(file).read_text()
        assert not re.findall(r"https?://|@import|url\(", text), file.name
        # The policy forbids styles and scripts within a page.
        assert not re.findall(r"<style|<script>|\bstyle=|\bon[a-z]+=|\|\s*safe|hx-on|js:", text), file.name


def test_the_page_has_a_style_for_each_line_and_word_of_a_graph() -> None:
    styles = (FOLDER / "console.css").read_text()
    drawn = {name for kinds in _LINES.values() for name in kinds.split()} | {"r", "n", "s", "c"}
    assert {name for name in drawn if f".graph .{name} {{" not in styles} == set()
