"""The processes of a campaign: a server, hosts that are started again, publishers and callers."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import tests
from tests.processes import Process, lightbus_process
from tests.proxy import Proxy
from tests.servers import Kind, Server

from . import ledger
from .settings import KINDS, write_manifest

HOSTS = 2


class Host:
    """One ``lightbus run`` with a link of its own, started again whenever it ends.

    Args:
        cluster: Where it belongs.
        name: Its process name, which it keeps.
    """

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.name = name
        self.cluster = cluster
        self.proxy = cluster.closing.enter_context(Proxy(cluster.server.port))
        self.config = write_manifest(cluster.folder, name, self.proxy.url)
        self.process = self._start()
        #: While held, it is not started again.
        self.ended = threading.Lock()

    def _start(self) -> Process:
        process = lightbus_process(
            "run", "-c", str(self.config), "-p", self.name, cwd=self.cluster.folder, env=self.cluster.env
        )
        self.cluster.closing.callback(process.close)
        self.cluster.ledger.write("host", self.name, process.pid)
        return process

    def restart(self) -> None:
        """Start it again where it has ended."""
        status = self.process.status
        if status is not None:
            self.cluster.ledger.write("ended", self.name, self.process.pid, status)
            self.process = self._start()


class Cluster:
    """Everything that runs; use it as a context.

    Args:
        kind: Which server.
        seed: Of what the publisher and the caller do.
        plant: The name of a bug that every process is to have.
        kinds: Of a hundred events, how many are of which kind.
    """

    def __init__(self, kind: Kind, seed: int, plant: str = "", kinds: str = KINDS) -> None:
        self.closing = contextlib.ExitStack()
        try:
            self._make(kind, seed, plant, kinds)
        except BaseException:
            self.closing.close()
            raise

    def _make(self, kind: Kind, seed: int, plant: str, kinds: str) -> None:
        self.folder = Path(self.closing.enter_context(tempfile.TemporaryDirectory(prefix="campaign-")))
        root = Path(tests.__file__).parent.parent
        self.env = {"PYTHONPATH": str(root), ledger.FOLDER: str(self.folder), "CAMPAIGN_PLANT": plant}
        self.env["CAMPAIGN_KINDS"] = kinds
        self.ledger = ledger.Ledger(self.folder, "driver")
        self.server = self.closing.enter_context(Server(kind, aof=True))
        self.seed = seed
        self.hosts = [Host(self, f"host-{i}") for i in range(HOSTS)]
        self.client_proxy = self.closing.enter_context(Proxy(self.server.port))
        self.clients: list[Process] = []
        self._keeping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._keeper.start()
        self.closing.callback(self.stop_keeping)
        for host in self.hosts:
            host.process.wait_for_line("ready", 30)

    def start_clients(self) -> None:
        """Begin to fire and to call."""
        config = write_manifest(self.folder, "clients", self.client_proxy.url)
        for role in ("publisher", "caller"):
            command = [sys.executable, "-m", "tests.faults.clients", role, str(config), str(self.seed)]
            process = Process(command, cwd=self.folder, env=self.env)
            self.closing.callback(process.close)
            self.clients.append(process)

    def stop_clients(self) -> None:
        """Let them finish what is under way."""
        for process in self.clients:
            status = process.terminate(timeout=60)
            assert status == 0, process.output()

    def stop_keeping(self) -> None:
        """Start hosts again no more."""
        self._keeping.set()
        self._keeper.join()

    def stop_hosts(self) -> dict[str, int]:
        """End the hosts as an administrator would; returns their exit statuses."""
        self.stop_keeping()
        return {host.name: host.process.terminate() for host in self.hosts}

    def outputs(self) -> Iterator[str]:
        """What the processes that still run have printed."""
        for process in [*self.clients, *(host.process for host in self.hosts)]:
            yield process.output()

    def _keep(self) -> None:
        while not self._keeping.wait(0.05):
            for host in self.hosts:
                with host.ended:
                    host.restart()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.close()


def pause(seconds: float) -> None:
    """Let the campaign go on for a while."""
    time.sleep(seconds)
