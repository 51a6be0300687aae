"""A listener is renamed, rewound and removed: ``python -m tests.faults.groups [EVENTS] [SERVERS]``.

So many events wait for it, more are fired all the while, and the command that renames it is killed meanwhile.
What holds: each event is handled once, and once more where a command has announced that; firing goes on.
It is tried twice: with events of all fates, and with events that a process has taken which was killed then.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from lightbus.declared.settings import Identity
from lightbus.messages import EventMessage
from lightbus.options import Duration, SecretUrl
from lightbus.transports.events import EventConsumer, Subscription
from lightbus.transports.groups import SILENT
from lightbus.transports.redis.events.transport import RedisEventTransport
from lightbus.transports.redis.options import RedisEventOptions
from tests.support.eventually import eventually
from tests.support.processes import Process, clean_environment
from tests.support.servers import KINDS, Kind, Server

from . import holder

STREAM = "shop.*:stream"
KILLS = 3
#: The most seconds for which firing may stand still, and a script may keep Redis, on a busy machine.
_FIRE, _SCRIPT = 2.0, 0.5
_PAGE = 500
#: More events than wait for a group that is removed.
_MOST = str(10**9)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits: of a hundred events, how many have which fate; the others are unread.

    Args:
        pending: Were read, and not settled.
        again: Wait for another attempt.
        dead: Are dead letters.
        is_held: Whether those that are pending were taken by a process that was killed just now.
    """

    pending: int
    again: int = 0
    dead: int = 0
    is_held: bool = False


#: Of each fate some; and all in the hands of a process that was killed.
MIXED, HELD = Backlog(5, 10, 5), Backlog(100, is_held=True)


