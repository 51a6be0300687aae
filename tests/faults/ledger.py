"""What every process of a campaign writes down, and how it is read afterwards."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

#: The folder of the ledgers, in the environment of every process of a campaign.
FOLDER = "CAMPAIGN_LEDGERS"
#: Seconds between two looks at the clock.
_EVERY = 0.05


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


def note_delays(ledger: Ledger, most: float) -> None:
    """Write down from now on, in a thread, when this process was held up for more than so many seconds.

    Its event loop may be busy meanwhile: that is its own affair, and no excuse.
    """

    before = time.monotonic()

    def look() -> None:
        nonlocal before
        while True:
            time.sleep(_EVERY)
            now = time.monotonic()
            if now - before > most:
                ledger.write("held_up", f"{before:.6f}", f"{now:.6f}")
            before = now

    threading.Thread(target=look, name="delays", daemon=True).start()


def read(folder: Path) -> list[Line]:
    """Every line of every ledger, in the order of time."""
    lines = [line for path in folder.glob("*.ledger") for line in _lines(path)]
    return sorted(lines, key=lambda line: line.time)


def _lines(path: Path) -> Iterator[Line]:
    # What is being written just now may be there in part.
    whole, _, _ = path.read_text().rpartition("\n")
    for text in whole.splitlines():
        at, pid, verb, *words = text.split(" ")
        yield Line(float(at), int(pid), verb, tuple(words))


def delays(lines: Sequence[Line]) -> list[tuple[set[str], float, float]]:
    """When hosts were held up that nothing was done to just then: their names, begin and end.

    What is not written by a host holds up all of them: its Redis, or the links to that.
    """
    host_of = {int(line.words[1]): line.words[0] for line in lines if line.verb == "host"}
    faults = [
        (line.words[0], float(line.words[1]), float(line.words[2])) for line in lines if line.verb == "fault"
    ]
    found = []
    for line in lines:
        if line.verb == "held_up":
            begin, end = float(line.words[0]), float(line.words[1])
            hosts = {host_of[line.pid]} if line.pid in host_of else set(host_of.values())
            hosts -= {name for name, since, till in faults if since < end and begin < till}
            if hosts:
                found.append((hosts, begin, end))
    return found
