"""What every process of a campaign writes down, and how it is read afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: The folder of the ledgers, in the environment of every process of a campaign.
FOLDER = "CAMPAIGN_LEDGERS"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened: when (one clock for all processes), in which process, and what."""

    time: float
    pid: int
    verb: str
    words: tuple[str, ...]


class Ledger:
    """A file that only grows. Each line is one write of the kernel's, so it outlives a kill -9.

    Args:
        folder: Where the ledgers are.
        role: Who writes; part of the file's name.
    """

    def __init__(self, folder: Path, role: str) -> None:
        path = folder / f"{role}-{os.getpid()}.ledger"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, verb: str, *words: object) -> None:
        """Add a line."""
        text = " ".join([f"{time.monotonic():.6f}", str(os.getpid()), verb, *map(str, words)])
        os.write(self._file, text.encode() + b"\n")


def own_ledger(role: str) -> Ledger:
    """The ledger of this process, in the folder that the campaign has named."""
    return Ledger(Path(os.environ[FOLDER]), role)


def read(folder: Path) -> list[Line]:
    """Every line of every ledger, in the order of time."""
    lines = [line for path in folder.glob("*.ledger") for line in _lines(path)]
    return sorted(lines, key=lambda line: line.time)


def _lines(path: Path) -> Iterator[Line]:
    for text in path.read_text().splitlines():
        at, pid, verb, *words = text.split(" ")
        yield Line(float(at), int(pid), verb, tuple(words))
