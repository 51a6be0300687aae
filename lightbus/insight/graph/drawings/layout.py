"""Where the boxes and arrows of a picture are: three columns, each box as near as can be to its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, get_args

from .picture import Arrow, Box, Column, Picture, grouped

#: The columns, from the left.
COLUMNS: Final[tuple[Column, ...]] = get_args(Column)
#: The most letters that a box shows of a title, and of a line beneath it.
TITLE: Final = 32
WORDS: Final = 36
#: How wide one of them is, in units of a pixel; with all of this, three columns fit a screen 1,280 wide.
_LETTERS: Final = (8.6, 7.7)
_SIDE: Final = 16
_BETWEEN: Final = 130
#: The height of a line in a box.
LINE: Final = 18
#: The most lines beneath a title.
MOST_LINES: Final = 8
_TOP: Final = 56
_GAP: Final = 18
_PORT: Final = 12

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Placed:
    """A box with its place.

    Args:
        box: The box.
        x: Its left side.
        y: Its upper side.
        height: How high it is.
        lines: What is written beneath its title.
    """

    box: Box
    x: float
    y: float
    height: float
    lines: tuple[str, ...]

    @property
    def middle(self) -> float:
        """The middle of its height."""
        return self.y + self.height / 2


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything with its place.

    Args:
        boxes: The boxes.
        arrows: The arrows, each from where to where.
        box_width: How wide each box is.
        width: How wide all of it is.
        height: How high all of it is.
    """

    boxes: tuple[Placed, ...]
    arrows: tuple[tuple[Arrow, Point, Point], ...]
    box_width: float
    width: float
    height: float

    def left(self, column: Column) -> float:
        """Return the left side of a column."""
        return _left(column, self.box_width)


def layout_of(picture: Picture) -> Layout:
    """Return where everything is to be drawn."""
    placed: dict[Box, Placed] = {}
    box_width = _width(picture)
    leaving = grouped(picture.arrows, lambda it: it.source)
    coming = grouped(picture.arrows, lambda it: it.target)
    for column in COLUMNS:
        bottom: float = _TOP
        for box in picture.column(column):
            sources = coming.get(box, [])
            it = _sized(box, max(len(leaving.get(box, [])), len(sources)))
            beside = [placed[arrow.source].middle for arrow in sources]
            wanted = sum(beside) / len(beside) - it.height / 2 if beside else bottom
            placed[box] = replace(it, x=_left(column, box_width), y=max(bottom, wanted))
            bottom = placed[box].y + it.height + _GAP
    starts = _ports(placed, leaving, lambda arrow: arrow.target)
    ends = _ports(placed, coming, lambda arrow: arrow.source)
    arrows = [
        (arrow, (placed[arrow.source].x + box_width, starts[arrow]), (placed[arrow.target].x, ends[arrow]))
        for arrow in picture.arrows
    ]
    height = max((it.y + it.height for it in placed.values()), default=_TOP)
    width = _left(COLUMNS[-1], box_width) + box_width + _SIDE
    return Layout(tuple(placed.values()), tuple(arrows), box_width, width, height)


def _width(picture: Picture) -> float:
    """Return how wide boxes must be for the longest text."""
    titles = [min(len(box.title), TITLE) * _LETTERS[0] for box in picture.boxes]
    lines = [min(len(line), WORDS) * _LETTERS[1] for box in picture.boxes for line in box.lines]
    return round(max([140, *titles, *lines])) + 24


def _left(column: Column, box_width: float) -> float:
    return _SIDE + COLUMNS.index(column) * (box_width + _BETWEEN)


def _sized(box: Box, ports: int) -> Placed:
    """Return a box with its height: that of its lines, or of the arrows at one of its sides."""
    lines = box.lines
    if len(lines) > MOST_LINES:
        lines = (*lines[: MOST_LINES - 1], f"and {len(lines) - MOST_LINES + 1} more")
    height = max(36 + LINE * len(lines), _PORT * (ports + 1))
    return Placed(box, 0, 0, height, lines)


def _ports(
    placed: Mapping[Box, Placed], at_boxes: Mapping[Box, list[Arrow]], other: Callable[[Arrow], Box]
) -> dict[Arrow, float]:
    """Return the height at which each arrow meets a box, so that those which go up lie above the others."""
    found = {}
    for box, arrows in at_boxes.items():
        it = placed[box]
        arrows = sorted(arrows, key=lambda arrow: placed[other(arrow)].middle)
        for number, arrow in enumerate(arrows, 1):
            found[arrow] = it.y + it.height * number / (len(arrows) + 1)
    return found
