"""A real Lightbus 1.x in a venv of its own, as processes that tests can start, call and listen to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.processes import Process

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "peer"

READY = "Execution of before_worker_start & on_start hooks was successful"
#: Seconds that a 1.x waits for an answer, and to have fired. Its own 5 s a busy machine may take.
PATIENCE = 60


def find_peer() -> Path | None:
    """The Python of the venv that holds Lightbus 1.x, or None where it was not made."""
    python = ROOT / os.environ.get("LIGHTBUS_PEER_PYTHON", ".venv-1x/bin/python")
    return python if python.exists() else None


class PeerError(Exception):
    """The exception that a 1.x client raised; `type` is its name there."""

    def __init__(self, type: str, text: str) -> None:
        super().__init__(f"{type}: {text}")
        self.type = type
        self.text = text


def config(url: str, answers: str = "", **names: str) -> dict[str, Any]:
    """A 1.x configuration where everything goes over one Redis, or answers over another one."""
    transport = {"redis": {"url": url}}
    api: dict[str, Any] = {"event_transport": transport}
    # It has one and the same time in three places.
    api["rpc_transport"] = {"redis": {"url": url, "rpc_timeout": PATIENCE}}
    api["result_transport"] = {"redis": {"url": answers or url, "rpc_timeout": PATIENCE}}
    api |= {"rpc_timeout": PATIENCE, "event_fire_timeout": PATIENCE}
    return {**names, "bus": {"schema": {"transport": transport}}, "apis": {"default": api}}


class Peer:
    """Lightbus 1.x on one Redis, or with another one for answers."""

    def __init__(self, python: Path, url: str, answers: str = "") -> None:
        self._python = python
        self._urls = url, answers

    def worker(self, *roles: str, service_name: str = "old", process_name: str = "old1") -> Process:
        """Start `lightbus run` with the roles "owner" and/or "listener"; the caller closes it.

        It has started its hooks then; wait for what it does (an answer, a group) before relying on that.
        """
        program = str(self._python.parent / "lightbus")
        process = self._start(
            [program, "run", "--bus", "bus"],
            config(*self._urls, service_name=service_name, process_name=process_name),
            " ".join(roles),
        )
        try:
            process.wait_for_line(READY)
        except BaseException:
            process.close()
            raise
        return process

    def call(self, name: str, **kwargs: Any) -> Any:
        """What a 1.x client gets for a call of ``api.procedure``; PeerError for what it raises."""
        return self._ask("call.py", name, kwargs, "answer")

    def fire(self, event: str, **kwargs: Any) -> str:
        """Fire an event of the API `auth` as its owner; returns the message's id."""
        fired = self._ask("fire.py", event, kwargs, "fired")
        return str(fired["id"])

    def _ask(self, script: str, name: str, kwargs: Mapping[str, Any], expected: str) -> Any:
        with self._start(
            [str(self._python), script, name, json.dumps(kwargs)], config(*self._urls)
        ) as process:
            process.wait()
            for line in process.output().splitlines():
                word, _, rest = line.partition(" ")
                if word == expected:
                    return json.loads(rest)
                if word == "error":
                    raise PeerError(**json.loads(rest))
            raise RuntimeError(f"{script} said nothing of use:\n{process.output()}")

    def _start(self, command: list[str], config: Mapping[str, Any], roles: str = "") -> Process:
        environment = {"PEER_CONFIG": json.dumps(config), "PEER_ROLES": roles, "PYTHONPATH": str(SCRIPTS)}
        return Process(command, cwd=SCRIPTS, env=environment)


def heard(process: Process) -> list[dict[str, Any]]:
    """The events that a 1.x listener has handled so far."""
    lines = process.output().splitlines()
    return [json.loads(line.removeprefix("heard ")) for line in lines if line.startswith("heard ")]
