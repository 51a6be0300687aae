"""Relays are killed at random while writers go on, or Redis is away: ``make soak``, and short ones in tests.

The oracle is the database: each transaction locks the row of a key, raises its number and announces that, and
some are rolled back. So the stream has to have each number of each key once, in order. Relays of which none
leads show that the oracle can see.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import lightbus
from benchmarks.process import used, used_by_all
from lightbus.bus.path import BusPath
from lightbus.outbox.rows import BUCKETS
from tests.support.databases import DatabaseKind, Databases
from tests.support.eventually import eventually
from tests.support.processes import Process, clean_environment
from tests.support.servers import Server
from tests.support.zygote import ROOT, Zygote

from .doors import ALL, DOORS, KEYS, NO_LEADER, WAITING, DoorName
from .shop import ShopApi
from .size import filled, filling, seconds_of

STREAM = "shop.*:stream"
MANIFEST = """\
service_name: shop
modules: []
{django}
outbox: {{{outbox}, poll: 50ms, batch: {batch}, partitions: {partitions}, dedupe: {dedupe}}}
"""
#: What relays import, once for all of them.
IMPORTS = ("lightbus.django.tables", "lightbus.sqlalchemy.engines", "psycopg", "pymysql", "django.db.models")
#: The least events a second at which a backlog drains, and the most seconds that a writer may take meanwhile.
LEAST, MOST = 5_000, 1.0
#: The events of a batch that is measured, and how much longer one may take where a million rows wait.
_BATCH, _SLOWER = 500, 2.0


@dataclass(frozen=True)
class Outcome:
    """What a campaign has come to."""

    committed: int
    fired: int
    out_of_order: int
    kills: int = 0

    @property
    def is_good(self) -> bool:
        """Whether what was fired is what was committed, in order."""
        return self.committed == self.fired and not self.out_of_order


@dataclass(frozen=True)
class Speed:
    """How fast a backlog is sent: events a second, and microseconds of a processor for each, by process."""

    rate: int
    relay: int
    database: int
    redis: int


@dataclass(frozen=True)
class Drained:
    """What became of a backlog, with the slowest transaction of those who wrote it, and how fast it went."""

    backlog: int
    slowest: float
    speed: Speed
    outcome: Outcome

    @property
    def is_good(self) -> bool:
        """Whether nobody waited, and all was fired, in order and soon."""
        return self.outcome.is_good and self.speed.rate >= LEAST and self.slowest < MOST


class Campaign:
    """One database, its writers, and the processes that relay.

    Args:
        kind: The kind of the database.
        databases: The servers.
        redis: The Redis.
        folder: A folder of its own.
        door: How the database is used.
        seed: Of all that is random.
        relays: How many processes relay at a time.
        partitions: How many partitions each has.
        batch: How many events each sends at a time.
        plant: A fault that the relays have.
    """

    def __init__(
        self,
        kind: DatabaseKind,
        databases: Databases,
        redis: Server,
        folder: Path,
        *,
        door: DoorName = "django",
        seed: int = 1,
        relays: int = 1,
        partitions: int = 1,
        batch: int = 40,
        plant: str = "",
    ) -> None:
        self._folder, self._redis, self._random = folder, redis, random.Random(seed)
        self._kind, self._databases = kind, databases
        self._relays = relays
        self._door = DOORS[door](kind, databases, folder)
        self._door.write_project(folder, plant)
        # So short with a fault that events which are sent twice are not hidden.
        manifest = MANIFEST.format(
            django="django: campaign_settings" if door == "django" else "",
            outbox=self._door.outbox,
            batch=batch,
            partitions=partitions,
            dedupe="1s" if plant else "1h",
        )
        (folder / "lightbus.yaml").write_text(manifest)
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self.slowest = 0.0

    @contextmanager
    def _nursery(self) -> Iterator[Callable[[], Process]]:
        """Give a function that starts a relay; all of them are ended."""
        env = {
            "LIGHTBUS__BUS__REDIS__URL": self._redis.url,
            "LIGHTBUS__BUS__LOG_FORMAT": "text",
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "lightbus", "relay"]
        with closing(Zygote(clean_environment(), IMPORTS)) as zygote, ExitStack() as started:

            def start() -> Process:
                relay = Process(command, cwd=self._folder, env=env, zygote=zygote)
                started.enter_context(relay).wait_for_line("ready: ", 120)
                return relay

            yield start

    def run(self, kills: int, writers: int, transactions: int) -> Outcome:
        """Write with so many threads while relays are killed; the outcome is taken once all is drained."""
        with self._nursery() as start:
            relays = [start() for _ in range(self._relays)]
            with self.writing(writers, transactions) as threads:
                for _ in range(kills):
                    time.sleep(self._random.uniform(0.02, 0.4))
                    at = self._random.randrange(len(relays))
                    relays[at].kill()
                    relays[at] = start()
                if not transactions:
                    self._stop.set()
                for thread in threads:
                    thread.join(300)
            if self._failures:
                raise self._failures[0]
            eventually(lambda: self.waiting() == 0, 120, "an empty outbox")
            for relay in relays:
                assert relay.terminate() == 0, relay.output()
        return self.outcome(kills)

    def away(self, seconds: float, writers: int) -> Drained:
        """Write while the process of Redis is not there; then it is, and the backlog drains."""
        with self._nursery() as start:
            relay = start()
            with self.writing(writers):
                eventually(lambda: self.outcome().fired > 100, 60, "events before")
                self._redis.stop()
                self.slowest = 0.0
                time.sleep(seconds)
                slowest = self.slowest
            if self._failures:
                raise self._failures[0]
            backlog = self.waiting()
            self._redis.start()
            speed = self._drain(relay, sum(dict(self._door.ask(ALL)).values()))
            assert relay.terminate() == 0, relay.output()
        return Drained(backlog, round(slowest, 3), speed, self.outcome())

    def drain(self, rows: int) -> Speed:
        """Fill the outbox with so many events of some keys, and send them."""
        server = self._databases.server(self._kind)
        for statement in filling(self._kind, rows, keys=KEYS, failed=0):
            server.execute(statement, self._door.database)
        with self._nursery() as start:
            relay = start()
            speed = self._drain(relay, rows)
            assert relay.terminate() == 0, relay.output()
        return speed

    def _drain(self, relay: Process, total: int) -> Speed:
        """Measure how fast a backlog is sent, until the stream has so many events."""
        # Redis is asked, as it knows: to count the rows of a table, again and again, keeps a database busy.
        before = self._sent()
        # The relay finds Redis again by itself: that is not the speed at which it drains.
        eventually(lambda: self._sent() > before, 60, "events that are sent again")
        left, used, began = total - self._sent(), self._used(relay), time.monotonic()
        eventually(lambda: self._sent() >= total, 600, "all events")
        seconds = time.monotonic() - began
        each = [round((now - then) / left * 1e6) for then, now in zip(used, self._used(relay), strict=True)]
        eventually(lambda: self.waiting() == 0, 60, "an empty outbox")
        return Speed(round(left / seconds), *each)

    def _used(self, relay: Process) -> list[float]:
        """Seconds of a processor that the relay, the database and Redis have used."""
        # PostgreSQL has a process for each connection.
        database = used_by_all(self._databases.server(self._kind).pid)
        return [used(relay.pid), database, used(self._redis.pid)]

    def _sent(self) -> int:
        return int(self._redis.execute("XLEN", STREAM))

    @contextmanager
    def writing(self, writers: int, transactions: int = 0) -> Iterator[list[threading.Thread]]:
        """Write with so many threads; without a number of transactions, for as long as it lasts."""
        seeds = [self._random.random() for _ in range(writers)]
        threads = [threading.Thread(target=self._write, args=(seed, transactions)) for seed in seeds]
        for thread in threads:
            thread.start()
        try:
            yield threads
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(60)
            self._stop.clear()

    def _bus(self) -> BusPath:
        bus = lightbus.create({"bus": {"redis": {"url": self._redis.url}}}, service_name="shop")
        bus.client.register_api(ShopApi)
        return bus

    def _write(self, seed: float, transactions: int) -> None:
        rng, done = random.Random(seed), 0
        try:
            with self._door.opened(), self._bus() as bus:
                while done < transactions or not (transactions or self._stop.is_set()):
                    started = time.monotonic()
                    done += self._door.transact(bus, rng)
                    self.slowest = max(self.slowest, time.monotonic() - started)
                    time.sleep(rng.uniform(0, 0.004))
        except BaseException as e:
            self._failures.append(e)

    def waiting(self) -> int:
        """How many rows the outbox has."""
        return int(self._door.ask(WAITING)[0][0])

    def outcome(self, kills: int = 0) -> Outcome:
        """What was committed, and what the stream has."""
        committed: dict[str, int] = dict(self._door.ask(ALL))
        wrong = fired = 0
        last: dict[str, int] = {}
        for _, fields in self._redis.execute("XRANGE", STREAM, "-", "+", timeout=60):
            values = dict(zip(fields[::2], fields[1::2], strict=True))
            key, number = values[b":note"].decode().strip('"'), int(values[b":number"])
            wrong += number != last.get(key, 0) + 1
            last[key] = number
            fired += 1
        return Outcome(sum(committed.values()), fired, wrong, kills)

    def close(self) -> None:
        """Close its connections."""
        self._door.close()


@contextmanager
def _campaign(
    kind: DatabaseKind, servers: Databases, door: DoorName, seed: int, **options: int | str
) -> Iterator[Campaign]:
    """A campaign with a Redis that keeps its data, and a folder, of its own."""
    with closing(Server("valkey", aof=True)) as redis, tempfile.TemporaryDirectory() as folder:
        with closing(Campaign(kind, servers, redis, Path(folder), door=door, seed=seed, **options)) as it:  # type: ignore[arg-type]
            yield it


def _batch_of(servers: Databases, kind: DatabaseKind, rows: int) -> float:
    """How long it takes to read a batch where so many rows wait."""
    engine = filled(servers, kind, rows)
    try:
        return seconds_of(engine, range(BUCKETS), _BATCH)
    finally:
        engine.dispose()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.outbox.campaign", description=__doc__)
    parser.add_argument("--databases", default="postgresql,mariadb")
    parser.add_argument("--doors", default="django,sqlalchemy")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--away", type=float, default=60.0, help="seconds without Redis")
    parser.add_argument("--drain", type=int, default=100_000, help="rows that wait when a relay is started")
    parser.add_argument("--batch", type=int, default=500, help="of the relay, where its speed is measured")
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of which one batch is read")
    return parser.parse_args()


def _outcomes(
    kind: DatabaseKind, door: DoorName, servers: Databases, options: argparse.Namespace
) -> Iterator[tuple[str, object, bool]]:
    """Go through the campaigns of one database and way to use it: name, outcome, whether it is good."""
    seed, writers = options.seed, options.writers
    for relays, partitions in ((1, 1), (2, 3)) if options.kills else ():
        with _campaign(kind, servers, door, seed, relays=relays, partitions=partitions) as campaign:
            outcome = campaign.run(options.kills, writers, 0)
        yield f"{relays} x {partitions}", outcome, outcome.is_good
    if options.kills:
        with _campaign(kind, servers, door, seed, relays=2, plant=NO_LEADER) as campaign:
            outcome = campaign.run(0, writers, 60)
        yield "planted: no leader", outcome, not outcome.is_good
    if options.drain:
        with _campaign(kind, servers, door, seed, batch=options.batch) as campaign:
            speed = campaign.drain(options.drain)
        yield f"{options.drain:,} rows", speed, speed.rate >= LEAST
    if options.away:
        with _campaign(kind, servers, door, seed, batch=options.batch) as campaign:
            drained = campaign.away(options.away, writers)
        yield f"Redis away for {options.away:g} s", drained, drained.is_good


def main() -> int:
    """Run campaigns on the databases that the command line names; returns the exit status."""
    options, is_good = _options(), True
    with closing(Databases()) as servers:
        for kind in options.databases.split(",") if options.rows else ():
            few, many = (_batch_of(servers, kind, rows) for rows in (1_000, options.rows))
            told = (
                f"a batch of {_BATCH} is read in {few * 1e3:.1f} ms of 1,000 rows, and in {many * 1e3:.1f} ms"
            )
            print(f"outbox, {kind}: {told} of {options.rows:,}", flush=True)
            is_good = is_good and many < _SLOWER * few
        for kind, door in product(options.databases.split(","), options.doors.split(",")):
            for what, outcome, is_well in _outcomes(kind, door, servers, options):
                print(f"outbox, {kind}, {door}, {what}: {outcome}", flush=True)
                is_good = is_good and is_well
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
