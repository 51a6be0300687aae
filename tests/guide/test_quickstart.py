"""The quickstart, word for word: its code blocks are taken from the page and run in an empty folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.guide.project import Project, printed
from tests.support.default_port import default_port
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.servers import free_port

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "quickstart.md"
WELCOME = ["Subject: Welcome to our site, admin", "To: admin@example.com"]


def blocks() -> dict[str, list[str]]:
    """The page's Python code by file name, in the order of the page."""
    found: dict[str, list[str]] = {}
    for code in re.findall(r"^```python3\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        name = code.partition("\n")[0].removeprefix("# ")
        found.setdefault(name, []).append(code)
    return found


BLOCKS = blocks()
BUS, BUS_WITH_EVENT = BLOCKS["bus.py"]
[CALL_PROCEDURE] = BLOCKS["call_procedure.py"]
[FIRE_EVENT] = BLOCKS["fire_event.py"]


def welcomes(host: Process) -> None:
    """Wait until the host has greeted the new user."""
    eventually(lambda: printed(host) == WELCOME, what="the welcome email")


def test_the_page_has_these_files() -> None:
    assert sorted(BLOCKS) == ["bus.py", "call_procedure.py", "fire_event.py"]


def test_define_an_api_run_it_and_call_it(project: Project) -> None:
    project.write("bus.py", BUS)
    host = project.host()
    assert "APIs in the registry: auth" in host.output()
    project.write("call_procedure.py", CALL_PROCEDURE)
    done = project.python("call_procedure.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Password valid!\n", "")
    assert host.terminate() == 0
    assert "Traceback" not in host.output()


def test_a_wrong_password_is_wrong(project: Project) -> None:
    project.write("bus.py", BUS)
    project.host()
    project.write("call_procedure.py", CALL_PROCEDURE.replace("'secret'", "'guess'"))
    done = project.python("call_procedure.py")
    assert (done.returncode, done.stdout) == (0, "Oops, bad username or password\n")


class TestFireAnEvent:
    """`fire_event.py` says `from .bus import AuthApi`: it is a module of a package, beside `bus.py`."""

    @pytest.fixture
    def package(self, project: Project) -> str:
        project.write("shop/__init__.py", "")
        project.write("shop/bus.py", BUS_WITH_EVENT)
        project.write("shop/fire_event.py", FIRE_EVENT)
        return "shop"

    @pytest.mark.parametrize(
        "start",
        [
            lambda project: project.within("shop").start("run"),
            lambda project: project.start("run", "--bus", "shop.bus"),
            lambda project: project.start("run", LIGHTBUS_MODULE="shop.bus"),
        ],
        ids=["in the folder of bus.py", "--bus", "LIGHTBUS_MODULE"],
    )
    def test_it_is_handled(self, project: Project, package: str, start: Callable[[Project], Process]) -> None:
        host = start(project)
        host.wait_for_line("ready")
        done = project.python("-m", f"{package}.fire_event")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        welcomes(host)

    def test_with_the_bus_module_imported_by_another_name_as_well(
        self, project: Project, package: str
    ) -> None:
        """One file imported as `bus` and as `shop.bus` defines one API, not two that clash."""
        host = project.within(package).start("run")
        host.wait_for_line("ready")
        project.write(
            "shop/both.py",
            f"import sys\nsys.path.insert(0, {str(project.folder / package)!r})\nimport bus\n" + FIRE_EVENT,
        )
        done = project.python("-m", f"{package}.both")
        assert (done.returncode, done.stderr) == (0, "")
        welcomes(host)

    def test_from_another_module_of_the_host(self, project: Project, package: str) -> None:
        project.write(
            "shop/signup.py",
            """
            import lightbus
            from .bus import AuthApi

            bus = lightbus.create()

            @bus.client.every(hours=1, also_run_immediately=True)
            def sign_up():
                bus.auth.user_registered.fire(username='admin', email='admin@example.com')
            """,
        )
        welcomes(project.host("--bus", "shop.bus,shop.signup"))


LIGHTBUS_1X = """
    import lightbus
    from lightbus import Api, Event

    bus = lightbus.create()


    class AuthApi(Api):
        user_registered = Event(parameters=('username', 'email'))

        class Meta:
            name = 'auth'

        def check_password(self, username, password):
            return username == 'admin' and password == 'secret'


    bus.client.register_api(AuthApi())


    def send_welcome_email(event_message, username, email):
        print(f'Subject: Welcome to our site, {username}')
        print(f'To: {email}')


    @bus.client.on_start()
    def bus_start(client):
        bus.auth.user_registered.listen(send_welcome_email, listener_name='send_welcome_email')
    """


def test_in_the_style_of_lightbus_1x(project: Project) -> None:
    project.write("bus.py", LIGHTBUS_1X)
    host = project.host()
    assert "listener send_welcome_email: auth.user_registered" in host.output()
    project.write("call_procedure.py", CALL_PROCEDURE)
    assert project.python("call_procedure.py").stdout == "Password valid!\n"
    project.write("fire_event.py", FIRE_EVENT.replace("from .bus", "from bus"))
    done = project.python("fire_event.py")
    assert (done.returncode, done.stderr) == (0, "")
    welcomes(host)
    assert host.terminate() == 0


def test_with_a_server_of_its_own(bare_project: Project) -> None:
    """No Redis is installed: the host brings one, and clients use it."""
    port = free_port()
    manifest = bare_project.write(
        "lightbus.yaml", f"bus: {{redis: {{embedded: true, url: 'redis://127.0.0.1:{port}/0'}}}}"
    )
    bare_project.env["LIGHTBUS_CONFIG"] = str(manifest)
    everything(bare_project)


def test_with_nothing_configured_at_all(bare_project: Project) -> None:
    with default_port():
        everything(bare_project)


def everything(project: Project) -> None:
    """The whole page, from the first block to the last."""
    project.write("bus.py", BUS)
    project.write("call_procedure.py", CALL_PROCEDURE)
    host = project.host()
    assert project.python("call_procedure.py").stdout == "Password valid!\n"
    assert host.terminate() == 0
    project.write("bus.py", BUS_WITH_EVENT)
    project.write("__init__.py", "")
    project.write("fire_event.py", FIRE_EVENT)
    host = project.host()
    done = project.within("..").python("-m", f"{project.folder.name}.fire_event")
    assert (done.returncode, done.stderr) == (0, "")
    welcomes(host)
    assert host.terminate() == 0
