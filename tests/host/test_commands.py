"""``lightbus init``, ``config`` and ``dumpconfigschema``; and what no command ever prints."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import jsonschema
import pytest
import yaml

from lightbus.manifest.printing.jsonschema import json_schema
from tests.conftest import StartServer
from tests.guide.project import Project
from tests.support.servers import Server

CANARY = "c4n4ry"
CLEAN = "no problems in lightbus.yaml; Redis was not asked (--connect)\n"


def test_init_writes_what_runs_at_once(project: Project, redis_server: Server) -> None:
    done = project.run("init")
    assert done.returncode == 0 and "Now run: lightbus run" in done.stdout
    text = (project.folder / "lightbus.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=./.lightbus/lightbus.schema.json\n")
    assert (project.folder / ".lightbus/lightbus.schema.json").exists()
    large = [path.name for path in project.folder.iterdir() if path.is_file() and path.stat().st_size > 4000]
    assert large == []
    assert project.run("check", "--imports").stdout == CLEAN
    project.env["LIGHTBUS__BUS__REDIS__URL"] = redis_server.url
    host = project.host()
    call, fire = (line.split()[1:] for line in done.stdout.splitlines()[-2:])
    assert project.run(*call).stdout == "true\n"
    assert project.run(*fire).returncode == 0
    host.wait_for_line("Welcome, admin <admin@example.com>")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, ".lightbus/\n"),
        ("*.pyc", "*.pyc\n.lightbus/\n"),
        (".lightbus/\n*.pyc\n", ".lightbus/\n*.pyc\n"),
    ],
)
def test_init_keeps_what_it_need_not_commit_out_of_git(
    project: Project, before: str | None, after: str
) -> None:
    if before is not None:
        project.write(".gitignore", before)
    assert project.run("init").returncode == 0
    assert (project.folder / ".gitignore").read_text() == after


def test_what_init_comments_out_is_right_too(project: Project) -> None:
    project.run("init")
    lines = (project.folder / "lightbus.yaml").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line == "# bus:")
    keys = [line.removeprefix("# ") if not line.startswith("# Left") else line for line in lines[start:]]
    keys = [line for line in keys if line[:1] in (" ", "") or line.rstrip().endswith(":") or "owner" in line]
    project.write("all.yaml", "\n".join([*lines[:start], *keys]))
    assert project.run("check", "-c", "all.yaml").returncode == 0


def test_init_overwrites_nothing(project: Project) -> None:
    project.write("bus.py", "mine = 1\n")
    done = project.run("init")
    assert done.returncode == 1
    assert done.stderr == "Error: nothing was written: . has bus.py already\n"
    assert [path.name for path in project.folder.iterdir()] == ["bus.py"]


@pytest.mark.parametrize("name", ["no", "1e3", "my shop!", "null", "a-b"])
def test_init_makes_a_service_name_of_any_folder(project: Project, name: str) -> None:
    assert project.run("init", name).returncode == 0
    assert project.within(name).run("check", "--imports").stdout == CLEAN


def test_init_writes_the_shop_where_nothing_of_it_is(project: Project) -> None:
    done = project.run("init", "new", "--example", "shop")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-5].startswith("Now run: cd new && lightbus run -c config")
    written = project.folder / "new"
    for path in written.rglob("*.yaml"):
        [schema] = re.findall(r"\$schema=(\S+)", path.read_text())
        assert (path.parent / schema).resolve() == written / ".lightbus/lightbus.schema.json"
    done = project.run("init", "new", "--example", "shop")
    assert done.returncode == 1
    assert "nothing was written: new has config/00-bus.yaml, config/10-apis.yaml and " in done.stderr


def test_config_show_prints_the_effective_manifest_and_where_it_was_written(project: Project) -> None:
    project.write("lightbus.yaml", "service_name: shop\nbus: {drain_timeout: 3s}\n")
    shown = project.run("config", "show").stdout
    assert yaml.safe_load(shown)["bus"]["drain_timeout"] == "3s" and "#" not in shown
    lines = project.run("config", "show", "--origin", "--log-level", "debug").stdout.splitlines()
    (line,) = [line for line in lines if "drain_timeout" in line]
    assert line.endswith("# lightbus.yaml:2:22")
    assert any("log_level: debug" in line and "# --log-level" in line for line in lines)


def test_the_schema_is_printed_and_written(project: Project) -> None:
    printed = project.run("config", "schema").stdout
    assert printed == json_schema() == project.run("dumpconfigschema").stdout
    assert project.run("dumpconfigschema", "--out", "here.json").stdout == ""
    assert (project.folder / "here.json").read_text() == printed


def test_another_validator_accepts_the_reference() -> None:
    schema = json.loads(json_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    text = (Path(__file__).parents[2] / "config/reference/lightbus.yaml").read_text()
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(text))


SECRETS = f"""
service_name: shop
process_name: ${{file:name}}
bus:
  redis:
    url: redis://{CANARY}-user:{CANARY}-1@127.0.0.1:PORT/0
    username: ${{file:secret}}
    password: {CANARY}-2
