"""Listeners of different APIs that share a name, and so a group, as 1.x has them; with real processes."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from pathlib import Path

from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server, free_port

BUS = """
    from pathlib import Path
    from lightbus import Api, DeliveryPolicy, Event

    class AApi(Api):
        happened = Event(parameters=("n",))

        class Meta:
            name = "a"

    class BApi(Api):
        happened = Event(parameters=("n",))

        class Meta:
            name = "b"

    class CApi(Api):
        happened = Event(parameters=("n",))

        class Meta:
            name = "c"

    def note(listener, message, n):
        with Path("ledger").open("a") as ledger:
            ledger.write(f"{listener} {message.api_name}.{n}\\n")

    def of_a(message, n):
        note("of_a", message, n)

    def of_b(message, n):
        note("of_b", message, n)
        if n == 7 and not Path("mended").exists():
            raise ValueError("no")

    def of_c(message, n):
        note("of_c", message, n)

    def before_server_start(bus):
        bus.a.happened.listen(of_a, listener_name="default")
        bus.b.happened.listen(of_b, listener_name="default", on_error=DeliveryPolicy(attempts=1))
"""
MANIFEST = """
    service_name: shop
    modules: [bus]
    http: {{listen: "127.0.0.1:{port}"}}
    listeners: {{default: {{events: [c.happened], handler: "bus:of_c", concurrency: {concurrency}}}}}
"""


def test_each_reads_its_own_streams_as_one_group_with_all_that_waits_there(
    project: Project, redis_server: Server
) -> None:
    port = free_port()
    project.env["LIGHTBUS__BUS__REDIS__URL"] = redis_server.url
    project.write("bus.py", BUS)
    project.write("lightbus.yaml", MANIFEST.format(port=port, concurrency=1))
    # As a 1.x that has stopped leaves its group.
    for api in "ab":
        redis_server.execute("XGROUP", "CREATE", f"{api}.*:stream", "shop-default", "0", "MKSTREAM")
        project.fire(f"{api}.happened", n=0)
    host = project.host()
    for api, n in (("a", 1), ("b", 7), ("c", 1), ("a", 2)):
        project.fire(f"{api}.happened", n=n)
    handled = ["of_a a.0", "of_a a.1", "of_a a.2", "of_b b.0", "of_b b.7", "of_c c.1"]
    eventually(lambda: ledger(project) == handled)

    def dead() -> dict[str, int]:
        shown = project.run("group", "show", "shop-default", "--json").stdout.splitlines()
        return {each["stream"]: each["dead"] for each in map(json.loads, shown)}

    eventually(lambda: dead() == {"a.*:stream": 0, "b.*:stream": 1, "c.*:stream": 0})
    (project.folder / "mended").touch()
    assert project.run("dlq", "replay", "--listener", "default").returncode == 0
    eventually(lambda: ledger(project) == sorted([*handled, "of_b b.7"]))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as reply:
        metrics = reply.read().decode()
    assert metrics.count('lightbus_events_in_flight{listener="default"}') == 1
    assert metrics.count('lightbus_listener_lag{listener="default"') == 3
    project.write("lightbus.yaml", MANIFEST.format(port=port, concurrency=2))
    os.kill(host.pid, signal.SIGHUP)
    host.wait_for_line("the manifest was applied: listeners.default.concurrency")
    assert host.terminate() == 0


def ledger(project: Project) -> list[str]:
    """Return which listener has handled which event, in the order of their names."""
    path = Path(project.folder / "ledger")
    return sorted(path.read_text().splitlines()) if path.exists() else []
