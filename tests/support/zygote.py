"""Processes of Python that need not import Lightbus first: a process that has imported it forks itself.

Most tests start a process, and most of what that costs are its imports. As a program, this one waits for
requests; :class:`Zygote` talks to it. A child runs a module, a script or a line of code as ``python`` does.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

ROOT = Path(__file__).parents[2]
#: What most commands import, beside the commands.
IMPORTS = [f"lightbus.transports.redis.{name}" for name in ("rpc.transport", "events.transport", "schema")]
IMPORTS += ["uvloop"]
#: An interpreter looks at variables that begin so when it starts, and C libraries do: a child is too late.
_EARLY = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "GLIBC_", "TZ")
#: The longest request, in bytes.
_LONGEST = 1 << 18


class Forked:
    """A child of the zygote, with what tests use of a ``subprocess.Popen``.

    Args:
        zygote: Its parent, which alone can ask for its status.
        pid: Its process.
        command: What it runs.
    """

    def __init__(self, zygote: Zygote, pid: int, command: Sequence[str]) -> None:
        self.pid = pid
        self._zygote, self._command = zygote, list(command)
        # Until its parent has asked for its status, no other process has its number.
        self._handle = os.pidfd_open(pid)
        self._status: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Its exit status, None while it runs, negative when a signal ended it."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; returns the exit status.

        Raises:
            subprocess.TimeoutExpired: It runs on.
        """
        status = self._ended(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self._command, timeout or 0)
        return status

    def _ended(self, timeout: float | None) -> int | None:
        with self._lock:
            if self._status is None:
                waiting = select.poll()
                waiting.register(self._handle, select.POLLIN)
                if waiting.poll(None if timeout is None else timeout * 1000):
                    self._status = self._zygote.status(self.pid)
                    os.close(self._handle)
            return self._status

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)


class Zygote:
    """The process that forks; started when it is first needed.

    Args:
        environment: Its own, in which what an interpreter reads at its start is as for most children.
        imports: The modules that it imports, beside those of most commands.
    """

    def __init__(self, environment: Mapping[str, str], imports: Sequence[str] = ()) -> None:
        self._environment = dict(environment)
        self._imports = list(imports)
        self._early = _early(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._lock = threading.Lock()

    def can_be(self, command: Sequence[str], environment: Mapping[str, str]) -> bool:
        """Whether a child can be this command, and nobody sees a difference."""
        if os.environ.get("LIGHTBUS_TEST_EXEC") or not hasattr(os, "pidfd_open"):
            return False
        program, *words = command
        if words[:2] == ["-W", "error"]:
            words = words[2:]
        is_python = program == sys.executable and bool(words)
        is_plain = is_python and (words[0] in ("-m", "-c") or not words[0].startswith("-"))
        return is_plain and _early(environment) == self._early

    def fork(
        self,
        command: Sequence[str],
        cwd: Path | None,
        environment: Mapping[str, str],
        descriptors: tuple[int, int, int],
    ) -> Forked:
        """Run a command of Python in a session of its own, with these as its standard descriptors."""
        folder = str(cwd) if cwd is not None else os.getcwd()
        request = json.dumps([list(command[1:]), folder, dict(environment)]).encode()
        return Forked(self, self._ask(request, descriptors), command)

    def status(self, pid: int) -> int:
        """The exit status of a child that has ended."""
        return self._ask(json.dumps(pid).encode())

    def _ask(self, request: bytes, descriptors: Sequence[int] = ()) -> int:
        with self._lock:
            if self._link is None:
                self._link = self._start()
            socket.send_fds(self._link, [request], descriptors)
            answer = self._link.recv(_LONGEST)
        assert answer, "the process that forks has ended"
        found: int = json.loads(answer)
        return found

    def _start(self) -> socket.socket:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.zygote", str(its.fileno()), *self._imports],
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=self._environment,
                start_new_session=True,
            )
        return ours

    def close(self) -> None:
        """End it."""
        if self._link is not None and self._process is not None:
            self._link.close()
            self._process.wait(10)


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    found = {name: value for name, value in environment.items() if name.startswith(_EARLY)}
    # All that is found there is imported from there in any case.
    if found.get("PYTHONPATH") == str(ROOT):
        del found["PYTHONPATH"]
    return found


def main() -> None:
    """Answer requests until there are no more; a forked child returns from here at its own end."""
    link = socket.socket(fileno=int(sys.argv[1]))
    _import_all(sys.argv[2:])
    gc.collect()
    gc.freeze()  # A collection in a child writes to each object, and each page that is written to is copied.
    while True:
        request, descriptors, _, _ = socket.recv_fds(link, _LONGEST, 3)
        if not request:
            return
        asked = json.loads(request)
        if isinstance(asked, int):
            answer = os.waitstatus_to_exitcode(os.waitpid(asked, 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                link.close()
                words, folder, environment = asked
                _become(words, folder, environment, descriptors)
                return
            for descriptor in descriptors:
                os.close(descriptor)
        link.send(json.dumps(answer).encode())


def _import_all(others: Sequence[str]) -> None:
    commands = importlib.import_module("lightbus.cli.commands")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in [*IMPORTS, *others, *(f"{commands.__name__}.{each.name}" for each in _modules(commands))]:
            importlib.import_module(name)


def _modules(package: ModuleType) -> list[pkgutil.ModuleInfo]:
    return list(pkgutil.iter_modules(package.__path__))


def _become(words: list[str], folder: str, environment: dict[str, str], descriptors: list[int]) -> None:
    """Be ``python WORDS``."""
    os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    _open_streams()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # The folder of a project may have modules of these names.
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    if words[:2] == ["-W", "error"]:
        words = words[2:]
        sys.warnoptions.append("error")
        warnings.simplefilter("error")
    if "PYTHONPATH" in environment:
        sys.path.insert(1, environment["PYTHONPATH"])
    _run(words)


def _open_streams() -> None:
    """Make the standard streams anew, as an interpreter does: those of now are of other files."""
    sys.stdin = _stream(0, "rb", sys.stdin)
    sys.stdout = _stream(1, "wb", sys.stdout)
    sys.stderr = _stream(2, "wb", sys.stderr)
    # Final names for type checkers; an interpreter sets them once, and a child is one of its own.
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)


def _stream(descriptor: int, mode: str, before: TextIO) -> TextIOWrapper:
    assert isinstance(before, TextIOWrapper)
    reads = mode == "rb"
    file: Any = open(descriptor, mode, -1 if reads else 0, closefd=False)  # noqa: SIM115 - for good
    return TextIOWrapper(
        file,
        before.encoding,
        before.errors,
        None if reads else "\n",
        line_buffering=before.line_buffering,
        write_through=True,
    )


def _run(words: list[str]) -> None:
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path[0] = os.getcwd()
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"] = ModuleType("__main__")
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        sys.path[0] = ""
        code = compile(words[1], "<string>", "exec")
    else:
        sys.argv = words
        sys.path[0] = os.path.dirname(os.path.realpath(words[0]))
        main.__file__ = os.path.abspath(words[0])
        code = compile(Path(words[0]).read_bytes(), words[0], "exec")
    exec(code, vars(main))


if __name__ == "__main__":
    main()
