"""Hosts that are killed (-9) at every statement of an inbox's transaction.

``make soak`` runs it, and the tests run a short one.

Each event comes twice, and pays into an account. The oracle is the balance: it is exact, or it is wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import lightbus
from tests.outbox.django_here import SETTINGS, migrated
from tests.outbox.shop import ShopApi
from tests.support.databases import DatabaseKind, Databases, django_settings
from tests.support.eventually import eventually
from tests.support.processes import clean_environment, finished
from tests.support.servers import Server
from tests.support.zygote import ROOT, Zygote

from .till import POINTS

Library = Literal["django", "sqlalchemy", "asyncio"]
LIBRARIES: tuple[Library, ...] = get_args(Library)

STREAM, GROUP = "shop.*:stream", "billing-charge"
MANIFEST = """\
service_name: billing
modules: []
features: [events]
policies: {patient: {attempts: 1000, max_deaths: 1000, backoff: {initial: 5ms, max: 20ms}}}
apis: {default: {event_transport: {redis: {acknowledgement_timeout: 200ms, reclaim_interval: 50ms}}}}
listeners:
  charge:
    events: [shop.placed]
    handler: "tests.outbox.inbox.till:charge"
    concurrency: 4
    since: earliest
    on_error: patient
"""
#: Counts what is not handled yet, all at a time: an event that fails goes from one place to another.
LEFT = """\
local left = redis.call('ZCARD', KEYS[1])
for i = 2, 3 do
  local groups = redis.call('EXISTS', KEYS[i]) == 1 and redis.call('XINFO', 'GROUPS', KEYS[i]) or {}
  for _, group in ipairs(groups) do
    for at = 1, #group, 2 do
      if group[at] == 'pending' or group[at] == 'lag' then left = left + (group[at + 1] or 0) end
    end
  end
