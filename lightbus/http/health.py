"""Whether a host lives, and whether it is ready: what keeps it, with the line of code where there is one."""

from __future__ import annotations

import asyncio
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from types import FrameType

from lightbus.host import Host

_BEAT = 0.25


class Pulse:
    """Notes regularly that an event loop turns.

    Args:
        loop: The loop.
        thread: The identifier of the thread that runs it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        self._loop = loop
        self._thread = thread
        self._last = time.monotonic()
        loop.call_soon_threadsafe(self._beat)

    def silence(self) -> float:
        """Return for how many seconds the loop has been busy with one thing."""
        return max(0.0, time.monotonic() - self._last - _BEAT)

    def blocked_at(self) -> str:
        """Return the line of code that the loop's thread is in, as ``file:line in function``."""
        frame = sys._current_frames().get(self._thread)
        return _place(frame) if frame is not None else "an unknown place"

    def _beat(self) -> None:
        self._last = time.monotonic()
        self._loop.call_later(_BEAT, self._beat)


class Health:
    """Answers for one host, from any thread. Made in the thread that is going to run the host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._options = host.manifest.http
        self._thread = threading.get_ident()
        self._pulse: Pulse | None = None

    def deadly(self) -> list[str]:
        """Return why the process had better be started again; empty where it lives."""
        silence = self._silence()
        return [self._blocked(silence)] if silence > self._options.dead_after else []

    def obstacles(self) -> list[str]:
        """Return what keeps the host from doing its work; empty where it is ready."""
        host = self._host
        if host.phase != "ready":
            return [f"the host is {host.phase}"]
        silence = self._silence()
        if silence > self._options.blocked_after:
            return [self._blocked(silence)]
        return list(_troubles(host))

    def _silence(self) -> float:
        loop = self._host.client.home
        if loop is None or loop.is_closed():
            return 0.0
        if self._pulse is None:
            self._pulse = Pulse(loop, self._thread)
        return self._pulse.silence()

    def _blocked(self, seconds: float) -> str:
        place = self._pulse.blocked_at() if self._pulse is not None else ""
        return f"the event loop is blocked for {seconds:.1f} s by {place}"


def _troubles(host: Host) -> Iterator[str]:
    worker = host.worker
    if worker is None:
        return
    for rpc in worker.rpcs:
        if rpc.trouble:
            yield f"the API {rpc.api_name} takes no calls: {rpc.trouble}"
    for event in worker.events:
        if event.listener.enabled and event.trouble:
            yield f"the listener {event.listener.name} reads no events: {event.trouble}"


def _place(innermost: FrameType) -> str:
    """Name the innermost line that is not of an installed package, or else the innermost of all."""
    installed = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
    frame: FrameType | None = innermost
    while frame is not None and frame.f_code.co_filename.startswith((*installed, "<")):
        frame = frame.f_back
    found = frame or innermost
    return f"{found.f_code.co_filename}:{found.f_lineno} in {found.f_code.co_qualname}"
