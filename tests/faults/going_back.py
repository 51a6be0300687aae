"""A service goes back to 1.x and comes again.

``python -m tests.faults.going_back [ROUNDS [SECONDS [SEED]]]`` goes there and back so often.

Events are fired all the while, and its handler fails under both versions. Each time, what waits is handed
back, also what has left the stream meanwhile, and the command that does it is killed.
What holds: in the end each event is handled or a dead letter, and another group got each of them once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lightbus.declared.settings import Identity
from lightbus.messages import EventMessage
from lightbus.options import SecretUrl
from lightbus.transports.events import GroupStatus, Subscription
from lightbus.transports.redis.events.transport import RedisEventTransport
from lightbus.transports.redis.options import RedisEventOptions
from tests.support.eventually import eventually
from tests.support.processes import Process, lightbus_process
from tests.support.servers import Server
from tests.wire.peer_1x import READY, config, find_peer

STREAM, GROUP = "shop.*:stream", "shop-greet"
_PEER = Path(__file__).parent / "peer"
#: Seconds between two events, and after which a process of ours takes over what another one has left.
_PAUSE, _LEASE = 0.01, 1
#: The same of 1.x, which takes over from itself as well what it has had for so long: no machine is as slow.
_LEASE_1X = 10
#: The share of events that fail each time: with ours, where some are dead at once; with 1.x, which ends then.
_FAILS, _ENDS = 0.3, 0.02
#: What a worker of 1.x prints that ends over an event.
_ENDED = "ValueError: no"
#: How many events have to wait for another attempt, so that there is something to hand back.
_FEW = 5
#: The most seconds after which the first command is killed.
_CUT = 1.0
_SHARES = {"FAILS": str(_FAILS), "ENDS": str(_ENDS)}


@dataclass(slots=True)
class Outcome:
    """What became of the events.

    Args:
        fired: How many were fired.
        dead: How many are dead letters in the end.
        lost: How many are neither handled nor dead.
        doubled: How many were handled more than once.
        noticed: How many another group did not get once.
        stranded: How many are still kept for the group in the end, but for dead letters.
        waited: How many waited where 1.x does not look, before they were handed back.
        pending: How many were handed back that the stream had still, by what the command said. One that is
            killed may have done its work, and says nothing.
        added: How many were handed back that it had no more.
        kills: How often the command was cut short.
        ends: How often a 1.x worker ended over an event, and was started again.
        stops: How often one was told to stop.
    """

    fired: int = 0
    dead: int = 0
    lost: int = 0
    doubled: int = 0
    noticed: int = 0
    stranded: int = 0
    waited: int = 0
    pending: int = 0
    added: int = 0
    kills: int = 0
    ends: int = 0
    stops: int = 0
    said: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether all was handled or put aside, and nothing ran twice but beside a 1.x worker that ended.

        One that is told to stop may have handled its last event, and not have acknowledged it yet.
        """
        few = 10 * self.ends + self.stops
        return not (self.lost or self.noticed or self.stranded) and self.doubled <= few


