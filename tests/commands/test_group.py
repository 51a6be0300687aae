"""``lightbus group``: what a group is, said before anything is done to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from lightbus.cli import acting
from lightbus.insight.control.prospects import moved
from lightbus.transports.groups import Move
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
    titles = ["state", "group", "stream", "unread", "pending", "retrying", "dead", "read by"]
    assert [re.split(r"\s{2,}", line) for line in listed] == [
        titles,
        ["unserved", "mailer-send", STREAM, "3", "0", "0", "0", "nobody"],
        ["unserved", "shop-old", STREAM, "3", "0", "0", "0", "nobody"],
        ["2 groups"],
    ]
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
    for too_few in ((), ("--drop-unread", "2")):
        refused = project.run("group", "rm", "shop-old", "--yes", *too_few)
        assert refused.returncode == 64 and "3 events would go that wait for shop-old" in refused.stderr
        assert "add --drop-unread 3" in refused.stderr
    assert len(any_redis.execute("XINFO", "GROUPS", STREAM)) == 2
    done = project.run("group", "rm", "shop-old", "--yes", "--drop-unread", "3")
    assert (done.returncode, done.stdout) == (0, "removed: shop-old\n")
    assert len(any_redis.execute("XINFO", "GROUPS", STREAM)) == 1


def test_a_group_that_is_not_there_gets_a_sentence(project: Project) -> None:
    done = project.run("group", "rm", "old", "--yes")
    assert done.returncode == 1
    assert "there is no group 'old'; do you mean shop-old?" in done.stderr
    misspelt = project.run("group", "show", "mailer-sent")
    assert "there is no group 'mailer-sent'; do you mean mailer-send?" in misspelt.stderr
    unlike = project.run("group", "show", "x")
    assert "there is no group 'x'; lightbus group list shows those there are" in unlike.stderr


def test_a_group_that_is_read_is_not_removed(project: Project, any_redis: Server) -> None:
    any_redis.execute("XREADGROUP", "GROUP", "shop-old", "p1", "COUNT", 1, "STREAMS", STREAM, ">")
    for sure in ((), ("--yes",), ("--dry-run",)):
        done = project.run("group", "rm", "shop-old", *sure)
        assert done.returncode == 1 and "p1 reads the group shop-old" in done.stderr
        assert "unread" not in done.stderr, "it says what goes"
    assert len(any_redis.execute("XINFO", "GROUPS", STREAM)) == 2


def test_a_group_is_moved_after_it_was_said_what_goes(project: Project, any_redis: Server) -> None:
    looked = project.run("group", "move", "shop-old", "shop-new", "--dry-run")
    assert (looked.returncode, looked.stdout) == (0, "would be moved: shop-old to shop-new\n")
    said = "3 unread, 0 pending, 0 waiting for another attempt, 0 dead letters go to shop-new"
    assert looked.stderr == f"{STREAM}: {said}\n"
    asked = project.run("group", "move", "shop-old", "shop-new")
    assert asked.returncode == 64 and "add --yes" in asked.stderr
    done = project.run("group", "move", "shop-old", "shop-new", "--yes")
    assert (done.returncode, done.stdout) == (0, "moved: shop-old to shop-new\n")
    assert "3 unread" in project.run("group", "show", "shop-new").stdout
    again = project.run("group", "move", "shop-old", "shop-new", "--yes")
    assert again.returncode == 1 and "there is no group 'shop-old'" in again.stderr
    nowhere = project.run("group", "move", "shop-new", "new", "--yes")
    assert nowhere.returncode == 64 and "write SERVICE-LISTENER" in nowhere.stderr


@pytest.mark.parametrize(
    ("began", "had"),
    [
        ("0", "all events"),
        ("0-0", "all events"),
        ("1000-0", "the events since 1000-0 of 1970-01-01 00:00:01 UTC"),
    ],
)
def test_which_events_an_heir_has_had_itself_is_said(began: str, had: str) -> None:
    status: Any = SimpleNamespace(pending=0, retrying=0, dead=1)
    said = moved(Move(status, "shop-greet", unread=2, began=began))
    assert said.startswith(
        "2 unread, 0 pending, 0 waiting for another attempt, 1 dead letter go to shop-greet"
    )
    assert f"it has had {had} itself, so none of those is given to it again" in said


def test_a_question_is_broken_between_words_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def confirm(question: str, **_: Any) -> bool:
        asked.append(question)
        return True

    monkeypatch.setattr(acting, "line_width", lambda output: 40)
    monkeypatch.setattr(click, "confirm", confirm)
    acting.confirm("Move all that from shop-old to shop-new, and remove shop-old?", "nothing was done")
    (question,) = asked
    assert question == "Move all that from shop-old to\nshop-new, and remove shop-old?"
    assert all(len(line) <= 40 for line in f"{question} [y/N]: ".splitlines())


def test_a_group_that_is_read_is_neither_moved_nor_set_to_another_place(
    project: Project, any_redis: Server
) -> None:
    any_redis.execute("XREADGROUP", "GROUP", "shop-old", "p1", "COUNT", 1, "STREAMS", STREAM, ">")
    for command in (("move", "shop-old", "shop-new"), ("seek", "shop-old", "--to", "end")):
        done = project.run("group", *command, "--yes")
        assert done.returncode == 1 and "p1 reads the group shop-old" in done.stderr
    assert "2 unread, 1 pending" in project.run("group", "show", "shop-old").stdout


@pytest.mark.parametrize("change", ["seek shop-old --to end", "move shop-old shop-new"])
def test_one_that_is_read_in_one_of_its_streams_is_left_alone_in_all(
    project: Project, any_redis: Server, change: str
) -> None:
    any_redis.execute("XGROUP", "CREATE", "web.*:stream", "shop-old", "0", "MKSTREAM")
    any_redis.execute("XADD", "web.*:stream", "*", "id", "4")
    any_redis.execute("XREADGROUP", "GROUP", "shop-old", "p1", "STREAMS", "web.*:stream", ">")
    done = project.run("group", *change.split(), "--yes")
    assert done.returncode == 1 and "p1 reads the group shop-old of web.*:stream" in done.stderr
    (untouched,) = [group for group in any_redis.execute("XINFO", "GROUPS", STREAM) if b"shop-old" in group]
    assert untouched[untouched.index(b"last-delivered-id") + 1] == b"0-0"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (
            "start",
            "reads on from 1-1 of 1970-01-01 00:00:00 UTC, the oldest that is there; 3 events that it has",
        ),
        ("1-3", "reads on from 1-3 of 1970-01-01 00:00:00 UTC; 1 event that it has read run again"),
        ("1970-01-01T00:00:00+00:00", "the oldest that is there; 3 events that it has read run again"),
        ("1h", "reads on with the next event; nothing is skipped; 0 pending"),
        ("end", "reads on with the next event; nothing is skipped; 0 pending"),
    ],
)
def test_where_a_group_reads_on_is_said_before(
    project: Project, any_redis: Server, place: str, said: str
) -> None:
    any_redis.execute("XGROUP", "SETID", STREAM, "shop-old", "1-3")
    looked = project.run("group", "seek", "shop-old", "--to", place, "--dry-run")
    assert (looked.returncode, looked.stdout) == (0, f"would be moved: shop-old to {place}\n")
    assert said in looked.stderr
    done = project.run("group", "seek", "shop-old", "--to", place, "--yes")
    assert (done.returncode, done.stdout) == (0, f"moved: shop-old to {place}\n")
    unread = {"1-3": 1, "1h": 0, "end": 0}.get(place, 3)
    assert f"{unread} unread" in project.run("group", "show", "shop-old").stdout


@pytest.mark.parametrize("place", ["yesterday", "2026-01-31T12:00:00", "2026-01-31", "17-", "-1h"])
def test_a_place_that_can_not_be_read_is_refused(project: Project, place: str) -> None:
    done = project.run("group", "seek", "shop-old", f"--to={place}", "--yes")
    assert done.returncode == 64 and f"'{place}' is no place; write start, end, 2h" in done.stderr
