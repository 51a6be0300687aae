"""Whether a host lives, and whether it is ready: what keeps it, with the line of code where there is one."""

from __future__ import annotations

import asyncio
import sys
import sysconfig
import threading
import time
from types import FrameType

from lightbus.host.host import Host

_BEAT = 0.25
_PYTHON = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_PACKAGES = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})


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
        if self._loop.is_closed():
            return 0.0
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

    def watch(self) -> None:
        """Begin to watch the event loop once there is one, so that the first who asks is told the truth."""
        loop = self._host.client.parts.home
        if self._pulse is None and loop is not None and not loop.is_closed():
            self._pulse = Pulse(loop, self._thread)

    def turned_within(self, seconds: float) -> bool:
        """Tell whether there is an event loop, and it turned within so many seconds."""
        return self._pulse is not None and self._pulse.silence() <= seconds

    def deadly(self) -> list[str]:
        """Return why the process had better be started again; empty if it lives."""
        return self._blocked(self._options.dead_after)

    def obstacles(self) -> list[str]:
        """Return what keeps the host from doing its work; empty if it is ready."""
        blocked = self._blocked(self._options.blocked_after)
        if blocked:
            return blocked
        return self._host.life.obstacles()

    def waits(self) -> list[str]:
        """Return for what the host waits that does not keep it from being ready."""
        return self._host.life.waits()

    def _blocked(self, patience: float) -> list[str]:
        """Return by what the event loop is blocked, where that lasts for more than so many seconds."""
        silence = self._pulse.silence() if self._pulse is not None else 0.0
        if self._pulse is None or silence <= patience:
            return []
        return [f"the event loop is blocked for {silence:.1f} s by {self._pulse.blocked_at()}"]


def _place(innermost: FrameType) -> str:
    """Name the innermost line that Lightbus runs: of no package, else of one, else of Python itself."""
    in_package: FrameType | None = None
    frame: FrameType | None = innermost
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] != "lightbus":
        file = frame.f_code.co_filename
        if file.startswith(_PACKAGES):
            in_package = frame
        elif not file.startswith((*_PYTHON, "<")):
            return _line(frame)
        frame = frame.f_back
    return _line(in_package or innermost)


def _line(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
