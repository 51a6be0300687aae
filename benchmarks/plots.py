"""Plots as plain SVG: bars and curves that need no library and read well beside text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

_WIDTH = 720
_LABELS = 170
_FIGURES = 110
_LINE = 26
_COLOUR = "#8a94a6"
_HIGHLIGHT = "#d9822b"
_TEXT = "font-family='sans-serif' font-size='13' fill='#57606a'"

_COLOURS = ("#d9822b", "#3b76b9", "#4f9a6b", "#a65a9c", "#b5534f", "#7d7a3a", "#5f6f86")
_PLOT_HEIGHT = 240
_LEFT, _RIGHT, _TOP = 44, 40, 36


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


def curves(title: str, series: Mapping[str, Mapping[int, float]], below: str) -> str:
    """Draw a curve of each series: its numbers by their order of magnitude, its figures from 0.

    Args:
        title: What is measured.
        series: The figures by their numbers, by the name of each curve.
        below: What the numbers are.

    Returns:
        The SVG.
    """
    most_number = max(max(points) for points in series.values())
    highest = _rounded(max(max(points.values()) for points in series.values()))
    decades = max(1, math.ceil(math.log10(most_number)))
    room, bottom = _WIDTH - _LEFT - _RIGHT, _TOP + _PLOT_HEIGHT

    def across(number: float) -> float:
        return _LEFT + room * math.log10(number) / decades

    def up(figure: float) -> float:
        return bottom - _PLOT_HEIGHT * figure / highest

    height = bottom + 48 + 20 * math.ceil(len(series) / 2)
    parts = [f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}' role='img'>"]
    parts.append(f"<title>{escape(title)}</title>")
    parts.append(f"<text x='0' y='16' {_TEXT} font-weight='bold'>{escape(title)}</text>")
    for step in range(5):
        figure = highest * step / 4
        parts.append(_rule(_LEFT, up(figure), _WIDTH - _RIGHT, up(figure)))
        parts.append(
            f"<text x='{_LEFT - 8}' y='{up(figure) + 4:.1f}' text-anchor='end' {_TEXT}>{figure:g}</text>"
        )
    for power in range(decades + 1):
        x = across(10**power)
        parts.append(_rule(x, bottom, x, bottom + 5))
        parts.append(f"<text x='{x:.1f}' y='{bottom + 20}' text-anchor='middle' {_TEXT}>{10**power:,}</text>")
    parts.append(
        f"<text x='{_WIDTH - _RIGHT}' y='{bottom + 38}' text-anchor='end' {_TEXT}>{escape(below)}</text>"
    )
    for place, (name, points) in enumerate(series.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        line = " ".join(f"{across(number):.1f},{up(figure):.1f}" for number, figure in points.items())
        parts.append(f"<polyline points='{line}' fill='none' stroke='{colour}' stroke-width='2'/>")
        parts += [
            f"<circle cx='{across(number):.1f}' cy='{up(figure):.1f}' r='3' fill='{colour}'/>"
            for number, figure in points.items()
        ]
        x, y = _LEFT + room // 2 * (place % 2), bottom + 60 + 20 * (place // 2)
        parts.append(f"<rect x='{x}' y='{y - 10}' width='18' height='10' fill='{colour}'/>")
        parts.append(f"<text x='{x + 26}' y='{y}' {_TEXT}>{escape(name)}</text>")
    return "\n".join([*parts, "</svg>", ""])


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    ends = f"x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}'"
    return f"<line {ends} stroke='{_COLOUR}' stroke-width='0.5'/>"


def _rounded(figure: float) -> float:
    """Return the next number above a figure that four steps lead to well."""
    unit = 10.0 ** math.floor(math.log10(figure))
    return next(unit * step for step in (1, 2, 4, 8, 10) if figure <= unit * step)
