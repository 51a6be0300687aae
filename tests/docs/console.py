"""The commands that a page shows, given as its reader gives them; and those that can't be given here."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Process, clean_environment
from tests.support.servers import Server

from .pages import DOCS
from .sites import Reader

#: A block of a shell, or indented lines that follow each other.
_SHOWN = re.compile(
    r"^```(shell|\w*)[^\n]*\n(.*?)^```$|(^    \S[^\n]*\n(?:^    [^\n]*\S[^\n]*\n)*)", re.DOTALL | re.MULTILINE
)
_YAML = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_VARIABLE = re.compile(r"\w+=\S+")
_PROGRAMS = {
    *("lightbus", "pip", "python", "django-admin", "flask", "uvicorn", "gunicorn", "curl", "systemctl"),
    *("systemd-analyze", "opentelemetry-instrument", "make", "kubectl", "docker", "eval"),
}

#: The commands that are not given here: why, and where else what they do is tried.
ELSEWHERE: Mapping[str, str] = {
    "systemd-analyze verify /etc/systemd/system/shop.service": "tests/docs/test_deployment does, where it is",
    "systemctl enable --now shop": "wants systemd as the first process of the machine",
    "gunicorn app:app --workers 4 --threads 8 --preload": "the campaign of frameworks serves by gunicorn",
    "uvicorn app:app --workers 4": "the campaign of frameworks serves by uvicorn",
    "python manage.py migrate lightbus": "tests/outbox/test_page does, for a project like that of the page",
    "lightbus web": "tests/web serves it, and looks at its pages in a browser",
    "make console": "tests/web/test_example starts it, looks and ends it",
    "make cluster": "tests/docs/test_cluster starts it and ends it",
}
#: The pages whose projects a test of their own writes and runs.
RUN = {"how-to/outbox.md": "tests/outbox/test_page"}
#: The pages whose projects `installed.framework` makes and serves, by their commands.
SERVED = ("how-to/django.md", "how-to/fastapi.md", "how-to/flask.md")


@dataclass(frozen=True, slots=True)
class Shown:
    """A command that a page shows.

    Args:
        command: As it is typed.
        output: What the page says that it prints; None where it does not say.
    """

    command: str
    output: str | None = None


def shown(page: Path) -> list[Shown]:
    """The commands of a page, but for those of pip: what they install is there."""
    found = []
    for language, code, indented in _SHOWN.findall(page.read_text()):
        lines = [line.strip() for line in (code if language == "shell" else indented).splitlines()]
        if lines and lines[0].startswith("$ "):
            found.append(Shown(lines[0].removeprefix("$ "), " ".join(" ".join(lines[1:]).split())))
        else:
            found += [Shown(line) for line in lines if _program(line) in _PROGRAMS]
    return [each for each in found if _program(each.command) != "pip"]


def given(page: Path) -> list[Shown]:
    """The commands of a page that are given here."""
    if str(page.relative_to(DOCS)) in (*SERVED, *RUN):
        return []
    return [each for each in shown(page) if each.command not in ELSEWHERE]


class Console(Reader):
    """A reader of a page, who gives its commands in their order.

    Args:
        page: The page, such as ``how-to/doctor.md``.
        folder: An empty folder.
        server: The Redis.
        python: The Python with what the page wants installed.
        env: What else is in the environment of every process.
    """

    def __init__(
        self,
        page: str,
        folder: Path,
        server: Server,
        python: str | Path = sys.executable,
        env: Mapping[str, str] | None = None,
    ) -> None:
        # As in an activated venv.
        path = os.pathsep.join([str(Path(python).parent), os.environ["PATH"]])
        super().__init__(
            folder, python, {"PATH": path, "LIGHTBUS__BUS__REDIS__URL": server.url, **(env or {})}
        )
        self.page = DOCS / page
        self.server = server
        #: The commands that are still to be given.
        self.left = given(self.page)

    def put(self, name: str, text: str) -> None:
        """Write a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def yaml(self, words: str) -> str:
        """Return the one block of YAML of the page that has some words."""
        found: str
        (found,) = (text for text in _YAML.findall(self.page.read_text()) if words in text)
        return found

    def take(self) -> Shown:
        """Take the next command away, to give it in another way."""
        return self.left.pop(0)

    def next(self, *expected: str, answer: str | None = None, status: int = 0) -> str:
        """Give the next command of the page.

        Args:
            expected: Words that it is to print.
            answer: What is typed when it asks, on a terminal.
            status: Its exit status.

        Returns:
            All that it printed, on one line.
        """
        command = self.take().command
        got, printed = self._run(command, answer)
        printed = " ".join(printed.split())
        assert got == status, f"{command}: status {got}: {printed}"
        for words in expected:
            assert words in printed, f"{command} does not print {words!r}: {printed}"
        return printed

    def start_next(self) -> Process:
        """Start the next command of the page, a host, and wait until it is ready."""
        return self.host(self.take().command)

    def refused(self, command: str) -> str:
        """Give a command that finds a wrong configuration; returns what it printed."""
        status, printed = self._run(command, None)
        assert status == 78, f"{command}: status {status}: {printed}"
        return printed

    def fire(self, username: str) -> None:
        """Fire an event of the service ``auth``."""
        self.do(f"lightbus fire auth.user_registered username={username} email={username}@example.com")

    def _run(self, command: str, answer: str | None) -> tuple[int, str]:
        line, env = self._line(command), clean_environment(self.env)
        if answer is not None:
            return _on_a_terminal(line, self.folder, env, f"{answer}\n")
        into = ""
        if ">" in line:  # As a shell has it: what is printed goes into the file that is named last.
            line, into = line[: line.index(">")], line[-1]
        done = subprocess.run(
            line,
            cwd=self.folder,
            env=env,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if into else subprocess.STDOUT,
            timeout=110,
        )
        if into:
            self.put(into, done.stdout)
            return done.returncode, done.stderr
        return done.returncode, done.stdout


def _program(line: str) -> str:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return ""
    return next((word for word in words if not _VARIABLE.fullmatch(word)), "")


def _on_a_terminal(command: list[str], folder: Path, env: Mapping[str, str], typed: str) -> tuple[int, str]:
    terminal, inside = pty.openpty()
    with subprocess.Popen(
        command, cwd=folder, env=env, stdin=inside, stdout=inside, stderr=inside
    ) as process:
        os.close(inside)
        os.write(terminal, typed.encode())
        written = b""
        # Linux says so once nobody has the other end open.
        with contextlib.suppress(OSError):
            while found := os.read(terminal, 65_536):
                written += found
        status = process.wait(timeout=110)
    os.close(terminal)
    return status, written.decode().replace("\r\n", "\n")
