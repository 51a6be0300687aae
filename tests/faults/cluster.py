"""The processes of a campaign: a server, hosts that are started again, publishers and callers."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tests
from tests.support.eventually import eventually
from tests.support.processes import Process, lightbus_process
from tests.support.proxy import Proxy

from . import ledger
from .backing import Backing
from .settings import manifest, write
from .users import Role, Users

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
        self.config, self.proxy = cluster.configure(name)
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

    def stop(self) -> None:
        """SIGTERM, unless it has ended by itself."""
        if self.process.status is None:
            self.end()

    def end(self) -> int:
        """SIGTERM; returns the exit status."""
        began = time.monotonic()
        try:
            return self.process.terminate()
        finally:
            self.cluster.ledger.write("leaving", self.name, f"{began:.6f}", f"{time.monotonic():.6f}")

    def is_ready(self) -> bool:
        """Whether it runs and takes messages."""
        return self.process.status is None and "ready" in self.process.output()

    def restart(self) -> None:
        """Start it again where it has ended."""
        status = self.process.status
        if status is not None:
            self.cluster.ledger.write("ended", self.name, self.process.pid, status)
            self.process = self._start()


class Cluster:
    """Everything that runs; use it as a context.

    Args:
        backing: Its Redis, which is closed with it.
        env: What every process finds in its environment.
        configured: Makes the manifest of a process of its options of Redis.
        hosts: How many.
        users: The user of each process; None if all may do everything.
    """

    def __init__(
        self,
        backing: Backing,
        env: Mapping[str, str],
        configured: Callable[[Mapping[str, Any]], dict[str, Any]] = manifest,
        hosts: int = HOSTS,
        users: Users | None = None,
    ) -> None:
        self.closing = contextlib.ExitStack()
        self.closing.push(backing.closing)
        self.backing = backing
        self._configured = configured
        self.users = users
        try:
            if users is not None:
                self.closing.callback(users.close)
            self._make(env, hosts)
        except BaseException:
            self.closing.close()
            raise

    def _make(self, env: Mapping[str, str], hosts: int) -> None:
        self.folder = Path(self.closing.enter_context(tempfile.TemporaryDirectory(prefix="campaign-")))
        root = Path(tests.__file__).parent.parent
        self.env = {"PYTHONPATH": str(root), ledger.FOLDER: str(self.folder), **env}
        self.ledger = ledger.Ledger(self.folder, "driver")
        self._start_first()
        self.hosts = [Host(self, f"host-{i}") for i in range(hosts)]
        self.clients: list[Process] = []
        self._keeping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._keeper.start()
        self.closing.callback(self.stop_keeping)
        for host in self.hosts:
            host.process.wait_for_line("ready")

    def _start_first(self) -> None:
        """Start what must be there before the hosts."""

    def configure(self, name: str) -> tuple[Path, Proxy | None]:
        """Write a host's manifest, with a link of its own; returns its path and the link's proxy."""
        options, proxy = self.backing.link()
        return self._write(name, "host", options), proxy

    def _write(self, name: str, role: Role, options: Mapping[str, Any]) -> Path:
        manifest = self._configured(options)
        return write(self.folder, name, self.users.manifest(role, manifest) if self.users else manifest)

    def start_clients(self, seed: int, rates: Mapping[str, float] | None = None) -> None:
        """Begin to fire and to call.

        Args:
            seed: Of what they do.
            rates: How many a second for the publisher and the caller; left out, the next after the last.
        """
        options, self.client_proxy = self.backing.link()
        roles: list[Role] = ["publisher", "caller"]
        for role in roles:
            config = self._write(role, role, options)
            command = [sys.executable, "-m", "tests.faults.clients", role, str(config), str(seed)]
            self.start_client(command, {"CAMPAIGN_RATE": str(rates[role])} if rates else {})
        if self.users is not None:
            config = self._write("operator", "operator", options)
            self.start_client([sys.executable, "-m", "tests.faults.caretaker", str(config), str(seed)], {})
        for process in self.clients:
            process.wait_for_line("begins")

    def start_client(self, command: Sequence[str], env: Mapping[str, str]) -> Process:
        """Start something that fires or calls until SIGTERM."""
        process = Process(command, cwd=self.folder, env={**self.env, **env})
        self.closing.callback(process.close)
        self.clients.append(process)
        return process

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
        # One that has only just been started again does not know the signal yet.
        eventually(lambda: all(host.is_ready() or host.process.status is not None for host in self.hosts), 60)
        return {host.name: host.end() for host in self.hosts}

    @contextlib.contextmanager
    def without_hosts(self, end: Callable[[Host], None]) -> Iterator[None]:
        """End all hosts, and start none again before this is over."""
        with contextlib.ExitStack() as held:
            for host in self.hosts:
                held.enter_context(host.ended)
            for host in self.hosts:
                end(host)
            yield

    def note_refused(self) -> None:
        """Note what servers have refused to these users: one that is killed forgets it."""
        if self.users is not None:
            self.users.look(self.backing.alive())

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
