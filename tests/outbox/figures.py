"""The figures of the how-to: ``python -m tests.outbox.figures`` prints them.

How long it takes from a commit until the event is in Redis, where a relay looks now and then and where it is
woken; and how many bytes a row has.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import lightbus
from lightbus.sqlalchemy import outbox
from tests.support.databases import DatabaseKind, Databases
from tests.support.eventually import eventually
from tests.support.processes import lightbus_process
from tests.support.servers import Server

from .campaign import STREAM
from .doors import ENGINE
from .shop import ShopApi
from .size import bytes_of, filled
from .test_sqlalchemy import METADATA, url_of

EVENTS, ROWS = 200, 100_000
#: How a relay learns of an event, in the words of a manifest.
WAYS = ("poll: 1s", "poll: 100ms", "notify: true")
MANIFEST = """\
service_name: shop
modules: []
outbox: {{sqlalchemy: "db:engine", {way}}}
"""


def waits_of(way: str, databases: Databases, redis: Server, folder: Path) -> list[float]:
    """The milliseconds between the commit of each event and its entry in Redis, whose clock is the same."""
    from sqlalchemy import create_engine

    url = url_of("postgresql", databases)
    engine = create_engine(url)
    METADATA.create_all(engine)
    (folder / "db.py").write_text(ENGINE.format(url=url))
    (folder / "lightbus.yaml").write_text(MANIFEST.format(way=way))
    rng, committed = random.Random(1), {}
    config = {"bus": {"redis": {"url": redis.url}}, "outbox": {"notify": way.startswith("notify")}}
    env = {"LIGHTBUS__BUS__REDIS__URL": redis.url, "LIGHTBUS__BUS__LOG_FORMAT": "text"}
    with (
        lightbus_process("relay", cwd=folder, env=env) as relay,
        lightbus.create(config, service_name="shop") as bus,
    ):
        bus.client.register_api(ShopApi)
        relay.wait_for_line("ready: ", 120)
        for number in range(EVENTS):
            with engine.begin() as connection:
                event = outbox(bus, connection).shop.placed.fire(number=number)
            committed[event.id.encode()] = time.time() * 1e3
            time.sleep(rng.uniform(0.05, 0.15))
        eventually(lambda: redis.execute("XLEN", STREAM) == EVENTS, 60, "all events")
        assert relay.terminate() == 0, relay.output()
    engine.dispose()
    waits = []
    for entry, fields in redis.execute("XRANGE", STREAM, "-", "+"):
        stored = int(entry.partition(b"-")[0])
        waits.append(stored - committed[dict(zip(fields[::2], fields[1::2], strict=True))[b"id"]])
    return sorted(waits)


def main() -> int:
    """Measure and print; returns the exit status."""
    with closing(Databases()) as databases:
        for way in WAYS:
            with closing(Server("valkey")) as redis, tempfile.TemporaryDirectory() as folder:
                waits = waits_of(way, databases, redis, Path(folder))
            middle, late = statistics.median(waits), waits[int(0.99 * len(waits))]
            print(
                f"{way}: fired {middle:.0f} ms after the commit, 99 of 100 within {late:.0f} ms", flush=True
            )
        kinds: tuple[DatabaseKind, ...] = ("postgresql", "mariadb")
        for kind in kinds:
            engine = filled(databases, kind, ROWS)
            own, indexes = (each / ROWS for each in bytes_of(engine, kind))
            print(f"{kind}: {own:.0f} bytes a row, and {indexes:.0f} of its indexes", flush=True)
            engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
