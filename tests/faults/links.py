"""Each link is broken at each step of a fire, a call, a take, a claim, an answer and an acknowledgement."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import uvloop

from lightbus.declared.settings import Identity
from lightbus.exceptions import LightbusTimeout, LightbusWorkerError, TransportUnavailable, WorkerLost
from lightbus.messages import EventMessage, ResultMessage, RpcMessage
from lightbus.options import Duration, SecretUrl
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.events import EventConsumer, Subscription
from lightbus.transports.redis.events.transport import RedisEventTransport
from lightbus.transports.redis.options import RedisEventOptions, RedisRpcOptions
from lightbus.transports.redis.rpc.transport import RedisRpcTransport
from lightbus.transports.rpc import RpcConsumer
from tests.support.breaking import STEPS, Break, BreakingProxy, Step
from tests.support.eventually import eventually_async
from tests.support.servers import Kind, Server

from .oracle import Verdict
from .report import Result

Loop = Literal["asyncio", "uvloop"]
#: What a link carries, in the order in which it comes: of who fires, calls, takes, claims, answers, listens.
COMMANDS = (
    *(
        "XADD",
        "SET",
        "RPUSH",
        "BLMOVE",
        "PTTL",
        "GETDEL",
        "begin",
        "LPUSH",
        "EXPIRE",
        "LREM",
        "BRPOP",
        "RPOP",
    ),
    *("XREADGROUP", "XACK"),
)
IN_FLIGHT = (1, 50, 600)
#: What each event or call has of its own; and what those have together that come together.
_EACH, _TOGETHER = ("XADD", "SET", "RPUSH", "LREM"), ("LPUSH", "EXPIRE")
STREAM, GROUP = "auth.*:stream", "shop-links"
#: Seconds for which who calls waits where an answer may be lost with the link; and for all that has to come.
_WAITED, PATIENCE = 3.0, 30.0
#: What a call may raise whose link broke.
DOCUMENTED = (LightbusTimeout, TransportUnavailable, WorkerLost, LightbusWorkerError)


@dataclass(frozen=True)
class Case:
    """One break.

    Args:
        command: At which command.
        step: At which step of it.
        in_flight: How many events and calls are under way.
        loop: On which event loop.
    """

    command: str
    step: Step
    in_flight: int
    loop: Loop

    def __str__(self) -> str:
        return f"{self.command} {self.step} {self.in_flight} {self.loop}"


LOOPS: tuple[Loop, ...] = get_args(Loop)


def in_flight_of(command: str) -> tuple[int, ...]:
    """How many are under way where a command is sent: a call that comes alone is begun by no script."""
    if command in ("PTTL", "GETDEL"):
        return IN_FLIGHT[:1]
    return IN_FLIGHT[1:] if command == "begin" else IN_FLIGHT


ALL = [
    Case(command, step, in_flight, loop)
    for command, step, loop in itertools.product(COMMANDS, STEPS, LOOPS)
    for in_flight in in_flight_of(command)
]


@dataclass
class Outcome:
    """What came of one break: how firing and calling ended, and all that was wrong."""

    fired: Counter[str] = field(default_factory=Counter)
    called: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class _Bus:
    """Who fires, who calls, who serves and who listens, each over links of its own.

    Args:
        url: The Redis.
        patience: Seconds for which a caller waits.
    """

    def __init__(self, url: str, patience: float) -> None:
        self._url = url
        self._patience = patience
        self.handled: Counter[str] = Counter()
        self.ran: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []
        self._number = 0

    async def open(self) -> None:
        """Connect all of them, and begin to serve and to listen."""
        self.publisher = RedisEventTransport(RedisEventOptions(max_stream_length=None, **self._apart()))
        self.caller = RedisRpcTransport(RedisRpcOptions(**self._apart()))
        self.worker = RedisRpcTransport(RedisRpcOptions(**self._apart()))
        self.listener = RedisEventTransport(RedisEventOptions(**self._apart()))
        for transport in (self.publisher, self.caller, self.worker, self.listener):
            transport.obstacles = Obstacles()
        await self.publisher.open()
        await self.caller.open()
        self.served: RpcConsumer = await self.worker.serve("auth", Identity("shop", "w"))
        subscription = Subscription("links", (("auth", "user_registered"),), {})
        self.heard: EventConsumer = await self.listener.consume(subscription, Identity("shop", "l"))
        self._tasks = [asyncio.ensure_future(work) for work in (self._serve(), self._listen())]
        assert await self.call("first") == "result"

    async def fire(self, name: str) -> str:
        """Fire an event; returns how that ended."""
        message = EventMessage("auth", "user_registered", {}, id=name)
        try:
            await self.publisher.publish([message], PATIENCE)
        except Exception as e:
            return type(e).__name__
        return "confirmed"

    async def call(self, name: str) -> str:
        """Call a procedure; returns how that ended."""
        message = RpcMessage("auth", "check", {"name": name})
        try:
            result = await self.caller.call(message, self._patience)
        except DOCUMENTED as e:
            return type(e).__name__
        except Exception as e:
            return f"undocumented: {e!r}"
        if result.error:
            return "WorkerLost" if "WorkerLost" in str(result.result) else f"undocumented: {result.result}"
        return "result" if result.result == name else f"somebody else's answer: {result.result}"

    async def close(self) -> None:
        """End all of them."""
        for consumer in (self.served, self.heard):
            await consumer.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for consumer in (self.served, self.heard):
            await consumer.close()
        for transport in (self.publisher, self.caller, self.worker, self.listener):
            await transport.close()

    def _apart(self) -> dict[str, Any]:
        # Two that are configured alike would share their links.
        self._number += 1
        return {"url": SecretUrl(self._url), "connect_timeout": Duration(5 + self._number / 1000)}

    async def _serve(self) -> None:
        while True:
            for call in await self.served.take(100):
                self.ran[call.kwargs["name"]] += 1
                self.served.answer(call, ResultMessage(call.kwargs["name"], call.id))

    async def _listen(self) -> None:
        while True:
            for delivery in await self.heard.take(100):
                self.handled[delivery.message.id] += 1
                delivery.ack()


def broken_by(case: Case, server: Server) -> Outcome:
    """Break a link."""
    server.execute("FLUSHALL")
    factory = uvloop.new_event_loop if case.loop == "uvloop" else asyncio.new_event_loop
    with BreakingProxy(server.port) as proxy, asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_break(case, server, proxy))


async def _break(case: Case, server: Server, proxy: BreakingProxy) -> Outcome:
    loop = asyncio.get_running_loop()
    wrong: list[str] = []
    loop.set_exception_handler(lambda _, context: wrong.append(f"unheard: {context}"))
    bus = _Bus(proxy.url, _WAITED if _may_fail(case) else PATIENCE)
    await bus.open()
    proxy.plan = Break(case.command, _which(case), case.step)
    names = [f"n{number}" for number in range(case.in_flight)]
    try:
        async with asyncio.timeout(3 * PATIENCE):
            fired, called = await asyncio.gather(
                asyncio.gather(*map(bus.fire, names)), asyncio.gather(*map(bus.call, names))
            )
            await eventually_async(
                lambda: _is_quiet(server, len(bus.handled)), PATIENCE, "nothing is left to do"
            )
    except (TimeoutError, AssertionError) as e:
        wrong.append(f"stuck: {e!r}, {_left(server)}")
        fired, called = [], []
    if not proxy.plan.done:
        wrong.append("nothing was broken")
    wrong += _judge(
        case, bus, server, dict(zip(names, fired, strict=False)), dict(zip(names, called, strict=False))
    )
    await bus.close()
    return Outcome(Counter(fired), Counter(called), wrong)


def _which(case: Case) -> int:
    """At which command of its name a link breaks: in the middle where there are many."""
    if case.command in _EACH:
        return case.in_flight // 2 + 1
    return 2 if case.command in _TOGETHER and case.in_flight > 1 else 1


def _judge(
    case: Case, bus: _Bus, server: Server, fired: dict[str, str], called: dict[str, str]
) -> Iterator[str]:
    entries = server.execute("XRANGE", STREAM, "-", "+")
    stored = Counter(_field(entry[1], b"id") for entry in entries)
    for name, outcome in fired.items():
        # Redis was there all the time.
        if outcome != "confirmed":
            yield f"event {name}: {outcome}"
        if stored[name] != 1:
            yield f"event {name} is stored {stored[name]} times"
        if bus.handled[name] != 1:
            yield f"event {name} was handled {bus.handled[name]} times"
    for name, outcome in called.items():
        if outcome != "result" and outcome not in {kind.__name__ for kind in DOCUMENTED}:
            yield f"call {name}: {outcome}"
        if bus.ran[name] > 1 or (outcome == "result" and bus.ran[name] != 1):
            yield f"call {name} ran {bus.ran[name]} times: {outcome}"
    failed = Counter(outcome for outcome in called.values() if outcome != "result")
    if failed and not _may_fail(case):
        yield f"calls failed: {dict(failed)}"


def _may_fail(case: Case) -> bool:
    """Whether a call may be lost with the link: while it is sent or begun, or with its answer.

    Who serves sends answers over the link over which it begins with other calls.
    """
    return case.command not in ("XADD", "BLMOVE", "XREADGROUP", "XACK")


def _is_quiet(server: Server, handled: int) -> bool:
    return server.execute("XLEN", STREAM) <= handled and not any(_left(server).values())


def _left(server: Server) -> dict[str, int]:
    """What is still to be done, by where it waits."""
    keys = server.execute("KEYS", "{auth*")
    lists = [key for key in keys if b":taken:" in key]
    return {
        "pending": server.execute("XPENDING", STREAM, GROUP)[0],
        "delayed": sum(server.execute("ZCARD", key) for key in keys if b":delayed:" in key),
        "dead": sum(server.execute("XLEN", key) for key in keys if b":dead:" in key),
        "queued": server.execute("LLEN", "auth:rpc_queue"),
        "taken": sum(server.execute("LLEN", key) for key in lists),
    }


def _field(fields: Sequence[bytes], name: bytes) -> str:
    return dict(zip(fields[::2], fields[1::2], strict=True))[name].decode()


def sweep(kind: Kind, seed: int, cases: Sequence[Case] = ()) -> Result:
    """Break links at every step, one after another.

    Args:
        kind: Which server.
        seed: Of the order.
        cases: Which; all where not given.
    """
    chosen = list(cases or ALL)
    random.Random(seed).shuffle(chosen)
    verdict, begun = Verdict(), time.monotonic()
    with Server(kind) as server:
        for case in chosen:
            outcome = broken_by(case, server)
            verdict.fired += case.in_flight
            verdict.calls += case.in_flight
            verdict.confirmed += outcome.fired["confirmed"]
            verdict.outcomes += outcome.called
            if outcome.wrong:
                verdict.wrong[str(case)] = outcome.wrong
    faults: dict[str, int] = dict(Counter[str](case.step for case in chosen))
    return Result("links", kind, seed, time.monotonic() - begun, verdict, faults=faults)
