"""``lightbus audit``: what commands have done to the bus, who did it, and what they say if not noted."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guide.project import Project
from tests.support.servers import Server

STREAM, AUDIT = "shop.*:stream", "lightbus:audit"
DEAD = "{shop.*:stream}:dead:shop-old"
SECRET = "card 4711-0815"


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    it = Project(tmp_path, redis_server.url)
    for name in ("shop-old", "shop-send", "mailer-send"):
        redis_server.execute("XGROUP", "CREATE", STREAM, name, "0", "MKSTREAM")
    added = ("reason", "failed", "error", "", "trace", "", "attempts", 1, "origin", "1-1")
    for number in range(3):
        fields = ("api_name", "shop", "event_name", "sold", "id", f"e{number}", ":card", json.dumps(SECRET))
        redis_server.execute("XADD", STREAM, f"{number + 1}-1", *fields)
        redis_server.execute("XADD", DEAD, f"{number + 1}-1", *fields, *added)
    listener = "{events: [shop.sold], handler: 'bus:send'}"
    it.write("lightbus.yaml", f"service_name: shop\napis: {{shop: {{}}}}\nlisteners: {{send: {listener}}}\n")
    yield it
    it.close()


def audited(project: Project, *args: str) -> list[dict[str, Any]]:
    done = project.run("audit", "--json", *args)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


#: Each command that acts on the bus, and what the audit says of it.
ACTS = [
    ("dlq drop 1-1", "dlq.drop", "1-1", {"ids": "1-1"}, 1),
    ("dlq replay --listener shop-old --reason failed", "dlq.replay", "shop-old", None, 2),
    ("pause mailer-send --until 2h", "listener.pause", "mailer-send", None, None),
    ("resume mailer-send", "listener.resume", "mailer-send", {}, None),
    ("group seek mailer-send --to end --yes", "group.seek", "mailer-send", {STREAM: "end"}, 1),
    ("group move shop-old shop-new --yes", "group.move", "shop-old", {"to": "shop-new"}, 1),
    ("group hand-back shop-new --yes", "group.hand-back", "shop-new", {}, 1),
    ("group rm shop-send --yes --drop-unread 3", "group.rm", "shop-send", {}, 1),
]


def test_each_command_that_acts_is_noted_with_who_and_why(project: Project, redis_server: Server) -> None:
    for command, *_ in ACTS:
        done = project.run(*command.split(), "--because", f"of {command[:9]}", SUDO_USER="ann")
        assert (done.returncode, "audit" in done.stderr) == (0, False), done.stderr
    found = audited(project)
    assert [each["action"] for each in found] == [action for _, action, *_ in ACTS]
    for act, (command, _, target, chosen, count) in zip(found, ACTS, strict=True):
        assert (act["target"], act["count"], act["outcome"]) == (target, count, "done"), act
        assert act["filter"] == chosen or chosen is None
        assert (act["user"], act["role"], act["origin"]) == (f"ann@{socket.gethostname()}", "cli", "cli")
        assert (act["reason"], act["format_version"], act["error"]) == (f"of {command[:9]}", 1, "")
        assert act["seconds"] >= 0
    assert found[0]["ids"] == ["1-1"] and len(found[1]["ids"]) == 2
    assert found[1]["filter"] == {"listener": "shop-old", "reason": "failed"}
    assert found[2]["filter"]["until"] > time.strftime("%Y")
    kept = redis_server.execute("XRANGE", AUDIT, "-", "+")
    assert len(kept) == 2 * len(ACTS), "one entry before each, and one after it"
    assert SECRET.encode() not in repr(kept).encode(), "never what a message says"


def test_what_only_looks_is_not_noted(project: Project, redis_server: Server) -> None:
    for command in (
        "dlq list",
        "dlq drop --all --dry-run",
        "group rm shop-old --dry-run",
        "group list",
        "audit",
    ):
        assert project.run(*command.split()).returncode == 0
    assert project.run("group", "rm", "shop-old").returncode == 64, "it asks, and nobody is there"
    assert redis_server.execute("EXISTS", AUDIT) == 0
    done = project.run("audit")
    assert (done.returncode, done.stdout) == (0, "nobody has done anything that fits\n")


def test_acts_are_chosen_by_time_and_action_and_user_and_number(
    project: Project, redis_server: Server
) -> None:
    entry = {"user": "bob@far", "action": "group.rm", "target": "x", "outcome": "done"}
    redis_server.execute("XADD", AUDIT, "1000-1", "act", json.dumps(entry))
    project.run("dlq", "drop", "1-1", SUDO_USER="ann")
    project.run("pause", "mailer-send", SUDO_USER="ann")
    for args, found in (
        ((), ["group.rm", "dlq.drop", "listener.pause"]),
        (("--since", "1h"), ["dlq.drop", "listener.pause"]),
        (("--since", "2020-01-01"), ["dlq.drop", "listener.pause"]),
        (("--action", "dlq"), ["dlq.drop"]),
        (("--user", "bob"), ["group.rm"]),
        (("--limit", "1"), ["listener.pause"]),
    ):
        assert [each["action"] for each in audited(project, *args)] == found
    assert project.run("audit", "--since", "soon").returncode == 64


def test_the_table_fits_a_terminal_and_tells_a_program_all(project: Project, redis_server: Server) -> None:
    user = "somebody-with-a-long-name@web-1.production.example.com"
    texts = {"action": "message.reveal", "target": "shop-a-listener-of-a-long-name", "role": "ops"}
    more = {"origin": "console", "address": "10.0.0.1", "reason": "a complaint", "outcome": "failed"}
    entry = {
        "user": user,
        **texts,
        **more,
        "error": "Redis is full",
        "count": 1_204,
        "chosen": {"api": "shop"},
    }
    redis_server.execute("XADD", AUDIT, "1790000000000-1", "act", json.dumps(entry))
    lines = project.run("audit").stdout.splitlines()
    assert re.split(r"\s{2,}", lines[0]) == ["outcome", "when", "who", "action", "of", "count", "more"]
    assert "failed" in lines[1] and user in lines[1] and "  1204  " in lines[1]
    assert lines[1].endswith("Redis is full; a complaint; api shop; by the console as ops; from 10.0.0.1")


def test_acts_of_others_are_followed(project: Project, redis_server: Server) -> None:
    project.run("pause", "mailer-send")
    following = project.start("audit", "--follow", "--json")
    following.wait_for_line("listener.pause")
    project.run("resume", "mailer-send")
    following.wait_for_line("listener.resume")
    following.interrupt()
    assert following.wait() == 130
    assert following.output().count("listener.pause") == 1


NO_AUDIT = "dlq.drop of 1-1 is not in the audit: the audit can't be written: "


def test_an_act_that_cannot_be_noted_is_done_and_that_is_said(project: Project, redis_server: Server) -> None:
    redis_server.execute("SET", AUDIT, "x")
    done = project.run("dlq", "drop", "1-1")
    assert done.returncode == 0 and done.stdout.startswith("dropped: 1-1")
    (line,) = done.stderr.splitlines()
    assert line.startswith(NO_AUDIT) and "WRONGTYPE" in line


def test_a_user_of_redis_without_the_right_is_told(project: Project, redis_server: Server) -> None:
    redis_server.execute("ACL", "SETUSER", "old-ops", "reset", "on", ">secret", "~*", "&*", "+@all", "-xadd")
    url = project.env["LIGHTBUS__BUS__REDIS__URL"].replace("redis://", "redis://old-ops:secret@")
    try:
        done = project.run("dlq", "drop", "1-1", LIGHTBUS__BUS__REDIS__URL=url)
    finally:
        redis_server.execute("ACL", "DELUSER", "old-ops")
    assert done.returncode == 0 and done.stderr.startswith(NO_AUDIT) and "NOPERM" in done.stderr


def test_redis_that_is_full_takes_no_entry_and_the_act_is_done(
    project: Project, redis_server: Server
) -> None:
    redis_server.execute("CONFIG", "SET", "maxmemory", 1)
    try:
        done = project.run("dlq", "drop", "1-1")
    finally:
        redis_server.execute("CONFIG", "SET", "maxmemory", 0)
    assert done.returncode == 0 and done.stdout.startswith("dropped: 1-1")
    assert done.stderr.startswith(NO_AUDIT) and "OOM" in done.stderr
