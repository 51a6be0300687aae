"""What a worker under measurement writes down of the events that it handled.

Programs that know nothing of Lightbus import this too, so it needs nothing but Python.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measures import USERNAME, Figures, Latencies


class Tally:
    """Counts events, and when it has had all, writes down how long they took.

    An event whose username is a time, by ``time.monotonic()``, adds to the latencies.

    Args:
        total: How many come.
        file: Where the outcome goes, as JSON: ``seconds`` from the first to the last, ``latencies``, and
            ``ended``, the time of the last.
    """

    def __init__(self, total: int, file: Path) -> None:
        self.total = total
        self.file = file
        self._numbers = itertools.count(1)  # counts rightly for several threads
        self._started = 0.0
        self._latencies: list[float] = []

    @classmethod
    def of_environment(cls) -> Tally:
        """As the measuring program wishes."""
        return cls(int(os.environ["BENCH_EVENTS"]), Path(os.environ["BENCH_FILE"]))

    def add(self, username: str) -> None:
        """One event was handled."""
        if username is not USERNAME and username != USERNAME:
            self._latencies.append(time.monotonic() - float(username))
        number = next(self._numbers)
        if number == 1:
            self._started = time.monotonic()
        if number == self.total:
            self._write()

    def _write(self) -> None:
        ended = time.monotonic()
        outcome = {"seconds": ended - self._started, "ended": ended, "latencies": self._latencies}
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(outcome))
        part.rename(self.file)


def environment(total: int, file: Path) -> dict[str, str]:
    """What a worker is started with, for :meth:`Tally.of_environment`; an earlier outcome is removed."""
    if file.exists() and not file.is_file():
        raise ValueError(f"{file} is not a file that an outcome may replace")
    file.unlink(missing_ok=True)
    return {"BENCH_EVENTS": str(total), "BENCH_FILE": str(file)}


def rate(outcome: Mapping[str, float], total: int) -> float:
    """Events a second of a backlog."""
    return total / outcome["seconds"]


def latencies(outcome: Mapping[str, list[float]], name: str) -> Figures:
    """From the time that an event was due to its handler."""
    return Latencies(outcome["latencies"]).figures(name)
