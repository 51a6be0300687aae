"""Plugins: classes with hooks that a package offers by an entry point, and a manifest switches on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.guide.project import Project, printed
from tests.support.eventually import eventually

BUS = """
    from lightbus import Api, Backoff, DeliveryPolicy, Event


    class AuthApi(Api):
        user_registered = Event(parameters=('username',))

        class Meta:
            name = 'auth'

        def greet(self, name: str) -> str:
            if name == 'Eve':
                raise ValueError('not Eve')
            print('procedure', name, flush=True)
            return f'Hello {name}'


    def listen(event_message, username):
        if username == 'eve':
            raise ValueError('not eve')
        print('listener', username, flush=True)


    def before_server_start(bus):
        quick = DeliveryPolicy(attempts=1, backoff=Backoff(initial=0.01, jitter=False))
        bus.auth.user_registered.listen(listen, on_error=quick)
"""

PLUGIN = """
    from contextlib import contextmanager
    from dataclasses import dataclass

    from lightbus.options import Duration, option
    from lightbus.plugins import LightbusPlugin, PluginOptions


    @dataclass(frozen=True, kw_only=True)
    class Options(PluginOptions):
        '''What it says, and how often.'''

        greeting: str = option('hello', 'What it says.')
        interval: Duration = option(Duration(5), 'How often.', minimum=1)


    def say(*words):
        print(*words, flush=True)


    class Acme(LightbusPlugin):
        options = Options

        def __init__(self, greeting, interval):
            self.greeting, self.interval = greeting, interval

        @classmethod
        def from_config(cls, config, greeting, interval):
            say('made for', config.service_name, greeting, interval)
            return cls(greeting, interval)

        async def before_worker_start(self, *, client):
            say('before_worker_start', client.service_name)

        async def after_worker_stopped(self, *, client):
            say('after_worker_stopped')

        async def before_close(self, *, client):
            say('before_close')

        async def before_rpc_call(self, *, rpc_message, client):
            say('before_rpc_call', rpc_message.canonical_name)

        async def after_rpc_call(self, *, rpc_message, result_message, client):
            say('after_rpc_call', result_message.result)

        async def before_rpc_execution(self, *, rpc_message, client):
            say('before_rpc_execution', rpc_message.kwargs)

        async def after_rpc_execution(self, *, rpc_message, result_message, client):
            say('after_rpc_execution', result_message.result)

        async def before_event_sent(self, *, event_message, client):
            say('before_event_sent', event_message.kwargs)

        async def after_event_sent(self, *, event_message, client):
            say('after_event_sent', event_message.native_id is not None)

        async def before_event_execution(self, *, event_message, client):
            say('before_event_execution', event_message.kwargs)

        async def after_event_execution(self, *, event_message, client):
            say('after_event_execution')

        async def exception(self, *, e):
            say('exception', repr(e))

        @contextmanager
        def around_rpc_execution(self, *, rpc_message, client):
            try:
                yield
                say('around_rpc_execution')
            except Exception as e:
                say('around_rpc_execution', repr(e))
                raise

        @contextmanager
        def around_event_execution(self, *, event_message, client, listener_name):
            try:
                yield
                say('around_event_execution', listener_name)
            except Exception as e:
                say('around_event_execution', listener_name, repr(e))
                raise

        @contextmanager
        def around_rpc_call(self, *, rpc_message, client):
            try:
                yield
                say('around_rpc_call')
            except Exception as e:
                say('around_rpc_call', type(e).__name__)
                raise

        @contextmanager
        def around_event_sent(self, *, event_message, client):
            yield
            say('around_event_sent')
