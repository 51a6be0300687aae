"""``lightbus inspect``: the events on a bus where nothing runs and no module is at hand."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.processes import clean_environment
from tests.support.servers import Server

OLD, NEW = 1_700_000_000_000, 1_800_000_000_000


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    it = Project(tmp_path, redis_server.url)
    yield it
    it.close()


def add(server: Server, native_id: int, name: str, *, version: int = 1, key: str = "", **kwargs: Any) -> None:
    """Store an event as anybody may have fired it."""
    api, _, event = name.rpartition(".")
    fields = ["id", f"id-{native_id}", "api_name", api, "event_name", event, "version", str(version)]
    for argument, value in kwargs.items():
        fields += [f":{argument}", json.dumps(value)]
    server.execute("XADD", key or f"{api}.*:stream", f"{native_id}-0", *fields)
    server.execute("SADD", "lightbus:streams", key or f"{api}.*:stream")


@pytest.fixture
def history(redis_server: Server) -> None:
    """Four events of three streams."""
    add(redis_server, OLD, "auth.user_registered", username="ann", address={"city": "London"})
    add(redis_server, OLD + 1, "auth.user_left", username="bob", version=2)
    add(redis_server, NEW, "shop.sold", sku="x", prices=[5, 10], key="shop.sold:stream")
    add(redis_server, NEW + 1, "internal.state.worker_ping", process_name="p")


def found(project: Project, *options: str) -> list[dict[str, Any]]:
    done = project.run("inspect", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def events(project: Project, *options: str) -> list[str]:
    return [f"{each['api_name']}.{each['event_name']}" for each in found(project, *options)]


REGISTERED, LEFT, SOLD = "auth.user_registered", "auth.user_left", "shop.sold"


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", [SOLD, LEFT, REGISTERED]),
        ("--limit 1", [SOLD]),
        ("--internal", ["internal.state.worker_ping", SOLD, LEFT, REGISTERED]),
        ("-a internal.state", ["internal.state.worker_ping"]),
        ("-a internal*", ["internal.state.worker_ping"]),
        (f"-i id-{NEW + 1}", ["internal.state.worker_ping"]),
        (f"-n {NEW + 1}-0", ["internal.state.worker_ping"]),
        ("--api auth", [LEFT, REGISTERED]),
        ("-a a*", [LEFT, REGISTERED]),
        ("-a shop -e sold", [SOLD]),
        ("--event *_left", [LEFT]),
        ("--version >1", [LEFT]),
        ("-v 1", [SOLD, REGISTERED]),
        ("--json-path address.city=London", [REGISTERED]),
        ("-j prices[*]>=10 -j sku=x", [SOLD]),
        ("--since 2025-01-01", [SOLD]),
        ("--since 1d", [SOLD]),
        (f"--id id-{OLD}", [REGISTERED]),
        (f"--native-id {OLD + 1}-0", [LEFT]),
        ("-a nobody", []),
    ],
)
def test_events_are_found_by(project: Project, options: str, expected: list[str]) -> None:
    assert events(project, *options.split()) == expected


def test_a_line_has_all_that_is_known_of_an_event(project: Project, redis_server: Server) -> None:
    add(redis_server, OLD, "auth.user_registered", username="ann")
    (line,) = found(project)
    assert line == {
        "id": f"id-{OLD}",
        "native_id": f"{OLD}-0",
        "api_name": "auth",
        "event_name": "user_registered",
        "version": 1,
        "kwargs": {"username": "ann"},
    }
    pretty = project.run("inspect", "--format", "pretty").stdout
    assert json.loads(pretty) == line and pretty.startswith('{\n  "id"')
    human = project.run("inspect", "-F", "human").stdout
    assert human.startswith("auth.user_registered  2023-11-1") and '    username     "ann"' in human


def test_what_is_shown_as_text_does_not_speak_to_the_terminal(project: Project, redis_server: Server) -> None:
    add(redis_server, OLD, "evil.\x1b[31m\nfake", text="\x9b0m")
    for options in (("-F", "human"), ("-F", "human", "--validate")):
        text = project.run("inspect", *options).stdout
        assert "\\x1b[31m\\nfake" in text and not {"\x1b", "\x9b"} & set(text)
    redis_server.execute("XGROUP", "CREATE", "evil.*:stream", "shop-\x1b[31mlist", "0")
    text = project.run("status").stdout
    assert "\\x1b[31mlist" in text and "\x1b" not in text


def test_an_event_that_is_not_there_is_a_failure(project: Project) -> None:
    for option in ("--id", "--native-id"):
        for given in ("1-1", ""):
            done = project.run("inspect", option, given)
            assert (done.returncode, done.stderr) == (1, "Error: there is no such event\n")
    assert found(project) == []


def test_an_entry_that_is_no_event_is_told(project: Project, redis_server: Server) -> None:
    redis_server.execute("XADD", "auth.*:stream", "1-1", "what", "ever")
    done = project.run("inspect")
    assert (done.returncode, done.stdout) == (0, "")
    assert "the entry 1-1 of auth.*:stream can't be read" in done.stderr


def test_a_long_stream_is_not_read_whole(project: Project, redis_server: Server) -> None:
    script = """
        for i = 1, 200000 do
            redis.call('XADD', 'auth.*:stream', i .. '-0', 'id', i, 'api_name', 'auth', 'event_name', 'e',
                       'version', '1', ':n', i)
        end
    """
    redis_server.execute("EVAL", script, 0, timeout=60)
    redis_server.execute("CONFIG", "RESETSTAT")
    assert [each["kwargs"] for each in found(project, "-j", "n>199990", "--limit", "1")] == [{"n": 200_000}]
    calls = redis_server.execute("INFO", "commandstats").decode()
    assert "cmdstat_xrevrange:calls=1," in calls and "cmdstat_xrange" not in calls


@pytest.mark.parametrize(
    "command", ["inspect | head -n 1", "status --watch --json | head -n 1", "config schema | true"]
)
def test_whoever_reads_may_stop(project: Project, redis_server: Server, command: str) -> None:
    for n in range(1, 2000):
        add(redis_server, n, "auth.e", text="x" * 200)
    pipe = f"{sys.executable} -m lightbus {command}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", pipe],
        cwd=project.folder,
        env=clean_environment(project.env),
        capture_output=True,
        text=True,
        timeout=100,
    )
    *shown, status = done.stdout.splitlines()
    assert (len(shown), status, done.stderr) == (command.count("head"), "1", "")


def test_following_begins_with_what_is_there_as_in_1x(project: Project, redis_server: Server) -> None:
    add(redis_server, OLD, "auth.first")
    add(redis_server, OLD + 1, "auth.second")
    following = project.start("inspect", "--follow", "--api", "auth")
    following.wait_for_line('"second"')
    add(redis_server, OLD + 2, "auth.third")
    following.wait_for_line('"third"')
    shown = [json.loads(line)["event_name"] for line in following.output().splitlines()]
    assert shown == ["first", "second", "third"]


def test_following_shows_what_comes_until_ctrl_c(project: Project, redis_server: Server) -> None:
    add(redis_server, 1, "auth.old")
    following = project.start("inspect", "--follow", "--since", "0s", "--event", "*")

    def seen() -> list[str]:
        return [json.loads(line)["event_name"] for line in following.output().splitlines()]

    started = 0
    while not seen():  # It does not say when it has begun.
        started = max(started + 1, int(time.time() * 1000))
        add(redis_server, started, "auth.new")
        add(redis_server, started, "shop.nothing_else", key="shop.x:stream")
        time.sleep(0.05)
    add(redis_server, started + 1, "late.newest", key="late.newest:stream")
    eventually(lambda: "newest" in seen())
    assert "old" not in seen()
    following.interrupt()
    assert following.wait() == 130
    assert "Traceback" not in following.output()


def test_following_outlives_redis(project: Project, redis_server: Server) -> None:
    following = project.start("inspect", "--follow", "--since", "2000-01-01")
    add(redis_server, OLD, "auth.before")
    following.wait_for_line("before")
    redis_server.kill()
    # If it came back before anything was asked of it, nobody would notice.
    following.wait_for_line("trying again")
    redis_server.start()
    add(redis_server, OLD + 1, "auth.after")
    following.wait_for_line("after")


BUS = """
    from datetime import datetime

    from lightbus import Api, Event, Parameter

    class AuthApi(Api):
        user_registered = Event(parameters=(Parameter("username", str), Parameter("at", datetime)))

        class Meta:
            name = "auth"

    def before_server_start(bus):
        bus.auth.user_registered.listen(mailer)

    def mailer(event_message, username, at: datetime):
        pass