class Journey:
    """One run against one server.

    Args:
        server: A server of the kind that 1.x knows, empty.
        seed: Of the faults.
    """

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.random = random.Random(seed)
        self.outcome = Outcome()
        self.transport = RedisEventTransport(RedisEventOptions(url=SecretUrl(server.url)))
        self.folder = Path(tempfile.mkdtemp(prefix="lightbus-going-back-"))
        self.ledger = self.folder / "ledger"
        self.ledger.touch()
        self.audited: Counter[int] = Counter()
        self.starts = 0
        events = {"acknowledgement_timeout": _LEASE, "reclaim_interval": 0.5}
        policy = {
            "attempts": 8,
            "backoff": {"initial": "50ms", "max": "3s"},
            "give_up_on": ["builtins:KeyError"],
        }
        manifest = {
            "service_name": "shop",
            "modules": ["shop"],
            "bus": {"redis": {"url": server.url}},
            "policies": {"often": policy},
            "apis": {"default": {"event_transport": {"redis": events}}},
            "listeners": {"greet": {"events": ["shop.sold"], "handler": "shop:greet", "on_error": "often"}},
        }
        (self.folder / "lightbus.json").write_text(json.dumps(manifest))

    async def run(self, rounds: int, seconds: float) -> Outcome:
        """Go there and back so often, and stay for so long each time."""
        auditing = asyncio.create_task(self._audit())
        await asyncio.to_thread(self._ours, 0.0)  # Makes the group.
        enough = asyncio.Event()
        firing = asyncio.create_task(self._fire(enough))
        for number in range(rounds):
            await asyncio.to_thread(self._ours, seconds)
            await asyncio.to_thread(self._hand_back, number)
            await asyncio.to_thread(self._theirs, seconds)
        # Not cancelled: nobody would know whether Redis has the last event.
        enough.set()
        await firing
        await asyncio.to_thread(self._end)
        auditing.cancel()
        await asyncio.wait([auditing])
        await self._judge()
        await self.transport.close()
        return self.outcome

    async def _fire(self, enough: asyncio.Event) -> None:
        while not enough.is_set():
            message = EventMessage("shop", "sold", {"n": self.outcome.fired})
            await self.transport.publish([message], 30)
            self.outcome.fired += 1
            await asyncio.sleep(_PAUSE)

    async def _audit(self) -> None:
        """Another service listens, too."""
        wanted = Subscription("all", (("shop", "sold"),), {}, page=200)
        consumer = await self.transport.consume(wanted, Identity("audit", "audit-1"))
        try:
            while True:
                for delivery in await consumer.take(200):
                    self.audited[delivery.message.kwargs["n"]] += 1
                    delivery.ack()
        finally:
            await consumer.stop()
            await consumer.close()

    def _ours(self, seconds: float) -> None:
        """Let a host of ours run for so long."""
        with self._start_ours(_SHARES) as host:
            time.sleep(seconds)
            if seconds:
                eventually(lambda: self._kept() >= _FEW, what="events that wait for another attempt")
            assert host.terminate() == 0, host.output()

    def _start_ours(self, shares: dict[str, str]) -> Process:
        self.starts += 1
        names = ("-c", "lightbus.json", "--process-name", f"new-{self.starts}")
        env = {**shares, "LEDGER": str(self.ledger), "PYTHONPATH": str(_PEER)}
        host = lightbus_process("run", *names, cwd=self.folder, env=env)
        host.wait_for_line("ready: ", 60)
        return host

    def _hand_back(self, number: int) -> None:
        """Hand back what waits; every other time, the stream is trimmed as far as it is read before."""
        if number % 2:
            needed = min(map(self._needs, (GROUP, "audit-all")), key=_parts)
            self.server.execute("XTRIM", STREAM, "MINID", needed)
        self.outcome.waited += self._kept()
        letters = ["--dead-letters"] if self.random.random() < 0.5 else []
        command = ("group", "hand-back", GROUP, "--yes", *letters)
        env = {"LIGHTBUS__BUS__REDIS__URL": self.server.url}
        with lightbus_process(*command, env=env) as cut:
            time.sleep(self.random.uniform(0, _CUT))
            self.outcome.kills += cut.status is None
            cut.kill()
        with lightbus_process(*command, env=env) as done:
            assert done.wait(60) == 0, done.output()
            self.outcome.said.append(done.output())
        waits = self._kept()
        assert waits == 0, f"{waits} still wait where 1.x does not look"

    def _needs(self, group: str) -> bytes:
        """Return the id from which on a group needs what the stream has."""
        pending = self.server.execute("XPENDING", STREAM, group)
        if pending[0]:
            return bytes(pending[1])
        facts = self.server.execute("XINFO", "GROUPS", STREAM)
        groups = [dict(zip(each[::2], each[1::2], strict=True)) for each in facts]
        return next(bytes(each[b"last-delivered-id"]) for each in groups if each[b"name"] == group.encode())

    def _kept(self) -> int:
        keys = (("XLEN", f"{{{STREAM}}}:retry:{GROUP}"), ("ZCARD", f"{{{STREAM}}}:delayed:{GROUP}"))
        return sum(self.server.execute(*command) for command in keys)

    def _theirs(self, seconds: float) -> None:
        """Let a worker of 1.x run for so long; one that ends over an event is started again."""
        until = time.monotonic() + seconds
        while True:
            with self._start_theirs() as worker:
                while worker.status is None and time.monotonic() < until:
                    time.sleep(0.02)
                is_over = worker.status is None
                if is_over:
                    worker.terminate()
                    self.outcome.stops += 1
                # One may end over an event at the very moment at which it is told to stop.
                self.outcome.ends += _ENDED in worker.output()
                if is_over:
                    return

    def _start_theirs(self) -> Process:
        python = find_peer()
        assert python is not None
        self.starts += 1
        settings = config(self.server.url, service_name="shop", process_name=f"old-{self.starts}")
        events = {"url": self.server.url, "acknowledgement_timeout": _LEASE_1X, "reclaim_interval": 1}
        settings["apis"]["default"]["event_transport"] = {"redis": events}
        env = {
            **_SHARES,
            "LEDGER": str(self.ledger),
            "PYTHONPATH": str(_PEER),
            "PEER_CONFIG": json.dumps(settings),
        }
        worker = Process([str(python.parent / "lightbus"), "run", "--bus", "shop"], cwd=self.folder, env=env)
        eventually(lambda: READY in worker.output() or worker.status is not None, 60)
        return worker

    def _end(self) -> None:
        """Let a host of ours handle all that is left, without a failure."""
        with self._start_ours({"FAILS": "0", "ENDS": "0"}) as host:
            with contextlib.suppress(AssertionError):
                eventually(lambda: not self._left() and len(self.audited) >= self.outcome.fired, 60)
            assert host.terminate() == 0, host.output()

    def _left(self) -> int:
        status = self._status()
        return status.lag + status.pending + status.retrying

    def _status(self) -> GroupStatus:
        groups = asyncio.run(_status(self.server.url))
        return next(each for each in groups if each.group == GROUP)

    async def _judge(self) -> None:
        outcome = self.outcome
        dead = {letter.message.kwargs["n"] async for letter in self.transport.list_dead()}
        done = Counter(map(int, self.ledger.read_text().split()))
        every = set(range(outcome.fired))
        outcome.dead = len(dead)
        outcome.lost = len(every - dead - set(done))
        outcome.doubled = sum(count - 1 for count in done.values())
        outcome.noticed = sum(self.audited[n] != 1 for n in every)
        outcome.stranded = await asyncio.to_thread(self._left)
        said = "\n".join(outcome.said)
        outcome.pending = _sum(r"pending list: ([\d,]+)", said)
        outcome.added = _sum(r"which they left: ([\d,]+)", said)


