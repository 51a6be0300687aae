"""``lightbus relay``: a host that sends the events of outboxes, and does nothing else."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from lightbus.bus.path import BusPath
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.servers import Server, free_port

from .conftest import arguments
from .test_sqlalchemy import METADATA, number_of, place

DATABASE = """
    from sqlalchemy import create_engine

    engine = create_engine("sqlite:///data/db.sqlite3")
    """
BUS = """
    print("the bus module is imported", flush=True)

    import lightbus
    from lightbus import Api

    class ShopApi(Api):
        class Meta:
            name = "shop"
    """
MANIFEST = """
    service_name: shop
    modules: [bus]
    processes: 2
    outbox: {sqlalchemy: "db:engine", poll: 20ms}
    listeners: {tell: {events: [shop.placed], handler: "nowhere:tell"}}
    """


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """The database of the project, with the tables."""
    (tmp_path / "data").mkdir()
    engine = create_engine(f"sqlite:///{tmp_path}/data/db.sqlite3")
    METADATA.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    """A service with an outbox, an API and a listener whose handler is not there."""
    it = Project(tmp_path, redis_server.url)
    it.write("db.py", DATABASE)
    it.write("bus.py", BUS)
    it.write("lightbus.yaml", MANIFEST)
    yield it
    it.close()


def started(project: Project, *options: str) -> Process:
    process = project.start("relay", *options)
    process.wait_for_line("ready: ")
    return process


def test_it_sends_and_neither_imports_handlers_nor_owns_apis(
    project: Project, engine: Engine, bus: BusPath, redis_server: Server
) -> None:
    place(bus, engine, 1)
    port = free_port()
    relay = started(project, "--set", f"http.listen={port}")
    eventually(lambda: arguments(redis_server, "number") == [1])

    def ask(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return str(answer.read().decode())

    eventually(lambda: 'lightbus_outbox_relayed_total{database="sqlalchemy:db:engine",outcome="sent"} 1.0'
               in ask("/metrics"))  # fmt: skip
    assert '"status": "ready"' in ask("/readyz")
    said = relay.output()
    assert "outbox sqlalchemy:db:engine: 500 events at a time" in said and "features: outbox" in said
    assert "is imported" not in said
    keys = [key.decode() for key in redis_server.execute("KEYS", "*")]
    assert not [key for key in keys if "rpc_queue" in key or "owner" in key or "schema:shop" in key]
    project.write("lightbus.yaml", MANIFEST.replace("listeners", "bus: {log_level: debug}\n    listeners"))
    os.kill(relay.pid, signal.SIGHUP)
    relay.wait_for_line("the manifest was applied: bus.log_level")

    relay.kill()
    place(bus, engine, 2)
    relay = started(project)
    eventually(lambda: arguments(redis_server, "number") == [1, 2])
    assert relay.terminate() == 0


def test_it_waits_for_redis_and_for_its_database(
    project: Project, bus: BusPath, redis_server: Server, tmp_path: Path
) -> None:
    port = free_port()
    redis_server.pause()
    try:
        relay = project.start(
            "relay", "--set", f"http.listen={port}", "--set", "bus.redis.connect_timeout=1s"
        )
        relay.wait_for_line("can't start yet")
    finally:
        redis_server.resume()
    relay.wait_for_line("ready: ")
    relay.wait_for_line("the relay can't read the outbox sqlalchemy:db:engine")

    def not_ready() -> str:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz")
        return refused.value.read().decode()

    assert "unable to open database file" in not_ready()
    (tmp_path / "data").mkdir()
    eventually(lambda: "has no table for the outbox" in not_ready())
    engine = create_engine(f"sqlite:///{tmp_path}/data/db.sqlite3")
    METADATA.create_all(engine)
    place(bus, engine, 1)
    eventually(lambda: number_of(engine) == 0)
    engine.dispose()
    assert arguments(redis_server, "number") == [1]
    assert relay.terminate() == 0
    nobody = {"LIGHTBUS__BUS__REDIS__URL": "redis://127.0.0.1:1/0"}
    assert project.run("relay", "--fail-fast", **nobody).returncode == 69


@pytest.mark.parametrize(
    ("outbox", "where"), [("", "lightbus.yaml: "), ("outbox: {poll: 2s}", "lightbus.yaml:4:9: ")]
)
def test_a_manifest_without_an_outbox_is_told(project: Project, outbox: str, where: str) -> None:
    project.write("lightbus.yaml", MANIFEST.replace('outbox: {sqlalchemy: "db:engine", poll: 20ms}', outbox))
    done = project.run("relay")
    assert done.returncode == 78
    assert f"{where}no outbox is named; write outbox: {{django: default}}" in done.stderr
