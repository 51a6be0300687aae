"""What `make cluster` and `make console` share: services of the shop as processes, with what they say."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

_ROOT = Path(__file__).parents[1]
# The shop fills its shelves each minute: orders go on for as long as you like.
_REFILL = ("--set", "schedules.refill_shelves.cron=* * * * *")
#: The options of each service.
SERVICES: Mapping[str, Sequence[str]] = {
    "shop": ("-c", "config", *_REFILL),
    "payments": ("-c", "examples/shop/payments.yaml"),
    "mail": ("-c", "examples/shop/mail.yaml"),
}
#: The environment of each of them.
SETTINGS = {"LIGHTBUS__BUS__REDIS__EMBEDDED": "false", "LIGHTBUS__BUS__LOG_FORMAT": "json"}
#: Seconds for the end of a service.
_END = 40.0


def heed_signals() -> None:
    """Let SIGTERM and SIGHUP end this program as Ctrl-C does."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


def say(who: str, what: str) -> None:
    """Print a line, with its origin before it, broken between words."""
    width = shutil.get_terminal_size().columns
    rest = " " * 9 + "| "
    for line in textwrap.wrap(what, width, initial_indent=f"{who:8} | ", subsequent_indent=rest) or [""]:
        print(line, flush=True)


class Service:
    """One service of the shop; the lines before it is ready are shown if it does not start.

    Args:
        name: Its name.
        options: Its options for ``lightbus run``.
        env: Further variables of its environment.
        shows: Whether its lines are shown once it is ready.
    """

    def __init__(
        self, name: str, options: Sequence[str], env: Mapping[str, str], *, shows: bool = True
    ) -> None:
        command = [sys.executable, "-m", "lightbus", "run", *options, "-p", name]
        self.name = name
        self.process = subprocess.Popen(
            command,
            cwd=_ROOT,
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is for this program, which ends it in good order.
        )
        self._shows = shows
        self._is_ready = threading.Event()
        self._reader = threading.Thread(target=self._show, name=name)
        self._reader.start()

    def wait(self) -> None:
        """Wait until it is ready.

        Raises:
            SystemExit: It ended before that.
        """
        self._is_ready.wait()
        if self.process.poll() is not None:
            raise SystemExit(f"{self.name} did not start; its lines above say why")

    def stop(self) -> None:
        """Let it finish what runs."""
        self.process.terminate()

    def close(self) -> None:
        """Wait for its end, and be done with it."""
        try:
            self.process.wait(_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._reader.join()

    def _show(self) -> None:
        before = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = _told(line)
            if self._is_ready.is_set():
                if self._shows:
                    say(self.name, told)
            elif "ready" in told:
                self._is_ready.set()
            else:
                before.append(told)
        if not self._is_ready.is_set():
            for told in before:
                say(self.name, told)
            self.process.wait()
            self._is_ready.set()


def started(
    stack: ExitStack, services: Mapping[str, Sequence[str]], env: Mapping[str, str], *, shows: bool = True
) -> None:
    """Start services at the same time, wait until all are ready, and have them ended with a stack.

    Args:
        stack: Its end is theirs: all are told to stop, and then waited for.
        services: The options of each.
        env: Further variables of their environment.
        shows: Whether their lines are shown once they are ready.

    Raises:
        SystemExit: One of them did not start.
    """
    running = []
    for name, options in services.items():
        running.append(Service(name, options, env, shows=shows))
        stack.callback(running[-1].close)
    for service in running:
        stack.callback(service.stop)
    stack.callback(print, "\nEnding the services ...", flush=True)
    for service in running:
        service.wait()


def _told(line: str) -> str:
    """Return the message of a line of a log."""
    try:
        entry = json.loads(line)
        return entry["message"] if entry["level"] == "info" else f"{entry['level']}: {entry['message']}"
    except ValueError:  # It was printed.
        return line.rstrip()
