"""Writes each drawing beside the page that explains it: ``python -m docs.drawings``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from .messages import calls_and_events, life_of_an_event, retries
from .services import ownership, rolling_restart
from .shop import ShopGraph

FOLDER = Path(__file__).parents[1] / "explanation"


class Drawn(Protocol):
    """What becomes a file."""

    def svg(self) -> str:
        """Return the file."""


DRAWINGS: dict[str, Callable[[], Drawn]] = {
    "calls-and-events.svg": calls_and_events,
    "life-of-an-event.svg": life_of_an_event,
    "retries.svg": retries,
    "ownership.svg": ownership,
    "rolling-restart.svg": rolling_restart,
    "../tutorial/shop.svg": ShopGraph,
}

if __name__ == "__main__":
    for name, draw in DRAWINGS.items():
        (FOLDER / name).write_text(draw().svg())
