"""Starts ``lightbus relay`` as often as a campaign kills one, without its imports each time, by forking.

As a program it reads one JSON request a line, and answers each with the number of the new process.
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
from collections.abc import Mapping
from pathlib import Path

from tests.guide.zygote import become
from tests.support.eventually import eventually
from tests.support.processes import clean_environment

IMPORTS = [f"lightbus.{name}" for name in ("cli.commands.relay", "django.tables", "sqlalchemy.engines")]
IMPORTS += [f"lightbus.transports.redis.{name}" for name in ("events.transport", "schema")]
IMPORTS += ["psycopg", "pymysql", "django.db.models"]


class Relay:
    """A relay that was started.

    Args:
        pid: Its process.
        outputs: The folder of what it prints.
    """

    def __init__(self, pid: int, outputs: Path) -> None:
        self.pid = pid
        self._log = outputs / "err"

    def wait_until_ready(self) -> None:
        """Wait until it sends."""
        eventually(lambda: "ready: " in self._log.read_text(), 120, "a relay that is ready")

    def kill(self) -> None:
        """SIGKILL, and wait for its end; nothing if it has ended."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM, and wait for its end, which is to be a good one."""
        self._end(signal.SIGTERM)
        assert "stopped\n" in self._log.read_text(), self._log.read_text()

    def _end(self, how: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, how)
        eventually(lambda: not Path(f"/proc/{self.pid}").exists(), 60, "its end")


class Nursery:
    """The process that forks."""

    def __init__(self) -> None:
        self._relays: list[Relay] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.outbox.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env=clean_environment(),
        )

    def relay(self, folder: Path, environment: Mapping[str, str]) -> Relay:
        """Start a relay in a folder."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        outputs = tempfile.mkdtemp(dir=folder)
        request = [str(folder), clean_environment(environment), outputs]
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        relay = Relay(int(self._process.stdout.readline()), Path(outputs))
        self._relays.append(relay)
        return relay

    def close(self) -> None:
        """End it, and all that it has started."""
        for relay in self._relays:
            relay.kill()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Answer requests until there are no more; a forked child returns from here as ``lightbus relay``."""
    for name in IMPORTS:
        importlib.import_module(name)
    answers = os.dup(1)
    os.dup2(2, 1)
    # Nobody asks what became of a child.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in iter(sys.stdin.readline, ""):
        folder, environment, outputs = json.loads(line)
        Path(outputs, "err").touch()
        pid = os.fork()
        if pid == 0:
            os.close(answers)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            become(["relay"], folder, environment, outputs)
            return
        os.write(answers, f"{pid}\n".encode())


if __name__ == "__main__":
    main()
