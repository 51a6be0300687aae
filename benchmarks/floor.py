"""The floor: the same messages over the same keys with nothing in between.

Bare asyncio (uvloop) and hiredis; each message reaches a coroutine function, and that is all: no JSON, no
checks, no errors, no framework. A program that does more for its messages can only be slower; how much
slower is what the benchmark tells.

``python -m benchmarks.floor client PORT PARTS...`` measures and starts the other roles itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections import deque
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, cast

import hiredis
import uvloop

from benchmarks import measures, tally
from benchmarks.measures import Figures
from benchmarks.process import Stopwatch, import_seconds, resident_mb
from benchmarks.tally import Tally
from tests.support.eventually import eventually_async
from tests.support.processes import Process

QUEUE = b"auth:rpc_queue"
STREAM = b"auth.*:stream"
GROUP = b"bench-count"
REPLIES = b"lightbus:reply:" + b"r" * 43
EXPIRY = b"rpc_expiry_key:"
ID_LENGTH = 36

CALL_HEAD = b'{"metadata": {"id": "'
CALL_TAIL = (
    b'", "api_name": "auth", "procedure_name": "check_password", "return_path": "redis+key://'
    + REPLIES
    + b'"}, '
    b'"kwargs": {"username": "admin", "password": "secret"}}'
)
ANSWER_HEAD = b'{"metadata": {"rpc_message_id": "'
ANSWER_TAIL = b'", "id": "' + b"0" * ID_LENGTH + b'", "error": false}, "kwargs": {"result": true}}'

CALL_ID = slice(len(CALL_HEAD), len(CALL_HEAD) + ID_LENGTH)
ANSWER_ID = slice(len(ANSWER_HEAD), len(ANSWER_HEAD) + ID_LENGTH)

MANY = 100

Command = tuple[bytes | int, ...]


class Link(asyncio.Protocol):
    """One connection: what is sent within one tick of the loop goes out as one write."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any] | None] = deque()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int) -> Link:
        """Connect to a server on this machine."""
        _, link = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its base class

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            future = waiting.popleft()
            if isinstance(reply, hiredis.ReplyError):
                raise reply
            if future is not None and not future.done():
                future.set_result(reply)

    def post(self, *command: bytes | int) -> None:
        """Send a command whose reply nobody looks at."""
        self._send(command, None)

    def ask(self, *command: bytes | int) -> asyncio.Future[Any]:
        """Send a command; the future is its reply."""
        future = self._loop.create_future()
        self._send(command, future)
        return future

    def _send(self, command: Command, future: asyncio.Future[Any] | None) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(hiredis.pack_command(command))  # type: ignore[arg-type]
        self._waiting.append(future)

    def _flush(self) -> None:
        assert self._transport is not None
        self._transport.write(b"".join(self._out))
        self._out.clear()

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()


class Caller:
    """Calls over one link, and takes the answers from its one reply list over another."""

    def __init__(self, commands: Link, answers: Link) -> None:
        self._commands = commands
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._calls: dict[bytes, asyncio.Future[bytes]] = {}
        self._ids = count()

    def call(self) -> asyncio.Future[bytes]:
        """One call of auth.check_password."""
        identifier = b"%036d" % next(self._ids)
        future = self._calls[identifier] = self._loop.create_future()
        self._commands.post(b"SET", EXPIRY + identifier, b"1", b"EX", 5)
        self._commands.post(b"RPUSH", QUEUE, CALL_HEAD + identifier + CALL_TAIL)
        return future

    async def listen(self) -> None:
        """Match answers to calls for ever."""
        while True:
            first = self._answers.ask(b"BRPOP", REPLIES, 0)
            more = self._answers.ask(b"RPOP", REPLIES, MANY)
            _, answer = await first
            self._resolve(answer)
            for answer in await more or ():
                self._resolve(answer)

    def _resolve(self, answer: bytes) -> None:
        self._calls.pop(answer[ANSWER_ID]).set_result(answer)


async def check_password(_call: bytes) -> bytes:
    """The procedure."""
    return ANSWER_TAIL


async def handle(handled: Tally, event: dict[bytes, bytes]) -> None:
    """The listener."""
    username = event[b":username"]
    handled.add(measures.USERNAME if username == b'"admin"' else username.decode().strip('"'))


async def work(port: int) -> None:
    """The worker's side of calls: take many, claim each, answer each."""
    link = await Link.open(port)
    print("ready", flush=True)
    while True:
        first = link.ask(b"BLPOP", QUEUE, 0)
        more = link.ask(b"LPOP", QUEUE, MANY)
        calls = [(await first)[1], *(await more or ())]
        claims = [link.ask(b"DEL", EXPIRY + call[CALL_ID]) for call in calls]
        for call, claim in zip(calls, claims, strict=True):
            if await claim:
                link.post(b"LPUSH", REPLIES, ANSWER_HEAD + call[CALL_ID] + await check_password(call))
                link.post(b"EXPIRE", REPLIES, 60)


async def consume(port: int) -> None:
    """The listener's side of events."""
    handled = Tally.of_environment()
    link = await Link.open(port)
    print("ready", flush=True)
    read = (b"XREADGROUP", b"GROUP", GROUP, b"p1", b"COUNT", MANY, b"BLOCK", 2000, b"STREAMS", STREAM, b">")
    done: list[bytes] = []
    while True:
        if done:
            link.post(b"XACK", STREAM, GROUP, *done)
        reply = await link.ask(*read)
        done = []
        for identifier, fields in reply[0][1] if reply else ():
            await handle(handled, dict(zip(fields[::2], fields[1::2], strict=True)))
            done.append(identifier)


