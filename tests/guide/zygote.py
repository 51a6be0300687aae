"""Runs `lightbus ARGS` to its end without paying for its imports each time: a process that forks itself.

As a program it reads one JSON request a line and answers each with a line; :class:`Zygote` talks to it.
What a child does is what ``python -m lightbus ARGS`` does, up to the end of the interpreter.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.processes import clean_environment

IMPORTS = [f"cli.commands.{name}" for name in ("run", "call", "fire")]
IMPORTS += [f"transports.redis.{name}" for name in ("rpc.transport", "events.transport", "schema")]


class Zygote:
    """The process that forks; started when it is first needed.

    Args:
        imports: What it imports beforehand, besides Lightbus.
    """

    def __init__(self, imports: Sequence[str] = ()) -> None:
        self._imports = imports
        self._process: subprocess.Popen[str] | None = None

    def run(
        self, args: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Run ``lightbus ARGS`` to its end."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "tests.guide.zygote", *self._imports],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
                env=clean_environment(),
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as outputs:
            request = [list(args), str(folder), dict(environment), outputs, timeout]
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            status = json.loads(self._process.stdout.readline())
            printed = [(Path(outputs) / name).read_text(errors="replace") for name in ("out", "err")]
        assert status is not None, f"lightbus {args} did not end within {timeout:g} s: {printed}"
        return subprocess.CompletedProcess(list(args), status, *printed)

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait(10)


def main() -> None:
    """Answer requests until there are no more; a forked child returns from here as ``lightbus``."""
    for name in (*(f"lightbus.{each}" for each in IMPORTS), *sys.argv[1:]):
        importlib.import_module(name)
    answers = os.dup(1)
    os.dup2(2, 1)
    for line in iter(sys.stdin.readline, ""):
        args, folder, environment, outputs, timeout = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.close(answers)
            become(args, folder, environment, outputs)
            return
        os.write(answers, (json.dumps(wait(pid, timeout)) + "\n").encode())


def become(args: list[str], folder: str, environment: dict[str, str], outputs: str) -> None:
    """Be ``lightbus ARGS``, in this process."""
    os.setsid()
    for descriptor, name, how in (
        (0, os.devnull, os.O_RDONLY),
        (1, "out", os.O_WRONLY),
        (2, "err", os.O_WRONLY),
    ):
        opened = os.open(os.path.join(outputs, name), how | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["lightbus", *args]
    sys.path[0] = folder
    importlib.import_module("lightbus.cli").main(args)


def wait(pid: int, timeout: float) -> int | None:
    """Return a child's exit status; None where it had to be killed."""
    deadline = time.monotonic() + timeout
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.002)


if __name__ == "__main__":
    main()
