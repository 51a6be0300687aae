"""Our hosts and a real Lightbus 1.x on one Redis, while ours are killed and restarted."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hiredis

from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.servers import Server
from tests.wire.peer_1x import READY, config, find_peer

from . import ledger, settings
from .backing import Alone
from .bound import bound_of
from .campaign import finish
from .cluster import Cluster, Host, pause
from .driver import Driver
from .ledger import Line
from .oracle import Verdict
from .report import Result
from .watcher import Group, Watcher

_FOLDER = Path(__file__).parent
#: Seconds for which a call waits, on either side: longer than no host of ours is there.
_PATIENCE = 12
#: Seconds for which a 1.x worker may hold an event; longer than any handler takes.
_LEASE_1X = 10
#: How many calls one of our hosts runs at a time: so many may fail when it is killed.
_CALLS = 8
_CLIENTS = 2
GROUPS = [
    Group(listener, f"{api}.*:stream", f"{service}-{listener}")
    for service, listener in (("new", "ours"), ("old", "theirs"))
    for api in ("new", "old")
]
FAULTS = ("kill", "kill_all", "roll", "roll", "peer_restarts")


def _manifest(redis: Mapping[str, Any]) -> dict[str, Any]:
    events = {"acknowledgement_timeout": settings.LEASE}
    api = {"rpc_timeout": _PATIENCE, "rpc_concurrency": _CALLS, "event_transport": {"redis": events}}
    return {
        "service_name": "new",
        "modules": ["tests.faults.mixed_bus"],
        "bus": {"drain_timeout": "8s", "redis": redis},
        "apis": {"default": api, "old": {"owner": "old"}, "new": {"owner": "new"}},
    }


class Mixed(Cluster):
    """Our hosts, a 1.x worker and 1.x clients.

    Args:
        backing: Its Redis.
        python: Of the venv with Lightbus 1.x.
    """

    worker: Process

    def __init__(self, backing: Alone, python: Path) -> None:
        self._python = python
        self._server = backing.server
        super().__init__(backing, {}, _manifest)

    def start_clients(self, seed: int, rates: Mapping[str, float] | None = None) -> None:
        """Begin to fire and to call from 1.x; our hosts do so anyway."""
        for number in range(_CLIENTS):
            command = [str(self._python), str(_FOLDER / "peer" / "client.py"), "0.02"]
            self.start_client(command, self._peer_env(f"client-{number}"))

    def stop_clients(self) -> None:
        """Let them finish, and the hosts fire and call no more: else something is on its way at any time."""
        super().stop_clients()
        (self.folder / settings.ENOUGH).touch()
        eventually(self._are_silent, 2 * _PATIENCE + 60, "hosts that fire and call no more")

    def _are_silent(self) -> bool:
        silent = {line.pid for line in ledger.read(self.folder) if line.verb == "silent"}
        return all(host.process.pid in silent for host in self.hosts)

    def restart_worker(self) -> None:
        """SIGTERM to the 1.x worker, and start it again."""
        self.worker.terminate()
        self.worker = self._start_worker()

    def _start_first(self) -> None:
        self.worker = self._start_worker()

    def _start_worker(self) -> Process:
        command = [str(self._python.parent / "lightbus"), "run", "--bus", "worker"]
        process = Process(command, cwd=self.folder, env={**self._peer_env("worker"), "PEER_LISTENS": "1"})
        self.closing.callback(process.close)
        self.ledger.write("host", "peer", process.pid)
        process.wait_for_line(READY)
        eventually(self._peer_is_ready, 60, "a 1.x worker that serves and listens")
        return process

    def _peer_is_ready(self) -> bool:
        server = self._server
        return server.execute("EXISTS", "schema:old") == 1 and all(
            b"old-theirs" in [row[1] for row in _groups(server, group.stream)] for group in GROUPS
        )

    def _peer_env(self, name: str) -> dict[str, str]:
        settings = config(self._server.url, service_name="old", process_name=name)
        api = settings["apis"]["default"]
        api["rpc_timeout"] = _PATIENCE
        # What a worker that was restarted held comes again within the drain; by default, that takes a minute.
        leases = {"acknowledgement_timeout": _LEASE_1X, "reclaim_interval": _LEASE_1X / 2}
        api["event_transport"] = {"redis": {"url": self._server.url, **leases}}
        url = self._server.url
        for kind in ("rpc_transport", "result_transport"):
            api[kind] = {"redis": {"url": url, "rpc_timeout": _PATIENCE}}
        paths = f"{_FOLDER / 'peer'}:{_FOLDER}"
        return {**self.env, "PEER_CONFIG": json.dumps(settings), "PYTHONPATH": paths}


def mix(seed: int = 1, seconds: float = 60, faults: tuple[str, ...] = FAULTS) -> Result:
    """Run both on the Redis that 1.x knows.

    Args:
        seed: Of the faults.
        seconds: How long things go wrong.
        faults: Which; no fault of Redis, since 1.x loses events by itself then.
    """
    python = find_peer()
    assert python is not None, "no Lightbus 1.x: `make pytest` makes its venv"
    backing = Alone("redis7")
    cluster = Mixed(backing, python)
    with cluster, Watcher(backing, GROUPS) as watcher:

        def peer_restarts(driver: Driver, _: Host) -> None:
            """A 1.x worker that starts destroys every group that has no consumers just then."""
            with cluster.without_hosts(Host.stop):
                cluster.restart_worker()
            eventually(cluster.hosts[0].is_ready, 60)

        cluster.start_clients(seed)
        driver = Driver(cluster, watcher, random.Random(seed), {"peer_restarts": peer_restarts})
        pause(1)
        driver.run(seconds, faults)
        end = finish(cluster, watcher, lambda lines: bound_of(lines, driver.struck))
        output = cluster.worker.output()
    judge_failures(end.verdict, end.lines)
    outputs = [] if end.verdict.is_good else [*end.outputs, output[-3000:]]
    return Result("mixed", "redis7", seed, seconds, end.verdict, end.drained_in, driver.done, outputs)


def judge_failures(verdict: Verdict, lines: Sequence[Line]) -> None:
    """A call may fail only where the process that ran it, or its own, was killed or restarted meanwhile."""
    killed = [line for line in lines if line.verb == "ended" and line.words[2] == "-9"]
    restarts = [
        (float(line.words[1]), float(line.words[2]))
        for line in lines
        if line.verb == "fault" and line.words[3] == "peer_restarts"
    ]
    peers = {line.pid for line in lines if line.verb == "confirmed"} - _pids(lines, "host")
    gone = {int(line.words[1]) for line in killed}
    called = {line.words[0]: line for line in lines if line.verb == "called"}
    lost = 0
    verdict.wrong["failed"] = []
    verdict.wrong["no outcome"] = [n for n in verdict.wrong["no outcome"] if called[n].pid not in gone]
    for line in lines:
        if line.verb != "outcome" or line.words[1] in ("result", "cancelled"):
            continue
        began = called[line.words[0]].time
        if line.pid in peers and any(began < death.time < line.time for death in killed):
            lost += 1
        elif not any(began < end and begin < line.time for begin, end in restarts):
            verdict.wrong["failed"].append(" ".join(line.words))
    if lost > len(killed) * _CALLS:
        verdict.wrong["failed"].append(f"{lost} calls for {len(killed)} hosts that were killed")


def _groups(server: Server, stream: str) -> list[list[bytes]]:
    try:
        return list(server.execute("XINFO", "GROUPS", stream))
    except hiredis.ReplyError:  # no stream yet
        return []


def _pids(lines: Sequence[Line], verb: str) -> set[int]:
    return {int(line.words[1]) for line in lines if line.verb == verb}
