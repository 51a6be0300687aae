"""The processes of one manifest, each kept running until all are to end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from lightbus.host.shutdown import CLOSING, EXIT_CONFIG, EXIT_FAILED, EXIT_UNAVAILABLE, EXIT_USAGE
from lightbus.manifest.model import Manifest
from lightbus.runtime.obstacles import Obstacles
from lightbus.runtime.tasks import Kept

from .child import HELD_BACK, VARIABLE
from .imports import hearing
from .overseer import Overseer
from .reports import Reports

logger = logging.getLogger(__name__)

#: The statuses that no further start cures: misuse, no broker with --fail-fast, a wrong configuration.
_FINAL = (EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_CONFIG)
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0
#: Seconds that a process must have run for its end not to count as another failure in a row.
_STEADY = 60.0
#: Seconds from the second signal to the end of those that did not heed it.
_PATIENCE = 2.0
#: Seconds after ``drain_timeout`` for a process to end; it ends itself a little sooner where it still can.
_CLOSING = CLOSING + 1.0
#: Written to a process's standard input: leave behind what runs. A signal can't say that, since others may
#: send the process the same one: systemd signals every process of a service.
_AT_ONCE = b"!"


class Crew:
    """The processes of one manifest, on one event loop.

    Args:
        manifest: The service that they host; ``processes`` is their number.
        command: The command that starts one.
        heard: Gets the files of the project that they import; None where nobody wants to know.
        overseer: Whoever is told how they are; None for nobody.
    """

    def __init__(
        self,
        manifest: Manifest,
        command: Sequence[str],
        heard: Callable[[Sequence[Path]], None] | None = None,
        overseer: Overseer | None = None,
    ) -> None:
        self._manifest = manifest
        self._command = command
        self._heard = heard
        self._reports = Reports(overseer, manifest.processes)
        self._reporting: Kept | None = None
        self._stop = asyncio.Event()
        self._keepers: list[Kept] = []
        #: Those that run now, by number.
        self.running: dict[int, asyncio.subprocess.Process] = {}
        #: 0 if every process ended in good order, 78, 69 or 64 where one could not start, else 1.
        self.status = 0

    def start(self) -> None:
        """Start them."""
        lost = "nobody is told how the processes are"
        self._reporting = Kept(self._reports.keep, "lightbus reports", lost, Obstacles()).start()
        for number in range(1, self._manifest.processes + 1):
            name, lost = f"lightbus process {number}", f"process {number} is not kept running"
            self._keepers.append(Kept(partial(self._keep, number), name, lost, Obstacles()).start())

    async def ended(self) -> None:
        """Wait until none runs, and none will."""
        for keeper in self._keepers:
            await keeper.ended()
        if self._reporting is not None:
            await self._reporting.stop()

    def end(self) -> None:
        """Ask every process to end, and see to it that each does."""
        if self._stop.is_set():
            return
        self._stop.set()
        patience = self._manifest.bus.drain_timeout + _CLOSING
        self._reports.stop(self._manifest.bus.drain_timeout, patience)
        self.send(signal.SIGTERM)
        asyncio.get_running_loop().call_later(patience, self._kill, patience)

    def end_at_once(self) -> None:
        """Let them leave behind what runs."""
        for process in self.running.values():
            if process.stdin is not None:
                process.stdin.write(_AT_ONCE)
        asyncio.get_running_loop().call_later(_PATIENCE, self._kill, _PATIENCE)

    def reload(self) -> None:
        """Let each read its manifest again."""
        self._reports.reload()
        self.send(signal.SIGHUP)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to each."""
        for process in self.running.values():
            _send(process, number)

    def _kill(self, patience: float) -> None:
        """End those that did not when they were asked to, such as frozen ones."""
        for number, process in self.running.items():
            logger.error("process %d (id %d) did not end in %g s; killing it", number, process.pid, patience)
        self.send(signal.SIGKILL)

    async def _keep(self, number: int) -> None:
        """Run one process, and again whenever it ends without having been asked to."""
        failures = 0
        while not self._stop.is_set():
            started = time.monotonic()
            status = await self._run_once(number)
            if self._stop.is_set():
                # Before its handlers were there, the signal ended it.
                failed = status not in (0, -signal.SIGTERM)
                self.status = self.status or (EXIT_FAILED if failed else 0)
                return
            if status in _FINAL:
                self.status = status
                self.end()
                return
            failures = 1 if time.monotonic() - started > _STEADY else failures + 1
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** (failures - 1))
            logger.error("process %d ended with status %d; starting it again in %g s", number, status, wait)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait)

    async def _run_once(self, number: int) -> int:
        with ExitStack() as listening:
            lines = [listening.enter_context(hearing(self._heard))] if self._heard is not None else []
            lines += filter(None, [listening.enter_context(self._reports.line(number))])
            told = {name: value for line in lines for name, value in line.environ.items()}
            # Else a reload would end one that has no handler for it yet.
            signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    env={**os.environ, VARIABLE: str(number), **told},
                    pass_fds=[line.passed for line in lines],
                    # Its end tells the process that nobody supervises it any more; see also _AT_ONCE.
                    stdin=asyncio.subprocess.PIPE,
                    # Ctrl-C is for this process alone, which passes it on once.
                    start_new_session=True,
                )
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
            self.running[number] = process
            if self._manifest.processes > 1:
                logger.info("process %d runs with the id %d", number, process.pid)
            if self._stop.is_set():
                _send(process, signal.SIGTERM)
            try:
                return await process.wait()
            finally:
                del self.running[number]
                if process.stdin is not None:
                    process.stdin.close()


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # Before Python 3.13, its own send_signal() asks for the status first. Of one that has just ended, whoever
    # waits for it would then never get that, and take it for a failure.
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def this_command() -> list[str]:
    """Return the command that started this process."""
    return [sys.executable, "-m", "lightbus", *sys.argv[1:]]
