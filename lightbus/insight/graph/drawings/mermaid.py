"""A graph as a flowchart of Mermaid, which the pages of GitHub, GitLab and many wikis draw."""

from __future__ import annotations

from lightbus.insight.graph.model import State

from .picture import Box, Picture

_SHAPES = {"services": ("[", "]"), "apis": ("([", "])"), "listeners": ("[[", "]]")}
_ARROWS = {"owns": "===", "calls": "-->", "fires": "-->", "listens": "-->"}
_STYLES: dict[State, str] = {
    "undeclared": "stroke:#c44,stroke-width:2px,color:#c44",
    "absent": "stroke-dasharray:5 4",
}


def mermaid(picture: Picture) -> str:
    """Return the text of a flowchart."""
    ids = {box: f"{box.column[0]}{number}" for number, box in enumerate(picture.boxes, 1)}
    lines = ["flowchart LR"]
    for box, identifier in ids.items():
        start, end = _SHAPES[box.column]
        lines.append(f'    {identifier}{start}"{_words(box)}"{end}')
    for arrow in picture.arrows:
        line = "-.->" if arrow.state == "absent" else _ARROWS[arrow.kind]
        lines.append(f'    {ids[arrow.source]} {line}|"{_safe(arrow.label)}"| {ids[arrow.target]}')
    for state, style in _STYLES.items():
        marked = [identifier for box, identifier in ids.items() if box.state == state]
        if marked:
            lines += [f"    classDef {state} {style}", f"    class {','.join(marked)} {state}"]
    wrong = [str(number) for number, arrow in enumerate(picture.arrows) if arrow.state == "undeclared"]
    if wrong:
        lines.append(f"    linkStyle {','.join(wrong)} stroke:#c44,color:#c44")
    return "\n".join(lines) + "\n"


def _words(box: Box) -> str:
    said = [line for line in box.lines if not line.startswith(("calls ", "fires ", "owned by "))]
    return "<br/>".join([f"<b>{_safe(box.title)}</b>", *map(_safe, said)])


def _safe(text: str) -> str:
    """Keep a name, which may come from a stranger, within its label."""
    return "".join(c if c.isalnum() or c in " ._-*,/()" else f"#{ord(c)};" for c in text if c.isprintable())
