"""A graph in the language of Graphviz."""

from __future__ import annotations

from lightbus.insight.graph.model import State

from .picture import Box, Picture

_SHAPES = {"services": "box", "apis": "ellipse", "listeners": "component"}
_STYLES: dict[State, str] = {
    "there": "",
    "undeclared": ', color="#cc4444", fontcolor="#cc4444"',
    "absent": ', style="dashed"',
}


def dot(picture: Picture) -> str:
    """Return the text of a directed graph."""
    ids = {box: f"{box.column[0]}{number}" for number, box in enumerate(picture.boxes, 1)}
    lines = ["digraph bus {", "    rankdir=LR;", '    node [fontname="sans-serif"];']
    for box, identifier in ids.items():
        shape, style = _SHAPES[box.column], _STYLES[box.state]
        lines.append(f"    {identifier} [shape={shape}, label={_words(box)}{style}];")
    for arrow in picture.arrows:
        ends = f"{ids[arrow.source]} -> {ids[arrow.target]}"
        head = ", arrowhead=none, penwidth=2" if arrow.kind == "owns" else ""
        lines.append(f"    {ends} [label={_quoted(arrow.label)}{head}{_STYLES[arrow.state]}];")
    for column in ("services", "apis", "listeners"):
        same = [identifier for box, identifier in ids.items() if box.column == column]
        if same:
            lines.append(f"    {{ rank=same; {'; '.join(same)}; }}")
    return "\n".join([*lines, "}", ""])


def _words(box: Box) -> str:
    said = [line for line in box.lines if not line.startswith(("calls ", "fires ", "owned by "))]
    return _quoted("\n".join([box.title, *said]))


def _quoted(text: str) -> str:
    """Keep a name, which may come from a stranger, within its quotes."""
    kept = "".join(c for c in text if c.isprintable() or c == "\n")
    return '"' + kept.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
