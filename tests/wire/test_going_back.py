"""A service goes back to a real Lightbus 1.x, and comes again: nothing that waits is stranded."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import lightbus
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.patient import ENVIRONMENT, patient
from tests.support.processes import Process
from tests.support.servers import Server
from tests.wire.our_bus import AuthApi
from tests.wire.peer_1x import SCRIPTS, Peer, config, find_peer, heard

STREAM, GROUP = "auth.*:stream", "old-on_user"
BUS = """
    from pathlib import Path
    from lightbus import Backoff, DeliveryPolicy

    def on_user(event_message, username, **kwargs):
        if username == "hopeless":
            raise KeyError(username)
        if username.startswith("later"):
            raise ValueError(username)
        with Path("heard").open("a") as heard:
            heard.write(f"{username}\\n")

    def before_server_start(bus):
        policy = DeliveryPolicy(backoff=Backoff(initial=3600, max=3600), give_up_on=(KeyError,))
        bus.auth.user_registered.listen(on_user, listener_name="on_user", on_error=policy)
"""
MANIFEST = """
    service_name: old
    modules: [bus]
    apis: {auth: {event_transport: {redis: {acknowledgement_timeout: 1s}}}}
"""

FIRES = """
from bus import bus
for n in range(350):
    bus.auth.user_registered.fire(username=str(n), email="", is_admin=False)
bus.client.close()
"""


@pytest.fixture
def project(tmp_path: Path, shared_redis: Server) -> Iterator[Project]:
    it = Project(tmp_path, shared_redis.url)
    it.env |= ENVIRONMENT
    it.write("bus.py", BUS)
    it.write("lightbus.yaml", MANIFEST)
    yield it
    it.close()


def fire(server: Server, *usernames: str) -> None:
    """Fire events as their owner would."""
    with lightbus.create(patient(server.url)) as bus:
        bus.client.register_api(AuthApi)
        for username in usernames:
            bus.auth.user_registered.fire(username=username, email="", is_admin=False)


def test_a_1x_handles_what_waited_for_us_and_we_what_it_left(
    project: Project, shared_redis: Server, peer: Peer
) -> None:
    host = project.host()
    fire(shared_redis, "fine", "later", "hopeless", "later still")
    keys = [f"{{{STREAM}}}:{what}:{GROUP}" for what in ("delayed", "dead")]
    eventually(lambda: shared_redis.execute("ZCARD", keys[0]) + shared_redis.execute("XLEN", keys[1]) == 3)
    refused = project.run("group", "hand-back", GROUP, "--yes")
    assert refused.returncode == 1 and f"reads the group {GROUP}" in refused.stderr
    assert host.terminate() == 0
    # A 1.x that fires would trim the stream so.
    fourth = shared_redis.execute("XRANGE", STREAM, "-", "+")[3][0]
    shared_redis.execute("XDEL", STREAM, fourth)
    looked = project.run("group", "hand-back", GROUP, "--dead-letters", "--dry-run")
    said = "into the pending list: 2 events; added again to the stream, which they left: 1 event"
    assert looked.stderr == f"{STREAM}: {said}; dead letters among these: 1\n"
    done = project.run("group", "hand-back", GROUP, "--dead-letters", "--yes")
    assert (done.returncode, done.stdout) == (0, f"handed back: {GROUP}: 3 events\n")
    with peer.worker("listener") as theirs:
        names = ["hopeless", "later", "later still"]
        eventually(lambda: sorted(each["kwargs"]["username"] for each in heard(theirs)) == names)
        theirs.terminate()
    # As one of them leaves an event that is killed while it runs.
    fire(shared_redis, "left", "new")
    shared_redis.execute("XREADGROUP", "GROUP", GROUP, "old1", "COUNT", 1, "STREAMS", STREAM, ">")
    with project.host() as again:
        ledger = project.folder / "heard"
        eventually(lambda: Counter(ledger.read_text().split()) == Counter(["fine", "left", "new"]))
        assert again.terminate() == 0


def test_the_host_says_how_many_events_a_1x_has_trimmed_while_it_was_away(
    project: Project, shared_redis: Server, peer: Peer
) -> None:
    with project.host() as host:
        fire(shared_redis, "fine")
        eventually((project.folder / "heard").exists)
        assert host.terminate() == 0
    settings = config(shared_redis.url)
    events = {"url": shared_redis.url, "max_stream_length": 100}
    settings["apis"]["default"]["event_transport"] = {"redis": events}
    env = {"PEER_CONFIG": json.dumps(settings), "PEER_ROLES": "owner", "PYTHONPATH": str(SCRIPTS)}
    with Process([str(find_peer()), "-c", FIRES], cwd=SCRIPTS, env=env) as firing:
        assert firing.wait(60) == 0, firing.output()
    gone = 350 - shared_redis.execute("XLEN", STREAM)
    assert gone > 100
    status = json.loads(project.run("status", "--json").stdout)
    assert [each["gone"] for each in status["listeners"]] == [gone]
    with project.host() as again:
        line = again.wait_for_line("are gone unread")
        assert re.search(rf"\b{gone} events of the group {GROUP} are gone", line), line
