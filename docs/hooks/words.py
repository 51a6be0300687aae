"""The words that mark code for tests are not for readers; the changelog's links start from its page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"
_MARKED = re.compile(r"^```(python run|text output|text acl)$", re.MULTILINE)


def on_page_markdown(markdown: str, **rest: Any) -> str:
    """Return a page without those words; the changelog's links start from here."""
    if rest["page"].file.src_uri == "changes.md":
        markdown = _CHANGELOG.read_text().replace("](docs/", "](")
    return _MARKED.sub(lambda found: f"```{found[1].split()[0]}", markdown)