"""


@pytest.mark.parametrize("options", [(), ("--limit", "1"), ("--id", f"id-{OLD}")])
def test_where_one_redis_is_away_the_others_are_searched_and_it_is_named(
    project: Project, history: None, options: tuple[str, ...]
) -> None:
    project.write("lightbus.yaml", "apis: {gone: {redis: {url: 'redis://127.0.0.1:1/0'}}}\n")
    done = project.run("inspect", *options)
    assert done.returncode == 69
    assert len(done.stdout.splitlines()) == (1 if options else 3)
    assert done.stderr.startswith("TransportUnavailable: Redis at 127.0.0.1:1/0 can't be reached")
    assert "127.0.0.1:1/0" in project.run("inspect", "--id", "none").stderr


def test_events_are_checked_by_their_contract(project: Project, redis_server: Server) -> None:
    project.write("bus.py", BUS)
    host = project.host()
    project.within("..")
    add(redis_server, 1, "auth.user_registered", username="ann", at="2026-01-01T00:00:00")
    assert [each["error"] for each in found(project, "--validate")] == [None]
    add(redis_server, 2, "auth.user_registered", username=1, at="2026-01-01T00:00:00")
    add(redis_server, 3, "shop.sold")
    done = project.run("inspect", "-d")
    unknown, wrong, right = [json.loads(line)["error"] for line in done.stdout.splitlines()]
    assert done.returncode == 1 and right is None
    assert "username" in wrong and "expected string" in wrong
    assert "no contract of the API 'shop'" in unknown
    assert "expected string" in project.run("inspect", "-d", "-F", "human").stdout
    host.terminate()


def test_without_the_owner_they_are_checked_by_this_projects_contract(
    project: Project, redis_server: Server
) -> None:
    project.write("bus.py", BUS)
    add(redis_server, 1, "auth.user_registered", username=1, at="2026-01-01T00:00:00")
    done = project.run("inspect", "--validate")
    assert done.returncode == 1
    assert "start the service that owns it, or add --show-casting" in json.loads(done.stdout)["error"]
    done = project.run("inspect", "--validate", "--show-casting")
    assert done.returncode == 1
    assert "expected string" in json.loads(done.stdout)["error"]


def test_what_listeners_get_is_shown(project: Project, redis_server: Server) -> None:
    project.write("bus.py", BUS)
    add(redis_server, 1, "auth.user_registered", username="ann", at="2026-01-01T00:00:00")
    add(redis_server, 2, "auth.user_registered", username="ann", at="soon")
    add(redis_server, 3, "auth.other")
    other, wrong, right = [each["casting"] for each in found(project, "--show-casting")]
    assert right == {"mailer": {"username": "'ann'", "at": "datetime.datetime(2026, 1, 1, 0, 0)"}}
    assert "soon" in wrong["mailer"] and other == {}
    human = project.run("inspect", "-C", "-F", "human").stdout
    assert "as mailer gets it:" in human and "datetime.datetime(2026, 1, 1, 0, 0)" in human


def test_castings_need_a_module(project: Project) -> None:
    done = project.run("inspect", "--show-casting", "--bus", "missing")
    assert done.returncode == 78 and "missing" in done.stderr and "Traceback" not in done.stderr


def test_every_redis_of_the_manifest_is_searched(
    project: Project, redis_server: Server, tmp_path: Path
) -> None:
    with Server("valkey") as other:
        project.write("lightbus.yaml", f"apis: {{shop: {{redis: {{url: '{other.url}'}}}}}}\n")
        add(redis_server, 1, "auth.first")
        add(other, 2, "shop.second")
        add(redis_server, 3, "auth.third")
        assert events(project) == ["auth.third", "shop.second", "auth.first"]


@pytest.mark.usefixtures("history")
def test_where_an_event_waits_is_told_for_each_listener(project: Project, redis_server: Server) -> None:
    stream = "auth.*:stream"
    for group in ("new", "held", "done", "other"):
        redis_server.execute("XGROUP", "CREATE", stream, f"s-{group}", "0")
        if group != "new":
            redis_server.execute(
                "XREADGROUP", "GROUP", f"s-{group}", "p1", "COUNT", 1, "STREAMS", stream, ">"
            )
        if group not in ("new", "held"):
            redis_server.execute("XACK", stream, f"s-{group}", f"{OLD}-0")
    for group in ("new", "done"):
        redis_server.execute("HSET", "lightbus:paused:s", group, '{"since": 1700000000, "by": "ann@box"}')
    listener = {"name": "other", "group": "s-other", "events": ["auth.user_left"]}
    card = {"service": "s", "process": "p1", "listeners": [listener]}
    redis_server.execute("SET", "lightbus:card:s:p1", json.dumps(card))
    redis_server.execute("ZADD", "lightbus:cards", int(time.time()) + 600, "s\0p1")
    (it,) = found(project, "--id", f"id-{OLD}")
    told = {each["group"]: (each["state"], each["process"], each["text"]) for each in it["where"]}
    paused = "not read yet; paused since 2023-11-14 22:13:20 UTC by ann@box"
    assert told["s-new"] == ("unread", "", paused)
    assert told["s-held"][:2] == ("held", "p1") and "attempt 1" in told["s-held"][2]
    assert told["s-done"] == ("passed", "", "handled")
    assert told["s-other"] == ("unwanted", "", "the listener does not ask for such events")
    text = project.run("inspect", "-a", "auth", "--where", "-F", "human").stdout
    assert f"  s-new        {paused}\n" in text and "  s-done       handled\n" in text
    assert "where" not in found(project, "-a", "auth")[0]
