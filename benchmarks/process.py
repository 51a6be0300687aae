"""Figures of a whole process: how long it takes to come up, how much memory it holds."""

from __future__ import annotations

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
