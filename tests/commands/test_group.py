"""``lightbus group``: what a group is, said before anything is done to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guide.project import Project
from tests.support.servers import Server

STREAM = "shop.*:stream"


@pytest.fixture
def project(tmp_path: Path, any_redis: Server) -> Iterator[Project]:
    it = Project(tmp_path, any_redis.url)
    for name in ("shop-old", "mailer-send"):
        any_redis.execute("XGROUP", "CREATE", STREAM, name, "0", "MKSTREAM")
    for number in range(3):
        any_redis.execute("XADD", STREAM, f"1-{number + 1}", "id", str(number))
    it.write("lightbus.yaml", "service_name: shop\napis: {shop: {owner: shop}}\n")
    yield it
    it.close()


def test_groups_are_listed_and_shown(project: Project) -> None:
    listed = project.run("group", "list").stdout.splitlines()
    kept = "3 unread, 0 pending, 0 waiting for another attempt, 0 dead letters; no process reads it"
    assert listed == [f"mailer-send  {STREAM}  {kept}", f"shop-old  {STREAM}  {kept}", "2 groups"]
    (line,) = project.run("group", "show", "shop-old", "--json").stdout.splitlines()
    assert (json.loads(line)["lag"], json.loads(line)["group"]) == (3, "shop-old")
    shown = project.run("group", "show", "shop-old").stdout
    assert "state      3 unread, 0 pending; no process reads it" in shown


def test_a_group_is_removed_after_it_was_said_what_goes(project: Project, any_redis: Server) -> None:
    asked = project.run("group", "rm", "shop-old")
    assert asked.returncode == 64 and "add --yes" in asked.stderr and "3 unread" in asked.stderr
    looked = project.run("group", "rm", "shop-old", "--dry-run")
    assert (looked.returncode, looked.stdout) == (0, "would be removed: shop-old\n")
    assert len(any_redis.execute("XINFO", "GROUPS", STREAM)) == 2
    done = project.run("group", "rm", "shop-old", "--yes")
    assert (done.returncode, done.stdout) == (0, "removed: shop-old\n")
    assert len(any_redis.execute("XINFO", "GROUPS", STREAM)) == 1


def test_a_group_that_is_not_there_gets_a_sentence(project: Project) -> None:
    done = project.run("group", "rm", "old", "--yes")
    assert done.returncode == 1
    assert "there is no group 'old'; do you mean shop-old?" in done.stderr


def test_a_group_that_is_read_is_not_removed(project: Project, any_redis: Server) -> None:
    any_redis.execute("XREADGROUP", "GROUP", "shop-old", "p1", "COUNT", 1, "STREAMS", STREAM, ">")
    done = project.run("group", "rm", "shop-old", "--yes")
    assert done.returncode == 1 and "p1 reads the group shop-old" in done.stderr
    assert len(any_redis.execute("XINFO", "GROUPS", STREAM)) == 2
