"""The lines with which a host begins: each says something, and says it once."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from lightbus.host.banner import listed
from tests.conftest import StartServer
from tests.guide.project import Project
from tests.support.processes import Process
from tests.support.servers import Server, free_port

DOCS = Path(__file__).parents[2] / "docs"

BUS = """
from lightbus import Api, Event

class AuthApi(Api):
    user_registered = Event(parameters=('username', 'email'))

    class Meta:
        name = 'auth'

    def check_password(self, username, password):
        return username == password

def send_welcome_email(event_message, username, email):
    pass

def before_server_start(bus):
    bus.auth.user_registered.listen(send_welcome_email)
"""
SHOP = """
import datetime
from lightbus import Api

class ShopApi(Api):
    class Meta:
        name = 'shop'

    def place(self, lines: list[str]) -> int:
        return len(lines)

    def since(self, day: datetime.date) -> int:
        return 1

    def find(self, sku: str, limit: int, exact: bool, most: float = 1.5) -> str:
        return f'{sku} {limit} {exact}'
"""


def said(host: Process) -> list[str]:
    """The lines of the log without their times and levels."""
    return [line[9:].partition(" ")[2].strip() for line in host.output().splitlines()]


@pytest.fixture
def auth(project: Project, redis_server: Server) -> Project:
    project.write("bus.py", BUS)
    project.write(
        "lightbus.yaml",
        f"""
        service_name: shop
        process_name: one
        bus: {{redis: {{url: '{redis_server.url}'}}, log_format: text}}
        schedules: {{tidy: {{every: 1h, call: 'tidying:tidy'}}}}
        """,
    )
    project.write("tidying.py", "def tidy():\n    pass\n")
    return project


def test_it_says_what_runs_where_and_how_to_try_it(auth: Project, redis_server: Server) -> None:
    host = auth.host()
    host.wait_for_line(" try: ")
    lines = [line for line in said(host) if "appendonly" not in line]
    assert re.fullmatch(rf"Lightbus \S+, process {host.pid}, manifest lightbus.yaml", lines[0])
    assert lines[1:] == [
        f"Redis: 127.0.0.1:{redis_server.port}/0",
        "APIs in the registry: auth (defined in bus)",
        "listener send_welcome_email: auth.user_registered",
        "schedule tidy: every 3600 s (service)",
        "ready: shop runs as one",
        "try: lightbus call auth.check_password username=x password=x",
    ]


def test_the_command_to_try_works_as_it_is_printed(auth: Project) -> None:
    (auth.folder / "lightbus.yaml").rename(auth.folder / "my shop.yaml")
    host = auth.host("-c", "my shop.yaml")
    command = host.wait_for_line("try: lightbus ").partition("try: lightbus ")[2]
    done = auth.run(*shlex.split(command))
    assert (done.returncode, done.stdout) == (0, "true\n"), done.stderr


def test_it_takes_a_procedure_whose_arguments_can_be_typed(auth: Project) -> None:
    auth.write("bus.py", SHOP)
    auth.host().wait_for_line("try: lightbus call shop.find sku=x limit=1 exact=true")
    auth.write("bus.py", SHOP.partition("    def since")[0])
    auth.host().wait_for_line("try: lightbus call shop.place 'lines=[]'")


def test_without_a_manifest_it_says_so(project: Project, redis_server: Server) -> None:
    project.write("bus.py", BUS)
    host = project.host(LIGHTBUS__BUS__REDIS__URL=redis_server.url, LIGHTBUS__BUS__LOG_FORMAT="text")
    assert said(host)[0].endswith(f", process {host.pid}, no manifest")


def test_of_several_processes_one_tells_what_all_have_in_common(auth: Project) -> None:
    host = auth.host("--processes", "2", "-p", "{random8}")
    host.wait_for_line(" try: ")
    lines = said(host)
    assert lines[0].endswith(f", 2 processes under {host.pid}, manifest lightbus.yaml")
    assert sum(line.startswith("APIs in the registry") for line in lines) == 1


def test_each_redis_is_told_with_what_it_carries_where_there_are_several(
    auth: Project, redis_server: Server, start_server: StartServer
) -> None:
    contracts = start_server()
    host = auth.host("--set", f"bus.schema.transport.redis.url={contracts.url}")
    lines = said(host)
    assert f"Redis: 127.0.0.1:{redis_server.port}/0 (calls, events)" in lines
    assert f"Redis: 127.0.0.1:{contracts.port}/0 (contracts)" in lines


def test_a_url_that_was_typed_is_not_repeated_since_it_may_hold_a_password(
    auth: Project, redis_server: Server
) -> None:
    host = auth.host("--set", f"bus.redis.url={redis_server.url}", "--set", "bus.log_level=debug")
    assert "info     try: " not in host.output()


def test_as_json_each_line_is_a_record_with_fields(auth: Project, redis_server: Server) -> None:
    host = auth.host("--log-format", "json")
    records = [json.loads(line) for line in host.output().splitlines()]
    fields: dict[str, Any] = {}
    for record in records:
        fields |= record
    address = f"127.0.0.1:{redis_server.port}/0"
    assert fields["manifest"] == ["lightbus.yaml"] and fields["pid"] == host.pid and fields["processes"] == 1
    assert fields["address"] == address and fields["transport"] == "redis"
    assert fields["apis"] == ["auth"]
    assert (fields["listener"], fields["events"]) == ("send_welcome_email", ["auth.user_registered"])
    assert (fields["schedule"], fields["scope"]) == ("tidy", "service")
    assert (fields["service"], fields["process"]) == ("shop", "one")
    assert not any(record["message"].startswith("try: ") for record in records)


def masked(lines: str) -> list[str]:
    """Lines of a log without what differs from run to run."""
    text = re.sub(r"^\S+ (?=info)", "", lines, flags=re.MULTILINE)
    for differing in (
        r"(?<=Lightbus )[^\s,]+",
        r"(?<=process )\d+",
        r"(?<=127\.0\.0\.1:)\d+",
        r"(?<=runs as )\S+",
    ):
        text = re.sub(differing, "#", text)
    return text.splitlines()


def test_the_page_of_installation_shows_what_is_printed(project: Project) -> None:
    page = (DOCS / "tutorial/installation.md").read_text()
    shown = re.search(r"^```text\n(.* info .*?)^```", page, re.DOTALL | re.MULTILINE)
    quickstart = (DOCS / "tutorial/quickstart.md").read_text()
    project.write("bus.py", quickstart.partition("```python3\n")[2].partition("```")[0])
    url = f"redis://127.0.0.1:{free_port()}/0"
    host = project.host(LIGHTBUS__BUS__REDIS__EMBEDDED="true", LIGHTBUS__BUS__REDIS__URL=url)
    host.wait_for_line(" try: ")
    assert shown is not None and masked(shown[1]) == masked(host.output())


def test_many_files_are_told_by_the_first_and_their_number() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([*"abcde"]) == "a, b, c and 2 more"
