"""The memory of processes over time, and whether it grows."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

#: A process has found its size once it has grown by no more than a part of it in so many seconds. On a busy
#: machine, it takes most of a minute until as much is under way as there can be.
_STEADY_SECONDS, _STEADY_PART = 15.0, 0.01
#: The first part of the samples, in which the last of that may still show.
_WARM_UP = 0.25
#: Growth that is within what a heap does by itself: a part of the whole, and so many standard deviations.
_PART = 0.02
_DEVIATIONS = 2.0


@dataclass(frozen=True)
class Trend:
    """A straight line through the samples of one process, after its warm-up.

    Sizes are in MiB, times in seconds.
    """

    mean: float
    #: What the line rises by from the first sample to the last.
    growth: float
    #: How far the samples are from the line.
    deviation: float
    seconds: float

    @classmethod
    def of(cls, samples: list[tuple[float, float]]) -> Trend:
        """Draw the line; there must be a few samples."""
        kept = samples[int(len(samples) * _WARM_UP) :]
        times, sizes = [at for at, _ in kept], [size for _, size in kept]
        slope, level = statistics.linear_regression(times, sizes)
        deviation = statistics.pstdev([size - level - slope * at for at, size in kept])
        seconds = times[-1] - times[0]
        return cls(statistics.mean(sizes), slope * seconds, deviation, seconds)

    @property
    def is_flat(self) -> bool:
        """Whether it grew no more than heaps do by themselves."""
        return self.growth <= self.mean * _PART + self.deviation * _DEVIATIONS

    def __str__(self) -> str:
        return (
            f"{self.mean:.1f} MiB, {self.growth:+.2f} MiB in {self.seconds:.0f} s (deviation "
            f"{self.deviation:.2f})"
        )


class Memory:
    """A thread that looks at the resident memory of processes; use it as a context.

    Args:
        processes: Their ids by name.
        every: Seconds between looks.
    """

    def __init__(self, processes: Mapping[str, int], every: float = 1.0) -> None:
        self.samples: dict[str, list[tuple[float, float]]] = {name: [] for name in processes}
        self._processes = processes
        self._every = every
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def warm_up(self, most: float = 90.0) -> None:
        """Wait until caches are filled and heaps have found their size: what came before does not count.

        Args:
            most: The seconds after which a process that still grows is believed to do so for ever.
        """
        until = time.monotonic() + most
        while time.monotonic() < until and not all(map(is_steady, self.samples.values())):
            self._stopping.wait(self._every)
        for samples in self.samples.values():
            samples.clear()

    def trends(self) -> dict[str, Trend]:
        """One line for each process."""
        return {name: Trend.of(samples) for name, samples in self.samples.items()}

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            for name, pid in self._processes.items():
                self.samples[name].append((time.monotonic(), resident(pid)))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()


def is_steady(samples: Sequence[tuple[float, float]]) -> bool:
    """Tell whether a process has grown no more for a while.

    Args:
        samples: Times in seconds and sizes.
    """
    since = samples[-1][0] - _STEADY_SECONDS if samples else 0.0
    before = [size for at, size in samples if at <= since]
    after = [size for at, size in samples if at > since]
    return bool(before) and max(after) <= before[-1] * (1 + _STEADY_PART)


def resident(pid: int) -> float:
    """The resident memory of a process, in MiB."""
    (line,) = (
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")
    )
    return int(line.split()[1]) / 1024
