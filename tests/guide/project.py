"""A project as its developer has it: a folder with a bus module, in which `lightbus` and scripts are run."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from copy import copy
from pathlib import Path
from textwrap import dedent
from typing import Any

import lightbus
from lightbus.bus.parts import Parts
from lightbus.declared.registry import Registry
from tests.support.patient import patient
from tests.support.processes import Process, clean_environment, finished, lightbus_process

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
        self._client: lightbus.BusPath | None = None

    def write(self, name: str, text: str) -> Path:
        """Write a file; indentation that all lines share is removed."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # In one step: a process that looks at it just then must not find half of it, or nothing.
        written = path.with_name(f".{path.name}.new")
        written.write_text(dedent(text).lstrip("\n"))
        return written.replace(path)

    def within(self, name: str) -> Project:
        """The same project as seen from a folder in it, or from ``..``."""
        inner = copy(self)
        inner.folder = (self.folder / name).resolve()
        return inner

    def start(self, *args: str, **env: str) -> Process:
        """Start ``lightbus ARGS`` in the folder."""
        process = lightbus_process(*args, cwd=self.folder, env={**self.env, **env})
        return self._started.enter_context(process)

    def program(self, *args: str, **env: str) -> Process:
        """Start ``python ARGS`` in the folder."""
        process = Process([sys.executable, *args], cwd=self.folder, env={**self.env, **env})
        return self._started.enter_context(process)

    def start_shell(self, line: str) -> Process:
        """Start a line of the shell in the folder."""
        return self._started.enter_context(Process(["sh", "-c", line], cwd=self.folder, env=self.env))

    def host(self, *args: str, **env: str) -> Process:
        """Start ``lightbus run ARGS`` and wait until it is ready."""
        process = self.start("run", *args, **env)
        process.wait_for_line(READY)
        return process

    def refused(self, *args: str, **env: str) -> tuple[int, str]:
        """Run ``lightbus run ARGS``, which is to end by itself; returns its status and what it logged."""
        done = self.run("run", *args, **env)
        return done.returncode, done.stdout + done.stderr

    def run(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``lightbus ARGS`` to its end; warnings are errors."""
        return self.python("-m", "lightbus", *args, **env)

    def python(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``python ARGS`` to its end; warnings of ours are errors."""
        return finished(
            [sys.executable, "-W", "error", *args],
            cwd=self.folder,
            env=clean_environment({**self.env, **env}),
        )

    def script(self, text: str, **env: str) -> str:
        """Run a script, which must end well without a word on standard error; returns what it printed."""
        self.write("script.py", text)
        done = self.python("script.py", **env)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def call(self, procedure: str, **arguments: Any) -> Any:
        """Call a procedure from the process of the tests, which knows no API class."""
        return self._bus()[procedure](**arguments)

    def fire(self, event: str, **arguments: Any) -> str:
        """Fire an event with these parameters, as its owner would; returns its id."""
        api_name, _, name = event.rpartition(".")
        parameters = lightbus.Event(parameters=tuple(arguments))
        meta = type("Meta", (), {"name": api_name, "auto_register": False})
        bus = self._bus()
        bus.client.register_api(type("Fired", (lightbus.Api,), {"Meta": meta, name: parameters}))
        return bus[event].fire(**arguments).id

    def _bus(self) -> lightbus.BusPath:
        if self._client is not None:
            return self._client
        url = self.env.get("LIGHTBUS__BUS__REDIS__URL")
        config = patient(url) if url else self.folder / "lightbus.yaml"
        bus = lightbus.create(config, service_name="tests")
        # Not with the classes that other tests have imported.
        bus.client.parts = Parts(bus.client.parts.wiring, Registry(), bus.client)
        self._started.callback(bus.client.close)
        self._client = bus
        return bus

    def close(self) -> None:
        """End every process."""
        self._started.close()


def printed(process: Process) -> list[str]:
    """What a process has printed itself, without its log."""
    lines = process.output().splitlines()
    return [line for line in lines if not line[:2].isdigit()]
