"""Every process that can be signalled, in every state: how it ends, and that it does not take for ever."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from lightbus.host.processes.signals import SignalPipe
from tests.guide.project import Project
from tests.host.test_supervisor import alive, children
from tests.support.eventually import eventually
from tests.support.processes import Process, clean_environment
from tests.support.servers import Server, free_port
from tests.support.terminal import opened_and_closed

TERM, INT = signal.SIGTERM, signal.SIGINT
ROOT = Path(__file__).parents[2]

MODULE = """
import multiprocessing, os, subprocess, time
import lightbus, lightbus.host.shutdown

# Instead of 14 s, on top of drain_timeout.
lightbus.host.shutdown.CLOSING = 1.0

def say(word):
    with open("said", "a") as file:
        file.write(word + "\\n")

class A(lightbus.Api):
    class Meta:
        name = "a"

    def heard(self) -> str:
        return subprocess.run(["cat"], capture_output=True, text=True, timeout=60).stdout

    def short(self) -> int:
        say("began")
        time.sleep(2.5)
        say("finished")
        return 1

    def endless(self) -> None:
        say("began")
        time.sleep(1000)

    async def block(self) -> None:
        say("began")
        time.sleep(1000)

    def chat(self) -> None:
        say("began")
        while True:
            print("x" * 100)

    def fork(self, method: str) -> int | None:
        child = multiprocessing.get_context(method).Process(target=time.sleep, args=(1000,))
        child.start()
        time.sleep(0.2)
        child.terminate()
        child.join(60)
        ended = child.exitcode
        child.kill()
        return ended

    def fork_by_hand(self) -> int:
        pid = os.fork()
        if pid == 0:
            time.sleep(1000)
            os._exit(0)
        time.sleep(0.2)
        os.kill(pid, 15)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""

#: As ``lightbus run``, with 3 s instead of 15 in which the processes of a supervisor have to end.
RUN = "import lightbus.host.processes.crew as s; s._CLOSING = 3.0; from lightbus.cli import main; main()"


class Hosted:
    """One `lightbus run`, alone or with two processes, whose output can be read or left unread.

    Args:
        project: Its folder.
        supervised: Whether it is a supervisor.
        patience: Its ``drain_timeout``.
    """

    def __init__(self, project: Project, *, supervised: bool, patience: float) -> None:
        self.project = project
        self.count = 2 if supervised else 1
        self._read, write = os.pipe()
        self._write = os.open(f"/proc/self/fd/{write}", os.O_WRONLY | os.O_NONBLOCK)
        self.seen = b""
        self._calls = ThreadPoolExecutor()
        settings = ("--set", f"processes={self.count}", "--set", f"bus.drain_timeout={patience:g}s")
        self.process = Process(
            [sys.executable, "-c", RUN, "run", *settings], cwd=project.folder, env=project.env, sink=write
        )
        os.close(write)

    @property
    def pids(self) -> list[int]:
        """Of all processes, the first one first."""
        return [self.process.pid, *(children(self.process) if self.count > 1 else ())]

    @property
    def hosting(self) -> list[int]:
        """Of the processes that host."""
        return self.pids[1:] if self.count > 1 else self.pids

    def read_until(self, text: bytes, times: int = 1) -> None:
        """Read the output, until some text was there so often."""
        os.set_blocking(self._read, False)

        def is_there() -> bool:
            with contextlib.suppress(BlockingIOError):
                self.seen += os.read(self._read, 1 << 20)
            return self.seen.count(text) >= times

        try:
            eventually(is_there, 60)
        except AssertionError:
            raise AssertionError(f"no {text!r} in the output: {self.seen.decode()}") from None

    def fill(self) -> None:
        """From here on, nothing more fits into the pipe that takes the output."""
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self._write, b"\n" * 4096)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self._write, b"\n")

    def busy(self, procedure: str) -> None:
        """Have the processes run a procedure."""
        for _ in range(self.count):
            self._calls.submit(Project.call, self.project, f"a.{procedure}")
        eventually(lambda: self.said("began") >= 1, 60)

    def said(self, word: str) -> int:
        """How often a procedure has got there."""
        path = self.project.folder / "said"
        return path.read_text().split().count(word) if path.exists() else 0

    def close(self) -> None:
        """End all."""
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.close()
        for descriptor in (self._read, self._write):
            os.close(descriptor)
        self._calls.shutdown(wait=False)


