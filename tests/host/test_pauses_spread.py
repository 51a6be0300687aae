"""Listeners that are paused, and schedules that run by hand, on a cluster and behind a Sentinel."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guide.project import Project
from tests.host.noting import NotingShop
from tests.support.eventually import eventually
from tests.support.several import Several

MANIFEST = """
    service_name: shop
    modules: [bus]
    bus: {{redis: {redis}, remote_control: true}}
    listeners: {{note: {{events: [shop.sold], handler: "bus:note", concurrency: 3}}}}
    schedules: {{nightly: {{cron: "0 2 * * *", call: "bus:close"}}}}
"""
PAUSED = "the listener note is paused since"


@pytest.fixture
def shop(several: Several, tmp_path: Path) -> Iterator[NotingShop]:
    with contextlib.closing(Project(tmp_path, None)) as project:
        shop = NotingShop(project)
        shop.write(MANIFEST.format(redis=json.dumps(several.redis)))
        yield shop


def test_a_pause_outlasts_restarts_and_kill_9_and_nothing_is_lost(shop: NotingShop) -> None:
    project = shop.project
    one, two = project.host(), project.host()
    shop.fire()
    eventually(shop.all_once)
    paused = project.run("pause", "note")
    assert paused.returncode == 0, paused.stderr
    shop.fire(5)
    one.kill()
    assert two.terminate() == 0
    three = project.host()
    three.wait_for_line(PAUSED)
    shop.fire()
    three.kill()
    four = project.host()
    four.wait_for_line(PAUSED)
    (group,) = json.loads(project.run("status", "--json").stdout)["listeners"]
    assert (group["lag"], group["paused"][:12]) == (6, "paused since")
    assert shop.noted == {0: 1}, "nothing was taken"
    resumed = project.run("resume", "note")
    assert (resumed.returncode, resumed.stdout) == (0, "resumed: shop-note\n"), resumed.stderr
    eventually(shop.all_once)
    assert four.terminate() == 0


def test_a_schedule_is_run_by_hand_in_one_process(shop: NotingShop) -> None:
    hosts = [shop.project.host(), shop.project.host()]
    done = shop.project.run("schedule", "run", "nightly")
    assert done.returncode == 0, done.stderr
    (pid,) = shop.closed
    assert pid in {host.pid for host in hosts}
    listed = shop.project.run("schedule", "list")
    assert listed.returncode == 0 and "nightly" in listed.stdout