end
return left"""
#: What hosts import, once for all of them.
IMPORTS = (
    "django.core.management",
    "django.db.models",
    "psycopg",
    "pymysql",
    "aiosqlite",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.mysql.pymysql",
    "lightbus.django.handling",
    "lightbus.sqlalchemy",
)
#: The driver of each kind of database, for plain and for asynchronous sessions.
DRIVERS = {
    ("postgresql", "sqlalchemy"): "postgresql+psycopg",
    ("postgresql", "asyncio"): "postgresql+psycopg",
    ("mariadb", "sqlalchemy"): "mysql+pymysql",
    ("sqlite", "sqlalchemy"): "sqlite",
    ("sqlite", "asyncio"): "sqlite+aiosqlite",
}


@dataclass(frozen=True)
class Outcome:
    """What a campaign has come to."""

    wanted: int
    balance: int
    kills: int

    @property
    def is_good(self) -> bool:
        """Whether each event was paid in once."""
        return self.wanted == self.balance


class Campaign:
    """An account in one database, and the hosts that pay into it.

    Args:
        kind: The kind of the database.
        library: The library that the handler uses.
        databases: The servers.
        redis: The Redis.
        zygote: Starts the hosts; it has imported what they need.
        folder: A folder of its own.
        has_inbox: Whether the handler has an inbox.
    """

    def __init__(
        self,
        kind: DatabaseKind,
        library: Library,
        databases: Databases,
        redis: Server,
        zygote: Zygote,
        folder: Path,
        *,
        has_inbox: bool = True,
    ) -> None:
        self._folder, self._redis, self._zygote = folder, redis, zygote
        server = databases.server(kind) if kind != "sqlite" else None
        name = str(folder / "db.sqlite3") if server is None else server.new_database()
        self._settings = django_settings(kind, server, name)
        # Of its own: connections of a name that was in use go on to a database that is gone.
        self.alias = f"till_{folder.name}_{Path(name).stem}"
        (folder / "till_settings.py").write_text(SETTINGS.format(database=self._settings))
        uses_django = "django: till_settings\n" if library == "django" else ""
        (folder / "lightbus.yaml").write_text(uses_django + MANIFEST)
        driver = DRIVERS.get((kind, library), "")
        where = f"/{name}" if server is None else f"{self._settings['USER']}@127.0.0.1:{server.port}/{name}"
        self._env = {
            "LIGHTBUS__BUS__REDIS__URL": redis.url,
            "LIGHTBUS__BUS__LOG_FORMAT": "text",
            "TILL_LIBRARY": library,
            "TILL_URL": f"{driver}://{where}",
            "TILL_INBOX": "yes" if has_inbox else "no",
            "PYTHONPATH": str(ROOT),
        }
        self._make_tables()

    def _make_tables(self) -> None:
        with migrated(self.alias, self._settings).cursor() as cursor:
            cursor.execute("CREATE TABLE bank (balance integer NOT NULL)")
            cursor.execute("INSERT INTO bank VALUES (0)")

    def run(self, events: int, points: list[tuple[str, int]], *, times: int = 2) -> Outcome:
        """Fire events, so many times each, and kill a host at each point in turn; the last one goes on."""
        numbers = list(range(1, events + 1))
        with lightbus.create({"bus": {"redis": {"url": self._redis.url}}}, service_name="shop") as bus:
            bus.client.register_api(ShopApi)
            for _ in range(times):
                bus.shop.placed.fire_many(
                    [{"number": n} for n in numbers],
                    bus_options={"ids": [f"payment-{n}" for n in numbers]},
                )
        for point, time in points:
            status = self._host(TILL_POINT=point, TILL_TIME=str(time))
            assert status == -9, f"the host that was to be killed when {point} ended with {status}"
        ended: list[int] = []
        last = threading.Thread(target=lambda: ended.append(self._host()))
        last.start()
        try:
            eventually(self._is_settled, 200, "all events handled")
        finally:
            (self._folder / "end").touch()
            last.join(200)
            (self._folder / "end").unlink()
        assert ended == [0]
        return Outcome(sum(numbers), self.balance, len(points))

    def _host(self, **env: str) -> int:
        done = finished(
            [sys.executable, "-W", "error", "-m", "lightbus", "run"],
            cwd=self._folder,
            env=clean_environment({**self._env, **env}),
            timeout=200,
            zygote=self._zygote,
        )
        if done.returncode not in (0, -9):
            raise AssertionError(done.stdout + done.stderr)
        return done.returncode

    def _is_settled(self) -> bool:
        keys = [f"{{{STREAM}}}:{part}:{GROUP}" for part in ("delayed", "retry")]
        return not self._redis.execute("EVAL", LEFT, 3, keys[0], STREAM, keys[1])

    @property
    def balance(self) -> int:
        """What was paid in."""
        from django.db import connections

        with connections[self.alias].cursor() as cursor:
            cursor.execute("SELECT balance FROM bank")
            return int(cursor.fetchone()[0])

    def close(self) -> None:
        """Close the connection of this thread."""
        from django.db import connections

        connections[self.alias].close()


def combinations() -> list[tuple[DatabaseKind, Library]]:
    """Each kind of database with each library that has a driver for it here."""
    kinds: tuple[DatabaseKind, ...] = ("postgresql", "mariadb", "sqlite")
    return [
        (k, library) for k in kinds for library in LIBRARIES if library == "django" or (k, library) in DRIVERS
    ]


def main() -> int:
    """Run campaigns on each database by each library; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.outbox.inbox.campaign", description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="how often a host is killed at each point")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng, good = random.Random(options.seed), True
    with closing(Databases()) as databases, closing(Zygote(clean_environment(), IMPORTS)) as zygote:
        for kind, library in combinations():
            for has_inbox in (True, False):
                points = [(point, rng.randint(1, 6)) for point in POINTS * options.rounds]
                rng.shuffle(points)
                if not has_inbox:
                    points = [("committed", 1)]
                with closing(Server("valkey")) as redis, tempfile.TemporaryDirectory() as folder:
                    more: Any = {"has_inbox": has_inbox}
                    with closing(
                        Campaign(kind, library, databases, redis, zygote, Path(folder), **more)
                    ) as campaign:
                        # Without the inbox, one kill has to be seen though each event comes once.
                        outcome = campaign.run(40 * options.rounds, points, times=2 if has_inbox else 1)
                what = "with" if has_inbox else "without"
                print(f"inbox, {kind}, {library}, {what}: {outcome}", flush=True)
                good = good and outcome.is_good is has_inbox
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