# What the processes are at.


def idle(hosted: Hosted) -> None:
    """Nothing runs."""


def short(hosted: Hosted) -> None:
    hosted.busy("short")


def endless(hosted: Hosted) -> None:
    hosted.busy("endless")


def blocked(hosted: Hosted) -> None:
    hosted.busy("block")


def unread(hosted: Hosted) -> None:
    hosted.fill()


def unread_and_blocked(hosted: Hosted) -> None:
    hosted.fill()
    hosted.busy("block")


def chatting(hosted: Hosted) -> None:
    """A handler is stuck, since nobody reads what it prints."""
    hosted.fill()
    hosted.busy("chat")


def frozen(hosted: Hosted) -> None:
    os.kill(hosted.hosting[-1], signal.SIGSTOP)


# How they are asked to end.


def once(hosted: Hosted) -> None:
    os.kill(hosted.process.pid, TERM)


def ctrl_c(hosted: Hosted) -> None:
    """As a terminal signals its whole foreground process group."""
    os.killpg(hosted.process.pid, INT)


def to_all(hosted: Hosted) -> None:
    """As systemd signals every process of a service; the supervisor passes its own signal on as well."""
    for pid in hosted.pids:
        os.kill(pid, TERM)


def twice(hosted: Hosted) -> None:
    """As by a wrapper that passes on what its process group got already."""
    pids = hosted.pids
    for number in (INT, TERM, TERM):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def again(hosted: Hosted) -> None:
    hosted.process.insist(TERM)


@dataclass(frozen=True)
class Row:
    """A promise: the exit status, within `most` seconds, with what runs finished or left behind.

    Args:
        state: What the processes are at.
        wish: How they are asked to end.
        status: The exit status.
        patience: The ``drain_timeout``.
        most: Seconds.
        finished: Whether what runs is finished; None where that is not looked at.
    """

    state: Callable[[Hosted], None]
    wish: Callable[[Hosted], None]
    status: int
    patience: float
    most: float = 30.0
    finished: bool | None = None

    def __str__(self) -> str:
        return f"{self.state.__name__}-{self.wish.__name__}"


# Those with a long patience must not wait for it; those with a short one end by it, and none hangs.
BOTH = [
    Row(idle, once, 0, 60),
    Row(idle, ctrl_c, 0, 60),
    Row(idle, twice, 0, 60),
    Row(short, once, 0, 60, finished=True),
    Row(short, ctrl_c, 0, 60, finished=True),
    Row(short, twice, 0, 60, finished=True),
    Row(endless, once, 0, 0.5),
    Row(endless, again, 1, 60, finished=False),
    Row(blocked, once, 1, 0.5),
    Row(blocked, twice, 1, 0.5),
    Row(blocked, again, 1, 60),
    Row(unread, once, 0, 60),
    Row(unread, ctrl_c, 0, 60),
    Row(unread, twice, 0, 60),
    Row(unread_and_blocked, once, 1, 0.5),
    Row(unread_and_blocked, again, 1, 60),
    Row(chatting, once, 0, 0.5),
    Row(chatting, again, 1, 60),
]
SUPERVISED = [
    Row(idle, to_all, 0, 60),
    Row(short, to_all, 0, 60, finished=True),
    Row(blocked, to_all, 1, 0.5),
    Row(frozen, once, 1, 0.5),
    Row(frozen, to_all, 1, 0.5),
    Row(frozen, again, 1, 60),
]


@pytest.fixture
def served(project: Project, redis_server: Server) -> Project:
    project.write("bus.py", MODULE)
    project.write(
        "lightbus.yaml", f"bus: {{log_format: text, redis: {{url: '{redis_server.url}'}}}}\nservice_name: a\n"
    )
    return project


@pytest.fixture
def host(served: Project) -> Iterator[Callable[..., Hosted]]:
    with contextlib.ExitStack() as started:

        def start(*, supervised: bool, patience: float = 60.0) -> Hosted:
            hosted = Hosted(served, supervised=supervised, patience=patience)
            started.callback(hosted.close)
            hosted.read_until(b"ready: ", hosted.count)
            return hosted

        yield start