def _sum(pattern: str, said: str) -> int:
    return sum(int(number.replace(",", "")) for number in re.findall(pattern, said))


async def _status(url: str) -> Sequence[GroupStatus]:
    transport = RedisEventTransport(RedisEventOptions(url=SecretUrl(url)))
    try:
        return await transport.group_status()
    finally:
        await transport.close()


def _parts(entry_id: bytes) -> tuple[int, ...]:
    return tuple(map(int, entry_id.split(b"-")))


def run(rounds: int, seconds: float, seed: int) -> Outcome:
    """Go there and back on the Redis that 1.x knows."""
    server = Server("redis7")
    try:
        return asyncio.run(Journey(server, seed).run(rounds, seconds))
    finally:
        server.close()


def main(rounds: int, seconds: float, seed: int) -> int:
    """Go there and back, and say what came of it."""
    outcome = run(rounds, seconds, seed)
    print(f"seed {seed}: {'good' if outcome.is_good else 'BAD'}: {outcome}")
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    logging.getLogger("lightbus").setLevel(logging.ERROR)
    given = sys.argv[1:]
    default: list[str] = ["5", "5", str(random.randrange(1_000_000))]
    chosen = [*given, *default[len(given) :]]
    sys.exit(main(int(chosen[0]), float(chosen[1]), int(chosen[2])))
