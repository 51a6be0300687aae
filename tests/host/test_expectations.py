"""A listener that waits for what nobody fires is told of: at the start, later on, by check and status."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server, free_port

OWNER = """
    from lightbus import Api, Event

    class AuthApi(Api):
        user_registered = Event(parameters=("username",))

        class Meta:
            name = "auth"
"""
HANDLERS = "def on(event_message, **kwargs): ...\n"
LISTENERS = """\
service_name: mailer
modules: []
bus: {schema: {ttl: 1s}}
listeners:
  one: {events: [atuh.user_registered], handler: "handlers:on"}
  two: {events: [auth.user_regstered], handler: "handlers:on"}
  fine: {events: [auth.user_registered, "auth.*"], handler: "handlers:on"}
"""
NO_API = "no API atuh is known on the bus yet; did you mean auth?"
NO_EVENT = "auth has no event user_regstered; did you mean user_registered?"


@pytest.fixture
def project(project: Project, redis_server: Server) -> Project:
    project.env["LIGHTBUS__BUS__REDIS__URL"] = redis_server.url
    return project


@pytest.fixture
def mailer(project: Project) -> Project:
    project.write("owner/bus.py", OWNER)
    project.write("mailer/handlers.py", HANDLERS)
    project.write("mailer/lightbus.yaml", LISTENERS)
    return project.within("mailer")


def test_typos_are_told_at_the_start_by_check_and_by_status(project: Project, mailer: Project) -> None:
    project.within("owner").host()
    lines = mailer.run("check", "--connect").stdout.splitlines()
    assert f"lightbus.yaml:5:17  warning: listeners.one.events: atuh.user_registered: {NO_API}" in lines
    assert f"lightbus.yaml:6:17  warning: listeners.two.events: auth.user_regstered: {NO_EVENT}" in lines
    host = mailer.host()
    told = [line for line in host.output().splitlines() if " waits for " in line]
    assert [" warning " in line.lower() for line in told] == [True, True], told
    assert NO_API in told[0] and NO_EVENT in told[1]
    notes = json.loads(mailer.run("status", "--json").stdout)["notes"]
    assert [NO_API in notes[0], NO_EVENT in notes[1], len(notes)] == [True, True, 2]
    assert NO_EVENT in mailer.run("status").stdout


def test_where_the_owner_comes_later_its_contract_decides(project: Project, mailer: Project) -> None:
    host = mailer.host()
    for name in ("one", "two", "fine"):
        told = host.wait_for_line(f"the listener {name} waits for ")
        assert "is known on the bus yet; there is: none at all" in told and "warning" not in told.lower()
    owner = project.within("owner").host()
    assert "warning" in host.wait_for_line(NO_EVENT).lower()
    host.wait_for_line("the listener fine: auth.user_registered is known now")
    host.wait_for_line("the listener fine: auth.* is known now")
    assert owner.terminate() == 0
    eventually(lambda: json.loads(mailer.run("status", "--json").stdout)["apis"] == [])
    project.within("owner").host()
    assert "the listener one: " not in host.output()
    lines = [line.partition("the listener ")[2] for line in host.output().splitlines()]
    assert sum(line.startswith("fine waits for ") for line in lines) == 2, "told twice"


def test_the_manifest_of_the_owner_itself_needs_no_contract(project: Project) -> None:
    project.write("bus.py", OWNER)
    project.write("handlers.py", HANDLERS)
    project.write(
        "lightbus.yaml",
        """
        service_name: auth
        apis: {auth: {owner: auth}}
        listeners: {one: {events: [auth.user_registered], handler: "handlers:on"}}
        """,
    )
    assert " waits for " not in project.run("check", "--connect").stdout
    assert "is known on the bus yet" not in project.run("check", "--connect").stdout
    assert " waits for " not in project.host().output()


def test_a_slip_is_told_without_redis_where_the_manifest_or_the_code_has_the_name(project: Project) -> None:
    project.write("bus.py", OWNER)
    project.write("handlers.py", HANDLERS)
    project.write(
        "lightbus.yaml",
        """
        service_name: mailer
        apis: {billing: {owner: accounts}}
        listeners:
          one: {events: [biling.paid], handler: "handlers:on"}
          two: {events: [billing.paid, far.away], handler: "handlers:on"}
          three: {events: [auht.user_registered], handler: "handlers:on"}
        """,
    )
    told = "neither manifest nor code names the API"
    done = project.run("check")
    assert done.returncode == 0
    line = "lightbus.yaml:4:17  warning: listeners.one.events: biling.paid: "
    assert f"{line}{told} biling elsewhere; did you mean billing?\n" in done.stdout
    assert done.stdout.count(told) == 1, "the code is not imported"
    done = project.run("check", "--imports")
    assert (
        f"listeners.three.events: auht.user_registered: {told} auht elsewhere; did you mean auth?"
        in done.stdout
    )
    assert done.stdout.count(told) == 2


def test_declared_calls_that_nobody_has_are_told_by_check(project: Project, mailer: Project) -> None:
    mailer.write("web.yaml", "service_name: web\nmodules: []\ncalls: [auht.login, auth.logn, money]\n")
    mailer.write("auth.yaml", "apis: {auth: {owner: accounts}}\n")
    slip = "web.yaml:3:9  warning: calls: auht.login: no such API is known; did you mean auth.login?"
    both = ("check", "-c", "auth.yaml", "-c", "web.yaml")
    assert mailer.run("check", "-c", "web.yaml").stdout.startswith("no problems")
    assert mailer.run(*both).stdout.splitlines()[0] == slip
    assert mailer.run(*both).stdout.count("warning") == 1
    project.write("owner/bus.py", f"{OWNER}\n        def login(self) -> None: ...\n")
    project.within("owner").host()
    told = mailer.run(*both, "--connect").stdout.splitlines()
    assert slip in told
    assert "web.yaml:3:21  warning: calls: auth.logn: auth has no procedure logn; did you mean login?" in told
    assert "web.yaml:3:32  warning: calls: money: no such API is known; there is: auth" in told


def test_contracts_that_are_given_as_files_tell_a_slip_at_the_start(
    project: Project, mailer: Project
) -> None:
    project.write("owner/bus.py", OWNER)
    assert project.within("owner").run("dumpschema", "--out", "../mailer/contracts/").returncode == 0
    host = mailer.host("--schema", "contracts")
    assert "warning" in host.wait_for_line(NO_EVENT).lower()
    assert "the listener fine waits for" not in host.output()


def test_firing_an_event_or_an_api_of_nearly_that_name_is_told_with_the_right_one(project: Project) -> None:
    project.write("bus.py", OWNER)
    done = project.run("fire", "auth.user_registred", "username=a")
    assert (
        "has no event 'user_registred'; it has: user_registered; did you mean user_registered?" in done.stderr
    )
    done = project.run("fire", "atuh.user_registered", "username=a")
    assert (
        "this process does not define the API 'atuh'" in done.stderr and "did you mean auth?" in done.stderr
    )
    done = project.run("fire", "billing.paid", "username=a")
    assert "did you mean" not in done.stderr


def test_a_listener_of_what_is_not_there_does_not_keep_the_host_from_its_work(
    project: Project, mailer: Project
) -> None:
    project.within("owner").host()
    port = free_port()
    host = mailer.host("--set", f"http.listen=127.0.0.1:{port}")
    host.wait_for_line(NO_EVENT)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as reply:
        assert reply.status == 200
