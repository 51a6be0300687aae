"""``lightbus schedule pause`` and ``resume``: which schedule is meant, for how long, and what they say."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lightbus.transports.cards import Card, ScheduleCard
from tests.guide.project import Project
from tests.support.servers import Server
from tests.web.bus import show


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    it = Project(tmp_path, redis_server.url)
    schedules = "schedules: {close: {every: 1h, call: 'jobs:close'}}\n"
    it.write("lightbus.yaml", f"service_name: shop\nmodules: []\n{schedules}")
    yield it
    it.close()


def pause_of(server: Server, schedule: str, service: str = "shop") -> dict[str, Any] | None:
    written = server.execute("HGET", f"lightbus:paused:{service}", f"schedule:{schedule}")
    read: dict[str, Any] | None = json.loads(written) if written is not None else None
    return read


def run_by(server: Server, service: str, name: str, **more: Any) -> None:
    """Let a process of a service show that it has a schedule."""
    schedules = (ScheduleCard(name=name, times="every 60 s", **more),)
    show(server, Card(service=service, process=f"{service}-1", kind="host", schedules=schedules))


def test_one_of_the_manifest_is_paused_and_resumed_though_nothing_runs(
    project: Project, redis_server: Server
) -> None:
    done = project.run("schedule", "pause", "close", "--until", "2h")
    assert done.returncode == 0 and done.stdout.startswith("paused: shop:close until 2")
    assert done.stderr == "no process has it now; it stays paused when one is started\n"
    pause = pause_of(redis_server, "close")
    assert pause is not None and abs(pause["until"] - time.time() - 7_200) < 60 and "@" in pause["by"]
    longer = project.run("schedule", "pause", "close")
    now = pause_of(redis_server, "close")
    assert longer.returncode == 0 and now is not None and now == {**pause, "until": None}
    done = project.run("schedule", "resume", "close")
    assert (done.returncode, done.stdout) == (0, "resumed: shop:close\n")
    ended = pause_of(redis_server, "close")
    assert ended is not None and pause["since"] < ended["until"] < time.time() + 60
    again = project.run("schedule", "resume", "close")
    assert (again.returncode, again.stderr) == (
        1,
        "ScheduleRefused: the schedule close of shop is not paused\n",
    )
    kept = [json.loads(line) for line in project.run("audit", "--json").stdout.splitlines()]
    assert [(each["action"], each["target"]) for each in kept] == [
        *(("schedule.pause", "shop:close"), ("schedule.pause", "shop:close")),
        ("schedule.resume", "shop:close"),
    ]


def test_one_of_another_service_is_found_and_of_several_one_has_to_be_named(
    project: Project, redis_server: Server
) -> None:
    run_by(redis_server, "mailer", "sweep", is_paused=True)
    assert project.run("schedule", "pause", "sweep").stdout == "paused: mailer:sweep\n"
    shown = project.run("status")
    (row,) = [line for line in shown.stdout.splitlines() if line.startswith("paused")]
    assert "sweep" in row
    told = " ".join(shown.stdout.split())
    assert "the schedule sweep of mailer is paused since" in told
    assert "lightbus schedule resume sweep --service mailer" in told
    (listed,) = project.run("schedule", "list", "--json").stdout.splitlines()
    assert json.loads(listed)["paused"].startswith("paused since ")
    run_by(redis_server, "web", "sweep", is_paused=True)
    several = project.run("schedule", "pause", "sweep")
    assert several.returncode == 1
    assert "several services have a schedule 'sweep': mailer and web; say which one by --service" in (
        several.stderr
    )
    assert project.run("schedule", "pause", "sweep", "--service", "web").stdout == "paused: web:sweep\n"
    # One that nobody runs any more is known by its pause.
    redis_server.execute("DEL", "lightbus:card:web:web-1")
    assert project.run("schedule", "resume", "sweep", "--service", "web").returncode == 0


def test_one_that_is_not_there_gets_the_name_that_is_meant(project: Project, redis_server: Server) -> None:
    run_by(redis_server, "mailer", "sweep")
    for arguments, told in (
        (("swep",), "there is no schedule 'swep'; did you mean sweep?"),
        (("clos",), "there is no schedule 'clos'; did you mean close?"),
        (("sweep", "--service", "mailr"), "no process of the service 'mailr' is alive; did you mean mailer?"),
        (("close", "--service", "mailer"), "the service 'mailer' has no schedule 'close'; there are: sweep"),
    ):
        done = project.run("schedule", "pause", *arguments)
        assert (done.returncode, done.stderr) == (1, f"ScheduleRefused: {told}\n")
    assert redis_server.execute("KEYS", "lightbus:paused:*") == []


def test_a_process_that_does_not_heed_it_is_named(project: Project, redis_server: Server) -> None:
    run_by(redis_server, "mailer", "sweep", running=1)
    done = project.run("schedule", "pause", "sweep")
    assert (done.returncode, done.stdout) == (1, "paused: mailer:sweep\n")
    assert "1 run of it had begun, and may end" in done.stderr
    assert "mailer-1 may run it still, as far as is known after 6 s" in " ".join(done.stderr.split())


@pytest.mark.parametrize("until", ["soon", "-2h", "2020-01-01T00:00:00Z"])
def test_a_time_that_is_none_or_past_is_refused(project: Project, until: str) -> None:
    done = project.run("schedule", "pause", "close", f"--until={until}")
    assert done.returncode == 64 and "is no time to come; write 30m or 2h" in done.stderr


def test_who_may_not_pause_is_told_so(project: Project, redis_server: Server) -> None:
    rules = ("~*", "&*", "+@all", "-hset")
    redis_server.execute("ACL", "SETUSER", "reader", "reset", "on", ">secret", *rules)
    url = redis_server.url.replace("redis://", "redis://reader:secret@")
    try:
        done = project.run("schedule", "pause", "close", LIGHTBUS__BUS__REDIS__URL=url)
    finally:
        redis_server.execute("ACL", "DELUSER", "reader")
    assert done.returncode != 0 and "NOPERM" in done.stderr and "Traceback" not in done.stderr
    assert "the pause of the schedule close of shop is not changed" in " ".join(done.stderr.split())
    assert pause_of(redis_server, "close") is None
