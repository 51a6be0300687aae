"""Hosts that relay are killed at random while writers go on: ``make soak``, and a short one in the tests.

The oracle is the database: each transaction locks the row of a key, raises its number and announces that, and
some are rolled back. So the stream has to have each number of each key once, in order.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightbus.bus.path import BusPath
from tests.support.databases import DatabaseKind, Databases, django_settings
from tests.support.eventually import eventually
from tests.support.processes import Process, lightbus_process
from tests.support.servers import Server

from .django_here import django_here
from .shop import ShopApi

STREAM = "shop.*:stream"
KEYS = 12
SETTINGS = """\
import pymysql

pymysql.version_info = (2, 2, 7, "final", 0)
pymysql.install_as_MySQLdb()
SECRET_KEY = "only for tests"
INSTALLED_APPS = ["lightbus.django"]
DATABASES = {{"default": {database!r}}}
USE_TZ = True
"""
MANIFEST = """\
service_name: shop
django: campaign_settings
modules: []
features: [outbox]
outbox: {{django: default, poll: 50ms, batch: 40, partitions: {partitions}}}
"""


@dataclass(frozen=True)
class Outcome:
    """What a campaign has come to."""

    committed: int
    fired: int
    out_of_order: int
    kills: int

    @property
    def is_good(self) -> bool:
        """Whether what was fired is what was committed, in order."""
        return self.committed == self.fired and not self.out_of_order


class Campaign:
    """One database, its writers, and the hosts that relay.

    Args:
        kind: The kind of the database.
        databases: The servers.
        redis: The Redis.
        folder: A folder of its own.
        seed: Of all that is random.
        relays: How many hosts relay at a time.
        partitions: How many partitions each has.
    """

    def __init__(
        self,
        kind: DatabaseKind,
        databases: Databases,
        redis: Server,
        folder: Path,
        *,
        seed: int = 1,
        relays: int = 1,
        partitions: int = 1,
    ) -> None:
        self._folder, self._redis, self._random = folder, redis, random.Random(seed)
        self._relays = relays
        self.alias = f"campaign_{seed}_{relays}"
        server = databases.server(kind) if kind != "sqlite" else None
        name = str(folder / "db.sqlite3") if server is None else server.new_database()
        self._settings = django_settings(kind, server, name)
        (folder / "campaign_settings.py").write_text(SETTINGS.format(database=self._settings))
        (folder / "lightbus.yaml").write_text(MANIFEST.format(partitions=partitions))
        self._make_tables()
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self.slowest = 0.0

    def _make_tables(self) -> None:
        django_here()
        from django.core.management import call_command
        from django.db import connections

        connections.databases[self.alias] = dict(self._settings)
        connections.configure_settings(connections.databases)
        call_command("migrate", database=self.alias, verbosity=0)
        with connections[self.alias].cursor() as cursor:
            cursor.execute("CREATE TABLE numbers (name varchar(20) PRIMARY KEY, n integer NOT NULL)")
            for key in range(KEYS):
                cursor.execute("INSERT INTO numbers VALUES (%s, 0)", [str(key)])

    def _host(self) -> Process:
        env = {"LIGHTBUS__BUS__REDIS__URL": self._redis.url, "LIGHTBUS__BUS__LOG_FORMAT": "text"}
        return lightbus_process("run", cwd=self._folder, env=env)

    def run(self, kills: int, writers: int, transactions: int) -> Outcome:
        """Write with so many threads while hosts are killed; the outcome is taken once all is drained."""
        with ExitStack() as stack:
            hosts = [stack.enter_context(self._host()) for _ in range(self._relays)]
            with self.writing(writers, transactions) as threads:
                for host in hosts:
                    host.wait_for_line("ready: ")
                for _ in range(kills):
                    time.sleep(self._random.uniform(0.02, 0.4))
                    at = self._random.randrange(len(hosts))
                    hosts[at].kill()
                    hosts[at] = stack.enter_context(self._host())
                    hosts[at].wait_for_line("ready: ")
                if not transactions:
                    self._stop.set()
                for thread in threads:
                    thread.join(300)
            if self._failures:
                raise self._failures[0]
            eventually(lambda: self.waiting() == 0, 120, "an empty outbox")
            for host in hosts:
                assert host.terminate() == 0
        return self.outcome(kills)

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
        import lightbus

        bus = lightbus.create({"bus": {"redis": {"url": self._redis.url}}}, service_name="shop")
        bus.client.register_api(ShopApi)
        return bus

    def _write(self, seed: float, transactions: int) -> None:
        from django.db import connections

        rng, done = random.Random(seed), 0
        try:
            with closing(connections[self.alias]), self._bus() as bus:
                while done < transactions or not (transactions or self._stop.is_set()):
                    started = time.monotonic()
                    done += self._transaction(bus, rng)
                    self.slowest = max(self.slowest, time.monotonic() - started)
                    time.sleep(rng.uniform(0, 0.004))
        except BaseException as e:
            self._failures.append(e)

    def _transaction(self, bus: BusPath, rng: random.Random) -> int:
        from django.db import connections, transaction

        from lightbus.django import outbox

        key = str(rng.randrange(KEYS))
        with transaction.atomic(using=self.alias), connections[self.alias].cursor() as cursor:
            cursor.execute("UPDATE numbers SET n = n + 1 WHERE name = %s", [key])
            cursor.execute("SELECT n FROM numbers WHERE name = %s", [key])
            (number,) = cursor.fetchone()
            outbox(bus, using=self.alias, key=key).shop.placed.fire(number=number, note=key)
            if rng.random() < 0.1:
                transaction.set_rollback(True, using=self.alias)
                return 0
            if rng.random() < 0.1:
                time.sleep(0.02)  # Others that began later commit before.
        return 1

    def waiting(self) -> int:
        """How many rows the outbox has."""
        from lightbus.django.models import OutboxEvent

        count: int = OutboxEvent.objects.using(self.alias).count()
        return count

    def outcome(self, kills: int) -> Outcome:
        """What was committed, and what the stream has."""
        from django.db import connections

        with connections[self.alias].cursor() as cursor:
            cursor.execute("SELECT name, n FROM numbers")
            committed: dict[str, int] = dict(cursor.fetchall())
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
        """Close the connection of this thread."""
        from django.db import connections

        connections[self.alias].close()


def main() -> int:
    """Run campaigns on the databases that the command line names; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.outbox.campaign", description=__doc__)
    parser.add_argument("--databases", default="postgresql,mariadb")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    good = True
    for kind in options.databases.split(","):
        for relays, partitions in ((1, 1), (2, 3)):
            with closing(Databases()) as servers, closing(Server("valkey")) as redis:
                with tempfile.TemporaryDirectory() as folder:
                    campaign: Any = Campaign(
                        kind,
                        servers,
                        redis,
                        Path(folder),
                        seed=options.seed,
                        relays=relays,
                        partitions=partitions,
                    )
                    with closing(campaign):
                        outcome = campaign.run(options.kills, options.writers, 0)
            print(f"outbox, {kind}, {relays} x {partitions}: {outcome}", flush=True)
            good = good and outcome.is_good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
