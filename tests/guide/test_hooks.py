"""Callbacks around calls, events and the life of a host."""

from __future__ import annotations

import pytest

from tests.guide.project import Project, printed
from tests.support.eventually import eventually
from tests.support.servers import Server

BUS = """
    import lightbus
    from lightbus import Api, Backoff, DeliveryPolicy, Event

    bus = lightbus.create()


    class AuthApi(Api):
        user_registered = Event(parameters=('username',))

        class Meta:
            name = 'auth'

        def greet(self, name: str) -> str:
            say('procedure', name)
            return f'Hello {name}'


    def say(*words):
        print(' '.join(map(str, words)) + '\\n', end='', flush=True)


    def listen(event_message, username):
        say('listener', username)


    def before_server_start(bus):
        quick = DeliveryPolicy(attempts=2, backoff=Backoff(initial=0.01, jitter=False))
        bus.auth.user_registered.listen(listen, on_error=quick)
"""

ALL = """
    client = bus.client
    seen = []


    @client.on_start()
    async def started(client):
        say('on_start', client.service_name)

    @client.on_stop
    def stopped(client):
        say('on_stop')

    @client.before_rpc_execution()
    def before_rpc(client, rpc_message):
        say('before_rpc_execution', rpc_message.canonical_name, rpc_message.kwargs)

    @client.after_rpc_execution
    async def after_rpc(client, rpc_message, result_message):
        say('after_rpc_execution', rpc_message.id == result_message.rpc_message_id, result_message.result)

    @client.before_event_execution
    def before_event(client, event_message):
        say('before_event_execution', event_message.canonical_name, event_message.kwargs)

    @client.after_event_execution
    async def after_event(client, event_message):
        say('after_event_execution', event_message.native_id is not None)
"""


def test_each_hook_of_a_host_gets_its_arguments(project: Project) -> None:
    project.write("bus.py", BUS + ALL)
    host = project.host()
    assert project.call("auth.greet", name="Ada") == "Hello Ada"
    project.fire("auth.user_registered", username="ada")
    eventually(lambda: "after_event_execution True" in printed(host))
    assert host.terminate() == 0
    assert printed(host) == [
        "on_start auth",
        "before_rpc_execution auth.greet {'name': 'Ada'}",
        "procedure Ada",
        "after_rpc_execution True Hello Ada",
        "before_event_execution auth.user_registered {'username': 'ada'}",
        "listener ada",
        "after_event_execution True",
        "on_stop",
    ]


CALLER = """
    import lightbus
    from bus import AuthApi

    bus = lightbus.create()
    client = bus.client

    @client.before_rpc_call
    def before_call(client, rpc_message):
        print('before_rpc_call', rpc_message.canonical_name, rpc_message.kwargs)

    @client.after_rpc_call
    async def after_call(client, rpc_message, result_message):
        print('after_rpc_call', result_message.result, result_message.error)

    @client.before_event_sent()
    async def before_sent(client, event_message):
        print('before_event_sent', event_message.kwargs, event_message.native_id)

    @client.after_event_sent()
    def after_sent(client, event_message):
        print('after_event_sent', event_message.native_id is not None)
"""


def test_each_hook_of_a_client_gets_its_arguments(project: Project) -> None:
    project.write("bus.py", BUS)
    project.host()
    said = project.script(
        CALLER + "    print(bus.auth.greet(name='Ada'))\n    bus.auth.user_registered.fire(username='ada')\n"
    )
    assert said.splitlines() == [
        "before_rpc_call auth.greet {'name': 'Ada'}",
        "after_rpc_call Hello Ada False",
        "Hello Ada",
        "before_event_sent {'username': 'ada'} None",
        "after_event_sent True",
    ]


def test_hooks_may_edit_what_goes_on(project: Project) -> None:
    project.write(
        "bus.py",
        f"""{BUS}
    @bus.client.before_rpc_execution
    def louder(client, rpc_message):
        rpc_message.kwargs['name'] = rpc_message.kwargs['name'].upper()

    @bus.client.after_rpc_execution
    def politer(client, rpc_message, result_message):
        result_message.result += '!'

    @bus.client.before_event_execution
    def replaced(client, event_message):
        event_message.kwargs = {{'username': 'replaced ' + event_message.kwargs['username']}}
""",
    )
    host = project.host()
    said = project.script(
        """
        import lightbus
        from bus import AuthApi

        bus = lightbus.create()

        @bus.client.before_rpc_call
        def longer(client, rpc_message):
            rpc_message.kwargs = {'name': rpc_message.kwargs['name'] + ' Lovelace'}

        @bus.client.after_rpc_call
        def later(client, rpc_message, result_message):
            result_message.result += ' (later)'

        @bus.client.before_event_sent
        def sent(client, event_message):
            event_message.kwargs['username'] += ' sent'

        print(bus.auth.greet(name='Ada'))
        print(bus.auth.user_registered.fire(username='ada').kwargs)
        """
    )
    assert said.splitlines() == ["Hello ADA LOVELACE! (later)", "{'username': 'ada sent'}"]
    eventually(lambda: "listener replaced ada sent" in printed(host))


def test_the_rest_of_a_message_is_fixed(project: Project) -> None:
    project.write(
        "bus.py",
        f"""{BUS}
    @bus.client.before_rpc_execution
    def forge(client, rpc_message):
        rpc_message.procedure_name = 'other'
""",
    )
    project.host()
    done = project.run("call", "auth.greet", "name=Ada")
    assert done.returncode == 1
    assert "procedure_name is fixed; a hook may edit headers and kwargs only" in done.stderr


