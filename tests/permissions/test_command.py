"""``lightbus acl``: what each of its options changes, and what it says of a Redis that allows too little."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightbus.transports.redis import scripts
from lightbus.transports.redis.acl import needs
from lightbus.transports.redis.acl.rules import rules_of
from lightbus.transports.redis.keys import pattern_of
from lightbus.transports.redis.link.permissions import Channel, Key, Need
from lightbus.transports.redis.scripts import Script
from tests.conftest import require
from tests.guide.project import Project
from tests.support.servers import Kind, Server, ServerPool

from .page import PAGE, PASSWORD, As, parts, refused, set_user, write

SECRET = "not-to-be-seen"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    it = Project(tmp_path, None)
    it.write("secret", f"{SECRET}\n")
    it.write(
        "web.yaml",
        """
        service_name: web
        bus: {redis: {url: "redis://redis:6379/0", username: web, password: "${file:secret}"}}
        apis: {shop.orders: {owner: shop}}
        """,
    )
    yield it
    it.close()


@pytest.fixture(params=["redis7", "valkey"])
def server(request: pytest.FixtureRequest, servers: ServerPool) -> Iterator[Server]:
    kind: Kind = request.param
    require(kind)
    it = servers.clean(kind)
    yield it
    for user in ("web", "asker", "jobs", "ops"):
        it.execute("ACL", "DELUSER", user)


def users(project: Project, *arguments: str) -> dict[str, str]:
    """The rules of each user that the command writes."""
    done = project.run("acl", *arguments)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return {name: rest for _, name, rest in (line.split(" ", 2) for line in done.stdout.splitlines())}


def test_the_page_shows_what_is_written() -> None:
    shown = re.findall(r"^```text acl\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert sorted("".join(shown).splitlines()) == sorted(write("--format", "roles").splitlines())


def test_a_password_is_written_as_its_digest_and_the_user_without_one_is_told(project: Project) -> None:
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    written = users(project, "web.yaml")
    assert written["web"].startswith(f"on #{digest} resetchannels ") and written["default"] == "off"
    done = project.run("acl", "web.yaml", "--set", "bus.redis.password=", "--operator", "ops")
    assert "the user 'ops' has no password" in done.stderr


def test_commands_for_a_redis_that_runs_make_the_user(project: Project, server: Server) -> None:
    done = project.run("acl", "web.yaml", "--format", "setuser")
    (line,) = done.stdout.splitlines()
    assert line.startswith("ACL SETUSER web reset on #")
    assert server.execute(*line.split(" ")) in (b"OK", "OK")
    it = As(server, "web", SECRET)
    assert it.send("RPUSH", "shop.orders:rpc_queue", "x") == 1
    assert "NOPERM" in str(it.send("LPOP", "shop.orders:rpc_queue"))
    it.close()


def test_each_option_changes_who_is_written_and_what_they_may_do(project: Project) -> None:
    assert "~auth:rpc_queue" in users(project, "web.yaml", "--calls", "auth")["web"]
    assert "~auth:rpc_queue" not in users(project, "web.yaml")["web"]
    assert set(users(project, "web.yaml", "--user", "site")) == {"default", "site"}
    assert set(users(project, "web.yaml", "--operator", "ops")) == {"default", "web", "ops"}
    of_file = users(project, "web.yaml", "--operator", "ops", "--operator-password", "secret")["ops"]
    assert hashlib.sha256(SECRET.encode()).hexdigest() in of_file


def test_what_only_the_code_declares_is_known_when_it_is_imported(project: Project) -> None:
    project.write(
        "bus.py",
        """
        import lightbus

        class AuthApi(lightbus.Api):
            registered = lightbus.Event()

            class Meta:
                name = "auth"
        """,
    )
    project.write(
        "lightbus.yaml",
        "service_name: accounts\napis: {default: {event_transport: {redis: {stream_use: per_event}}}}\n",
    )
    imported = users(project, "--imports")["accounts"]
    assert "~auth.registered:stream" in imported and "~auth.**:stream" not in imported
    assert "auth" not in users(project)["accounts"]
    named = users(project, "--set", "apis.auth.owner=accounts")["accounts"]
    assert "~auth.**:stream" in named


def test_what_a_manifest_declares_to_call_may_be_called(project: Project) -> None:
    project.write("shop.yaml", "service_name: shop\napis: {shop.orders: {owner: shop}}\n")
    for calls in ("[shop.orders]", "[shop.orders.place]"):
        project.write("asker.yaml", f"service_name: asker\ncalls: {calls}\n")
        # That shop.orders is an API, and no procedure of shop, is what the other manifest says.
        rules = users(project, "shop.yaml", "asker.yaml")["asker"]
        assert "~shop.orders:rpc_queue" in rules and "~shop:rpc_queue" not in rules
    project.write("asker.yaml", "service_name: asker\n")
    assert "rpc_queue" not in users(project, "shop.yaml", "asker.yaml")["asker"]


def test_users_are_those_of_one_redis(project: Project) -> None:
    project.write(
        "jobs.yaml",
        """
        service_name: jobs
        bus: {redis: {url: "redis://redis:6379/3"}}
        apis: {auth: {owner: jobs, redis: {url: "redis://other:6379/0", username: work}}}
        """,
    )
    done = project.run("acl", "jobs.yaml")
    assert done.returncode == 64 and "give --redis, one of:" in " ".join(done.stderr.split())
    assert "+xadd" in users(project, "jobs.yaml", "--redis", "other:6379/0")["work"]
    at_first = users(project, "jobs.yaml", "--redis", "redis:6379/3")
    assert "+select" in at_first["jobs"] and "+xadd" not in at_first["jobs"]
    assert project.run("acl", "jobs.yaml", "--redis", "third:6379/0").returncode == 64


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("web.yaml", "web.yaml", "--calls", "auth"), "about one manifest"),
        (("web.yaml", "--operator-password", "secret"), "--operator names"),
        (("--set", "bus.redis.url=redis://redis:6379/0"), "nothing names the user"),
        (("web.yaml", "--transport", "memory"), "no such Redis is used"),
    ],
)
def test_what_makes_no_sense_is_refused(project: Project, arguments: tuple[str, ...], words: str) -> None:
    done = project.run("acl", *arguments)
    assert done.returncode == 64 and words in " ".join(done.stderr.split())


def test_the_user_in_use_is_asked_about_and_what_is_missing_is_said(project: Project, server: Server) -> None:
    rules = users(project, "web.yaml")["web"]
    server.execute("ACL", "SETUSER", "web", "reset", *rules.split(" "))
    here = ("web.yaml", "--check", "--set", f"bus.redis.url=redis://127.0.0.1:{server.port}/0")
    right = project.run("acl", *here)
    assert (right.returncode, right.stderr) == (0, "")
    assert "allows the user 'web' all that it needs: it " in right.stdout
    assert "calls shop.orders" in right.stdout

    server.execute("ACL", "SETUSER", "web", "reset", *rules.replace(" +rpush", "").split(" "))
    wrong = project.run("acl", *here)
    assert wrong.returncode == 1
    assert "RPUSH" in wrong.stdout and "to call shop.orders" in wrong.stdout
    # The same is told to those who may ask about others, and by them about others.
    server.execute("ACL", "SETUSER", "asker", "on", ">p", "+ping", "+acl|dryrun", "+client|id")
    url = f"bus.redis.url=redis://asker:p@127.0.0.1:{server.port}/0"
    project.write("asked.yaml", "service_name: web\napis: {shop.orders: {owner: shop}}\n")
    asked = project.run("acl", "asked.yaml", "--check", "--user", "web", "--set", url)
    assert asked.returncode == 1 and "the user 'web' of Redis" in asked.stdout and "RPUSH" in asked.stdout
    nobody = project.run("acl", "asked.yaml", "--check", "--user", "nobody", "--set", url)
    assert nobody.returncode == 1 and "has no user 'nobody'" in nobody.stdout


ROLES = {
    "hosts": [*needs.hosts("s"), *needs.publishes("a"), *needs.owns("a"), *needs.runs("s:n")],
    "serves": [*needs.serves("a"), *needs.answers("a")],
    "fires": [*needs.fires("a", "a.*:stream", dedupes=True)],
    "listens": [*needs.listens("l", "a.*:stream", "s-l", dedupes=True)],
    "takes over": [
        *needs.takes_over("a.*:stream", "s-l", "s-m", dedupes=True),
        *needs.listens("m", "a.*:stream", "s-m"),
    ],
}
_PARTS = "CREATE|CREATECONSUMER|DELCONSUMER|CONSUMERS|GROUPS|SETID|DESTROY"
_CALLED = re.compile(rf"redis\.p?call\('(\w+)'(?:, '({_PARTS})')?")


@pytest.mark.parametrize("role", ROLES)
def test_a_command_of_a_script_stands_in_the_table_of_each_role_that_runs_it(role: str) -> None:
    by_sha = {it.sha: it for it in vars(scripts).values() if isinstance(it, Script)}
    run = [by_sha[str(need.command[1])] for need in ROLES[role] if need.command[0] == "EVALSHA" and need.keys]
    called = {" ".join(filter(None, found)) for script in run for found in _CALLED.findall(script.text)}
    known = {need.name for need in [*ROLES[role], *needs.everybody()]}
    assert called - known == set()


def test_patterns_fit_the_keys_that_they_are_made_of(server: Server) -> None:
    odd = "{a.*:stream}:dead:my group[1]?"
    assert pattern_of(odd) == r"{a.\*:stream}:dead:my?group\[1\]\?"
    (rule,) = rules_of([Need(("GET", Key(odd)), "look")])
    server.execute("ACL", "SETUSER", "web", "reset", "on", f">{SECRET}", *str(rule).split(" "))
    it = As(server, "web", SECRET)
    assert it.send("GET", odd) is None
    assert "NOPERM" in str(it.send("GET", odd.replace("*", "x")))
    it.close()


def test_a_channel_is_a_rule_of_its_own() -> None:
    needed = [Need(("SSUBSCRIBE", Channel("{a.*:stream}:bell")), "hear"), Need(("PING",), "live")]
    assert [*map(str, rules_of(needed))] == ["+ping", r"(&{a.\*:stream}:bell +ssubscribe)"]


def test_an_operator_may_have_schedules_run_where_a_service_allows_it(
    project: Project, server: Server
) -> None:
    project.write("password", PASSWORD)
    text = """
        service_name: jobs
        modules: []
        bus: {redis: {url: "redis://redis:6379/0", username: jobs, password: "${file:password}"}}
        schedules: {nightly: {cron: "0 2 * * *", call: "time:time"}}
        """
    project.write("jobs.yaml", text)
    asked = ("acl", "jobs.yaml", "--operator", "ops", "--operator-password", "password")
    assert "internal.host" not in project.run(*asked).stdout
    project.write("jobs.yaml", text.replace("bus: {", "bus: {remote_control: true, "))
    for line in project.run(*asked).stdout.splitlines()[1:]:
        set_user(server, line.split(" ", 2)[1], parts(line.split(" ", 2)[2]))
    server.execute("ACL", "LOG", "RESET")
    own = f"bus.redis.url={server.url}"
    host = project.start("run", "-c", "jobs.yaml", "--set", own)
    host.wait_for_line("ready: ")
    as_ops = ("--set", own, "--set", "bus.redis.username=ops", "--set", f"bus.redis.password={PASSWORD}")
    done = project.run("schedule", "run", "nightly", *as_ops)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("done: jobs:nightly in ")
    assert [each["outcome"] for each in map(json.loads, _audited(project, as_ops))] == ["done"]
    assert host.terminate() == 0
    known = {"config|get", "client|setinfo", "client|kill"}
    assert {what for _, what in refused(server)} - known == set()


def _audited(project: Project, as_ops: tuple[str, ...]) -> list[str]:
    return project.run("audit", "--json", *as_ops).stdout.splitlines()
