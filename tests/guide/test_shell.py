"""Calling and firing from a shell."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.guide.project import Project, printed
from tests.support.eventually import eventually
from tests.support.patient import ENVIRONMENT
from tests.support.processes import Process
from tests.support.servers import Server, free_port

BUS = """
    from typing import Any
    from lightbus import Api, Event, Parameter

    class EchoApi(Api):
        said = Event(parameters=('what', Parameter('loud', bool, default=False)))

        class Meta:
            name = 'shop.echo'

        def echo(self, value: Any = None, **more: Any) -> Any:
            return {'value': value, **more} if more else value

        def fail(self) -> None:
            raise ValueError('not today')

    def before_server_start(bus):
        bus.shop.echo.said.listen(hear)

    def hear(event_message, what, loud):
        print('heard', repr(what), loud, event_message.id, flush=True)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    server = Server("valkey")
    it = Project(tmp_path_factory.mktemp("project"), server.url)
    it.env |= ENVIRONMENT
    it.write("bus.py", BUS)
    yield it
    it.close()
    server.close()


@pytest.fixture(scope="module", autouse=True)
def host(project: Project) -> Process:
    return project.host()


class TestCall:
    @pytest.mark.parametrize(
        ("typed", "sent"),
        [
            ("text", "text"),
            ("", ""),
            ("1", 1),
            ("1.5", 1.5),
            ("-3", -3),
            ("true", True),
            ("null", None),
            ('"1"', "1"),
            ("[1, 2]", [1, 2]),
            ('{"a": {"b": 1}}', {"a": {"b": 1}}),
            ("{not json", "{not json"),
            ("True", "True"),
            ("NaN", "NaN"),
            ("-Infinity", "-Infinity"),
            ("1e999", "1e999"),
            ("007", "007"),
            ("a=b", "a=b"),
            ("grüße, 世界 🚌", "grüße, 世界 🚌"),
            ("2026-01-02", "2026-01-02"),
        ],
    )
    def test_values_are_json_where_they_parse_else_strings(
        self, project: Project, typed: str, sent: object
    ) -> None:
        done = project.run("call", "shop.echo.echo", f"value={typed}")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == sent
        assert type(json.loads(done.stdout)) is type(sent)

    def test_several_arguments_and_none(self, project: Project) -> None:
        assert project.run("call", "shop.echo.echo").stdout == "null\n"
        done = project.run("call", "shop.echo.echo", "value=1", "other=two")
        assert json.loads(done.stdout) == {"value": 1, "other": "two"}

    def test_a_whole_object_to_which_pairs_are_added(self, project: Project) -> None:
        done = project.run("call", "shop.echo.echo", "--json", '{"value": "1", "x": [null]}', "y=2")
        assert json.loads(done.stdout) == {"value": "1", "x": [None], "y": 2}

    def test_non_ascii_is_printed_as_it_is(self, project: Project) -> None:
        assert project.run("call", "shop.echo.echo", "value=Grüße").stdout == '"Grüße"\n'

    def test_a_remote_error_goes_to_standard_error_with_status_1(self, project: Project) -> None:
        done = project.run("call", "shop.echo.fail")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "LightbusWorkerError: shop.echo.fail failed in its worker: ValueError('not today')\n"
        )

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["shop.echo.nope"], "ProcedureNotFound: the API 'shop.echo' has no procedure 'nope'; it has:"),
            (["shop.nope.echo"], "NoWorker: nobody serves the API 'shop.nope'"),
            (["shop.echo.fail", "x=1"], "ValidationError: "),
            (["shop.echo._echo"], "ProcedureNotFound: "),
        ],
    )
    def test_a_wrong_call(self, project: Project, args: list[str], said: str) -> None:
        done = project.run("call", *args)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(said)
        assert len(done.stderr.splitlines()) == 1

    def test_it_needs_no_bus_module(self, project: Project) -> None:
        (project.folder / "elsewhere").mkdir(exist_ok=True)
        assert project.within("elsewhere").run("call", "shop.echo.echo", "value=1").stdout == "1\n"

    def test_without_a_redis_it_says_what_to_do(self, project: Project) -> None:
        url = f"redis://127.0.0.1:{free_port()}/0"
        done = project.run("call", "shop.echo.echo", LIGHTBUS__BUS__REDIS__URL=url)
        assert (done.returncode, done.stdout) == (69, "")
        assert "TransportUnavailable: " in done.stderr
        assert "start it, or say where it is with bus.redis.url" in done.stderr
        assert "Traceback" not in done.stderr

    def test_bytes_that_are_no_text(self, project: Project) -> None:
        done = project.run("call", "shop.echo.echo", "value=\udcff")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "value" in done.stderr


class TestFire:
    def test_prints_the_event_s_id(self, project: Project, host: Process) -> None:
        done = project.run("fire", "shop.echo.said", "what=äh", "loud=true")
        assert (done.returncode, done.stderr) == (0, "")
        identifier = done.stdout.strip()
        eventually(lambda: f"heard 'äh' True {identifier}" in printed(host))

    def test_json_and_defaults(self, project: Project, host: Process) -> None:
        identifier = project.run("fire", "shop.echo.said", "--json", '{"what": {"a": [1]}}').stdout.strip()
        eventually(lambda: f"heard {{'a': [1]}} False {identifier}" in printed(host))

    @pytest.mark.parametrize(
        ("args", "status", "said"),
        [
            (["shop.echo.nope"], 1, "EventNotFound: the API 'shop.echo' has no event 'nope'; it has: said"),
            (["shop.echo.said"], 1, "InvalidEventArguments: shop.echo.said takes what"),
            (["shop.echo.said", "what=1", "x=2"], 1, "InvalidEventArguments: "),
            (["auth.user_registered"], 1, "NotAuthoritative: "),
            (["-b", "nope", "shop.echo.said", "what=1"], 78, "there is no module 'nope'"),
        ],
    )
    def test_a_wrong_event(self, project: Project, args: list[str], status: int, said: str) -> None:
        done = project.run("fire", *args)
        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr.startswith(said)
        assert "Traceback" not in done.stderr

    def test_a_module_that_declares_everything_may_be_imported(self, project: Project) -> None:
        project.write(
            "full.py",
            """
            import lightbus
            from bus import EchoApi

            bus = lightbus.create(service_name='full')

            async def background(): ...

            bus.client.add_background_task(background())

            @bus.client.every(seconds=1)
            def tick(): ...
            """,
        )
        done = project.run("fire", "--bus", "full", "shop.echo.said", "what=full")
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "Host and use a message bus"),
        (["run"], "Host the APIs, listeners and tasks"),
        (["call"], "lightbus call auth.check_password username=admin password=secret"),
        (["fire"], "lightbus fire auth.user_registered username=admin email=admin@example.com"),
    ],
)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help(project: Project, args: list[str], said: str, option: str) -> None:
    done = project.run(*args, option)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in " ".join(done.stdout.split())


def test_version(project: Project) -> None:
    assert project.run("--version").stdout.startswith("lightbus, version 2.")