@dataclass(slots=True)
class Outcome:
    """What became of the events.

    Args:
        events: How many were fired.
        lost: How many were not handled as often as they should have been.
        doubled: How many were handled more often.
        remembered: How many were taken for handled when they came.
        kills: How often the move was cut short.
        said: What the commands have announced.
        longest_fire: Seconds that the slowest event needed to be stored.
        longest_script: Seconds that the slowest script kept Redis.
        left: The keys of groups that should be gone.
    """

    events: int = 0
    lost: int = 0
    doubled: int = 0
    remembered: int = 0
    kills: int = 0
    said: list[str] = field(default_factory=list)
    longest_fire: float = 0.0
    longest_script: float = 0.0
    left: list[bytes] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether each event was handled as often as was announced."""
        return not (self.lost or self.doubled or self.remembered or self.left)

    @property
    def is_quick(self) -> bool:
        """Whether firing went on meanwhile; a machine that holds processes up says nothing about that."""
        return self.longest_fire < _FIRE and self.longest_script < _SCRIPT


class Trial:
    """One run against one server.

    Args:
        server: The server, empty.
        count: How many events wait before anything is done.
        backlog: How they wait.
    """

    def __init__(self, server: Server, count: int, backlog: Backlog) -> None:
        self.server = server
        self.count = count
        self.backlog = backlog
        self.outcome = Outcome()
        options = RedisEventOptions(
            url=SecretUrl(server.url),
            acknowledgement_timeout=Duration(1),
            max_stream_length=10 * count + 100_000,
        )
        self.transport = RedisEventTransport(options)
        self.expected: Counter[str] = Counter()
        self.handled: Counter[str] = Counter()

    async def run(self) -> Outcome:
        """Rename, rewind and remove a listener."""
        for name, value in (("slowlog-log-slower-than", 1_000), ("slowlog-max-len", 10_000)):
            self.server.execute("CONFIG", "SET", name, value)
        await self._leave_a_backlog()
        enough = asyncio.Event()
        firing = asyncio.create_task(self._fire_regularly(enough))
        await asyncio.to_thread(self._move)
        if self.backlog.is_held:
            await asyncio.to_thread(self._seek_what_is_held)
        await self._handle("new")
        await asyncio.to_thread(self._command, "seek", "shop-new", "--to", "start")
        again = sum(
            int(n.replace(",", "")) for n in re.findall(r"([\d,]+) events? that it", self.outcome.said[-1])
        )
        self.expected.update(await asyncio.to_thread(self._first, again))
        await self._handle("new")
        await asyncio.to_thread(self._leave_a_group_behind)
        await asyncio.to_thread(self._command, "rm", "shop-gone", "--drop-unread", _MOST)
        # Not cancelled: nobody would know whether Redis has the last event.
        enough.set()
        await firing
        await self._handle("new")
        await asyncio.to_thread(self._command, "rm", "shop-new", "--drop-unread", _MOST)
        await self.transport.close()
        self._judge()
        return self.outcome

    async def _leave_a_backlog(self) -> None:
        consumer = await self._listen("old")
        for start in range(0, self.count, _PAGE):
            await self._fire(min(_PAGE, self.count - start))
        for share, settle in ((self.backlog.dead, self._bury), (self.backlog.again, self._postpone)):
            wanted = self.count * share // 100
            while wanted > 0:
                taken = await consumer.take(min(wanted, 200))
                wanted -= len(taken)
                await asyncio.gather(*map(settle, taken))
        await _end(consumer)
        held = self.count * self.backlog.pending // 100
        if self.backlog.is_held:
            await asyncio.to_thread(self._hold, held)
        else:
            self._read("shop-old", held)

    def _read(self, group: str, count: int) -> None:
        """Leave events as those of a process that is long gone."""
        for start in range(0, count, _PAGE):
            read = ("GROUP", group, "lightbus:nobody", "COUNT", min(_PAGE, count - start))
            self.server.execute("XREADGROUP", *read, "STREAMS", STREAM, ">")

    def _hold(self, count: int) -> None:
        """Let a process take events, and kill it; nothing is done to the group before it counts as gone."""
        command = [sys.executable, "-m", "tests.faults.holder", self.server.url, str(count)]
        with Process(command) as holding:
            holding.wait_for_line(holder.HOLDS, 30 + count / 100)
            holding.kill()
        refused = self._start("move", "shop-old", "shop-new")
        said = "".join(refused.communicate(timeout=60))
        assert refused.returncode != 0 and holder.NAME in said and b"shop-new" not in self._groups(), said
        eventually(lambda: self._silence() > SILENT, 2 * SILENT)

    def _silence(self) -> float:
        """For how many seconds nobody who reads the old group was heard of."""
        consumers = self.server.execute("XINFO", "CONSUMERS", STREAM, "shop-old")
        return min(int(dict(zip(each[::2], each[1::2], strict=True))[b"idle"]) for each in consumers) / 1000

    def _seek_what_is_held(self) -> None:
        """Rewind the listener to the middle of what is pending; the command is killed, and given again."""
        place = self.server.execute("XPENDING", STREAM, "shop-new", "-", "+", self.count // 2, timeout=60)
        arguments = ("seek", "shop-new", "--to", place[-1][0].decode())
        before = self._held()
        seeking = self._start(*arguments)
        while self._held() == before and seeking.poll() is None:
            time.sleep(0.001)
        seeking.kill()
        seeking.communicate()
        self.outcome.kills += self._held() > self.count // 2
        self._command(*arguments)

    def _held(self) -> int:
        return int(self.server.execute("XPENDING", STREAM, "shop-new")[0])

    def _leave_a_group_behind(self) -> None:
        """Make a group that has read as many events, and settled none."""
        self.server.execute("XGROUP", "CREATE", STREAM, "shop-gone", "0")
        self._read("shop-gone", self.count)

    async def _bury(self, delivery: Any) -> None:
        del self.expected[delivery.message.id]
        await delivery.dead_letter("failed", ValueError("no"))

    async def _postpone(self, delivery: Any) -> None:
        await delivery.retry(random.choice((0.001, 1.0, 5.0)), ValueError("no"))

    async def _fire(self, count: int) -> None:
        messages = [EventMessage("shop", "sold", {"n": n}) for n in range(count)]
        await self.transport.publish(messages, 30)
        self.expected.update(message.id for message in messages)
        self.outcome.events += count

    async def _fire_regularly(self, enough: asyncio.Event) -> None:
        while not enough.is_set():
            began = time.monotonic()
            await self._fire(1)
            self.outcome.longest_fire = max(self.outcome.longest_fire, time.monotonic() - began)
            await asyncio.sleep(0.005)

    def _move(self) -> None:
        """Rename the listener; the command is killed while it does it, as often as it can be caught at it."""
        for _ in range(KILLS):
            moving = self._start("move", "shop-old", "shop-new")
            while b"shop-new" not in self._groups() and moving.poll() is None:
                time.sleep(0.001)
            time.sleep(random.uniform(0, 0.05))
            moving.kill()
            moving.communicate()
            self.outcome.kills += b"shop-old" in self._groups() and b"shop-new" in self._groups()
        if b"shop-old" in self._groups():
            self._command("move", "shop-old", "shop-new")
        self.outcome.left += [key for key in self.server.execute("KEYS", "*") if key.endswith(b":shop-old")]

    def _first(self, count: int) -> list[str]:
        """Return the ids of the first events of the stream; in a thread, so that firing goes on meanwhile."""
        found: list[str] = []
        start = "-"
        while len(found) < count:
            page = self.server.execute("XRANGE", STREAM, start, "+", "COUNT", min(_PAGE, count - len(found)))
            found += [dict(zip(e[1][::2], e[1][1::2], strict=True))[b"id"].decode() for e in page]
            start = "(" + page[-1][0].decode()
        return found

    def _groups(self) -> list[bytes]:
        return [facts[1] for facts in self.server.execute("XINFO", "GROUPS", STREAM)]

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "lightbus", "group", *arguments, "--yes"],
            env=clean_environment({"LIGHTBUS__BUS__REDIS__URL": self.server.url}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _command(self, *arguments: str) -> None:
        running = self._start(*arguments)
        said = "".join(running.communicate(timeout=300))
        assert running.returncode == 0, said
        self.outcome.said.append(said)

    async def _listen(self, name: str) -> EventConsumer:
        wanted = Subscription(name, (("shop", "sold"),), {}, dedupe=3600, page=200)
        return await self.transport.consume(wanted, Identity("shop", f"p-{name}-{time.monotonic()}"))

    async def _handle(self, name: str) -> None:
        """Handle events until as many came as should have come by now."""
        consumer = await self._listen(name)
        until = time.monotonic() + 120 + self.count / 100
        while (wanted := self.expected.total() - self.handled.total()) > 0 and time.monotonic() < until:
            try:
                async with asyncio.timeout(5):
                    taken = await consumer.take(min(200, wanted))
            except TimeoutError:
                continue
            known = await asyncio.gather(*(delivery.was_handled() for delivery in taken))
            self.outcome.remembered += sum(known)
            self.handled.update(delivery.message.id for delivery in taken)
            for delivery in taken:
                delivery.ack()
        await _end(consumer)

    def _judge(self) -> None:
        outcome = self.outcome
        outcome.lost = (self.expected - self.handled).total()
        outcome.doubled = (self.handled - self.expected).total()
        slowest = self.server.execute("SLOWLOG", "GET", 10_000)
        scripts = [each[2] for each in slowest if each[3][0].upper() in (b"EVAL", b"EVALSHA")]
        outcome.longest_script = max(scripts, default=0) / 1e6
        outcome.left += [key for key in self.server.execute("KEYS", "*") if key.endswith(b":shop-new")]


async def _end(consumer: EventConsumer) -> None:
    await consumer.stop()
    await consumer.close()


def run(kind: Kind, count: int, backlog: Backlog = MIXED) -> Outcome:
    """Try it against a kind of server, with so many events that wait."""
    server = Server(kind)
    try:
        return asyncio.run(Trial(server, count, backlog).run())
    finally:
        server.close()


def _word(outcome: Outcome) -> str:
    return "BAD" if not outcome.is_good else "good" if outcome.is_quick else "SLOW"


def main(count: int, kinds: list[Kind]) -> int:
    """Try it against each kind of server, and say what came of it."""
    is_good = True
    for kind, backlog in itertools.product(kinds, (MIXED, HELD)):
        outcome = run(kind, count, backlog)
        is_good = is_good and outcome.is_good and outcome.is_quick
        print(
            f"{kind}{', all held by a killed process' if backlog.is_held else ''}: "
            f"{_word(outcome)}: {outcome.events:,} fired, {outcome.lost} lost, "
            f"{outcome.doubled} doubled, {outcome.kills} kills; the longest script took "
            f"{outcome.longest_script * 1000:.0f} ms, the slowest event {outcome.longest_fire * 1000:.0f} ms"
        )
        for said in outcome.said:
            print(*(f"    {line}" for line in said.splitlines()), sep="\n")
    return 0 if is_good else 1


if __name__ == "__main__":
    # Each event that a dead process has left is a warning.
    logging.getLogger("lightbus").setLevel(logging.ERROR)
    wanted = sys.argv[2].split(",") if len(sys.argv) > 2 else KINDS
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, [k for k in KINDS if k in wanted]))
