"""The reports of several processes on themselves, told to an overseer as those of one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from .line import Line
from .overseer import (
    ALIVE,
    AT_WORK,
    END,
    EXTEND,
    LINE,
    READY,
    STATUS,
    STOPPING,
    Account,
    Overseer,
    extend,
    reloading,
    status,
)
from .signs import Signs


@dataclass(slots=True)
class _Process:
    """One of them, as far as it has told.

    Args:
        is_up: Whether it was ready once since it was started.
        how: Says how it is.
        heard: When it gave its last sign of life; None before the first, while it imports.
    """

    is_up: bool = False
    how: str = "it is not started yet"
    heard: float | None = None

    @property
    def is_ready(self) -> bool:
        return self.is_up and self.how.startswith(AT_WORK)


class Reports:
    """Hears the processes of a supervisor, and speaks for all of them.

    Args:
        overseer: Whoever is told; None for nobody, and then nothing is asked of the processes.
        processes: Their number.
    """

    def __init__(self, overseer: Overseer | None, processes: int) -> None:
        self._account = Account(overseer) if overseer is not None else None
        self._processes = {number: _Process() for number in range(1, processes + 1)}
        self._is_stopping = False
        self._reloading: set[int] | None = None

    async def keep(self) -> None:
        """Give signs of life, until it is cancelled."""
        if self._account is None:
            return
        signs = Signs(self._account.overseer, self._turned_within, steps=2)
        self._tell_how()
        while True:
            signs.look()
            await asyncio.sleep(signs.pause)

    @contextmanager
    def line(self, number: int) -> Iterator[Line | None]:
        """Listen to one process, from before its start to its end; None where nobody is told."""
        if self._account is None:
            yield None
            return
        self._processes[number] = _Process(how="it is starting")
        watchdog = self._account.overseer.watchdog
        try:
            with Line(LINE, END, partial(self._on_messages, number)) as line:
                if watchdog:
                    line.environ["WATCHDOG_USEC"] = str(round(watchdog * 1e6))
                yield line
        finally:
            self._processes[number] = _Process(how="it has ended")
            self._note_reloaded(number)
            self._tell_how()

    def reload(self) -> None:
        """All processes that are up are about to read the manifest again."""
        if self._account is None or not self._account.is_ready or self._is_stopping:
            return
        self._reloading = {number for number, process in self._processes.items() if process.is_up}
        self._account.overseer.tell(*reloading(), status("reading the manifest again"))
        self._note_reloaded(0)

    def stop(self, patience: float, at_most: float) -> None:
        """All processes are about to end.

        Args:
            patience: The seconds that what runs has to finish.
            at_most: The seconds until the last of them has ended.
        """
        if self._account is None or self._is_stopping:
            return
        self._is_stopping = True
        how = status(f"stopping: what runs has {patience:g} s to finish")
        self._account.overseer.tell(STOPPING, how, extend(at_most))

    def _on_messages(self, number: int, messages: Sequence[bytes]) -> None:
        for message in messages:
            for line in message.decode(errors="replace").split("\n"):
                self._hear(number, line)
        self._tell_how()

    def _hear(self, number: int, line: str) -> None:
        process = self._processes[number]
        if line == ALIVE:
            process.heard = time.monotonic()
        elif line == READY:
            process.is_up = True
            self._note_reloaded(number)
        elif line.startswith(STATUS):
            process.how = line.removeprefix(STATUS)
        elif line.startswith(EXTEND) and self._account is not None and not self._account.is_ready:
            self._account.overseer.tell(line)

    def _note_reloaded(self, number: int) -> None:
        if self._account is None or self._reloading is None:
            return
        self._reloading.discard(number)
        if not self._reloading:
            self._reloading = None
            self._account.tell_reloaded()

    def _tell_how(self) -> None:
        if self._account is None or self._is_stopping or self._reloading is not None:
            return
        unready = {n: process.how for n, process in self._processes.items() if not process.is_ready}
        total = len(self._processes)
        how = f"{AT_WORK}{total} processes"
        if unready:
            number, why = next(iter(unready.items()))
            how = f"{total - len(unready)} of {total} processes are ready; process {number}: {why}"
        self._account.tell(how, is_ready=not unready)

    def _turned_within(self, seconds: float) -> bool:
        now = time.monotonic()
        heard = [process.heard for process in self._processes.values() if process.heard is not None]
        return all(now - last <= seconds for last in heard)
