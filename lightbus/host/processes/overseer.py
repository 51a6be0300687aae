"""Whoever looks after this process and is told how it is, in the words of ``sd_notify``."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, MutableMapping

logger = logging.getLogger(__name__)

READY = "READY=1"
RELOADING = "RELOADING=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"
#: The beginning of a sentence for people, and of the microseconds that a start or an end takes longer.
STATUS = "STATUS="
EXTEND = "EXTEND_TIMEOUT_USEC="

#: How the sentence begins of a process that does its work.
AT_WORK = "ready, "

#: Seconds for a message that nobody takes at once.
_PATIENCE = 1.0
#: The longest sentence, so that a message goes through a pipe in one piece.
_LONGEST = 900
#: Names the descriptor of the pipe to our supervisor, which the messages go into.
LINE = "LIGHTBUS_CHILD_LINE"
#: Between two messages in a pipe.
END = b"\n\n"


class Overseer:
    """Whoever looks after this process.

    Args:
        send: Hands one message over; raises OSError where that can't be done.
        watchdog: In how many seconds it wants a sign of life; None if it does not ask for one.
    """

    def __init__(self, send: Callable[[bytes], object], watchdog: float | None = None) -> None:
        self._send = send
        self._is_told = False
        self.watchdog = watchdog

    def tell(self, *lines: str) -> None:
        """Send one message; if that fails, the first time is a warning.

        Args:
            lines: Such as ``READY=1``.
        """
        try:
            self._send("\n".join(lines).encode(errors="replace"))
        except OSError as e:
            level = logging.DEBUG if self._is_told else logging.WARNING
            self._is_told = True
            logger.log(level, "whoever started this process can't be told how it is: %s", e.strerror or e)


class Account:
    """All that an overseer was told of how a process is: the same is not told twice, and ready only once.

    Args:
        overseer: Whoever is told.
    """

    def __init__(self, overseer: Overseer) -> None:
        self.overseer = overseer
        #: Whether the process was ready once.
        self.is_ready = False
        self._said = ""

    def tell(self, sentence: str, *, is_ready: bool) -> None:
        """Tell how the process is now, if that is new."""
        said = status(sentence)
        if is_ready and not self.is_ready:
            self.is_ready = True
            self.overseer.tell(READY, said)
        elif said != self._said:
            self.overseer.tell(said)
        self._said = said

    def tell_reloaded(self) -> None:
        """Tell that a reload is over, and how the process was before."""
        self.overseer.tell(READY, self._said)


def status(sentence: str) -> str:
    """Return the line that tells people how a process is."""
    line = " ".join(sentence.split())
    return f"{STATUS}{line if len(line) <= _LONGEST else line[: _LONGEST - 3] + '...'}"


def extend(seconds: float) -> str:
    """Return the line by which a start or an end may take so many seconds from now on."""
    return f"{EXTEND}{round(seconds * 1e6)}"


def reloading() -> tuple[str, str]:
    """Return the lines that tell that a reload begins now."""
    return RELOADING, f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"


def overseer_of(environ: MutableMapping[str, str]) -> Overseer | None:
    """Return whoever looks after this process: our supervisor, else a service manager such as systemd.

    Args:
        environ: The environment. What it says about that is taken out: it is for this process alone.

    Returns:
        The overseer; None if there is none who wants to be told.
    """
    address, line, watchdog = environ.pop("NOTIFY_SOCKET", ""), environ.pop(LINE, ""), _watchdog(environ)
    if line:
        return _supervisor(int(line), watchdog)
    if not address:
        return None
    if address[0] not in "/@":
        logger.warning("NOTIFY_SOCKET is %r: neither a path nor, after an @, an abstract name", address)
        return None
    link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    link.settimeout(_PATIENCE)
    target = f"\0{address[1:]}" if address[0] == "@" else address
    return Overseer(lambda message: link.sendto(message, target), watchdog)


def _supervisor(line: int, watchdog: float | None) -> Overseer:
    # A program that a handler starts must not hold it open.
    os.set_inheritable(line, False)
    os.set_blocking(line, False)
    return Overseer(lambda message: os.write(line, message + END), watchdog)


def _watchdog(environ: MutableMapping[str, str]) -> float | None:
    period, process = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    if not period.isdecimal() or int(period) == 0 or process not in ("", str(os.getpid())):
        return None
    return int(period) / 1e6