"""

CALL = ("call", "auth.greet", "name=Ada")
FIRE = ("fire", "auth.user_registered", "username=ada")
ENABLED = "plugins: {acme: {enabled: true, greeting: hi, interval: 1m}}\n"


def install(project: Project, plugin: str = PLUGIN, entry: str = "acme:Acme") -> None:
    """Have a package in the project's folder that offers the plugin `acme`."""
    project.write("bus.py", BUS)
    project.write("acme.py", plugin)
    project.write("acme-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    project.write("acme-1.0.dist-info/entry_points.txt", f"[lightbus_plugins]\nacme = {entry}\n")


def test_each_hook_of_a_host_reaches_a_plugin(project: Project) -> None:
    install(project)
    project.write("lightbus.yaml", ENABLED)
    host = project.host()
    assert project.call("auth.greet", name="Ada") == "Hello Ada"
    project.fire("auth.user_registered", username="ada")
    eventually(lambda: "after_event_execution" in printed(host))
    assert host.terminate() == 0
    assert printed(host) == [
        "made for auth hi 60.0",
        "before_worker_start auth",
        "before_rpc_execution {'name': 'Ada'}",
        "procedure Ada",
        "around_rpc_execution",
        "after_rpc_execution Hello Ada",
        "before_event_execution {'username': 'ada'}",
        "listener ada",
        "around_event_execution listen",
        "after_event_execution",
        "after_worker_stopped",
        "before_close",
    ]
    assert "plugins: acme" in host.output()


def test_it_learns_what_was_raised(project: Project) -> None:
    install(project)
    project.write("lightbus.yaml", ENABLED)
    host = project.host()
    with pytest.raises(Exception, match="not Eve"):
        project.call("auth.greet", name="Eve")
    project.fire("auth.user_registered", username="eve")
    eventually(lambda: "exception ValueError('not eve')" in printed(host))
    hooks = ("before", "after", "around", "exception")
    assert [line for line in printed(host)[2:] if line.startswith(hooks)] == [
        "before_rpc_execution {'name': 'Eve'}",
        "around_rpc_execution ValueError('not Eve')",
        "exception ValueError('not Eve')",
        "after_rpc_execution ValueError('not Eve')",
        "before_event_execution {'username': 'eve'}",
        "around_event_execution listen ValueError('not eve')",
        "exception ValueError('not eve')",
    ]


def test_it_learns_what_recurring_work_raised(project: Project) -> None:
    install(project)
    project.write("lightbus.yaml", ENABLED)
    project.write(
        "bus.py",
        BUS
        + """
        bus.client.every(seconds=0.05)(tick)
        bus.client.add_background_task(watch())


    def tick():
        raise ValueError('no tick')


    async def watch():
        raise ValueError('no watch')
""",
    )
    host = project.host()
    raised = {f"exception ValueError('no {what}')" for what in ("tick", "watch")}
    eventually(lambda: raised <= set(printed(host)))


def test_it_learns_what_the_host_itself_raised(project: Project) -> None:
    install(project)
    project.write("lightbus.yaml", ENABLED)
    project.write("bus.py", BUS + "        raise OSError('no such host')\n")
    status, output = project.refused()
    assert status == 78
    assert "exception ConfigurationError(" in output
    assert "before_close" in output


def test_each_hook_of_a_client_reaches_a_plugin(project: Project) -> None:
    install(project)
    project.host()
    project.write("lightbus.yaml", ENABLED)
    said = project.script(
        """
        import lightbus
        from bus import AuthApi

        bus = lightbus.create()
        print(bus.auth.greet(name='Ada'))
        try:
            bus.auth.greet(name='Eve')
        except Exception as e:
            print(type(e).__name__)
        bus.auth.user_registered.fire(username='ada')
        bus.client.close()
        """
    )
    assert said.splitlines() == [
        "made for auth hi 60.0",
        "before_rpc_call auth.greet",
        "after_rpc_call Hello Ada",
        "around_rpc_call",
        "Hello Ada",
        "before_rpc_call auth.greet",
        "after_rpc_call ValueError('not Eve')",
        "around_rpc_call LightbusWorkerError",
        "LightbusWorkerError",
        "before_event_sent {'username': 'ada'}",
        "after_event_sent True",
        "around_event_sent",
        "before_close",
    ]


@pytest.mark.parametrize("command", ["call", "fire"])
def test_the_commands_that_call_and_fire_have_plugins_too(project: Project, command: str) -> None:
    install(project)
    project.host()
    project.write("lightbus.yaml", ENABLED)
    done = project.run(*(CALL if command == "call" else FIRE))
    assert done.returncode == 0, done.stderr
    assert ("after_rpc_call Hello Ada" if command == "call" else "after_event_sent True") in done.stdout


def test_one_that_is_not_switched_on_is_not_made(project: Project) -> None:
    install(project)
    project.write("lightbus.yaml", "plugins: {acme: {greeting: hi}}\n")
    host = project.host()
    project.call("auth.greet", name="Ada")
    assert printed(host) == ["procedure Ada"]
    assert "plugins:" not in host.output()


def test_they_run_by_priority_then_name_between_the_callbacks(project: Project) -> None:
    install(
        project,
        """
        from lightbus import LightbusPlugin

        def plugin(word, number):
            class Saying(LightbusPlugin):
                priority = number

                async def before_rpc_execution(self, *, rpc_message, client):
                    print(word, flush=True)
            return Saying

        A, B, C, D = plugin('a', 20), plugin('b', 10), plugin('c', 20), plugin('d', 1000)
        """,
    )
    project.write(
        "acme-1.0.dist-info/entry_points.txt",
        "[lightbus_plugins]\na = acme:A\nb = acme:B\nc = acme:C\nd = acme:D\n",
    )
    project.write(
        "lightbus.yaml", "plugins: {" + ", ".join(f"{n}: {{enabled: true}}" for n in "dcba") + "}\n"
    )
    project.write(
        "bus.py",
        BUS
        + """
    import lightbus
    client = lightbus.create().client

    @client.before_rpc_execution
    def late(client, rpc_message):
        print('late', flush=True)

    @client.before_rpc_execution(before_plugins=True)
    def early(client, rpc_message):
        print('early', flush=True)
""",
    )
    host = project.host()
    project.call("auth.greet", name="Ada")
    assert printed(host) == ["early", "b", "a", "c", "d", "late", "procedure Ada"]


def test_those_that_code_brings_along_come_besides(project: Project) -> None:
    install(project)
    project.write("lightbus.yaml", ENABLED)
    project.write(
        "bus.py",
        f"""{BUS}
    import lightbus
    from lightbus import LightbusPlugin

    class Mine(LightbusPlugin):
        priority = 1

        async def before_rpc_execution(self, *, rpc_message, client):
            print('mine', flush=True)

    bus = lightbus.create(plugins=[Mine()])
""",
    )
    host = project.host()
    project.call("auth.greet", name="Ada")
    assert printed(host)[2:5] == ["mine", "before_rpc_execution {'name': 'Ada'}", "procedure Ada"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plugins: {acme: {greting: hi}}", 'plugins.acme.greting: unknown key; did you mean "greeting"?'),
        ("plugins: {acme: {interval: 0.5}}", "plugins.acme.interval: must be at least 1"),
        ("plugins: {acme: {enabled: 3}}", "plugins.acme.enabled: must be true or false"),
    ],
)
def test_its_options_are_checked_like_all_others(project: Project, text: str, told: str) -> None:
    install(project)
    project.write("lightbus.yaml", text)
    done = project.run("check")
    assert done.returncode == 78
    assert f"lightbus.yaml:1:{text.index('acme: {') + 8}" in done.stdout or told in done.stdout
    assert told in done.stdout


def test_its_options_are_in_the_json_schema(project: Project) -> None:
    install(project)
    options, definitions = plugins_in_schema(project)
    reference = options["acme"]["$ref"].rpartition("/")[2]
    assert definitions[reference]["properties"]["greeting"]["description"] == "What it says."
    install(project, "import no_such_thing")
    assert "No module named" in plugins_in_schema(project)[0]["acme"]["description"]


def plugins_in_schema(project: Project) -> tuple[Any, Any]:
    """What an editor is told about plugins, and all definitions."""
    definitions = json.loads(project.run("config", "schema").stdout)["$defs"]
    return definitions["Manifest"]["properties"]["plugins"]["properties"], definitions
