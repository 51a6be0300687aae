"""``lightbus pause`` and ``resume``: which listener is meant, for how long, and what they say."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guide.project import Project
from tests.support.servers import Server

STREAM, PAUSED = "shop.*:stream", "lightbus:paused:shop"


@pytest.fixture
def project(tmp_path: Path, any_redis: Server) -> Iterator[Project]:
    it = Project(tmp_path, any_redis.url)
    any_redis.execute("XGROUP", "CREATE", STREAM, "mailer-send", "0", "MKSTREAM")
    any_redis.execute("XADD", STREAM, "1-1", "id", "1")
    listener = "{events: [shop.sold], handler: 'bus:send'}"
    it.write("lightbus.yaml", f"service_name: shop\napis: {{shop: {{}}}}\nlisteners: {{count: {listener}}}\n")
    yield it
    it.close()


def pause_of(server: Server, listener: str, service: str = "shop") -> dict[str, Any] | None:
    written = server.execute("HGET", f"lightbus:paused:{service}", listener)
    read: dict[str, Any] | None = json.loads(written) if written is not None else None
    return read


def test_a_listener_is_paused_and_goes_on(project: Project, any_redis: Server) -> None:
    done = project.run("pause", "count")
    assert (done.returncode, done.stdout) == (0, "paused: shop-count\n")
    assert "no process runs it now; it stays paused when one is started" in done.stderr
    pause = pause_of(any_redis, "count")
    assert pause is not None and pause["until"] is None and "@" in pause["by"]
    assert abs(pause["since"] - time.time()) < 60
    again = project.run("resume", "shop-count")
    assert (again.returncode, again.stdout) == (0, "resumed: shop-count\n")
    assert any_redis.execute("EXISTS", PAUSED) == 0
    refused = project.run("resume", "shop-count")
    assert (refused.returncode, refused.stderr) == (1, "Error: the listener shop-count is not paused\n")


def test_one_of_another_service_is_known_by_its_group(project: Project, any_redis: Server) -> None:
    done = project.run("pause", "send", "--until", "2h")
    assert done.returncode == 0 and done.stdout.startswith("paused: mailer-send until 2")
    assert "what is fired waits for it: shop.*:stream keeps all of that" in done.stderr
    pause = pause_of(any_redis, "send", "mailer")
    assert pause is not None and abs(pause["until"] - time.time() - 7_200) < 60
    (shown,) = [line for line in project.run("status").stdout.splitlines() if line.startswith("paused")]
    assert "mailer-send" in shown and shown.endswith("paused")
    notes = json.loads(project.run("status", "--json").stdout)["notes"]
    (note,) = [note for note in notes if "the group mailer-send is paused since" in note]
    assert note.endswith("it goes on with lightbus resume mailer-send")


def test_a_listener_that_is_not_there_gets_a_sentence(project: Project, any_redis: Server) -> None:
    done = project.run("pause", "mailer-sent")
    assert done.returncode == 1
    assert "there is no listener 'mailer-sent'; do you mean mailer-send?" in done.stderr
    any_redis.execute("XGROUP", "CREATE", STREAM, "web-send", "0")
    several = project.run("pause", "send")
    assert several.returncode == 1 and "mailer-send and web-send; name one of these" in several.stderr
    assert any_redis.execute("KEYS", "lightbus:paused:*") == []


@pytest.mark.parametrize("until", ["soon", "-2h", "2020-01-01T00:00:00Z", "2099-01-01T00:00:00"])
def test_a_time_that_is_none_or_past_or_without_a_zone_is_refused(project: Project, until: str) -> None:
    done = project.run("pause", "count", f"--until={until}")
    assert done.returncode == 64 and "is no time to come; write 30m or 2h" in done.stderr


def test_a_time_may_be_given_with_its_zone(project: Project, any_redis: Server) -> None:
    assert project.run("pause", "count", "--until", "2099-01-01T00:00:00+00:00").returncode == 0
    pause = pause_of(any_redis, "count")
    assert pause is not None and abs(pause["until"] - 4_070_908_800) < 5


def test_a_reader_that_shows_no_card_is_said_not_to_heed_it(project: Project, any_redis: Server) -> None:
    any_redis.execute("XREADGROUP", "GROUP", "mailer-send", "old-1", "COUNT", 1, "STREAMS", STREAM, ">")
    done = project.run("pause", "mailer-send")
    assert done.returncode == 0
    assert "old-1 reads its events, too, and is a Lightbus 1.x or may not heed pauses" in done.stderr


GOES_ON = re.compile(
    r"mailer-send is paused since \d{4}-\d\d-\d\d .* UTC by .+@.+; it takes nothing "
    r"until lightbus resume mailer-send"
)


def test_whoever_looks_at_its_group_or_its_dead_letters_is_told(project: Project, any_redis: Server) -> None:
    added = ("reason", "failed", "error", "", "trace", "", "attempts", 1, "origin", "1-1")
    fields = ("api_name", "shop", "event_name", "sold", "id", "e1")
    any_redis.execute("XADD", "{shop.*:stream}:dead:mailer-send", "1-1", *fields, *added)
    for command in ("dlq list", "dlq replay --all --dry-run", "group list", "group show mailer-send"):
        assert "paused" not in str(project.run(*command.split()))
    project.run("pause", "mailer-send")
    (row,) = [line for line in project.run("group", "list").stdout.splitlines() if "mailer-send" in line]
    assert row.startswith("paused ")
    (fact,) = [
        line for line in project.run("group", "show", "mailer-send").stdout.splitlines() if "paused" in line
    ]
    assert fact.startswith("paused     paused since ")
    assert fact.endswith("; it goes on with lightbus resume mailer-send")
    (shown,) = project.run("group", "list", "--json").stdout.splitlines()
    assert json.loads(shown)["paused"].startswith("paused since ")
    for command in ("dlq list", "dlq replay --all"):
        assert GOES_ON.fullmatch(project.run(*command.split()).stderr.strip())


def test_a_service_with_dashes_in_its_name_is_told_apart(project: Project, any_redis: Server) -> None:
    any_redis.execute("XGROUP", "CREATE", STREAM, "a-b-c-d", "0")
    any_redis.execute("HSET", "lightbus:paused:a-b", "c-d", '{"since": 1.0, "by": "ann@box"}')
    rows = {
        line.split()[1]: line.split()[0] for line in project.run("group", "list").stdout.splitlines()[1:-1]
    }
    assert rows == {"a-b-c-d": "paused", "mailer-send": "unserved"}


def test_doctor_says_which_listeners_of_the_service_are_paused(project: Project, any_redis: Server) -> None:
    any_redis.execute("XGROUP", "CREATE", STREAM, "shop-count", "0")
    project.write("bus.py", "from lightbus import Api, Event\ndef send(event): ...\n")
    project.run("pause", "count", "--until", "2h")
    project.run("pause", "mailer-send")
    told = " ".join(project.run("doctor").stdout.split())
    assert re.search(r"the listener shop-count is paused since .* until .* takes nothing until", told)
    assert "mailer-send is paused" not in told


def test_who_may_not_read_pauses_sees_all_else(project: Project, redis_server: Server) -> None:
    rules = ("~*", "&*", "+@all", "-hgetall")
    redis_server.execute("ACL", "SETUSER", "reader", "reset", "on", ">secret", *rules)
    url = redis_server.url.replace("redis://", "redis://reader:secret@")
    redis_server.execute("XGROUP", "CREATE", STREAM, "mailer-send", "0", "MKSTREAM")
    try:
        done = project.run("group", "list", LIGHTBUS__BUS__REDIS__URL=url)
    finally:
        redis_server.execute("ACL", "DELUSER", "reader")
    assert done.returncode == 0 and "mailer-send" in done.stdout
    assert "the pauses of listeners can't be read" in done.stderr and "NOPERM" in done.stderr


def test_a_group_that_is_moved_takes_its_pause_along(project: Project, any_redis: Server) -> None:
    assert project.run("pause", "mailer-send").returncode == 0
    before = pause_of(any_redis, "send", "mailer")
    looked = project.run("group", "move", "mailer-send", "crm-send", "--dry-run")
    assert "mailer-send is paused since" in looked.stderr and "so is crm-send from then on" in looked.stderr
    assert pause_of(any_redis, "send", "crm") is None
    moved = project.run("group", "move", "mailer-send", "crm-send", "--yes")
    assert moved.returncode == 0, moved.stderr
    assert pause_of(any_redis, "send", "crm") == before and pause_of(any_redis, "send", "mailer") is None
    assert "crm-send" in project.run("resume", "crm-send").stdout
    assert any_redis.execute("KEYS", "lightbus:paused:*") == []
