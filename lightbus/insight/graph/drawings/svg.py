"""A graph as an SVG of three columns, which is readable on a light and on a dark page."""

from __future__ import annotations

from html import escape
from typing import Final

from lightbus.insight.graph.model import State

from .layout import COLUMNS, LINE, TITLE, WORDS, Layout, Placed, Point, layout_of
from .picture import Arrow, Picture

#: The colours and classes of the drawings in the documentation.
_STYLE: Final = """\
 .r{fill:#fff;stroke:#5468a8;stroke-width:1.5}
 .n{font-size:15px;font-weight:600;fill:#1f2a4d}.s{font-size:13px;fill:#4a5578}.c{font-size:12.5px;fill:#1f2a4d}
 .c{font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}
 .a{stroke:#5468a8;stroke-width:1.5;fill:none}.o{stroke:#2e8b57;stroke-width:3.5}.l{stroke:#b8860b}
 .f{stroke:#8a4fb0}
 .absent{stroke-dasharray:6 5;opacity:.75}.r.undeclared{fill:#fdeaea;stroke:#c44}.a.undeclared{stroke:#c44}
 @media (prefers-color-scheme: dark){
 .r{fill:#262d42;stroke:#93a5e0}.n,.c{fill:#e8ecfa}.s{fill:#b4bedd}
 .a{stroke:#93a5e0}.o{stroke:#5fbf8a}.l{stroke:#d9b65c}.f{stroke:#c39be0}.r.undeclared{fill:#43262b;stroke:#e88}.a.undeclared{stroke:#e88}
 }"""
_LINES: Final = {"owns": "a o", "calls": "a", "fires": "a f", "listens": "a l"}
_STATES: Final[dict[State, str]] = {"there": "", "absent": " absent", "undeclared": " undeclared"}
_LEGEND_HEIGHT: Final = 48


def svg(picture: Picture, *, compares: bool = False, is_part: bool = False) -> str:
    """Return the file.

    Args:
        picture: What there is to draw.
        compares: Whether the legend says what broken and red lines mean.
        is_part: Whether it becomes a part of a page, which has the styles.
    """
    layout = layout_of(picture)
    height, legend = round(layout.height + _LEGEND_HEIGHT), _Legend(picture, compares)
    width = max(layout.width, legend.width)
    counts = ", ".join(f"{len(picture.column(name))} {name}" for name in COLUMNS).replace("apis", "APIs")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" role="img" '
            'aria-labelledby="t d" font-family="system-ui, sans-serif">',
            '<title id="t">Services, APIs and listeners</title>',
            f'<desc id="d">{_text(_description(picture) or counts)}</desc>',
            *(() if is_part else (f"<style>\n{_STYLE}\n</style>",)),
            *_heads(layout),
            *(_arrow(*arrow) for arrow in layout.arrows),
            *(_box(it, layout.box_width) for it in layout.boxes),
            *legend.parts(layout.height + 30),
            "</svg>\n",
        ]
    )


def _description(picture: Picture) -> str:
    """Say in words what is drawn, for those who don't see it."""
    verbs = {"owns": "owns", "calls": "calls", "fires": "fires events of", "listens": "is listened to by"}
    said = [f"{a.source.title} {verbs[a.kind]} {a.target.title}" for a in picture.arrows]
    return "; ".join(dict.fromkeys(said)) + "." if said else ""


def _heads(layout: Layout) -> list[str]:
    titles = {"services": "Services", "apis": "APIs", "listeners": "Listeners"}
    return [
        f'<text class="n" x="{layout.left(name) + layout.box_width / 2:g}" y="32" text-anchor="middle">'
        f"{titles[name]}</text>"
        for name in COLUMNS
    ]


def _box(it: Placed, width: float) -> str:
    state = _STATES[it.box.state]
    whole = "\n".join([it.box.title, *it.box.lines])
    top = it.y + it.height / 2 - LINE * len(it.lines) / 2 + 5
    parts = [
        f"<g><title>{_text(whole)}</title>",
        f'<rect class="r{state}" x="{it.x:g}" y="{it.y:g}" width="{width:g}" height="{it.height:g}" rx="6"/>',
        _words("n", it.x + 12, top, it.box.title, TITLE),
        *(
            _words("c", it.x + 12, top + LINE * number, line, WORDS)
            for number, line in enumerate(it.lines, 1)
        ),
        "</g>",
    ]
    return "".join(parts)


def _words(kind: str, x: float, y: float, text: str, most: int) -> str:
    shown = text if len(text) <= most else f"{text[: most - 1]}…"
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{_text(shown)}</text>'


def _arrow(arrow: Arrow, start: Point, end: Point) -> str:
    (x1, y1), (x2, y2) = start, end
    kinds = _LINES[arrow.kind] + _STATES[arrow.state]
    bend = (x2 - x1) / 2
    path = f"M{x1:g} {y1:g} C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}"
    head = "" if arrow.kind == "owns" else _head(kinds.removesuffix(" absent"), x2, y2)
    title = arrow.label
    if arrow.kind != "listens":
        named = f": {arrow.label}" if arrow.label != arrow.kind else ""
        title = f"{arrow.source.title} {arrow.kind} {arrow.target.title}{named}"
    return f'<g><title>{_text(title)}</title><path class="{kinds}" d="{path}"/>{head}</g>'


def _head(kinds: str, x: float, y: float) -> str:
    return f'<path class="{kinds}" d="M{x - 8:g} {y - 5:g} L{x:g} {y:g} L{x - 8:g} {y + 5:g}"/>'


class _Legend:
    """The meanings of the lines, beside each other.

    Args:
        picture: What is drawn: who fires events of others is rare.
        compares: Whether broken and red ones are among them.
    """

    def __init__(self, picture: Picture, compares: bool) -> None:
        self._meanings = [("a o", "owns"), ("a", "calls"), ("a l", "listens")]
        if any(arrow.kind == "fires" for arrow in picture.arrows):
            self._meanings += [("a f", "fires")]
        if compares:
            self._meanings += [("a absent", "declared, not on the bus")]
            self._meanings += [("a undeclared", "on the bus, not declared")]
        self._places = [16.0]
        for _, meaning in self._meanings:
            self._places.append(self._places[-1] + 72 + 7.5 * len(meaning))

    @property
    def width(self) -> float:
        """How wide it is."""
        return self._places[-1]

    def parts(self, y: float) -> list[str]:
        """Return it at a height."""
        return [
            f'<path class="{kinds}" d="M{x:g} {y:g} L{x + 40:g} {y:g}"/>'
            f'<text class="s" x="{x + 48:g}" y="{y + 4:g}">{meaning}</text>'
            for (kinds, meaning), x in zip(self._meanings, self._places, strict=False)
        ]


def _text(text: str) -> str:
    """Keep a name, which may come from a stranger, within its place."""
    return escape("".join(c if c.isprintable() or c == "\n" else " " for c in text))
