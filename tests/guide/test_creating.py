"""`lightbus.create()` and `lightbus.get_bus()`: names, arguments, several buses in one process."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lightbus
from lightbus.declared.old_names import arguments
from lightbus.declared.settings import ApiSettings, ChosenTransport, EventTransport
from lightbus.exceptions import ConfigurationError, ManifestError
from lightbus.options import SecretUrl
from lightbus.transports.redis.options import RedisEventOptions
from tests.guide.project import Project, printed
from tests.support.eventually import eventually

API = """
    import lightbus
    from lightbus import Api, Event

    class AuthApi(Api):
        user_registered = Event(parameters=('username',))

        class Meta:
            name = 'auth'

        def who(self) -> str:
            return 'auto'
"""


@pytest.fixture
def bus() -> lightbus.BusPath:
    """A bus in memory."""
    memory: dict[str, Any] = {"event_transport": {"memory": {}}, "rpc_transport": {"memory": {}}}
    return lightbus.create({"apis": {"default": memory}})


class TestNames:
    def test_a_service_is_named_after_its_first_api_and_a_process_after_host_and_pid(
        self, project: Project
    ) -> None:
        project.write("bus.py", API)
        host = project.host()
        assert f"ready: auth runs as {socket.gethostname()}-{host.pid}" in host.output()

    def test_one_that_a_manifest_could_not_have_is_refused_without_a_manifest_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ManifestError, match="without spaces and single braces"):
            lightbus.create(service_name="shop\norders")

    def test_one_has_its_placeholders_filled_without_a_manifest_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert (
            lightbus.create(process_name="at-{hostname}").client.process_name == f"at-{socket.gethostname()}"
        )

    def test_without_an_api_after_the_folder_with_a_warning(self, project: Project) -> None:
        project.write("bus.py", "def before_server_start(bus):\n    bus.x.y.listen(h)\ndef h(m): ...\n")
        host = project.host()
        assert f"ready: {project.folder.name} runs as" in host.output()
        said = host.wait_for_line("no service_name is given, and no API: the service is called 'project'")
        assert "each event goes to only one of the two; write service_name: NAME into the manifest" in said

    @pytest.mark.parametrize("how", ["flag", "environment", "module", "manifest"])
    def test_they_can_be_given(self, project: Project, how: str) -> None:
        project.write("bus.py", API)
        args: list[str] = []
        env: dict[str, str] = {}
        if how == "flag":
            args = ["--service-name", "shop", "--process-name", "one"]
        elif how == "environment":
            env = {"LIGHTBUS_SERVICE_NAME": "shop", "LIGHTBUS_PROCESS_NAME": "one"}
        elif how == "module":
            project.write("bus.py", f"{API}\n    lightbus.create(service_name='shop', process_name='one')\n")
        else:
            project.write("lightbus.yaml", "service_name: shop\nprocess_name: one\n")
        assert "ready: shop runs as one" in project.host(*args, **env).output()

    def test_of_a_client(self, project: Project) -> None:
        project.write("bus.py", API)
        said = project.script(
            """
            import lightbus
            import os
            print(lightbus.create().client.service_name)
            import bus
            print(lightbus.create().client.service_name)
            mine = lightbus.create(service_name='mine', process_name='this').client
            print(mine.service_name, mine.process_name)
            print(lightbus.create().client.process_name.endswith(f'-{os.getpid()}'))
            """
        )
        assert said.splitlines() == ["project", "auth", "mine this", "True"]


class TestInAHostedModule:
    def test_several_modules_share_the_host_s_bus(self, project: Project) -> None:
        project.write("bus.py", API)
        for name in ("one", "two"):
            project.write(
                f"{name}.py",
                f"""
                import lightbus
                bus = lightbus.create()
                assert bus is lightbus.get_bus() is lightbus.create()

                @bus.client.every(seconds=0.2, also_run_immediately=True)
                def job():
                    print('{name}', lightbus.get_bus() is bus, bus.auth.who(), flush=True)
                """,
            )
        host = project.host("--bus", "bus,one,two")
        eventually(lambda: {"one True auto", "two True auto"} <= set(printed(host)), what=host.output())

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ("service_name='other'", "contradicts the host, whose service_name is 'shop'"),
            ("process_name='other'", "contradicts the host, whose process_name is 'one'"),
            ("config={'service_name': 'shop'}", "lightbus run -c FILE"),
            ("config='other.yaml'", "lightbus run -c FILE"),
            ("url='redis://elsewhere/0'", "bus.redis.url in the manifest"),
        ],
    )
    def test_arguments_that_contradict_the_manifest(
        self, project: Project, arguments: str, said: str
    ) -> None:
        project.write("lightbus.yaml", "service_name: shop\nprocess_name: one\n")
        path = project.write("bus.py", f"{API}\n    bus = lightbus.create({arguments})\n")
        status, output = project.refused()
        assert status == 78
        assert said in output
        assert f"{path}:13" in output

    @pytest.mark.parametrize("arguments", ["service_name='shop'", "config='lightbus.yaml'"])
    def test_arguments_that_say_the_same(self, project: Project, arguments: str) -> None:
        project.write("lightbus.yaml", "service_name: shop\n")
        project.write("bus.py", f"{API}\n    bus = lightbus.create({arguments})\n")
        project.host()

    def test_modules_that_contradict_each_other(self, project: Project) -> None:
        project.write("bus.py", f"{API}\n    lightbus.create(service_name='one')\n")
        project.write("more.py", "import lightbus\nlightbus.create(service_name='two')\n")
        status, output = project.refused("--bus", "bus,more")
        assert status == 78
        assert (
            "lightbus.create(service_name='two') contradicts the host, whose service_name is 'one'" in output
        )


class TestRegistering:
    def test_an_object_with_arguments(self, project: Project) -> None:
        project.write(
            "bus.py",
            """
            import lightbus

            class AuthApi(lightbus.Api):
                class Meta:
                    name = 'auth'
                    auto_register = False

                def __init__(self, answer):
                    self.answer = answer

                def who(self) -> str:
                    return self.answer

            lightbus.create().client.register_api(AuthApi('registered'))
            """,
        )
        project.host()
        assert project.call("auth.who") == "registered"

    def test_without_it_an_unregistered_class_is_not_served(self, project: Project) -> None:
        project.write("bus.py", API.replace("name = 'auth'", "name = 'auth'; auto_register = False"))
        status, output = project.refused()
        assert status == 78
        assert "there is nothing to host" in output

    def test_what_is_no_api(self, project: Project) -> None:
        path = project.write("bus.py", f"{API}\n    lightbus.create().client.register_api(print)\n")
        status, output = project.refused()
        assert status == 78
        assert "register_api() takes a class derived from lightbus.Api, or an object of one" in output
        assert f"{path}:" in output
        assert "Traceback" not in output

    def test_in_on_start(self, project: Project) -> None:
        project.write(
            "bus.py",
            API.replace("name = 'auth'", "name = 'auth'; auto_register = False")
            + """
    bus = lightbus.create()

    @bus.client.on_start()
    async def start(client):
        client.register_api(AuthApi)
        bus.auth.user_registered.listen(handle)

    def handle(event_message, username):
        print('heard', username, flush=True)
