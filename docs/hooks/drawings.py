"""Drawings become part of their page, so that they turn dark with its switch.

An image that is loaded by its address sees what the system prefers, and not what the reader chose.
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

_IMAGE = re.compile(r'<p>\s*<img alt="([^"]*)" src="([^"]+)\.svg"\s*/?>\s*</p>')
_HEAD = re.compile(r'<svg ([^>]*?) role="img" aria-labelledby="t d"([^>]*)>')
_STYLE = re.compile(r"<style>(.*?)@media \(prefers-color-scheme: dark\)\s*\{(.*)\}\s*</style>", re.DOTALL)
_SAID_ASIDE = re.compile(r'<(title|desc) id="\w">.*?</\1>\n?', re.DOTALL)


def on_page_content(html: str, **rest: Any) -> str:
    """Return a page with the drawings of its folder in place of their addresses."""
    page = Path(rest["page"].file.abs_src_path)

    def drawn(found: re.Match[str]) -> str:
        alt, name = found[1], unescape(found[2])
        file = (page.parent / f"{name}.svg").resolve()
        svg = file.read_text() if file.is_file() else ""
        return inlined(svg, f"drawing-{file.stem}", alt) if _HEAD.match(svg) else found[0]

    return _IMAGE.sub(drawn, html)


def inlined(svg: str, name: str, alt: str) -> str:
    """Return a drawing as part of a page.

    Args:
        svg: The file.
        name: The id that it gets; its colours count for it alone.
        alt: What it shows, in words.

    Returns:
        A figure.
    """
    svg = _HEAD.sub(rf'<svg \1 id="{name}" role="img" aria-label="{alt}"\2>', svg)
    svg = _STYLE.sub(
        lambda style: (
            f"<style>#{name}{{{style[1]}}} [data-md-color-scheme=slate] #{name}{{{style[2]}}}</style>"
        ),
        svg,
    )
    return f'<figure class="drawing">{_SAID_ASIDE.sub("", svg).strip()}</figure>'
