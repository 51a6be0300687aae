"""The floor: the same messages over the same keys with nothing in between.

Bare asyncio (uvloop) and hiredis; each message reaches a coroutine function, and that is all: no JSON, no
checks, no errors, no framework. A program that does more for its messages can only be slower; how much
slower is what the benchmark tells.

``python -m benchmarks.floor client PORT`` measures and starts the other roles itself.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from itertools import count
from typing import Any, cast

import hiredis
import uvloop

from benchmarks import measures
from benchmarks.measures import Measures
from tests.processes import Process

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


async def handle(_event: dict[bytes, bytes]) -> None:
    """The listener."""


async def work(port: int) -> None:
    """The worker's side of calls: take many, claim each, answer each."""
    link = await Link.open(port)
    while True:
        first = link.ask(b"BLPOP", QUEUE, 0)
        more = link.ask(b"LPOP", QUEUE, MANY)
        calls = [(await first)[1], *(await more or ())]
        claims = [link.ask(b"DEL", EXPIRY + call[CALL_ID]) for call in calls]
        for call, claim in zip(calls, claims, strict=True):
            if await claim:
                link.post(b"LPUSH", REPLIES, ANSWER_HEAD + call[CALL_ID] + await check_password(call))
                link.post(b"EXPIRE", REPLIES, 60)


async def consume(port: int, total: int) -> None:
    """The listener's side of events; prints the seconds from the first to the last."""
    link = await Link.open(port)
    read = (b"XREADGROUP", b"GROUP", GROUP, b"p1", b"COUNT", MANY, b"BLOCK", 2000, b"STREAMS", STREAM, b">")
    handled = 0
    done: list[bytes] = []
    started = 0.0
    while handled < total:
        if done:
            link.post(b"XACK", STREAM, GROUP, *done)
        reply = await link.ask(*read)
        started = started or time.perf_counter()
        done = []
        for identifier, fields in reply[0][1]:
            await handle(dict(zip(fields[::2], fields[1::2], strict=True)))
            done.append(identifier)
            handled += 1
    print("seconds", time.perf_counter() - started, flush=True)


async def measure(port: int) -> Measures:
    """All measures, as the client."""
    commands, answers = await Link.open(port), await Link.open(port)
    await commands.ask(b"FLUSHALL")
    await commands.ask(b"XGROUP", b"CREATE", STREAM, GROUP, b"0", b"MKSTREAM")
    result = Measures()

    caller = Caller(commands, answers)
    listening = asyncio.ensure_future(caller.listen())
    with _role("work", port):
        await measures.warm_up(caller.call)
        latencies = await measures.one_by_one(caller.call, measures.RPC_ONE_BY_ONE)
        result.rpc_p50_ms, result.rpc_p99_ms = latencies.p50_ms, latencies.p99_ms
        result.rpc_one_by_one = latencies.rate
        result.rpc_in_flight = await measures.in_flight(caller.call, measures.RPC_IN_FLIGHT)
    listening.cancel()

    ids = count()

    def fire() -> asyncio.Future[Any]:
        event = (b"id", b"%036d" % next(ids), b"api_name", b"auth", b"event_name", b"user_registered")
        kwargs = (b"version", b"1", b":username", b'"admin"', b":password", b'"secret"')
        return commands.ask(b"XADD", STREAM, b"*", *event, *kwargs)

    result.fire_one_by_one = (await measures.one_by_one(fire, measures.FIRE_ONE_BY_ONE)).rate
    result.fire_in_flight = await measures.in_flight(fire, measures.FIRE_IN_FLIGHT)

    with _role("consume", port, str(measures.BACKLOG)) as consumer:
        consumer.wait()
        result.consume = measures.BACKLOG / float(consumer.wait_for_line("seconds").split()[1])
    for link in (commands, answers):
        link.close()
    return result


def _role(name: str, port: int, *args: str) -> Process:
    return Process([sys.executable, "-m", "benchmarks.floor", name, str(port), *args])


def main(role: str, port: str, *args: str) -> None:
    """Play one role."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if role == "work":
            runner.run(work(int(port)))
        elif role == "consume":
            runner.run(consume(int(port), int(args[0])))
        else:
            print(runner.run(measure(int(port))).to_json())


if __name__ == "__main__":
    main(*sys.argv[1:])
