"""Boxes, arrows and words as an SVG that is readable on a light and on a dark page."""

from __future__ import annotations

from html import escape

#: The same class names and colours as in explanation/rooms.svg, and three colours that mean something.
_STYLE = """\
 .f{fill:#eef2fb;stroke:#c3cde6}.r{fill:#fff;stroke:#5468a8;stroke-width:1.5}
 .n{font-size:15px;font-weight:600;fill:#1f2a4d}.s{font-size:13px;fill:#4a5578}.c{font-size:12.5px;fill:#1f2a4d}
 .c{font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}
 .a{stroke:#5468a8;stroke-width:2;fill:none}.d{stroke-dasharray:5 4}
 .good{fill:#e4f6ea;stroke:#2e8b57}.bad{fill:#fdeaea;stroke:#c44}.wait{fill:#fff5dc;stroke:#b8860b}
 @media (prefers-color-scheme: dark){
 .f{fill:#1d2233;stroke:#39425f}.r{fill:#262d42;stroke:#93a5e0}.n,.c{fill:#e8ecfa}.s{fill:#b4bedd}
 .a{stroke:#93a5e0}.good{fill:#1d3a2a;stroke:#5fbf8a}.bad{fill:#43262b;stroke:#e88}.wait{fill:#3d3420;stroke:#d9b65c}
 }"""


class Drawing:
    """One drawing, made part by part.

    Args:
        title: Its subject.
        description: What it shows, for those who don't see it.
        width: In units of about a pixel.
        height: Likewise.
    """

    def __init__(self, title: str, description: str, width: int, height: int) -> None:
        self._head = (title, description)
        self._size = (width, height)
        self._parts: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, *words: str, kind: str = "r") -> None:
        """Draw a box; the first of its words stands out, and words in backticks are code.

        Args:
            x: Its left side.
            y: Its upper side.
            width: How wide it is.
            height: How high it is.
            words: The lines in it, centred.
            kind: ``r``, or ``good``, ``bad`` or ``wait``.
        """
        classes = kind if kind == "r" else f"r {kind}"
        self._parts.append(
            f'<rect class="{classes}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
        )
        top = y + height / 2 - 9 * (len(words) - 1) + 5
        for line, text in enumerate(words):
            self.words(x + width / 2, top + 18 * line, text, kind="s" if line else "n")

    def area(self, x: float, y: float, width: float, height: float, title: str = "") -> None:
        """Draw the ground on which boxes stand, with its title in the upper left corner."""
        self._parts.append(f'<rect class="f" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>')
        if title:
            self.words(x + 12, y + 20, title, anchor="start")

    def words(self, x: float, y: float, text: str, *, kind: str = "s", anchor: str = "middle") -> None:
        """Write a line; text in backticks is code."""
        if text.startswith("`"):
            kind, text = "c", text.replace("`", "")
        place = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}"{place}>{escape(text)}</text>')

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """Draw a line through some points, with a head at the last one."""
        (x1, y1), (x2, y2) = points[-2:]
        right, down = (x2 > x1) - (x2 < x1), (y2 > y1) - (y2 < y1)
        line = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        self._parts.append(f'<path class="a{" d" if dashed else ""}" d="{line}"/>')
        wings = [(x2 - 9 * right + 6 * sign * down, y2 - 9 * down + 6 * sign * right) for sign in (1, -1)]
        (ax, ay), (bx, by) = wings
        self._parts.append(f'<path class="a" d="M{ax:g} {ay:g} L{x2:g} {y2:g} L{bx:g} {by:g}"/>')

    def line(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """Draw a line through some points."""
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        self._parts.append(f'<path class="a{" d" if dashed else ""}" d="{path}"/>')

    def svg(self) -> str:
        """Return the file."""
        (title, description), (width, height) = self._head, self._size
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
                'aria-labelledby="t d" font-family="system-ui, sans-serif">',
                f'<title id="t">{escape(title)}</title>',
                f'<desc id="d">{escape(description)}</desc>',
                f"<style>\n{_STYLE}\n</style>",
                *self._parts,
                "</svg>\n",
            ]
        )
