"""Real processes for tests, `lightbus` above all: started, watched, killed, and never left behind."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.eventually import eventually
from tests.support.zygote import Forked, Zygote

TAIL = 4000


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings for Lightbus, plus `extra`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIGHTBUS_")}
    environment["PYTHONUNBUFFERED"] = "1"
    environment.update(extra or {})
    return environment


ZYGOTE = Zygote(clean_environment())
atexit.register(ZYGOTE.close)


def spawn(
    command: Sequence[str],
    *,
    cwd: Path | None,
    env: Mapping[str, str],
    stdout: int,
    stderr: int,
    stdin: int | None = None,
    zygote: Zygote = ZYGOTE,
) -> Forked | subprocess.Popen[bytes]:
    """Start a command in a session of its own: its children end with it, and Ctrl-C is for the tests.

    Python is forked from a process that has imported Lightbus already, where that makes no difference.
    With LIGHTBUS_TEST_EXEC in the environment of the tests, nothing is.
    """
    with open(os.devnull, "rb") as nothing:
        given = nothing.fileno() if stdin is None else stdin
        if zygote.can_be(command, env):
            return zygote.fork(command, cwd, env, (given, stdout, stderr))
        return subprocess.Popen(
            list(command), cwd=cwd, env=env, stdin=given, stdout=stdout, stderr=stderr, start_new_session=True
        )


def finished(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float = 60.0,
    zygote: Zygote = ZYGOTE,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; what runs on is killed, and fails the test."""
    with (
        tempfile.TemporaryFile("w+", errors="replace") as out,
        tempfile.TemporaryFile("w+", errors="replace") as err,
    ):
        process = spawn(command, cwd=cwd, env=env, stdout=out.fileno(), stderr=err.fileno(), zygote=zygote)
        try:
            status: int | None = process.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for file in (out, err):
            file.seek(0)
        printed = [out.read(), err.read()]
    assert status is not None, f"{command} did not end within {timeout:g} s: {printed}"
    return subprocess.CompletedProcess(list(command), status, *printed)


class Process:
    """A process whose output (stdout and stderr together) goes to a file that can be read at any time.

    Where `sink` is given, its output goes to that descriptor instead. Python is forked from the `zygote`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        sink: int | None = None,
        zygote: Zygote = ZYGOTE,
    ) -> None:
        self.command = list(command)
        descriptor, name = tempfile.mkstemp(prefix="lightbus-output-")
        self._file = Path(name)
        try:
            output = descriptor if sink is None else sink
            self._process = spawn(
                self.command,
                cwd=cwd,
                env=clean_environment(env),
                stdout=output,
                stderr=output,
                zygote=zygote,
            )
        finally:
            os.close(descriptor)

    @property
    def pid(self) -> int:
        """Of the process itself."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs, negative when a signal ended it."""
        return self._process.poll()

    def output(self) -> str:
        """All that it has printed so far."""
        return self._file.read_text(errors="replace")

    def wait_for_line(self, text: str, timeout: float = 60.0) -> str:
        """Wait until some line contains `text`, and return the first that does."""

        def line() -> str | None:
            ended = self.status is not None  # asked first: what it printed last must be seen
            found = next((each for each in self.output().splitlines() if text in each), None)
            if found is None and ended:
                raise RuntimeError(f"ended with status {self.status} before printing {text!r}{self._tail()}")
            return found

        try:
            found = eventually(line, timeout)
        except AssertionError:
            raise AssertionError(f"no line with {text!r} in {timeout:g} s{self._tail()}") from None
        assert found is not None
        return found

    def wait(self, timeout: float = 60.0) -> int:
        """Wait for its end; returns the exit status."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout:g} s{self._tail()}") from None

    def terminate(self, timeout: float = 40.0) -> int:
        """SIGTERM, then wait; returns the exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def insist(self, number: signal.Signals, timeout: float = 30.0) -> int:
        """Send a signal until the process has ended, since several within a second are one wish.

        Returns the exit status.
        """

        def ended() -> bool:
            self._process.send_signal(number)
            return self.status is not None

        eventually(ended, timeout, f"ended by {number.name}")
        return self.wait()

    def interrupt(self) -> None:
        """SIGINT, as from Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def pause(self) -> None:
        """SIGSTOP."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to the process alone, and wait for its end; does nothing when it has ended."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Kill it and whatever it has started, and forget its output."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            # It has ended, or was forked only just now and leads no session yet.
            self._process.kill()
        self._process.wait()
        self._file.unlink(missing_ok=True)

    def _tail(self) -> str:
        return f"; its output:\n{self.output()[-TAIL:]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def lightbus_process(*args: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Process:
    """``lightbus ARGS`` as a process; the caller closes it (the fixture `run_lightbus` does so by itself)."""
    return Process([sys.executable, "-m", "lightbus", *args], cwd=cwd, env=env)
