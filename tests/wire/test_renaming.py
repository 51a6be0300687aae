"""A listener that was renamed on the way from Lightbus 1.x, while a real 1.x still reads its old group."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.patient import ENVIRONMENT
from tests.support.servers import Server
from tests.wire.peer_1x import Peer, heard
from tests.wire.test_going_back import STREAM, fire
from tests.wire.test_interop import groups, wait_for_group

BUS = """
    from pathlib import Path

    def greet(event_message, username, **kwargs):
        with Path("heard").open("a") as heard:
            heard.write(f"{username}\\n")
"""
MANIFEST = """
    service_name: old
    modules: [bus]
    apis: {auth: {event_transport: {redis: {acknowledgement_timeout: 1s}}}}
    listeners: {greet: {events: [auth.user_registered], handler: "bus:greet", renamed_from: on_user}}
"""
#: The command where a process counts as gone after half a second of silence, not after a minute.
HASTY = """
import sys
from lightbus.transports import groups
groups.SILENT = 0.5
from lightbus.cli import main
sys.argv[0] = "lightbus"
main()
"""


@pytest.fixture
def project(tmp_path: Path, shared_redis: Server) -> Iterator[Project]:
    it = Project(tmp_path, shared_redis.url)
    it.env |= ENVIRONMENT
    it.write("bus.py", BUS)
    it.write("lightbus.yaml", MANIFEST)
    yield it
    it.close()


def move(project: Project, *options: str) -> subprocess.CompletedProcess[str]:
    return project.python("-c", HASTY, "group", "move", "old-on_user", "old-greet", *options)


@pytest.mark.timeout(300)
def test_no_event_is_lost_or_run_twice(project: Project, shared_redis: Server, peer: Peer) -> None:
    ledger = project.folder / "heard"
    ledger.touch()
    with peer.worker("listener") as theirs:
        wait_for_group(shared_redis, "old-on_user")
        fire(shared_redis, "before")
        eventually(lambda: len(heard(theirs)) == 1)
        ours = project.host()
        ours.wait_for_line("waits to take over what was on_user's: old1 reads the group old-on_user")
        fire(shared_redis, *(f"beside {n}" for n in range(50)))
        eventually(lambda: len(heard(theirs)) == 51)
        refused = project.run("group", "move", "old-on_user", "old-greet", "--yes")
        assert refused.returncode == 1 and "old1 reads the group old-on_user" in refused.stderr
        assert "stop it first; if it was killed, run this again in" in refused.stderr
        # All are acknowledged: else those would come again that it has told of only just now.
        eventually(lambda: shared_redis.execute("XPENDING", STREAM, "old-on_user")[0] == 0)
        # An event that it holds while it is killed, and those that come afterwards.
        theirs.kill()
        by_them = [each["kwargs"]["username"] for each in heard(theirs)]
    fire(shared_redis, "held")
    shared_redis.execute("XREADGROUP", "GROUP", "old-on_user", "old1", "COUNT", 1, "STREAMS", STREAM, ">")
    fire(shared_redis, *(f"after {n}" for n in range(5)))
    assert "old-greet" not in groups(shared_redis) and ledger.read_text() == "", "it waits"

    def moved() -> bool:
        done = move(project, "--yes")
        assert "old1 is a Lightbus 1.x, which is heard of only when it reads something" in done.stderr or (
            "reads the group" in done.stderr
        )
        return done.returncode == 0

    # It is heard of a minute after it has read, and a busy machine asks later than that.
    eventually(moved, 150)
    fire(shared_redis, "last")
    names = ["before", "held", "last", *(f"beside {n}" for n in range(50)), *(f"after {n}" for n in range(5))]
    eventually(lambda: Counter([*by_them, *ledger.read_text().splitlines()]) == Counter(names), 60)
    assert "old-on_user" not in groups(shared_redis)
    assert ours.terminate() == 0
