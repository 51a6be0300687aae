"""The page of the graph: who owns, calls and listens to which API."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from lightbus.insight.graph.drawings.picture import picture_of
from lightbus.insight.graph.drawings.svg import svg
from lightbus.insight.graph.live import shown_by
from lightbus.insight.graph.model import Graph, Side
from lightbus.insight.traffic.pace import Paces
from lightbus.web.looks import Look

#: The most boxes that are drawn: more are no picture.
_MOST = 300


@dataclass(frozen=True, slots=True)
class Drawing:
    """The page.

    Args:
        svg: The drawing, in which every name is text; empty where there is none.
        focus: The only service, API or listener that is drawn, with its neighbours; empty for all.
        names: All that may be in focus.
        boxes: How many boxes there would be.
    """

    svg: Markup
    focus: str
    names: list[str]
    boxes: int


def graph(look: Look, paces: Paces, name: str) -> Drawing:
    """Return the drawing of what is on the bus, or of one thing and what is next to it."""
    side = shown_by(look.cards, look.overview.listeners)
    drawn = Graph(Side(), side, focus=name)
    picture = picture_of(drawn)
    boxes = len(picture.boxes)
    text = svg(picture, is_part=True) if 0 < boxes <= _MOST else ""
    # It escapes every name in it.
    drawing = Markup(text)  # noqa: S704
    return Drawing(drawing, name, sorted(Graph(Side(), side).names()), boxes)
