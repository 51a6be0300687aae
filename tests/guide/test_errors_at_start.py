"""What keeps a host from starting is said in one line with its place; the exit status says which kind."""

from __future__ import annotations

import pytest

from tests.conftest import StartServer
from tests.guide.project import READY, Project
from tests.support.eventually import eventually
from tests.support.servers import free_port

CONFIG, UNAVAILABLE, USAGE = 78, 69, 64

API = """
    from lightbus import Api, Event, Parameter

    class AuthApi(Api):
        user_registered = Event(parameters=('username', 'email'))

        class Meta:
            name = 'auth'

        def check_password(self, username, password):
            return username == 'admin' and password == 'secret'
"""


def refusal(project: Project, *args: str, status: int = CONFIG) -> str:
    """Start a host that must refuse, and return why: one line, without a traceback."""
    ended, output = project.refused(*args)
    assert ended == status, output
    assert "Traceback" not in output
    lines = [line for line in output.splitlines() if " error " in line or " warning " not in line]
    errors = [line for line in lines if " info " not in line]
    assert len(errors) == 1, output
    return errors[0].partition(" error ")[2]


class TestTheBusModule:
    def test_there_is_none(self, project: Project) -> None:
        said = refusal(project)
        assert f"there is no module 'bus' in {project.folder}; create bus.py there" in said

    @pytest.mark.parametrize("name", ["nope", "shop.nope"])
    def test_the_named_one_is_not_there(self, project: Project, name: str) -> None:
        project.write("shop/__init__.py", "")
        said = refusal(project, "--bus", name)
        assert f"there is no module {name!r} in {project.folder}" in said
        assert "check the name given by --bus, LIGHTBUS_MODULE or modules" in said
        project.env["LIGHTBUS_MODULE"] = name
        assert f"there is no module {name!r}" in refusal(project)

    def test_one_that_it_imports_is_not_there(self, project: Project) -> None:
        path = project.write("bus.py", "import os\nimport nowhere\n")
        assert f"{path}:2: importing the module 'bus' raised ModuleNotFoundError" in refusal(project)

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            ("1 / 0", "raised ZeroDivisionError: division by zero"),
            ("raise SystemExit('no')", "raised SystemExit: no"),
            ("def broken(:", "raised SyntaxError"),
            ("import asyncio\nasyncio.run(None)", "raised ValueError"),
            (
                "class Odd(Exception):\n    def __str__(self):\n        raise ValueError\nraise Odd",
                "raised Odd: (its text can't be had",
            ),
        ],
    )
    def test_it_raises(self, project: Project, code: str, said: str) -> None:
        path = project.write("bus.py", f"import lightbus\n{code}\n")
        answer = refusal(project)
        assert said in answer
        assert f"{path}:{code.count(chr(10)) + 2}: " in answer

    def test_it_raises_deep_inside(self, project: Project) -> None:
        project.write("bus.py", "import settings\n")
        settings = project.write("settings.py", "\n\ndef load():\n    raise KeyError('URL')\n\nload()\n")
        assert f"{settings}:2: importing the module 'bus' raised KeyError: 'URL'" in refusal(project)

    def test_it_holds_nothing(self, project: Project) -> None:
        project.write("bus.py", "import lightbus\n")
        assert "there is nothing to host: bus defines no API" in refusal(project)

    def test_its_before_server_start_declares_nothing(self, project: Project) -> None:
        project.write("bus.py", "def before_server_start(bus): pass\n")
        assert "there is nothing to host" in refusal(project)

    @pytest.mark.parametrize("kind", ["def", "async def"])
    def test_its_before_server_start_raises(self, project: Project, kind: str) -> None:
        path = project.write("bus.py", f"{kind} before_server_start(bus):\n    raise RuntimeError('no db')\n")
        assert f"{path}:2: before_server_start() of bus raised RuntimeError: no db" in refusal(project)

    def test_its_on_start_callback_raises(self, project: Project) -> None:
        path = project.write(
            "bus.py",
            f"{API}\n    import lightbus\n    @lightbus.create().client.on_start()\n"
            "    def prepare(client):\n        raise OSError('no disk')\n",
        )
        assert f"{path}:" in (said := refusal(project))
        assert "before_worker_start raised OSError: no disk" in said


