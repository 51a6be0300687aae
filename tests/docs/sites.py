"""The reader of a page, who does what it says in an empty folder; and what comes of a framework's page."""

from __future__ import annotations

import contextlib
import http.client
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.support.eventually import eventually
from tests.support.processes import Process, clean_environment
from tests.support.servers import free_port

from .pages import DOCS, Step, steps

#: The first of the commands that go on until they are stopped.
_HOST = "lightbus run"


class Reader:
    """Writes files and gives commands; use it as a context.

    Args:
        folder: Where.
        python: The Python beside which the programs of the commands are.
        env: What is in the environment of every process.
    """

    def __init__(
        self, folder: Path, python: str | Path = sys.executable, env: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self._programs = Path(python).parent
        #: What is in the environment of every process.
        self.env = {"LIGHTBUS__BUS__LOG_FORMAT": "text", **(env or {})}
        self._closing = contextlib.ExitStack()

    def write(self, step: Step) -> None:
        """Write a file, or add to it."""
        path = self.folder / step.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text() if step.adds else "") + step.text)

    def do(self, command: str) -> subprocess.CompletedProcess[str]:
        """Give a command that ends by itself, and well."""
        done = subprocess.run(
            self._line(command),
            cwd=self.folder,
            env=clean_environment(self.env),
            capture_output=True,
            text=True,
            timeout=110,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def start(self, command: str) -> Process:
        """Give a command that goes on."""
        process = Process(self._line(command), cwd=self.folder, env=self.env)
        return self._closing.enter_context(process)

    def host(self, command: str = _HOST) -> Process:
        """Start ``lightbus run``, and wait until it is ready."""
        process = self.start(command)
        process.wait_for_line("ready: ", 100)
        return process

    def _line(self, command: str) -> list[str]:
        program, *words = shlex.split(command, comments=True)
        ours = self._programs / program
        return [str(ours) if ours.exists() else program, *words]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()


class Site(Reader):
    """The web server and the host of a framework's page.

    Args:
        page: The page, such as ``how-to/flask.md``.
        folder: An empty folder for the project.
        url: The Redis.
        python: The Python with what the page wants installed.
        env: What else is in the environment of every process.
    """

    def __init__(
        self,
        page: str,
        folder: Path,
        url: str,
        python: str | Path = sys.executable,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder, python, {"LIGHTBUS__BUS__REDIS__URL": url, **(env or {})})
        self.port = free_port()
        found = [step for step in steps(DOCS / page) if not step.command.startswith("pip ")]
        first = next(i for i, step in enumerate(found) if step.command == _HOST)
        #: The command that starts the page's web server.
        self.server = found[first + 1].command
        # What is done before there is anything to start; and files, whenever.
        self._making = [*found[:first], *(step for step in found[first + 2 :] if not step.command)]

    def make(self) -> None:
        """Write the files of the page and give the commands between them."""
        for step in self._making:
            if step.command:
                self.do(step.command)
            else:
                self.write(step)

    def serve(self, command: str) -> Process:
        """Start a web server, and wait until it answers; ``{port}`` in the command is where."""
        process = self.start(command.format(port=self.port))

        def answers() -> bool:
            if process.status is not None:
                raise RuntimeError(f"ended with status {process.status}: {process.output()}")
            return self.post("/nothing")[0] == 404

        eventually(answers, 100, f"an answer of {command}")
        return process

    def post(self, path: str, **body: Any) -> tuple[int, Any]:
        """POST JSON; returns status and answer, 0 and None where there is no server."""
        return self._ask("POST", path, json.dumps(body))

    def get(self, path: str) -> tuple[int, Any]:
        """GET; returns status and answer."""
        return self._ask("GET", path, None)

    def _ask(self, method: str, path: str, body: str | None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                return 0, None
        return answer.status, json.loads(text) if text.startswith(b"{") else text
