"""The pictures on the pages show what commands print today, and what an editor is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.screenshots.__main__ import COMMANDS, PICTURES, screens
from docs.screenshots.terminal import picture, words


@pytest.mark.timeout(300)
def test_the_pictures_show_what_the_commands_print() -> None:
    old = [
        name
        for name, screen in screens()
        if words((PICTURES / f"{name}.svg").read_text()) != words(picture(name, screen))
    ]
    assert old == [], "run: python -m docs.screenshots"


def test_each_picture_is_on_a_page(site: Path) -> None:
    pages = "\n".join(page.read_text() for page in site.rglob("*.html"))
    assert [name for name in (*COMMANDS, "editor") if f"terminal/{name}.svg" not in pages] == []
    assert "quickstart-lightbus-run.png" in pages


def test_the_words_of_a_picture_have_no_numbers_of_their_own() -> None:
    svg = picture("one", "\x1b[1m$ lightbus status\x1b[0m\n12:00:03 info  process 17, 1.21M, 3 s ago")
    assert words(svg) == "$ lightbus status 0 info process 0 0M, 0 s ago"
    assert words(svg) != words(picture("one", "\x1b[1m$ lightbus status\x1b[0m\nnothing"))
