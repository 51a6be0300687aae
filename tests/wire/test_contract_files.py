"""Contracts as files that Lightbus 1.x and ours write for each other."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.guide.project import Project
from tests.support.processes import Process, clean_environment
from tests.support.servers import Server
from tests.wire.conftest import StartHost
from tests.wire.peer_1x import READY, SCRIPTS, Peer, config, find_peer
from tests.wire.test_interop import wait_for_contract

READER = """
import json, os
import lightbus

bus = lightbus.create(config=json.loads(os.environ["PEER_CONFIG"]))

@bus.client.on_start()
def on_start(**kwargs):
    known = bus.client.schema.local_schemas
    print("knows", json.dumps({name: known[name] for name in known if "." not in name}), flush=True)
"""


def program() -> str:
    python = find_peer()
    assert python is not None
    return str(python.parent / "lightbus")


def environment(url: str, folder: Path) -> dict[str, str]:
    return {"PEER_CONFIG": json.dumps(config(url)), "PEER_ROLES": "", "PYTHONPATH": f"{folder}:{SCRIPTS}"}


def test_a_1x_reads_the_directory_that_is_dumped_from_the_bus(
    peer: Peer, our_host: StartHost, shared_redis: Server, tmp_path: Path
) -> None:
    our_host("owner").wait_for_line("ready: ")
    project = Project(tmp_path / "elsewhere", shared_redis.url)
    project.folder.mkdir()
    dumped = project.run("dumpschema", "--from", "bus", "--out", "schemas")
    assert dumped.returncode == 0, dumped.stderr
    shared_redis.execute("FLUSHALL")
    (tmp_path / "reader").mkdir()
    (tmp_path / "reader" / "reader.py").write_text(READER)
    command = [program(), "run", "--bus", "reader", "--schema", str(project.folder / "schemas")]
    with Process(command, cwd=tmp_path, env=environment(shared_redis.url, tmp_path / "reader")) as old:
        line = old.wait_for_line("knows ")
        old.wait_for_line(READY)
    known: dict[str, Any] = json.loads(line.partition("knows ")[2])
    assert list(known) == ["auth"]
    assert known == json.loads((project.folder / "schemas" / "auth.json").read_text())


def test_ours_reads_the_directory_that_a_1x_dumps(
    peer: Peer, peer_worker: StartHost, shared_redis: Server, tmp_path: Path
) -> None:
    peer_worker("owner")
    wait_for_contract(shared_redis)
    (tmp_path / "theirs").mkdir()
    done = subprocess.run(
        [program(), "dumpschema", "--bus", "bus", "--out", str(tmp_path / "theirs")],
        cwd=SCRIPTS,
        env=clean_environment({**os.environ, **environment(shared_redis.url, SCRIPTS)}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    ours = Project(tmp_path / "ours", shared_redis.url)
    ours.folder.mkdir()
    assert ours.run("dumpschema", "--from", "bus", "--out", "schemas").returncode == 0
    for name in ("auth.json", "internal.state.json"):
        theirs = json.loads((tmp_path / "theirs" / name).read_text())
        assert theirs == json.loads((ours.folder / "schemas" / name).read_text())
    printed = ours.script(
        f"""
        import lightbus
        bus = lightbus.create()
        print("auth" in bus.schema.load_local({str(tmp_path / "theirs")!r}))
        print(*sorted(bus.schema.get("auth")))
        """
    )
    assert printed == "True\nevents rpcs\n"
