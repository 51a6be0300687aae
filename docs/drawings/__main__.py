"""Writes each drawing beside the page that explains it: ``python -m docs.drawings``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .canvas import Drawing
from .messages import calls_and_events, life_of_an_event, retries
from .services import ownership, rolling_restart

FOLDER = Path(__file__).parents[1] / "explanation"
DRAWINGS: dict[str, Callable[[], Drawing]] = {
    "calls-and-events.svg": calls_and_events,
    "life-of-an-event.svg": life_of_an_event,
    "retries.svg": retries,
    "ownership.svg": ownership,
    "rolling-restart.svg": rolling_restart,
}

if __name__ == "__main__":
    for name, draw in DRAWINGS.items():
        (FOLDER / name).write_text(draw().svg())
