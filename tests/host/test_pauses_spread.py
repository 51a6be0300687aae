"""Listeners that are paused, and schedules that run by hand, on a cluster and behind a Sentinel."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.several import Several

BUS = """
    import os
    from pathlib import Path
    from lightbus import Api, Event

    class ShopApi(Api):
        sold = Event(parameters=("n",))

        class Meta:
            name = "shop"

    def note(event, n):
        with Path("ledger").open("a") as ledger:
            ledger.write(f"{n}\\n")

    def close():
        with Path("closed").open("a") as closed:
            closed.write(f"{os.getpid()}\\n")
"""
MANIFEST = """
    service_name: shop
    modules: [bus]
    bus: {{redis: {redis}, remote_control: true}}
    apis: {{shop: {{event_transport: {{redis: {{acknowledgement_timeout: 1s}}}}}}}}
    listeners: {{note: {{events: [shop.sold], handler: "bus:note", concurrency: 3}}}}
    schedules: {{nightly: {{cron: "0 2 * * *", call: "bus:close"}}}}
"""
PAUSED = "the listener note is paused since"


@pytest.fixture
def shop(several: Several, tmp_path: Path) -> Iterator[Project]:
    with contextlib.closing(Project(tmp_path, None)) as project:
        project.write("bus.py", BUS)
        project.write("lightbus.yaml", MANIFEST.format(redis=json.dumps(several.redis)))
        yield project


def lines(shop: Project, name: str) -> list[str]:
    path = shop.folder / name
    return path.read_text().split() if path.exists() else []


def test_a_pause_outlasts_restarts_and_kill_9_and_nothing_is_lost(shop: Project, several: Several) -> None:
    one, two = shop.host(), shop.host()
    shop.fire("shop.sold", n=0)
    eventually(lambda: lines(shop, "ledger") == ["0"])
    paused = shop.run("pause", "note")
    assert paused.returncode == 0, paused.stderr
    fired = 1
    for number in range(1, 6):
        shop.fire("shop.sold", n=number)
        fired += 1
    one.kill()
    assert two.terminate() == 0
    three = shop.host()
    three.wait_for_line(PAUSED)
    shop.fire("shop.sold", n=fired)
    three.kill()
    four = shop.host()
    four.wait_for_line(PAUSED)
    (group,) = json.loads(shop.run("status", "--json").stdout)["listeners"]
    assert (group["lag"], group["paused"][:12]) == (fired, "paused since")
    assert lines(shop, "ledger") == ["0"], "nothing was taken"
    resumed = shop.run("resume", "note")
    assert (resumed.returncode, resumed.stdout) == (0, "resumed: shop-note\n"), resumed.stderr
    eventually(lambda: Counter(lines(shop, "ledger")) == Counter(map(str, range(fired + 1))))
    assert four.terminate() == 0


def test_a_schedule_is_run_by_hand_in_one_process(shop: Project) -> None:
    hosts = [shop.host(), shop.host()]
    done = shop.run("schedule", "run", "nightly")
    assert done.returncode == 0, done.stderr
    assert len(lines(shop, "closed")) == 1
    assert int(lines(shop, "closed")[0]) in {host.pid for host in hosts}
    listed = shop.run("schedule", "list")
    assert listed.returncode == 0 and "nightly" in listed.stdout
