"""A command on a terminal of a given size, as a person runs it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.support.processes import clean_environment

#: Colours and the like.
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(
    *args: str, cwd: Path, env: Mapping[str, str], columns: int = 80, rows: int = 24
) -> tuple[int, str]:
    """Run ``lightbus ARGS`` to its end; returns its status, and all that it wrote, colours included."""
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
    with subprocess.Popen(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=inside, stderr=inside
    ) as process:
        os.close(inside)
        reader.start()
        status = process.wait(timeout=60)
    reader.join()
    os.close(terminal)
    return status, written.decode().replace("\r\n", "\n")