""",
        )
        host = project.host()
        assert project.call("auth.who") == "auto"
        assert "listener handle: auth.user_registered" in host.output()


class TestNothingToDoYet:
    """A bus module that makes a bus is waited with, as in 1.x, and says what is missing."""

    WARNING = "there is nothing to do yet: bus registers no API, listener, schedule or background task"

    def test_a_bus_alone(self, project: Project) -> None:
        project.write("bus.py", "import lightbus\nbus = lightbus.create()\n")
        host = project.host()
        assert f"warning  {self.WARNING}; bus.client.register_api(...)" in host.output()
        assert host.output().count(self.WARNING) == 1
        assert host.terminate() == 0

    def test_a_bus_with_hooks_which_run(self, project: Project) -> None:
        project.write(
            "bus.py",
            """
            import lightbus
            bus = lightbus.create()

            @bus.client.on_start()
            def start(client):
                print('started', flush=True)

            @bus.client.on_stop()
            def stop(client):
                print('stopped', flush=True)
            """,
        )
        host = project.host()
        assert host.output().count(self.WARNING) == 1
        assert host.terminate() == 0
        assert printed(host) == ["started", "stopped"]

    def test_not_where_a_hook_registers_something(self, project: Project) -> None:
        start = "@bus.client.on_start()\ndef start(client):\n    client.register_api(AuthApi)\n"
        project.write("apis.py", API)
        project.write("bus.py", f"from apis import *\nbus = lightbus.create()\n{start}")
        host = project.host()
        assert "APIs in the registry: auth (by register_api())" in host.output()
        assert self.WARNING not in host.output()


class TestByUrl:
    """The URL of a Redis in place of a manifest."""

    @pytest.mark.parametrize("argument", ["{url!r}", "url={url!r}"])
    def test_is_all_that_a_client_needs(self, project: Project, argument: str) -> None:
        project.write("bus.py", API)
        project.host()
        given = argument.format(url=project.env.pop("LIGHTBUS__BUS__REDIS__URL"))
        # A manifest that happens to be there is not read.
        project.write("lightbus.yaml", "service_name: shop\nbus: {redis: {url: 'redis://127.0.0.1:1/0'}}\n")
        said = project.script(f"import lightbus\nprint(lightbus.create({given}).auth.who())")
        assert said == "auto\n"

    def test_the_host_s_own_is_no_contradiction(self, project: Project) -> None:
        url = project.env["LIGHTBUS__BUS__REDIS__URL"]
        project.write("bus.py", f"{API}\n    lightbus.create({url!r})\n    lightbus.create(url={url!r})\n")
        project.host()

    def test_beside_a_manifest_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="takes a manifest or the URL of a Redis"):
            lightbus.create("lightbus.yaml", url="redis://127.0.0.1:1/0")

    def test_that_is_none_is_told_without_its_password(self) -> None:
        with pytest.raises(ManifestError, match=r"bus\.redis\.url") as caught:
            lightbus.create(url="http://me:hush@127.0.0.1:1/0")
        assert "hush" not in str(caught.value)


class TestWith:
    """`with` and `async with` close the bus at their end."""

    def test_a_bus_is_closed(self, project: Project) -> None:
        project.write("bus.py", API)
        project.host()
        said = project.script(
            """
            import asyncio, lightbus

            with lightbus.create() as bus:
                print(bus.auth.who())
            print(bus.client.is_closed, lightbus.get_bus().client.is_closed)

            async def main():
                async with lightbus.create() as bus:
                    print(await bus.auth.who.call_async())
                print(bus.client.is_closed)

            asyncio.run(main())
            """
        )
        assert said.splitlines() == ["auto", "True False", "auto", "True"]

    def test_also_where_its_block_raises(self, bus: lightbus.BusPath) -> None:
        with pytest.raises(ZeroDivisionError), bus:
            _ = 1 / 0
        assert bus.client.is_closed

    def test_not_a_host_s_own_which_others_use(self, project: Project) -> None:
        project.write("bus.py", f"{API}\n    with lightbus.create() as bus:\n        pass\n")
        project.host()
        assert project.call("auth.who") == "auto"

    def test_a_name_on_the_bus_is_refused(self, bus: lightbus.BusPath) -> None:
        with pytest.raises(TypeError, match=r"bus\.auth is a name on it"), bus.auth:
            pass


class TestRepr:
    """What a bus says of itself at a prompt."""

    def test_says_service_process_and_redis_and_no_secret(self) -> None:
        url = "redis://me:hush@127.0.0.1:1/3"
        bus = lightbus.create(url, service_name="shop", process_name="one")
        described = "'shop', process 'one', redis at 127.0.0.1:1/3"
        assert repr(bus) == f"<BusPath of {described}>"
        assert repr(bus.auth.who) == f"<BusPath auth.who of {described}>"
        assert repr(bus.client) == f"<BusClient of {described}>"

    def test_of_a_redis_that_can_not_be_used_says_so_and_raises_nothing(self) -> None:
        bus = lightbus.create("redis://cache", service_name="shop", process_name="one")
        options = RedisEventOptions(url=SecretUrl("redis://me:hush"))
        settings = ApiSettings(event_transport=EventTransport(ChosenTransport("redis", options)))
        parts = bus.client.parts
        parts.connections.rewire(replace(parts.wiring, api=lambda name: settings))
        described = "'shop', process 'one', redis at a URL that can't be used"
        assert repr(bus.client) == f"<BusClient of {described}>"

    def test_says_that_it_is_closed(self, bus: lightbus.BusPath) -> None:
        assert repr(bus.client).endswith(", memory>")
        assert "closed" not in repr(bus)
        bus.client.close()
        assert repr(bus.client).endswith(", closed>")


def test_two_buses_in_one_process_do_not_mix(project: Project) -> None:
    project.write("bus.py", API)
    project.host()
    said = project.script(
        """
        import lightbus

        one = lightbus.create(service_name='one')
        two = lightbus.create(service_name='two')
        assert lightbus.get_bus() is one
        assert lightbus.get_bus(service_name='two') is two

        class Mine(lightbus.Api):
            happened = lightbus.Event()
            class Meta:
                name = 'mine'
                auto_register = False

        one.client.register_api(Mine())
        one.client.before_rpc_call(lambda client, rpc_message: print('hook of', client.service_name))
        one.mine.happened.listen(print, listener_name='listener')
        print(two.auth.who(), one.auth.who())
        print(two.client.listeners, list(one.client.listeners))
        one.mine.happened.fire()
        try:
            two.mine.happened.fire()
        except lightbus.LightbusException as e:
            print(type(e).__name__)
        one.client.close()
        print(two.auth.who())
        """
    )
    assert said.splitlines() == [
        "hook of one",
        "auto auto",
        "{} ['listener']",
        "NotAuthoritative",
        "auto",
    ]


def test_a_bus_for_another_redis(project: Project) -> None:
    """What code says is weaker than the environment, and all that there is where nothing else is said."""
    url = project.env.pop("LIGHTBUS__BUS__REDIS__URL")
    project.env.pop("LIGHTBUS__BUS__LOG_FORMAT")
    project.write("bus.py", API)
    project.write("lightbus.yaml", f"bus: {{redis: {{url: '{url}'}}}}\n")
    project.host(LIGHTBUS__BUS__LOG_FORMAT="text")
    (project.folder / "lightbus.yaml").rename(project.folder / "my.yaml")
    for config in ("'my.yaml'", f"{{'bus': {{'redis': {{'url': {url!r}}}}}}}"):
        assert project.script(f"import lightbus\nprint(lightbus.create({config}).auth.who())") == "auto\n"
    said = project.script("import lightbus\nprint(lightbus.create().auth.who())", LIGHTBUS_CONFIG="my.yaml")
    assert said == "auto\n"
    assert os.listdir(project.folder)


class TestArgumentsOf1x:
    """`config_file` and `flask` work, and warn once."""

    def test_a_file(self, project: Project) -> None:
        url = project.env.pop("LIGHTBUS__BUS__REDIS__URL")
        project.write("my.yaml", f"service_name: mine\nbus: {{redis: {{url: '{url}'}}}}\n")
        said = project.script(
            """
            import lightbus
            import warnings
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter('always')
                for _ in range(2):
                    bus = lightbus.create(config_file='my.yaml')
            print(bus.client.service_name)
            print(len(caught), caught[0].category.__name__, caught[0].filename.endswith('script.py'))
            print(caught[0].message)
            """
        )
        assert said.splitlines() == [
            "mine",
            "1 DeprecationWarning True",
            "config_file is an argument of lightbus.create() in Lightbus 1.x; give the file as the first "
            "argument: lightbus.create('my.yaml')",
        ]

    @pytest.mark.parametrize("is_on", [True, False])
    def test_flask(self, is_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(arguments, "_told", set())
        with pytest.warns(DeprecationWarning, match=r"leave it out: create\(\) connects to nothing"):
            bus = lightbus.create(flask=is_on)
        assert isinstance(bus, lightbus.BusPath)

    def test_a_file_beside_a_configuration_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(arguments, "_told", {"config_file"})
        with pytest.raises(ConfigurationError, match="a configuration and a config_file; give one of them"):
            lightbus.create({}, config_file="my.yaml")

    @pytest.mark.parametrize(
        ("name", "said"),
        [("client_class", "; the client is always lightbus.BusClient"), ("confg", "$")],
    )
    def test_others_are_refused_as_python_does(self, name: str, said: str) -> None:
        given: dict[str, Any] = {name: None}
        with pytest.raises(TypeError, match=rf"create\(\) got an unexpected keyword argument '{name}'{said}"):
            lightbus.create(**given)

    def test_in_a_hosted_module_the_file_is_that_of_the_host(self, project: Project) -> None:
        project.write("lightbus.yaml", "service_name: shop\n")
        project.write(
            "bus.py", f"{API}\n    bus = lightbus.create(config_file='lightbus.yaml', flask=True)\n"
        )
        project.host()
        project.write("bus.py", f"{API}\n    bus = lightbus.create(config_file='other.yaml')\n")
        # Where warnings are no errors, as they are in refused().
        host = project.start("run")
        assert host.wait() == 78
        assert "contradicts the host's own configuration" in host.output()


def test_two_buses_of_one_hosted_module_are_the_host_s(project: Project) -> None:
    project.write(
        "bus.py",
        f"{API}\n    one, two = lightbus.create(), lightbus.create()\n    assert one is two\n"
        "    two.client.every(seconds=0.1, also_run_immediately=True)(lambda: print('ran', flush=True))\n",
    )
    host = project.host()
    eventually(lambda: "ran" in printed(host), what=host.output())
