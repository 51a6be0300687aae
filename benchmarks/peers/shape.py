"""What all peers have in common: the measures, in the order and the numbers that Lightbus is measured in.

It needs nothing but Python, since every peer runs in a venv of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from benchmarks import measures, tally
from benchmarks.measures import Figures
from benchmarks.tally import Tally
from tests.support.eventually import eventually, eventually_async
from tests.support.processes import Process

T = TypeVar("T")

CREDENTIALS = {"username": measures.USERNAME, "password": measures.PASSWORD}
#: Of Redis: a client's from its command line, a worker's from its client.
URL = sys.argv[2] if sys.argv[1:2] == ["client"] else os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
#: A worker's; None in the client.
TALLY = Tally.of_environment() if "BENCH_FILE" in os.environ else None


def check(username: str, password: str) -> bool:
    """The procedure of all workers."""
    return username == measures.USERNAME and password == measures.PASSWORD


def note(username: str) -> None:
    """The listener of all workers."""
    assert TALLY is not None
    TALLY.add(username)


def is_batch() -> bool:
    """Whether this worker's listener is to take a hundred events at once."""
    return os.environ.get("BENCH_HANDLER") == "batch"


class Peer(ABC):
    """What a peer's client does, and how its worker is started.

    Args:
        folder: For what the worker writes down.
    """

    #: What follows the interpreter's name, to start a worker.
    worker: Sequence[str]
    has_batches = False

    def __init__(self, folder: Path) -> None:
        self._file = folder / "outcome"

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Make what must be there before an event is sent while no worker runs."""

    def start(self, events: int = 1, handler: str = "one") -> Process:
        """Start a worker, which the caller closes."""
        env = tally.environment(events, self._file) | {"BENCH_HANDLER": handler, "BENCH_URL": URL}
        return Process([sys.executable, *self.worker], env=env)

    def outcome(self, process: Process) -> Any:
        """What the worker wrote when it had handled all."""
        eventually(lambda: _alive(process) and self._file.exists(), timeout=120)
        return json.loads(self._file.read_text())

    def clear(self) -> None:
        """Empty Redis."""
        execute("FLUSHALL")
        self.prepare()

    @abstractmethod
    def run(self, parts: Sequence[str]) -> Figures:
        """Measure what is wanted."""


class AsyncPeer(Peer):
    """A peer with an asynchronous client."""

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Disconnect."""

    @abstractmethod
    async def call(self) -> object:
        """Call once; return whether that worked."""

    @abstractmethod
    async def fire(self, username: str = measures.USERNAME) -> object:
        """Send one event and wait until it is stored."""

    def run(self, parts: Sequence[str]) -> Figures:
        """Measure what is wanted."""
        return run(self._measure(parts))

    async def _measure(self, parts: Sequence[str]) -> Figures:
        self.clear()
        await self.open()
        steps = {"rpc": self._rpc, "fire": self._firing, "consume": self._consuming}
        steps["latency"] = self._latency
        figures: Figures = {}
        try:
            for part in parts:
                self.clear()
                figures |= await steps[part]()
        finally:
            await self.close()
        return figures

    async def _rpc(self) -> Figures:
        with self.start() as process:
            await self._answers(process)
            await measures.warm_up(self.call)
            latencies = await measures.one_by_one(self.call, measures.RPC_ONE_BY_ONE // 2)
            in_flight = await measures.in_flight(self.call, measures.RPC_IN_FLIGHT // 4)
        return latencies.figures("rpc") | {"rpc": latencies.rate, "rpc_50": in_flight}

    async def _firing(self) -> Figures:
        one_by_one = await measures.one_by_one(self.fire, measures.FIRE_ONE_BY_ONE)
        return {
            "fire": one_by_one.rate,
            "fire_50": await measures.in_flight(self.fire, measures.FIRE_IN_FLIGHT),
        }

    async def _consuming(self) -> Figures:
        figures = {}
        for name, handler in (("consume", "one"), ("consume_batch", "batch")):
            if handler == "one" or self.has_batches:
                self.clear()
                await measures.in_flight(self.fire, measures.BACKLOG)
                with self.start(measures.BACKLOG, handler) as process:
                    outcome = await asyncio.to_thread(self.outcome, process)
                figures[name] = tally.rate(outcome, measures.BACKLOG)
        return figures

    async def _latency(self) -> Figures:
        total = measures.timed(measures.PACE)
        with self.start(total) as process:
            await self._answers(process)
            await measures.paced(self.fire, total, measures.PACE)
            return tally.latencies(await asyncio.to_thread(self.outcome, process), "latency")

    async def _answers(self, process: Process) -> None:
        async def attempt() -> bool:
            _alive(process)
            try:
                async with asyncio.timeout(5):
                    return bool(await self.call())
            except Exception:  # whatever its client raises while nobody answers
                return False

        await eventually_async(attempt, timeout=30)


class SyncPeer(Peer):
    """A peer without an asynchronous client."""

    @abstractmethod
    def submit(self) -> Callable[[], object]:
        """Begin a call; what is returned waits for its result."""

    @abstractmethod
    def fire(self, username: str = measures.USERNAME) -> object:
        """Send one event and wait until it is stored."""

    def run(self, parts: Sequence[str]) -> Figures:
        """Measure what is wanted."""
        steps = {"rpc": self._rpc, "fire": self._firing, "consume": self._consuming}
        steps["latency"] = self._latency
        figures: Figures = {}
        for part in parts:
            self.clear()
            figures |= steps[part]()
        return figures

    def _rpc(self) -> Figures:
        with self.start() as process:
            self._answers(process)
            measures.in_window(self.submit, measures.WARM_UP, 10)
            latencies = measures.one_by_one_sync(lambda: self.submit()(), measures.RPC_ONE_BY_ONE // 2)
            in_flight = measures.in_window(self.submit, measures.RPC_IN_FLIGHT // 4)
        return latencies.figures("rpc") | {"rpc": latencies.rate, "rpc_50": in_flight}

    def _firing(self) -> Figures:
        one_by_one = measures.one_by_one_sync(self.fire, measures.FIRE_ONE_BY_ONE)
        in_flight = measures.in_threads(self.fire, measures.FIRE_ONE_BY_ONE)
        return {"fire": one_by_one.rate, "fire_50": in_flight}

    def _consuming(self) -> Figures:
        total = measures.BACKLOG // 2
        for _ in range(total):
            self.fire()
        with self.start(total) as process:
            return {"consume": tally.rate(self.outcome(process), total)}

    def _latency(self) -> Figures:
        total = measures.timed(measures.PACE)
        with self.start(total) as process:
            self._answers(process)
            measures.paced_sync(self.fire, total, measures.PACE)
            return tally.latencies(self.outcome(process), "latency")

    def _answers(self, process: Process) -> None:
        def attempt() -> bool:
            _alive(process)
            try:
                return bool(self.submit()())
            except Exception:  # whatever its client raises while nobody answers
                return False

        eventually(attempt, timeout=30)


def _alive(process: Process) -> bool:
    if process.status is not None:
        raise RuntimeError(f"the worker ended with status {process.status}:\n{process.output()}")
    return True


def run(program: Coroutine[Any, Any, T]) -> T:
    """Run a program on uvloop, if that is in the peer's venv."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(program)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(program)


def execute(command: str) -> None:
    """Send Redis one command on a connection of its own."""
    where = urlsplit(URL)
    with socket.create_connection((where.hostname, where.port), timeout=5) as link:
        link.sendall(command.encode() + b"\r\n")
        reply = link.recv(1000)
    if not reply.startswith((b"+", b":")):
        raise RuntimeError(f"{command}: {reply!r}")


def main(peer: type[Peer]) -> None:
    """Be the client: ``python -m benchmarks.peers.NAME client URL PARTS...``."""
    with tempfile.TemporaryDirectory() as folder:
        measures.report(peer(Path(folder)).run(sys.argv[3:]))
