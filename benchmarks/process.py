"""Figures of a whole process: how long it takes to come up, how much memory it holds."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Self

from benchmarks.measures import STARTS
from tests.support.processes import clean_environment

#: Set to anything, it keeps the helpers of tests from forking processes that have imported Lightbus.
ANEW = "LIGHTBUS_TEST_EXEC"


def start_anew() -> None:
    """Have each process start as users start it: what tests fork has imported more, and shares memory."""
    os.environ[ANEW] = "1"


def anew() -> dict[str, str]:
    """What a program's environment must have, so that those which it starts do so too, if this one's do."""
    return {ANEW: os.environ[ANEW]} if ANEW in os.environ else {}


class Stopwatch:
    """Starts a process, reads what it prints as it is printed, and ends it."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            env=clean_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def until(self, text: str) -> float:
        """Seconds from its start to the line that has this text."""
        assert self._process.stdout is not None
        printed = []
        for line in self._process.stdout:
            if text.encode() in line:
                return time.perf_counter() - self._started
            printed.append(line.decode(errors="replace"))
        raise RuntimeError(f"it ended before it printed {text!r}:\n{''.join(printed)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()


def used(pid: int) -> float:
    """The seconds of a processor that a process has taken."""
    return _ticks(pid, slice(11, 13))


def used_by_all(pid: int) -> float:
    """The seconds of a processor that a process and its children have taken, also those that have ended."""
    total = _ticks(pid, slice(11, 15))
    for child in children(pid):
        with contextlib.suppress(FileNotFoundError):  # It has just ended.
            total += _ticks(child, slice(11, 13))
    return total


def _ticks(pid: int, fields: slice) -> float:
    """Add up some times of a process, in seconds."""
    # The name, which comes before, is in brackets and may have spaces.
    known = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, known[fields])) / float(os.sysconf("SC_CLK_TCK"))


def import_seconds(names: str) -> float:
    """Seconds that `import NAMES` takes in a fresh interpreter, without the interpreter's own start."""
    program = f"from time import perf_counter as t; s = t(); import {names}; print(t() - s)"
    seconds = []
    for _ in range(STARTS):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        seconds.append(float(done.stdout))
    return median(seconds)


def resident_mb(pid: int | None = None) -> float:
    """The memory that a process holds just now, this one's where none is named, in MB of a million bytes.

    Raises:
        FileNotFoundError: The system has no /proc, as Linux has.
    """
    pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class CpuTime:
    """What processes use of the processors from now on, as Linux tells.

    Args:
        pids: The processes; those that end meanwhile count no more.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._since = time.monotonic()
        self._before = self._used()

    def share(self) -> float:
        """Return what they have used of one core until now, in percent."""
        return 100 * (self._used() - self._before) / (time.monotonic() - self._since)

    def _used(self) -> float:
        # To the nanosecond; what is told of a whole process is told in hundredths of a second.
        files = [file for pid in self._pids for file in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        return sum(int(file.read_text().split()[0]) for file in files) / 1e9


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that still run."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, which comes before, is in brackets and may have spaces.
            parent = int(file.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # It has ended.
        if parent == pid:
            found.append(int(file.parent.name))
    return found
