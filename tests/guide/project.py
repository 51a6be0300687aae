"""A project as its developer has it: a folder with a bus module, in which `lightbus` and scripts are run."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from copy import copy
from pathlib import Path
from textwrap import dedent
from typing import Any

from tests.processes import Process, clean_environment, lightbus_process

READY = "ready: "


class Project:
    """A folder of its own, whose processes all use one Redis and log as text.

    Args:
        folder: The folder.
        url: The Redis; None where nothing is configured.
    """

    def __init__(self, folder: Path, url: str | None) -> None:
        self.folder = folder
        self.env = {"LIGHTBUS__BUS__LOG_FORMAT": "text"}
        if url is not None:
            self.env["LIGHTBUS__BUS__REDIS__URL"] = url
        self._started = contextlib.ExitStack()

    def write(self, name: str, text: str) -> Path:
        """Write a file; indentation that all lines share is removed."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"))
        return path

    def within(self, name: str) -> Project:
        """The same project as seen from a folder in it, or from ``..``."""
        inner = copy(self)
        inner.folder = (self.folder / name).resolve()
        return inner

    def start(self, *args: str, **env: str) -> Process:
        """Start ``lightbus ARGS`` in the folder."""
        process = lightbus_process(*args, cwd=self.folder, env={**self.env, **env})
        return self._started.enter_context(process)

    def host(self, *args: str, **env: str) -> Process:
        """Start ``lightbus run ARGS`` and wait until it is ready."""
        process = self.start("run", *args, **env)
        process.wait_for_line(READY)
        return process

    def refused(self, *args: str, **env: str) -> tuple[int, str]:
        """Run ``lightbus run ARGS``, which is to end by itself; returns its status and what it printed."""
        process = self.start("run", *args, **env)
        status = process.wait()
        return status, process.output()

    def run(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``lightbus ARGS`` to its end."""
        return self.python("-m", "lightbus", *args, **env)

    def python(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``python ARGS`` to its end; warnings of ours are errors."""
        return subprocess.run(
            [sys.executable, "-W", "error", *args],
            cwd=self.folder,
            env=clean_environment({**self.env, **env}),
            capture_output=True,
            text=True,
            timeout=30,
            stdin=subprocess.DEVNULL,
        )

    def script(self, text: str, **env: str) -> str:
        """Run a script, which must end well without a word on standard error; returns what it printed."""
        self.write("script.py", text)
        done = self.python("script.py", **env)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def call(self, procedure: str, **arguments: Any) -> Any:
        """``lightbus call``, which must succeed; returns the result."""
        done = self.run("call", procedure, "--json", json.dumps(arguments))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def fire(self, event: str, **arguments: Any) -> str:
        """``lightbus fire``, which must succeed; returns the event's id."""
        done = self.run("fire", event, "--json", json.dumps(arguments))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def close(self) -> None:
        """End every process."""
        self._started.close()


def printed(process: Process) -> list[str]:
    """What a process has printed itself, without its log."""
    lines = process.output().splitlines()
    return [line for line in lines if not line[:2].isdigit()]
