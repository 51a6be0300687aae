"""A command on a terminal of a given size, as a person runs it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.support.eventually import eventually
from tests.support.processes import clean_environment, spawn

#: Colours and the like.
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

#: A process whose terminal it is: it hears of the end of that, as from a shell.
_IN_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from lightbus.cli import main
sys.argv[0] = "lightbus"
main(sys.argv[1:])
"""


def opened_and_closed(
    *args: str, cwd: Path, env: Mapping[str, str], until: str, times: int = 1
) -> int | None:
    """Run ``lightbus ARGS`` in a terminal that is closed once it has written something so often.

    Returns:
        Its status; None if it did not end by that.
    """
    terminal, inside = pty.openpty()
    command = [sys.executable, "-c", _IN_TERMINAL, *args]
    process = spawn(command, cwd=cwd, env=clean_environment(env), stdin=inside, stdout=inside, stderr=inside)
    os.close(inside)
    written = b""
    while written.count(until.encode()) < times:
        written += os.read(terminal, 65_536)
    os.close(terminal)
    try:
        return process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def on_terminal(
    *args: str,
    cwd: Path,
    env: Mapping[str, str],
    columns: int = 80,
    rows: int = 24,
    until: str | None = None,
) -> tuple[int, str]:
    """Run ``lightbus ARGS`` to its end; returns its status, and all that it wrote, colours included.

    With `until` it is interrupted once it has written a line with these words, the last that is returned.
    """
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {name: value for name, value in clean_environment(env).items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(rows), **env}
    written = bytearray()

    def read() -> None:
        # Linux says so once nobody has the other end open.
        with contextlib.suppress(OSError):
            while found := os.read(terminal, 65_536):
                written.extend(found)

    reader = threading.Thread(target=read)
    command = [sys.executable, "-m", "lightbus", *args]
    process = spawn(command, cwd=cwd, env=environment, stdout=inside, stderr=inside)
    os.close(inside)
    reader.start()
    try:
        if until is not None:
            lines = re.compile(rf".*{re.escape(until)}[^\n]*\n".encode(), re.DOTALL)
            shown = eventually(lambda: lines.findall(written), 60, f"{until!r} on the terminal")[0]
            process.send_signal(signal.SIGINT)
        status = process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
    reader.join()
    os.close(terminal)
    if until is None:
        shown = bytes(written)
    return status, shown.decode().replace("\r\n", "\n")
