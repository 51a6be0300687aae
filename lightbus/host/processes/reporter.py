"""Tells whoever looks after this process how its host is, from a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from lightbus.host.host import Host, Moment
from lightbus.host.http.health import Health
from lightbus.host.shutdown import CLOSING

from .overseer import AT_WORK, STOPPING, Account, Overseer, extend, reloading, status
from .signs import Signs

#: A start that waits for a broker is given so many seconds at a time, asked for so often.
_EXTENSION, _EXTENDED_EVERY = 30.0, 10.0
#: Seconds for the last message.
_LAST = 1.0


@contextmanager
def reporting(host: Host, overseer: Overseer | None, *, supervised: bool = False) -> Iterator[None]:
    """Tell an overseer how a host is, as long as it runs.

    Args:
        host: The host, which this thread is going to run.
        overseer: Whoever is told; None for nobody.
        supervised: Whether it is our supervisor, which wants to hear more often.
    """
    if overseer is None:
        yield
        return
    reporter = _Reporter(host, overseer, supervised=supervised)
    host.observers.append(reporter.note)
    thread = threading.Thread(target=reporter.run, name="lightbus reports", daemon=True)
    thread.start()
    try:
        yield
    finally:
        reporter.end()
        thread.join(_LAST)


class _Reporter:
    def __init__(self, host: Host, overseer: Overseer, *, supervised: bool) -> None:
        self._host = host
        self._overseer = overseer
        self._account = Account(overseer)
        self._health = Health(host)
        self._signs = Signs(
            overseer, self._health.turned_within, steps=2 if supervised else 1, often=supervised
        )
        self._moments: SimpleQueue[tuple[Moment, tuple[str, ...]] | None] = SimpleQueue()
        self._extended = float("-inf")
        self._reloads = 0
        self._is_stopping = False

    def note(self, moment: Moment) -> None:
        """Called by the host, which must not wait."""
        # The time that goes with it is that of now.
        self._moments.put((moment, reloading() if moment == "reloading" else ()))

    def end(self) -> None:
        """The host has ended, however that came."""
        self._moments.put(("stopping", ()))
        self._moments.put(None)

    def run(self) -> None:
        """Tell what happens, and look in between."""
        while True:
            try:
                told = self._moments.get(timeout=self._signs.pause)
            except Empty:
                pass
            else:
                if told is None:
                    return
                self._on(*told)
            self._health.watch()
            if not self._is_stopping:
                self._look()
            self._signs.look()

    def _on(self, moment: Moment, lines: tuple[str, ...]) -> None:
        if self._is_stopping:
            return
        if moment == "stopping":
            self._is_stopping = True
            patience = self._host.manifest.bus.drain_timeout
            running = f": what runs has {patience:g} s to finish" if self._account.is_ready else ""
            # As long as it takes at most: the host itself sees to it that it ends by then.
            self._overseer.tell(STOPPING, status(f"stopping{running}"), extend(patience + CLOSING))
        elif moment == "reloading" and self._account.is_ready:
            self._reloads += 1
            self._overseer.tell(*lines, status("reading the manifest again"))
        elif moment == "reloaded" and self._reloads:
            self._reloads -= 1
            if not self._reloads:
                self._account.tell_reloaded()

    def _look(self) -> None:
        obstacles = self._health.obstacles()
        sentence = "; ".join(obstacles) or f"{AT_WORK}as {self._host.client.process_name}"
        self._account.tell(sentence, is_ready=not obstacles)
        self._extend_start()

    def _extend_start(self) -> None:
        """Let a start take its time that waits for a broker; one that hangs is to be ended."""
        now = time.monotonic()
        is_due = now - self._extended >= _EXTENDED_EVERY
        if is_due and not self._account.is_ready and self._host.life.opening.trouble:
            self._extended = now
            self._overseer.tell(extend(_EXTENSION))
