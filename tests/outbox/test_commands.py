"""``lightbus outbox``: what waits in databases, and what can't be sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from sqlalchemy import Engine, MetaData, create_engine, insert, select

from lightbus.outbox.rows import FAILED, HELD, WAITING
from lightbus.sqlalchemy import outbox_table
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server

MANIFEST = "service_name: shop\nmodules: []\noutbox: {sqlalchemy: 'db:engine'}\n"
METADATA = MetaData()
EVENTS = outbox_table(METADATA)
SOMETHING = {"version": 1, "kwargs": "{}", "bucket": 0, "traceparent": ""}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An outbox with one event that can't be sent, one that waits for it, and one that waits for a relay."""
    engine = create_engine(f"sqlite:///{tmp_path}/db.sqlite3")
    METADATA.create_all(engine)
    names = {"api": "shop", "event": "placed", **SOMETHING}
    with engine.begin() as connection:
        for number, state in enumerate((FAILED, HELD, WAITING), 1):
            key = "" if state == WAITING else "k"
            error = "too large" if state == FAILED else ""
            row = {**names, "event_id": f"e{number}", "key": key, "state": state, "error": error}
            connection.execute(insert(EVENTS).values(row))
    yield engine
    engine.dispose()


@pytest.fixture
def project(tmp_path: Path, engine: Engine) -> Iterator[Project]:
    """A project with that outbox."""
    it = Project(tmp_path, None)
    it.write("lightbus.yaml", MANIFEST)
    it.write(
        "db.py", "from sqlalchemy import create_engine\nengine = create_engine('sqlite:///db.sqlite3')\n"
    )
    yield it
    it.close()


def states(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(select(EVENTS.c.state).order_by(EVENTS.c.seq)))


def test_what_can_not_be_sent_is_listed_with_what_waits(project: Project) -> None:
    said = project.run("outbox", "list").stdout
    row = next(line for line in said.splitlines() if "too large" in line).split()
    assert row[0] == "1" and row[-4:] == ["1", "sqlalchemy:db:engine", "too", "large"]
    assert "sqlalchemy:db:engine: 2 events waiting, the oldest since " in said
    assert said.endswith("1 event that can't be sent\n")
    found = json.loads(project.run("outbox", "list", "--json").stdout)
    assert (found["id"], found["event"], found["event_id"], found["held"]) == (1, "shop.placed", "e1", 1)


def test_it_is_sent_again_with_what_waits_for_it(project: Project, engine: Engine) -> None:
    assert project.run("outbox", "retry", "7").returncode == 1
    assert states(engine) == [FAILED, HELD, WAITING]
    done = project.run("outbox", "retry", "1")
    assert (done.returncode, done.stdout) == (0, "1 event sent again\n"), done.stderr
    assert states(engine) == [WAITING] * 3


def test_it_is_dropped_once_that_is_meant(project: Project, engine: Engine) -> None:
    assert project.run("outbox", "drop").returncode == 64
    assert "add --yes" in project.run("outbox", "drop", "--all").stderr
    assert len(states(engine)) == 3
    assert project.run("outbox", "drop", "--all", "--yes").stdout == "1 event dropped\n"
    assert states(engine) == [WAITING] * 2


def test_what_is_not_there_is_told(project: Project, engine: Engine) -> None:
    other = project.run("outbox", "list", "--database", "django:default")
    assert other.returncode == 64
    assert "it has sqlalchemy:db:engine" in other.stderr
    project.write("lightbus.yaml", "service_name: shop\n")
    assert "no outbox is named; write outbox: {django: default}" in project.run("outbox", "list").stderr
    METADATA.drop_all(engine)
    project.write("lightbus.yaml", MANIFEST)
    missing = project.run("outbox", "list")
    assert missing.returncode == 69
    assert "has no table for the outbox" in dedent(missing.stderr)


def test_status_says_how_full_it_is_and_who_has_sent_last(
    project: Project, engine: Engine, redis_server: Server
) -> None:
    project.env["LIGHTBUS__BUS__REDIS__URL"] = redis_server.url
    (row,) = json.loads(project.run("status", "--json").stdout)["outboxes"]
    assert (row["service"], row["name"], row["rows"], row["failed"]) == ("shop", "sqlalchemy:db:engine", 2, 1)
    assert 0 <= row["oldest"] < 60 and row["process"] == "" and row["sent"] is None
    with project.start("relay", "--process-name", "relay-1") as relay:
        relay.wait_for_line("ready: ")
        eventually(lambda: states(engine) == [FAILED, HELD])

        def told() -> str:
            return project.run("status").stdout

        # The card of a process is renewed now and then.
        card = "lightbus:card:shop:relay-1"
        eventually(lambda: b'"sent":1' in (redis_server.execute("GET", card) or b""), 60)
        assert "relay-1" in told().partition("Outboxes: 1")[2]
        title, line = told().partition("Outboxes: 1")[2].splitlines()[1:3]
        assert title.split() == ["state", "service", "outbox", "waiting", "oldest", "dead", "sent", "by"]
        assert line.split()[:4] == ["dead", "shop", "sqlalchemy:db:engine", "1"]
    METADATA.drop_all(engine)
    said = project.run("status").stdout
    assert "not asked" in said and "the outbox sqlalchemy:db:engine can't be read: " in said
    project.write("db.py", "engine = 1 / 0\n")
    assert "db.py:1: importing the module 'db' raised" in project.run("status").stdout
