"""``lightbus shell``: programs, and the console in a terminal."""

from __future__ import annotations

import importlib.util
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.conftest import missing
from tests.guide.project import Project
from tests.support.processes import clean_environment
from tests.support.servers import Server

BUS = """
    from lightbus import Api, Event

    class AuthApi(Api):
        user_registered = Event(parameters=("username",))

        class Meta:
            name = "auth"

        def check_password(self, username, password):
            return username == password
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    server = Server("valkey")
    it = Project(tmp_path_factory.mktemp("project"), server.url)
    it.write("host/bus.py", BUS)
    it.within("host").host()
    it.write("empty/README", "no module here")
    yield it
    it.close()
    server.close()


def execute(project: Project, program: str) -> tuple[int, str, str]:
    done = project.within("empty").run("shell", "-e", program)
    return done.returncode, done.stdout, done.stderr


def test_calls_wait_and_can_be_awaited(project: Project) -> None:
    program = """
print(bus.auth.check_password(username=1, password=1))
print(await bus.auth.check_password.call_async(username=1, password=2))
async def twice():
    return [await bus.auth.check_password.call_async(username=1, password=n) for n in (1, 2)]
for result in await twice():
    print(result)
print('check_password' in dir(bus.auth), lightbus.__version__[:2], Api is lightbus.Api)
"""
    assert execute(project, program) == (0, "True\nFalse\nTrue\nFalse\nTrue 2. True\n", "")


def test_what_comes_through_a_pipe_is_run(project: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lightbus", "shell"],
        input="print(await bus.auth.check_password.call_async(username=1, password=1))\n",
        cwd=project.folder,
        env=clean_environment(project.env),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_events_of_this_project_can_be_fired(project: Project) -> None:
    done = project.within("host").run("shell", "-e", "print(bus.auth.user_registered.fire(username='a').id)")
    assert done.returncode == 0 and len(done.stdout) == 37


def test_an_error_of_the_program_is_shown_from_its_own_first_line_on(project: Project) -> None:
    status, _, error = execute(project, "x = 1\nasync def f():\n    1 / 0\nawait f()")
    lines = [line for line in error.splitlines() if line.startswith("  File")]
    assert status == 1 and error.endswith("ZeroDivisionError: division by zero\n")
    assert lines == ['  File "<shell>", line 4, in <module>', '  File "<shell>", line 3, in f']
    status, _, error = execute(project, "x =")
    assert status == 1 and error.endswith("SyntaxError: invalid syntax\n") and "Traceback" not in error


def test_an_error_of_the_bus_is_a_sentence(project: Project) -> None:
    status, _, error = execute(project, "bus.nope.x()")
    assert status == 1 and error.startswith("NoWorker: nobody serves the API 'nope'")
    assert "Traceback" not in error


def test_a_bus_module_that_lacks_another_one_is_told(project: Project) -> None:
    project.write("broken/bus.py", "import nowhere")
    done = project.within("broken").run("shell", "-e", "1")
    assert done.returncode == 78 and "bus.py:1: importing the module 'bus' raised" in done.stderr


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, project: Project, *args: str, **more: str) -> None:
        self.fd, inside = pty.openpty()
        # A dumb terminal, which is not asked where its cursor is.
        env = {**project.env, "HOME": str(project.folder), "TERM": "dumb", **more}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lightbus", "shell", *args],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            cwd=project.folder / "empty",
            env=clean_environment(env),
            start_new_session=True,
        )
        os.close(inside)
        self.seen = ""

    def expect(self, text: str, timeout: float = 60.0) -> None:
        """Wait until the terminal shows a text, and forget what came before it."""
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            assert time.monotonic() < deadline, f"no {text!r} in {self.seen!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                shown = os.read(self.fd, 65536).decode(errors="replace")
                self.seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
        self.seen = self.seen.partition(text)[2]

    def type(self, line: str) -> None:
        os.write(self.fd, f"{line}\r".encode())

    def wait(self) -> int:
        """Wait for its end, whatever it still prints."""
        with open(self.fd, "rb", buffering=0) as rest:
            try:
                while rest.read(65536):
                    pass
            except OSError:  # The other end is closed.
                pass
        return self._process.wait(60)


@pytest.mark.parametrize(("options", "prompt"), [(("--plain",), ">>> "), ((), "In [1]: ")])
def test_the_console_awaits_and_tells_errors_in_a_sentence(
    project: Project, options: tuple[str, ...], prompt: str
) -> None:
    if not options and importlib.util.find_spec("IPython") is None:
        missing("IPython is not installed")
    terminal = Terminal(project, *options)
    terminal.expect("APIs that are known: auth")
    terminal.expect(prompt)
    terminal.type("bus.auth.check_password(username=1, password=1)")
    terminal.expect("True")
    terminal.type("await bus.auth.check_password.call_async(username=1, password=2)")
    terminal.expect("False")
    terminal.type("bus.nope.x()")
    terminal.expect("NoWorker: nobody serves the API 'nope'")
    terminal.type("print('still', 'here')")
    terminal.expect("still here")
    terminal.type("exit()")
    assert terminal.wait() == 0


def test_the_plain_console_remembers_what_was_typed(project: Project) -> None:
    terminal = Terminal(project, "--plain")
    terminal.expect(">>> ")
    terminal.type("'so' + 'mething'")
    terminal.expect("'something'")
    terminal.type("exit()")
    assert terminal.wait() == 0
    assert "'so' + 'mething'" in (project.folder / ".lightbus_history").read_text()


def test_a_console_without_redis_says_so_and_works(project: Project) -> None:
    terminal = Terminal(project, "--plain", LIGHTBUS__BUS__REDIS__URL="redis://127.0.0.1:1/0")
    terminal.expect("Redis at 127.0.0.1:1/0 can't be reached")
    terminal.expect(">>> ")
    terminal.type("print('still', 'here')")
    terminal.expect("still here")
    terminal.type("exit()")
    assert terminal.wait() == 0