apis:
  a: {{owner: shop}}
  b:
    redis:
      sentinel: {{service: main, nodes: ["127.0.0.1:1"], password: {CANARY}-3}}
      password: ${{file:secret}}
  c: {{rpc_transport: {{redis: {{url: "redis://:{CANARY}-4@127.0.0.1:1/0?password={CANARY}-5"}}}}}}
  d: {{event_transport: {{redis: {{cluster: {{nodes: ["127.0.0.1:1"]}}, password: {CANARY}-7}}}}}}
  e: {{event_transport: {{redis: {{url: "redis+cluster://:{CANARY}-8@127.0.0.1:1"}}}}}}
"""


def test_a_secret_is_printed_by_no_command(project: Project, redis_server: Server) -> None:
    project.write("bus.py", "import lightbus\nclass A(lightbus.Api):\n    class Meta: name = 'a'\n")
    project.write("secret", f"{CANARY}-6\n")
    project.write("name", "process\n")
    project.write("lightbus.yaml", SECRETS.replace("PORT", str(redis_server.port)))
    commands = [
        ("check",),
        ("check", "--imports", "--connect"),
        ("check", "--connect", "--format", "json"),
        ("check", "--format", "github", "--set", f"bus.redis.url=nonsense-{CANARY}"),
        ("check", "--set", f"bus.redis.password={CANARY}", "--set", "bus.redis.connect_timeout=soon"),
        ("config", "show"),
        ("config", "show", "--origin"),
        ("config", "schema"),
        ("call", "a.b", "--log-level", "debug"),
        ("fire", "a.b", "--log-level", "debug"),
        ("run", "--log-level", "debug", "--fail-fast"),
        ("run", "--log-level", "debug", "--set", "bus.redis.connect_timeout=soon"),
        ("run", "--bus", "missing", "--log-level", "debug"),
        ("status",),
        ("status", "--json"),
        ("plan",),
        ("plan", "--format", "json"),
        ("graph", "--live", "--format", "json"),
        ("doctor",),
        ("group", "list"),
        ("schedule", "list"),
        ("dlq", "list"),
        ("audit",),
    ]
    for command in commands:
        done = project.run(*command)
        assert CANARY not in done.stdout + done.stderr, command
        assert done.stdout + done.stderr, command


def test_a_secret_is_in_no_log_of_a_host_that_loses_its_redis(
    project: Project, start_server: StartServer
) -> None:
    server = start_server(password=f"{CANARY}-1")
    project.write("bus.py", "import lightbus\nclass A(lightbus.Api):\n    class Meta: name = 'a'\n")
    project.write(
        "lightbus.yaml", f"service_name: s\nbus: {{log_format: text, redis: {{url: '{server.url}'}}}}"
    )
    host = project.host("--log-level", "debug")
    os.kill(host.pid, signal.SIGHUP)
    host.wait_for_line("the manifest was applied")
    server.kill()
    host.wait_for_line("can't be reached")
    server.password = "another"
    server.start()
    project.start("run").wait_for_line("refused the password")
    assert "ready: " in host.output() and CANARY not in host.output()