CASES = [(row, False) for row in BOTH] + [(row, True) for row in BOTH + SUPERVISED]


@pytest.mark.parametrize(
    ("row", "supervised"),
    CASES,
    ids=[f"{row}-{'supervised' if supervised else 'single'}" for row, supervised in CASES],
)
def test_it_ends_as_promised(host: Callable[..., Hosted], row: Row, supervised: bool) -> None:
    hosted = host(supervised=supervised, patience=row.patience)
    pids = hosted.pids
    row.state(hosted)
    began = time.monotonic()
    row.wish(hosted)
    assert hosted.process.wait(row.most + 5) == row.status
    assert time.monotonic() - began < row.most
    assert not any(alive(pid) for pid in pids)
    if row.finished is not None:
        assert (hosted.said("finished") == hosted.said("began")) is row.finished


#: As ``lightbus``; however long it takes to end, all signals are one wish.
PATIENT = """
import lightbus.host.processes.signals
lightbus.host.processes.signals.ONE_WISH = 1000.0
from lightbus.cli import main
main()
"""
#: What a process says that hears signals.
RUNS = {
    "run": "ready: ",
    "run --processes 2": "ready: ",
    "run --reload": "ready: ",
    "run --web": "ready: ",
    "web": "the console: ",
}


def storm(process: Process, *numbers: signal.Signals) -> None:
    """Send signals for as long as the process lives, with nothing between them."""
    while process.status is None:
        for number in numbers:
            os.kill(process.pid, number)


@pytest.mark.parametrize("command", RUNS)
def test_no_signal_changes_how_it_ends_once_the_end_has_begun(served: Project, command: str) -> None:
    """Between two states of a process there is no moment in which signals do what they do to any program."""
    listen = f"web: {{listen: '127.0.0.1:{free_port()}'}}\n"
    served.write("lightbus.yaml", (served.folder / "lightbus.yaml").read_text() + listen)
    with Process(
        [sys.executable, "-c", PATIENT, *command.split()], cwd=served.folder, env=served.env
    ) as process:
        process.wait_for_line(RUNS[command])
        # By this one, which is nothing to it, a console ends as any program does.
        storm(process, TERM, INT, *((signal.SIGHUP,) if "run" in command else ()))
        output = process.output()
        assert (process.wait(), re.findall("Traceback|race condition|Exception", output)) == (0, []), output


def test_signals_to_a_host_that_still_imports_are_one_interruption(served: Project) -> None:
    served.write("bus.py", "import time\nprint('here', flush=True)\ntime.sleep(1000)\n")
    with Process([sys.executable, "-c", PATIENT, "run"], cwd=served.folder, env=served.env) as process:
        process.wait_for_line("here")
        storm(process, TERM, INT, signal.SIGHUP)
        assert (process.wait(), "Traceback" in process.output()) == (0, False), process.output()


EMBEDDED = """
import logging, signal
from lightbus.host.host import Host
from lightbus.manifest.load import load

def own(number, frame):
    print("own", flush=True)

logging.basicConfig(level="INFO")
numbers = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
for number in numbers:
    signal.signal(number, own)
status = Host(load(["lightbus.yaml"])).run()
print("ended", status, [signal.getsignal(number) is own for number in numbers], flush=True)
signal.raise_signal(signal.SIGTERM)
"""


def test_a_program_that_hosts_for_a_while_has_its_own_signals_again_afterwards(served: Project) -> None:
    program = served.program("-c", EMBEDDED)
    program.wait_for_line("ready: ")
    assert program.terminate() == 0
    assert program.output().splitlines()[-2:] == ["ended 0 [True, True, True]", "own"], program.output()


def test_a_supervisor_tells_whom_it_kills(host: Callable[..., Hosted]) -> None:
    hosted = host(supervised=True, patience=0.1)
    frozen(hosted)
    pid = hosted.hosting[-1]
    once(hosted)
    assert hosted.process.wait() == 1
    hosted.read_until(f"(id {pid}) did not end in 3.1 s; killing it".encode())