def test_they_run_in_order_and_those_before_plugins_first(project: Project) -> None:
    project.write(
        "bus.py",
        f"""{BUS}
    @bus.client.before_rpc_execution()
    def one(client, rpc_message):
        say('one')

    @bus.client.before_rpc_execution(before_plugins=True)
    async def zero(client, rpc_message):
        say('zero')

    bus.client.before_rpc_execution(lambda client, rpc_message: say('two'))
    bus.client.before_rpc_execution(lambda **kwargs: say('half', sorted(kwargs)), before_plugins=True)
""",
    )
    host = project.host()
    project.call("auth.greet", name="Ada")
    assert printed(host) == ["zero", "half ['client', 'rpc_message']", "one", "two", "procedure Ada"]


@pytest.mark.parametrize("error", ["ValueError('no')", "SystemExit(1)", "KeyboardInterrupt", "Wild('no')"])
def test_one_that_raises_before_fails_the_message_and_one_after_does_not(
    project: Project, redis_server: Server, error: str
) -> None:
    project.write(
        "bus.py",
        f"""{BUS}
    class Wild(BaseException):
        pass

    @bus.client.before_rpc_execution
    def refuse(client, rpc_message):
        if rpc_message.kwargs['name'] == 'Eve':
            raise {error}

    @bus.client.after_rpc_execution
    async def fail(client, rpc_message, result_message):
        raise {error}

    @bus.client.before_event_execution
    async def refuse_event(client, event_message):
        if event_message.kwargs['username'] == 'eve':
            raise {error}
""",
    )
    host = project.host()
    done = project.run("call", "auth.greet", "name=Eve")
    assert done.returncode == 1
    assert error.partition("(")[0] in done.stderr
    assert project.call("auth.greet", name="Ada") == "Hello Ada"
    project.fire("auth.user_registered", username="eve")
    project.fire("auth.user_registered", username="ada")
    eventually(lambda: "listener ada" in printed(host))
    eventually(lambda: redis_server.execute("XLEN", "{auth.*:stream}:dead:auth-listen") == 1)
    assert "procedure Eve" not in printed(host)
    assert "listener eve" not in printed(host)
    assert host.terminate() == 0


def test_one_that_raises_in_a_client_stops_the_call(project: Project) -> None:
    project.write("bus.py", BUS)
    host = project.host()
    said = project.script(
        """
        import lightbus
        from bus import AuthApi

        bus = lightbus.create()

        @bus.client.before_rpc_call
        def refuse(client, rpc_message):
            raise PermissionError('not now')

        @bus.client.before_event_sent
        async def refuse_event(client, event_message):
            raise PermissionError('not now either')

        for action in bus.auth.greet, bus.auth.user_registered.fire:
            try:
                action(name='Ada') if action is bus.auth.greet else None
                action(username='ada')
            except PermissionError as e:
                print(e)
        """
    )
    assert said.splitlines() == ["not now", "not now either"]
    assert printed(host) == []


def test_one_that_raises_afterwards_in_a_client_is_logged_and_the_others_run(project: Project) -> None:
    project.write("bus.py", BUS)
    host = project.host()
    said = project.script(
        """
        import logging
        import sys
        import lightbus
        from bus import AuthApi

        logging.basicConfig(stream=sys.stdout, format='%(message)s')
        bus = lightbus.create()

        @bus.client.after_rpc_call
        def fail(client, rpc_message, result_message):
            raise PermissionError('too late')

        @bus.client.after_event_sent
        async def fail_event(client, event_message):
            raise PermissionError('too late, too')

        @bus.client.after_event_sent
        async def then(client, event_message):
            print('then', event_message.kwargs)

        print(bus.auth.greet(name='Ada'))
        print(bus.auth.user_registered.fire(username='ada').kwargs)
        """
    )
    assert "a callback of after_rpc_call failed: __main__.fail\n" in said
    assert "a callback of after_event_sent failed: __main__.fail_event\n" in said
    assert "PermissionError: too late, too" in said
    for line in ("Hello Ada", "then {'username': 'ada'}", "{'username': 'ada'}"):
        assert line in said.splitlines()
    eventually(lambda: "listener ada" in printed(host))


def test_one_that_raises_after_a_listener_is_logged_and_the_event_is_done(
    project: Project, redis_server: Server
) -> None:
    project.write(
        "bus.py",
        f"""{BUS}
    @bus.client.after_event_execution
    def fail(client, event_message):
        raise ValueError('too late')
""",
    )
    host = project.host()
    project.fire("auth.user_registered", username="ada")
    eventually(lambda: "a callback of after_event_execution failed: bus.fail" in host.output())
    eventually(lambda: redis_server.execute("XPENDING", "auth.*:stream", "auth-listen")[0] == 0)
    assert host.terminate() == 0
    assert printed(host).count("listener ada") == 1
    assert redis_server.execute("EXISTS", "{auth.*:stream}:dead:auth-listen") == 0


def test_a_failing_on_stop_does_not_keep_the_others_from_running(project: Project) -> None:
    project.write(
        "bus.py",
        f"""{BUS}
    @bus.client.on_stop
    def fail(client):
        raise ValueError('cannot stop')

    @bus.client.on_stop
    async def then(client):
        say('second on_stop', await bus.auth.greet.call_async(name='self') if False else '')
""",
    )
    host = project.host()
    assert host.terminate() == 0
    assert "second on_stop " in printed(host)
    assert "ValueError: cannot stop" in host.output()


def test_an_unknown_hook(project: Project) -> None:
    project.write("bus.py", f"{BUS}\n    bus.client.hook('before_lunch', print)\n")
    status, output = project.refused()
    assert status == 78
    assert "there is no hook 'before_lunch'; there are before_worker_start" in output
