"""One process that keeps several hosts of the same manifest running."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from lightbus.exceptions import ConfigurationError
from lightbus.manifest.making.placeholders import tells_processes_apart
from lightbus.manifest.model import ListenAddress, Manifest
from lightbus.runtime.obstacles import Obstacles
from lightbus.runtime.tasks import Kept

from .embedded import provide
from .shutdown import (
    EXIT_CONFIG,
    EXIT_FAILED,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    ONE_WISH,
    end_with,
    heed_no_more,
    wish_for_end,
)

logger = logging.getLogger(__name__)

#: Tells a host that it was started by a supervisor, and which of its processes it is, from 1.
VARIABLE = "LIGHTBUS_CHILD"
#: The statuses that no further start cures: misuse, no broker with --fail-fast, a wrong configuration.
_FINAL = (EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_CONFIG)
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0
#: Seconds that a process must have run for its end not to count as another failure in a row.
_STEADY = 60.0
#: Seconds from the second signal to the end of those that did not heed it.
_PATIENCE = 2.0
#: Seconds after ``drain_timeout`` for a process to end; it ends itself a little sooner where it still can.
_CLOSING = 15.0
#: Written to a process's standard input: leave behind what runs. A signal can't say that, since others may
#: send the process the same one: systemd signals every process of a service.
_AT_ONCE = b"!"


class Supervisor:
    """Keeps the processes of one manifest running, and ends with them.

    Args:
        manifest: The service that they host; ``processes`` is their number.
        command: The command that starts one.
        folder: The folder in which an embedded server keeps its data.
    """

    def __init__(self, manifest: Manifest, command: Sequence[str], folder: Path) -> None:
        self._manifest = manifest
        self._command = command
        self._folder = folder
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._stop = asyncio.Event()
        self._signalled: float | None = None
        self._status = 0

    def run(self) -> int:
        """Run the processes until SIGTERM or SIGINT.

        Returns:
            0 if every process ended in good order, 78, 69 or 64 where one could not start, else 1.
        """
        try:
            embedded = provide(self._manifest, self._folder)
        except ConfigurationError as e:
            logger.error("%s", e)
            return EXIT_CONFIG
        try:
            asyncio.run(self._supervise())
            end_with(self._status)
        finally:
            if embedded is not None:
                embedded.stop()
        return self._status

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(ending, self._on_stop, ending.name)
        loop.add_signal_handler(signal.SIGHUP, self._send, signal.SIGHUP)
        logger.info("starting %d processes", self._manifest.processes)
        keepers = []
        for number in range(1, self._manifest.processes + 1):
            name, lost = f"lightbus process {number}", f"process {number} is not kept running"
            keepers.append(Kept(partial(self._keep, number), name, lost, Obstacles()).start())
        for keeper in keepers:
            await keeper.ended()
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(ending)
        heed_no_more()
        logger.info("stopped")

    def _on_stop(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        if self._signalled is None:
            self._signalled = now
            logger.info("%s received", name)
            if not self._stop.is_set():
                self._end_all()
        elif now - self._signalled >= ONE_WISH:
            logger.warning("%s again: what still runs is left behind", name)
            self._signalled = now
            for process in self._running.values():
                if process.stdin is not None:
                    process.stdin.write(_AT_ONCE)
            loop.call_later(_PATIENCE, self._kill, _PATIENCE)

    def _end_all(self) -> None:
        """Ask every process to end, and see to it that each does."""
        self._stop.set()
        self._send(signal.SIGTERM)
        patience = self._manifest.bus.drain_timeout + _CLOSING
        asyncio.get_running_loop().call_later(patience, self._kill, patience)

    def _kill(self, patience: float) -> None:
        """End those that did not when they were asked to, such as frozen ones."""
        for number, process in self._running.items():
            logger.error("process %d (id %d) did not end in %g s; killing it", number, process.pid, patience)
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep(self, number: int) -> None:
        """Run one process, and again whenever it ends without having been asked to."""
        failures = 0
        while not self._stop.is_set():
            started = time.monotonic()
            status = await self._run_once(number)
            if self._stop.is_set():
                # Before its handlers were there, the signal ended it.
                failed = status not in (0, -signal.SIGTERM)
                self._status = self._status or (EXIT_FAILED if failed else 0)
                return
            if status in _FINAL:
                self._status = status
                self._end_all()
                return
            failures = 1 if time.monotonic() - started > _STEADY else failures + 1
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** (failures - 1))
            logger.error("process %d ended with status %d; starting it again in %g s", number, status, wait)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait)

    async def _run_once(self, number: int) -> int:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            env={**os.environ, VARIABLE: str(number)},
            # Its end tells the process that nobody supervises it any more; see also _AT_ONCE.
            stdin=asyncio.subprocess.PIPE,
            # Ctrl-C is for this process alone, which passes it on once.
            start_new_session=True,
        )
        self._running[number] = process
        logger.info("process %d runs with the id %d", number, process.pid)
        if self._stop.is_set():
            process.send_signal(signal.SIGTERM)
        try:
            return await process.wait()
        finally:
            del self._running[number]
            if process.stdin is not None:
                process.stdin.close()


def this_command() -> list[str]:
    """Return the command that started this process."""
    return [sys.executable, "-m", "lightbus", *sys.argv[1:]]


def follow_supervisor() -> str | None:
    """End this process with the supervisor that has started it, and at once where that says so.

    Returns:
        The number of this one of its processes, from 1; None if there is no supervisor.
    """
    number = os.environ.pop(VARIABLE, None)
    if number is not None:
        # A program that a handler starts must not read what is said to this process.
        line = os.dup(0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        threading.Thread(target=_follow, args=(line,), name="lightbus supervised", daemon=True).start()
    return number


def as_child(manifest: Manifest, number: str) -> Manifest:
    """Return what one process of several is to host.

    Its name gets the number if nothing else in it differs between processes. Each has an HTTP port of its
    own; an embedded server is the supervisor's.
    """
    written = manifest.tree.get("process_name") if manifest.tree else None
    name = manifest.process_name
    if written is not None and not tells_processes_apart(str(written.value)):
        name = f"{name}-{number}"
    bus = replace(manifest.bus, redis=replace(manifest.bus.redis, embedded=False))
    http = manifest.http
    if http.listen is not None:
        host, _, port = http.listen.rpartition(":")
        http = replace(http, listen=ListenAddress(f"{host}:{int(port) + int(number) - 1}"))
    return replace(manifest, process_name=name, bus=bus, http=http)


def _follow(line: int) -> None:
    while os.read(line, 1024):
        wish_for_end("the supervisor was signalled again: what still runs is left behind", at_once=True)
    wish_for_end("the supervisor is gone", at_once=False)