@pytest.mark.parametrize("state", [idle, endless, blocked, unread_and_blocked])
def test_processes_end_with_a_supervisor_that_is_killed(
    host: Callable[..., Hosted], state: Callable[[Hosted], None]
) -> None:
    hosted = host(supervised=True, patience=0.5)
    pids = hosted.hosting
    state(hosted)
    hosted.process.kill()
    eventually(lambda: not any(alive(pid) for pid in pids))


def test_a_program_that_a_handler_starts_does_not_read_what_the_supervisor_says(served: Project) -> None:
    text = MODULE.replace(
        "def short(self) -> int:",
        "def stdin(self) -> str:\n        return sys.stdin.read()\n\n    def short(self) -> int:",
    )
    served.write("bus.py", text)
    supervisor = served.host("--set", "processes=2")
    assert served.call("a.heard") == ""
    assert supervisor.terminate() == 0


@pytest.mark.parametrize("supervised", [False, True], ids=["single", "supervised"])
def test_a_process_that_a_handler_forks_is_no_host(host: Callable[..., Hosted], supervised: bool) -> None:
    hosted = host(supervised=supervised)
    for call in ("fork method=fork", "fork method=spawn", "fork_by_hand"):
        done = hosted.project.run("call", *f"a.{call}".split())
        assert (done.stdout.strip(), done.stderr) == ("-15", "")
    once(hosted)
    assert hosted.process.wait() == 0
    hosted.read_until(b"stopped")
    assert hosted.seen.count(b"SIGTERM received") == (3 if supervised else 1)


@pytest.mark.parametrize("args", [[], ["--processes", "2"]], ids=["one process", "several"])
def test_what_runs_in_a_terminal_ends_with_it_in_good_order(
    project: Project, redis_server: Server, args: list[str]
) -> None:
    """As SIGHUP from anybody else reads the manifest again, this one has to be told apart."""
    project.write("bus.py", MODULE)
    project.env["LIGHTBUS__BUS__REDIS__URL"] = redis_server.url
    times = 2 if args else 1
    status = opened_and_closed(
        "run", *args, cwd=project.folder, env=project.env, until="ready: ", times=times
    )
    assert status == 0
    assert redis_server.execute("EXISTS", "lightbus:owner:a") == 0, "it has signed off"


@pytest.mark.parametrize("ends", [True, False], ids=["imports", "runs"])
def test_ctrl_c_ends_the_program_without_a_traceback_while_it_is_imported(tmp_path: Path, ends: bool) -> None:
    cli = tmp_path / "lightbus" / "cli.py"
    cli.parent.mkdir()
    (cli.parent / "__init__.py").touch()
    wait = "print('here', flush=True); time.sleep(1000)"
    # What runs is told of it as Python tells it.
    run = "def program():\n    try:\n        {wait}\n    except KeyboardInterrupt:\n        print('heard')"
    cli.write_text(f"import time\n{wait if ends else run.replace('{wait}', wait)}\n")
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "import lightbus_command; lightbus_command.main()"
    env = clean_environment({"PYTHONPATH": str(ROOT)})
    # By -B, it is not forked from a process that has imported Lightbus already.
    with Process([sys.executable, "-B", "-c", code], cwd=tmp_path, env=env) as program:
        program.wait_for_line("here")
        os.kill(program.pid, INT)
        assert (program.wait(), program.output()) == ((-INT, "here\n") if ends else (0, "here\nheard\n"))


ENDING_SLOWLY = """
import atexit, signal, sys, time

def end():
    print("ending", flush=True)
    time.sleep(1)

atexit.register(end)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["lightbus", "inspect", "--follow"]
from lightbus.cli import program
program()
"""


def test_ctrl_c_that_is_pressed_again_while_a_command_ends_changes_nothing(served: Project) -> None:
    served.fire("a.happened", name="x")
    command = served.program("-c", ENDING_SLOWLY)
    command.wait_for_line('"happened"')
    command.interrupt()
    command.wait_for_line("ending")
    storm(command, INT)
    assert (command.wait(), "Traceback" in command.output()) == (130, False), command.output()


def test_who_writes_just_as_the_reader_closes_writes_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, write = SignalPipe(), os.write
    closing = threading.Thread(target=pipe.close)

    def write_late(descriptor: int, data: bytes) -> int:
        closing.start()
        closing.join(0.2)
        return write(descriptor, data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write_late)
        pipe.write()
    closing.join()
    pipe.write()
