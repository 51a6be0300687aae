"""The reports of several processes on themselves, told to an overseer as those of one."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .overseer import (
    ALIVE,
    AT_WORK,
    END,
    EXTEND,
    LINE,
    READY,
    STATUS,
    STOPPING,
    Overseer,
    extend,
    reloading,
    status,
)
from .signs import Signs

_PIECE = 65536


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


@dataclass(frozen=True, slots=True)
class Line:
    """The way from one process to its supervisor.

    Args:
        passed: The descriptors that the process is to have.
        environ: What its environment is to say of it.
    """

    passed: tuple[int, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)


class Reports:
    """Hears the processes of a supervisor, and speaks for all of them.

    Args:
        overseer: Whoever is told; None for nobody, and then nothing is asked of the processes.
        processes: Their number.
    """

    def __init__(self, overseer: Overseer | None, processes: int) -> None:
        self._overseer = overseer
        self._processes = {number: _Process() for number in range(1, processes + 1)}
        self._said = ""
        self._is_ready = self._is_stopping = False
        self._reloading: set[int] | None = None

    async def keep(self) -> None:
        """Give signs of life, until it is cancelled."""
        if self._overseer is None:
            return
        signs = Signs(self._overseer, self._turned_within, steps=2)
        self._tell_how()
        while True:
            signs.look()
            await asyncio.sleep(signs.pause)

    @contextmanager
    def line(self, number: int) -> Iterator[Line]:
        """Listen to one process, from before its start to its end."""
        if self._overseer is None:
            yield Line()
            return
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        environ = {LINE: str(writing)}
        if self._overseer.watchdog:
            environ["WATCHDOG_USEC"] = str(round(self._overseer.watchdog * 1e6))
        loop = asyncio.get_running_loop()
        loop.add_reader(reading, self._read, reading, number, bytearray())
        self._processes[number] = _Process(how="it is starting")
        try:
            # The end that is written to stays open here, so that there is none to be read.
            yield Line((writing,), environ)
        finally:
            loop.remove_reader(reading)
            os.close(reading)
            os.close(writing)
            self._processes[number] = _Process(how="it has ended")
            self._note_reloaded(number)
            self._tell_how()

    def reload(self) -> None:
        """All processes that are up are about to read the manifest again."""
        if self._overseer is None or not self._is_ready or self._is_stopping:
            return
        self._reloading = {number for number, process in self._processes.items() if process.is_up}
        self._overseer.tell(*reloading(), status("reading the manifest again"))
        self._note_reloaded(0)

    def stop(self, patience: float, at_most: float) -> None:
        """All processes are about to end.

        Args:
            patience: The seconds that what runs has to finish.
            at_most: The seconds until the last of them has ended.
        """
        if self._overseer is None or self._is_stopping:
            return
        self._is_stopping = True
        how = status(f"stopping: what runs has {patience:g} s to finish")
        self._overseer.tell(STOPPING, how, extend(at_most))

    def _read(self, reading: int, number: int, left: bytearray) -> None:
        left += os.read(reading, _PIECE)
        *messages, rest = left.split(END)
        left[:] = rest
        for message in messages:
            for line in message.decode(errors="replace").split("\n"):
                self._hear(number, line)
        if messages:
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
        elif line.startswith(EXTEND) and self._overseer is not None and not self._is_ready:
            self._overseer.tell(line)

    def _note_reloaded(self, number: int) -> None:
        if self._overseer is None or self._reloading is None:
            return
        self._reloading.discard(number)
        if not self._reloading:
            self._reloading = None
            self._overseer.tell(READY, self._said)

    def _tell_how(self) -> None:
        if self._overseer is None or self._is_stopping or self._reloading is not None:
            return
        unready = {n: process.how for n, process in self._processes.items() if not process.is_ready}
        total = len(self._processes)
        how = f"{AT_WORK}{total} processes"
        if unready:
            number, why = next(iter(unready.items()))
            how = f"{total - len(unready)} of {total} processes are ready; process {number}: {why}"
        said = status(how)
        if not unready and not self._is_ready:
            self._is_ready = True
            self._overseer.tell(READY, said)
        elif said != self._said:
            self._overseer.tell(said)
        self._said = said

    def _turned_within(self, seconds: float) -> bool:
        now = time.monotonic()
        heard = [process.heard for process in self._processes.values() if process.heard is not None]
        return all(now - last <= seconds for last in heard)
