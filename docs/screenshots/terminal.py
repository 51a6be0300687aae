"""What a command prints on a terminal, as a picture."""

from __future__ import annotations

import re
from html import unescape
from io import StringIO

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

#: How wide the terminal is. A picture of it fits the column of a page.
COLUMNS = 92
_THEME = TerminalTheme(
    (30, 30, 46),
    (216, 222, 240),
    [
        (88, 91, 112),
        (243, 139, 168),
        (166, 227, 161),
        (249, 226, 175),
        (137, 180, 250),
        (203, 166, 247),
        (148, 226, 213),
        (205, 214, 244),
    ],
)
#: As rich's own, but without the font that it loads from the network, and without the frame of a window.
_FORMAT = """\
<svg viewBox="0 0 {terminal_width} {terminal_height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px;
}}
{styles}
</style>
<defs>
{lines}
</defs>
<rect fill="#1e1e2e" width="{terminal_width}" height="{terminal_height}" rx="8"/>
<g transform="translate(9, 9)" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
_TEXT = re.compile(r'<text class="[^"]*" x="([^"]*)" y="([^"]*)"[^>]*>([^<]*)</text>')


def picture(name: str, screen: str) -> str:
    """Return an SVG of a terminal.

    Args:
        name: What its parts are called, so that they differ from those of other pictures.
        screen: What was printed, with its colours as a terminal gets them.
    """
    console = Console(
        record=True,
        width=COLUMNS + 2,  # with a margin
        file=StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    for line in [*screen.rstrip("\n").split("\n"), ""]:  # the last one is a margin
        console.print(Text.from_ansi(line), overflow="fold", crop=False, highlight=False)
    return console.export_svg(theme=_THEME, code_format=_FORMAT, unique_id=name, font_aspect_ratio=0.6)


def words(svg: str) -> str:
    """Return what a picture shows as one line; each number is a 0, since numbers differ from run to run."""
    parts = sorted((float(y), float(x), text) for x, y, text in _TEXT.findall(svg))
    shown = " ".join(unescape(text).replace("\xa0", " ") for _, _, text in parts)
    return " ".join(re.sub(r"\d[\d.,:/-]*", "0", shown).split())
