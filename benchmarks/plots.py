"""Plots as plain SVG: bars that need no library and read well beside text."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

_WIDTH = 720
_LABELS = 170
_FIGURES = 110
_LINE = 26
_COLOUR = "#8a94a6"
_HIGHLIGHT = "#d9822b"
_TEXT = "font-family='sans-serif' font-size='13' fill='#57606a'"


def bars(title: str, figures: Mapping[str, float], labels: Mapping[str, str], highlighted: str) -> str:
    """Draw one bar of each figure, the largest as long as there is room.

    Args:
        title: What is measured.
        figures: By name, in the order of the bars.
        labels: What is written behind each bar.
        highlighted: The name that stands out.

    Returns:
        The SVG.
    """
    most = max(figures.values()) or 1.0
    room = _WIDTH - _LABELS - _FIGURES
    height = _LINE * (len(figures) + 1) + 10
    parts = [f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}' role='img'>"]
    parts.append(f"<title>{escape(title)}</title>")
    parts.append(f"<text x='0' y='16' {_TEXT} font-weight='bold'>{escape(title)}</text>")
    for line, (name, figure) in enumerate(figures.items(), 1):
        top = _LINE * line
        width = max(1.0, room * figure / most)
        colour = _HIGHLIGHT if name == highlighted else _COLOUR
        parts.append(
            f"<text x='{_LABELS - 8}' y='{top + 16}' text-anchor='end' {_TEXT}>{escape(name)}</text>"
        )
        parts.append(
            f"<rect x='{_LABELS}' y='{top + 3}' width='{width:.1f}' height='{_LINE - 8}' fill='{colour}'/>"
        )
        parts.append(
            f"<text x='{_LABELS + width + 8:.1f}' y='{top + 16}' {_TEXT}>{escape(labels[name])}</text>"
        )
    return "\n".join([*parts, "</svg>", ""])