class TestTwoApisOfOneName:
    def test_in_one_module(self, project: Project) -> None:
        path = project.write(
            "bus.py",
            """
            from lightbus import Api

            class First(Api):
                class Meta:
                    name = 'auth'

            class Second(Api):
                class Meta:
                    name = 'auth'
            """,
        )
        said = refusal(project)
        assert "two classes are the API 'auth'" in said
        assert f"First in {path}:3 and Second in {path}:7" in said

    def test_in_two_modules(self, project: Project) -> None:
        one, two = project.write("one.py", API), project.write("two.py", API)
        said = refusal(project, "--bus", "one,two")
        assert str(one) in said
        assert str(two) in said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("pass", "class MyApi has no Meta; add: class Meta: name = 'my'"),
        ("class Meta: pass", "MyApi.Meta has no name; add: name = '...'"),
        ("class Meta: name = None", "MyApi.Meta has no name"),
        ("class Meta: name = ''", "an API can't be named ''"),
        ("class Meta: name = 3", "an API can't be named 3"),
        ("class Meta: name = 'my-api'", "an API can't be named 'my-api'; use letters, digits and _"),
        ("class Meta: name = '.auth'", "an API can't be named '.auth'"),
        ("class Meta: name = '_auth'", "an API can't be named '_auth'"),
        ("class Meta: name = 'auth:stream'", "an API can't be named 'auth:stream'"),
        ("class Meta: name = 'äpi'", "an API can't be named 'äpi'"),
        ("class Meta: name = 'default'", "an API can't be named 'default', which stands for every API"),
        ("class Meta: name = 'my'; versoin = 2", "MyApi.Meta has the unknown option 'versoin'"),
        ("class Meta: name = 'my'; internal = 'yes'", "MyApi.Meta.internal is 'yes'; it is True or False"),
        ("class Meta: name = 'my'; auto_register = 0", "MyApi.Meta.auto_register is 0; it is True or False"),
        ("Meta = None", "MyApi.Meta is None; write: class Meta: name = 'my'"),
        ("Meta = {'name': 'my'}", "MyApi.Meta is a dict; write: class Meta: name = 'my'"),
    ],
)
def test_a_bad_meta_says_what_to_write(project: Project, body: str, said: str) -> None:
    path = project.write("bus.py", f"from lightbus import Api\nclass MyApi(Api):\n    {body}\n")
    answer = refusal(project)
    assert said in answer
    assert f"{path}:2" in answer


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("gone = Event(parameters='username')", "is a string; write a tuple: ('username',)"),
        ("gone = Event(parameters=('a', 'a'))", "can't have two parameters named 'a'"),
        ("gone = Event(parameters=('_a',))", "a parameter can't be named '_a'"),
        ("gone = Event(parameters=(Parameter('a b'),))", "a parameter can't be named 'a b'"),
        ("def check(self, a, /): pass", "has the positional-only parameter 'a'"),
        ("def check(self, bus_options): pass", "my.check() can't have a parameter named 'bus_options'"),
        ("def fire(self): pass", "a procedure of the API 'my' can't be named 'fire'"),
    ],
)
def test_what_an_api_offers_must_be_callable_over_the_bus(project: Project, line: str, said: str) -> None:
    path = project.write(
        "bus.py",
        f"from lightbus import Api, Event, Parameter\n\nclass MyApi(Api):\n    {line}\n"
        "    class Meta:\n        name = 'my'\n",
    )
    answer = refusal(project)
    assert said in answer
    assert f"{path}:" in answer


def test_an_api_that_needs_arguments_says_how_to_register_it(project: Project) -> None:
    project.write("bus.py", f"{API}\n        def __init__(self, db): ...\n")
    said = refusal(project)
    assert "AuthApi() can't be made without arguments" in said
    assert "Meta.auto_register = False and call bus.client.register_api() with an object" in said


class TestListeners:
    START = API + "\n    def before_server_start(bus):\n        "

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("bus.auth.user_registered.listen(lambda m, username, email: 0)", "give it one: listener_name="),
            ("bus.auth.user_registered.listen('mail')", "'mail' can't be called"),
            ("bus.auth.user_registered.listen(dict)", "but dict is a class, of which each event would only"),
            ("bus.client.every(seconds=5)(dict)", "<class 'dict'> is a class; give a function"),
            (
                "bus.auth.nope.listen(print, listener_name='x')",
                "has no event 'nope'; it has: user_registered",
            ),
            ("bus.user_registered.listen(handler)", "write bus.<api>.<name>"),
            ("bus.auth.user_registered.listen(no_message)", "takes no event message"),
            ("bus.auth.user_registered.listen(lacks)", "lacks email"),
            ("bus.auth.user_registered.listen(demands)", "demands phone"),
            ("bus.auth.user_registered.listen(handler, listener_name='a b')", "can't be named 'a b'"),
            ("bus.auth.user_registered.listen(handler, bus_options={'sinse': 1})", "no option 'sinse'"),
            ("bus.auth.user_registered.listen(handler, bus_options={'since': 'soon'})", "since is 'soon'"),
            ("bus.auth.user_registered.listen(handler, bus_options={'concurrency': 0})", "concurrency is 0"),
            (
                "bus.auth.user_registered.listen(handler, bus_options={'concurrency': '3'})",
                "concurrency is '3'",
            ),
            ("bus.auth.user_registered.listen(handler, on_error='shutdown')", "OnError.SHUTDOWN"),
            ("bus.auth.user_registered.listen(handler, on_error=None)", "on_error is None"),
            ("bus.client.listen_for_events([], handler)", "asks for no events"),
        ],
    )
    def test_each_mistake_says_how_to_write_it(self, project: Project, line: str, said: str) -> None:
        path = project.write(
            "bus.py",
            f"{self.START}{line}\n"
            "    def handler(event_message, username, email): pass\n"
            "    def no_message(): pass\n"
            "    def lacks(event_message, username): pass\n"
            "    def demands(event_message, username, email, phone): pass\n",
        )
        answer = refusal(project)
        assert said in answer
        assert f"{path}:" in answer

    def test_two_of_one_name(self, project: Project) -> None:
        project.write(
            "bus.py",
            f"{self.START}bus.auth.user_registered.listen(one, listener_name='mail')\n"
            "        bus.auth.user_registered.listen(two, listener_name='mail')\n"
            "    def one(event_message, **kwargs): pass\n"
            "    def two(event_message, **kwargs): pass\n",
        )
        said = refusal(project)
        assert "two listeners are named 'mail'" in said
        assert "give one of them another listener_name" in said