class Client:
    """The client's side of everything, over one link, with a second one for answers."""

    def __init__(self, port: int, commands: Link, answers: Link, folder: Path) -> None:
        self.port = port
        self.commands = commands
        self.caller = Caller(commands, answers)
        self.outcome = folder / "outcome"
        self._ids = count()

    def fire(self, username: str = measures.USERNAME) -> asyncio.Future[Any]:
        """One event."""
        event = (b"id", b"%036d" % next(self._ids), b"api_name", b"auth", b"event_name", b"user_registered")
        kwargs = (b"version", b"1", b":username", b'"%b"' % username.encode(), b":password", b'"secret"')
        return self.commands.ask(b"XADD", STREAM, b"*", *event, *kwargs)

    async def fire_batch(self) -> None:
        """A hundred events."""
        for future in [self.fire() for _ in range(measures.BATCH)]:
            await future

    async def rpc(self) -> Figures:
        """Calls, one by one and many at a time."""
        call = self.caller.call
        with role("work", self.port):
            await measures.warm_up(call)
            latencies = await measures.one_by_one(call, measures.RPC_ONE_BY_ONE)
            figures = latencies.figures("rpc") | {"rpc": latencies.rate}
            figures["rpc_8"] = await measures.in_flight(call, measures.RPC_IN_FLIGHT, measures.THREADS)
            figures["rpc_50"] = await measures.in_flight(call, measures.RPC_IN_FLIGHT)
        return figures

    async def firing(self) -> Figures:
        """Events, one by one, many at a time and in batches."""
        await self._empty_stream()
        fire, many = self.fire, measures.FIRE_IN_FLIGHT
        return {
            "fire": (await measures.one_by_one(fire, measures.FIRE_ONE_BY_ONE)).rate,
            "fire_50": await measures.in_flight(fire, many),
            "fire_batch": (await measures.one_by_one(self.fire_batch, many // measures.BATCH)).rate
            * measures.BATCH,
        }

    async def consuming(self) -> Figures:
        """A backlog."""
        await self._empty_stream()
        await measures.in_flight(self.fire, measures.BACKLOG)
        with self._consumer(measures.BACKLOG):
            return {"consume": tally.rate(await self._outcome(), measures.BACKLOG)}

    async def latency(self) -> Figures:
        """Events end to end: what goes through at most, then at rest and at half of that."""
        await self._empty_stream()
        with self._consumer(measures.BACKLOG):
            started = time.monotonic()
            await measures.in_flight(self.fire, measures.BACKLOG)
            capacity = measures.BACKLOG / ((await self._outcome())["ended"] - started)
        figures = {"capacity": capacity}
        for name, pace in (("latency", measures.PACE), ("half", capacity / 2)):
            total = measures.timed(pace)
            with self._consumer(total):
                await measures.paced(self.fire, total, pace)
                figures |= tally.latencies(await self._outcome(), name)
        return figures

    async def flight(self) -> Figures:
        """The memory of a worker at rest, and of many calls that wait for their answers."""
        with role("work", self.port) as worker:
            await self.caller.call()
            figures = {"rest_mb": resident_mb(worker.pid)}
            worker.pause()
            before = resident_mb()
            calls = [self.caller.call() for _ in range(measures.WAITING)]
            await asyncio.sleep(0.5)
            figures["flight_mb"] = resident_mb() - before
            worker.resume()
            await asyncio.gather(*calls)
        return figures

    async def _empty_stream(self) -> None:
        await self.commands.ask(b"DEL", STREAM)
        await self.commands.ask(b"XGROUP", b"CREATE", STREAM, GROUP, b"0", b"MKSTREAM")

    def _consumer(self, total: int) -> Process:
        process = role("consume", self.port, env=tally.environment(total, self.outcome))
        process.wait_for_line("ready")
        return process

    async def _outcome(self) -> Any:
        await eventually_async(self.outcome.exists, timeout=60)
        return json.loads(self.outcome.read_text())


async def measure(port: int, parts: list[str]) -> Figures:
    """All parts that are wanted, as the client."""
    commands, answers = await Link.open(port), await Link.open(port)
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        client = Client(port, commands, answers, Path(folder))
        listening = asyncio.ensure_future(client.caller.listen())
        programs = {"rpc": client.rpc, "fire": client.firing, "consume": client.consuming}
        programs |= {"latency": client.latency, "memory": client.flight}
        for part in parts:
            if part in programs:
                figures |= await programs[part]()
        listening.cancel()
    if "start" in parts:
        figures |= start(port)
    for link in (commands, answers):
        link.close()
    return figures


def start(port: int) -> Figures:
    """Seconds until a worker has connected, and until what it imports is imported."""
    seconds = []
    for _ in range(measures.STARTS):
        with Stopwatch([sys.executable, "-m", "benchmarks.floor", "work", str(port)]) as stopwatch:
            seconds.append(stopwatch.until("ready"))
    return {"ready_s": median(seconds), "import_s": import_seconds("asyncio, hiredis, uvloop")}


def role(name: str, port: int, env: dict[str, str] | None = None) -> Process:
    """Start the other side."""
    return Process([sys.executable, "-m", "benchmarks.floor", name, str(port)], env=env)


def main(name: str, port: str, *parts: str) -> None:
    """Play one role."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if name == "work":
            runner.run(work(int(port)))
        elif name == "consume":
            runner.run(consume(int(port)))
        else:
            measures.report(runner.run(measure(int(port), list(parts))))


if __name__ == "__main__":
    main(*sys.argv[1:])
