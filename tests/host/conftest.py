"""What the tests of hosting share: projects with real processes, and hosts in the test's own process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from lightbus import BusClient
from lightbus.bus.modules import hosted
from lightbus.bus.path import BusPath
from lightbus.declared.registry import Registry
from lightbus.host.checks import client_for
from lightbus.host.life import Life
from lightbus.host.reload import Reloader
from lightbus.manifest.load import load
from lightbus.manifest.model import Manifest
from lightbus.worker import Worker
from tests.conftest import missing
from tests.guide.project import Project
from tests.support.eventually import eventually_async
from tests.support.servers import Server

from .shop import ShopApi, ledger


class ManifestProject(Project):
    """A project whose manifest alone says where Redis is."""

    def call(self, procedure: str, **arguments: Any) -> Any:
        """``lightbus call``, which must succeed; returns the result."""
        done = self.run("call", procedure, "--json", json.dumps(arguments))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """An empty folder; its manifests say where Redis is."""
    folder = tmp_path / "project"
    folder.mkdir()
    it = ManifestProject(folder, None)
    yield it
    it.close()


class Hosted:
    """A host of the shop in this process.

    Args:
        manifest: What it hosts.
        read: Reads the manifest again.
        folder: Where its manifest lies.
        server: The Redis.
    """

    def __init__(
        self, manifest: Manifest, read: Callable[[], Manifest], folder: Path, server: Server
    ) -> None:
        self.server = server
        self.manifest = manifest
        self.client: BusClient = client_for(manifest)
        self.client.register_api(ShopApi)
        self.bus = BusPath(self.client)
        self._read, self._folder = read, folder
        self._life = Life(manifest, self.bus, folder)
        self._life.load()
        self._stop = asyncio.Event()

    @property
    def worker(self) -> Worker:
        """Its consumers, once it was entered."""
        assert self._life.worker is not None
        return self._life.worker

    @cached_property
    def reloader(self) -> Reloader:
        """Applies its manifest again, once it was entered."""
        return Reloader(self.manifest, self._read, self.client, self.worker, self._folder)

    async def __aenter__(self) -> Hosted:
        loop, before = asyncio.get_running_loop(), self._waiting()
        ready = loop.create_future()
        patience = self.manifest.bus.drain_timeout
        life = self._life.live(self._stop.wait, patience, lambda: ready.set_result(None))
        self._task = loop.create_task(life, name="hosted shop")
        await asyncio.wait([ready, self._task], return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await self._task
        readers = len(self.worker.rpcs) + sum(not each.waits_for for each in self.worker.events)
        await eventually_async(lambda: self._waiting() >= before + readers)
        return self

    def _waiting(self) -> int:
        """How many connections wait for something to read."""
        clients = self.server.execute("INFO", "clients").decode()
        return int(clients.partition("blocked_clients:")[2].split()[0])

    async def __aexit__(self, *error: object) -> None:
        ledger.gate.set()
        self._stop.set()
        await self._task

    async def fire(self, sku: str) -> None:
        """Fire ``shop.sold``."""
        await self.bus.shop.sold.fire_async(sku=sku)


class Bench:
    """Hosts manifests of a folder in this process.

    Args:
        folder: The folder.
        server: The Redis that they use unless they say otherwise.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        self.url = server.url

    def read(self, text: str) -> Manifest:
        """Write a manifest and read it."""
        self.write(text)
        return self.read_again()

    def write(self, text: str) -> None:
        """Write a manifest."""
        (self.folder / "lightbus.yaml").write_text(text)

    def read_again(self) -> Manifest:
        arguments = {
            "service_name": "shop",
            "modules": [],
            "bus": {"redis": {"url": self.url}, "schema": {"ttl": 60}},
        }
        return load(["lightbus.yaml"], cwd=self.folder, environ={}, create_arguments=arguments)

    def host(self, text: str = "") -> Hosted:
        """A host of this manifest, to be entered."""
        return Hosted(self.read(text or "{}"), self.read_again, self.folder, self.server)

    def groups(self) -> list[str]:
        """The groups of the stream of the shop."""
        return sorted(facts[1].decode() for facts in self.server.execute("XINFO", "GROUPS", "shop.*:stream"))

    @contextlib.asynccontextmanager
    async def client(self, text: str = "") -> AsyncIterator[BusPath]:
        """A bus of another service, which serves nothing."""
        client = client_for(self.read(f"{text}\nservice_name: other"))
        try:
            yield BusPath(client)
        finally:
            await client.close_async()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts may be in this process: what they register, and which bus they hand out, is forgotten."""
    empty = Registry()
    for module in ("lightbus.host.checks", "lightbus.bus.creation"):
        monkeypatch.setattr(f"{module}.auto_registered", empty)
    monkeypatch.setattr(hosted, "_hosted", [])


@pytest.fixture
def bench(tmp_path: Path, redis_server: Server, in_process: None) -> Iterator[Bench]:
    """Hosts in this process, over an empty Redis."""
    ledger.reset()
    levels = {name: logging.getLogger(name).level for name in (None, "lightbus")}
    yield Bench(tmp_path, redis_server)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """An authority, a server's certificate for localhost and a client's, made for this test."""
    program = shutil.which("openssl")
    if program is None:
        missing("no openssl to make certificates")

    def make(name: str, subject: str, *more: str) -> None:
        kind = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject, *more]
        files = ["-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.pem")]
        subprocess.run([program, "req", *kind, *files], check=True, capture_output=True)

    make("server", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    make("client", "/CN=shop")
    return tmp_path