class TestNoRedis:
    def test_fail_fast_ends_with_69(self, project: Project) -> None:
        project.write("bus.py", API)
        port = free_port()
        project.env["LIGHTBUS__BUS__REDIS__URL"] = f"redis://127.0.0.1:{port}/0"
        status, output = project.refused("--fail-fast")
        assert status == UNAVAILABLE
        assert f"Redis at 127.0.0.1:{port}/0 can't be reached" in output
        assert "Traceback" not in output

    def test_without_it_the_host_waits_and_says_so(self, project: Project, start_server: StartServer) -> None:
        project.write("bus.py", API)
        server = start_server()
        server.stop()
        project.env["LIGHTBUS__BUS__REDIS__URL"] = server.url
        host = project.start("run")
        host.wait_for_line(f"127.0.0.1:{server.port}/0 can't be reached")
        assert "trying again" in host.output()
        server.start()
        host.wait_for_line(READY)
        assert "answers again" in host.output()
        assert project.call("auth.check_password", username="admin", password="secret") is True

    def test_sigterm_ends_the_waiting(self, project: Project) -> None:
        project.write("bus.py", API)
        project.env["LIGHTBUS__BUS__REDIS__URL"] = f"redis://127.0.0.1:{free_port()}/0"
        host = project.start("run")
        host.wait_for_line("can't be reached")
        assert host.terminate() == 0

    @pytest.mark.parametrize("login", ["", ":guess@", "nobody:guess@"])
    def test_a_wrong_password(self, project: Project, start_server: StartServer, login: str) -> None:
        project.write("bus.py", API)
        server = start_server(password="s3cr3t")
        project.env["LIGHTBUS__BUS__REDIS__URL"] = f"redis://{login}127.0.0.1:{server.port}/0"
        status, output = project.refused("--fail-fast")
        assert status == UNAVAILABLE
        assert f"127.0.0.1:{server.port}/0" in output
        assert "password" in output or "Authentication required" in output
        assert "Traceback" not in output
        assert "guess" not in output

    def test_the_right_password_is_not_shown(self, project: Project, start_server: StartServer) -> None:
        project.write("bus.py", API)
        project.env["LIGHTBUS__BUS__REDIS__URL"] = start_server(password="s3cr3t").url
        host = project.host("--log-level", "debug")
        assert host.terminate() == 0
        assert "s3cr3t" not in host.output()


@pytest.mark.parametrize(
    "args",
    [
        ["run", "--nope"],
        ["run", "extra"],
        ["nope"],
        ["run", "--only", "nope"],
        ["run", "--only", "rpcs", "--skip", "tasks"],
        ["run", "--skip", "rpcs,events,tasks,outbox"],
        ["run", "--only", ","],
        ["run", "--log-level", "loud"],
        ["call"],
        ["call", "check_password"],
        ["call", "auth.check_password", "username"],
        ["call", "auth.check_password", "=x"],
        ["call", "auth.check_password", "--json", "{"],
        ["call", "auth.check_password", "--json", "[1]"],
        ["call", "auth.check_password", "--timeout", "soon"],
        ["fire", "user_registered"],
    ],
)
def test_misuse_of_the_command_line_ends_with_64(project: Project, args: list[str]) -> None:
    done = project.run(*args)
    assert done.returncode == USAGE
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "Error: " in done.stderr


def test_a_bad_manifest_ends_with_78_and_says_where(project: Project) -> None:
    project.write("bus.py", API)
    path = project.write("lightbus.yaml", "service_nam: shop\nbus:\n  log_level: loud\n")
    ended, output = project.refused()
    assert ended == CONFIG
    assert f"{path.name}:1:1" in output
    assert 'did you mean "service_name"?' in output
    assert f"{path.name}:3:" in output
    assert "Traceback" not in output


def test_sigterm_while_modules_are_imported(project: Project) -> None:
    project.write("bus.py", "import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    host = project.start("run")
    host.wait_for_line("importing")
    assert host.terminate() == 0
    assert "Traceback" not in host.output()


def test_sigterm_during_before_server_start(project: Project) -> None:
    project.write(
        "bus.py",
        "import time\ndef before_server_start(bus):\n    print('starting', flush=True)\n    time.sleep(60)\n",
    )
    host = project.start("run")
    host.wait_for_line("starting")
    assert host.terminate() == 0
    eventually(lambda: "stopped" in host.output())
