"""Calls from wherever code runs: any thread, web views, forked processes, handlers, coroutines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

import lightbus
from lightbus.exceptions import (
    BusAlreadyClosed,
    LightbusTimeout,
    LightbusWorkerError,
    NotAuthoritative,
    SyncCallOnEventLoop,
)
from tests.guide.project import Project, printed
from tests.support.eventually import eventually
from tests.support.patient import ENVIRONMENT, patient
from tests.support.processes import Process
from tests.support.servers import Server

BUS = """
    import lightbus
    from lightbus import Api, Event, Parameter

    bus = lightbus.create()


    class AuthApi(Api):
        user_registered = Event(parameters=('username', Parameter('email', str, default='nobody')))

        class Meta:
            name = 'auth'

        def check_password(self, username, password):
            return username == 'admin' and password == 'secret'

        def nested(self, username):
            'A synchronous procedure that calls another service, which may be this one.'
            return bus.shop.billing.price_of(username=username)

        async def nested_async(self, username):
            return await bus.shop.billing.price_of.call_async(username=username)

        async def nested_wrongly(self, username):
            return bus.shop.billing.price_of(username=username)


    class BillingApi(Api):
        class Meta:
            name = 'shop.billing'

        def price_of(self, username):
            return len(username)


    def before_server_start(bus):
        bus.auth.user_registered.listen(charge)


    def charge(event_message, username, email):
        print('charged', username, email, bus.shop.billing.price_of(username=username), flush=True)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    it = Server("valkey")
    yield it
    it.close()


@pytest.fixture(scope="module")
def project(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    it = Project(tmp_path_factory.mktemp("project"), server.url)
    it.env |= ENVIRONMENT
    yield it
    it.close()


@pytest.fixture(scope="module", autouse=True)
def host(project: Project) -> Iterator[Process]:
    project.write("bus.py", BUS)
    it = project.host()
    yield it
    assert it.terminate() == 0, it.output()


@pytest.fixture
def bus(server: Server) -> Iterator[lightbus.BusPath]:
    it = lightbus.create(patient(server.url), service_name="caller")
    yield it
    it.client.close()


ADMIN: dict[str, Any] = {"username": "admin", "password": "secret"}


class TestFromThreads:
    def test_from_any_thread(self, bus: lightbus.BusPath) -> None:
        answers: list[bool] = []
        thread = threading.Thread(target=lambda: answers.append(bus.auth.check_password(**ADMIN)))
        thread.start()
        thread.join(60)
        assert answers == [True]

    def test_from_many_at_once_each_gets_its_own_answer(self, bus: lightbus.BusPath) -> None:
        names = ["x" * length for length in range(200)]
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda name: bus.shop.billing.price_of(username=name), names))
        assert answers == list(range(200))

    def test_an_api_with_a_dot_in_its_name(self, bus: lightbus.BusPath) -> None:
        assert bus.shop.billing.price_of(username="äöü") == 3

    def test_a_wsgi_view(self, bus: lightbus.BusPath) -> None:
        """As in Django and Flask: a synchronous function in a thread of the web server."""

        def view(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            name = environ["QUERY_STRING"]
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(bus.auth.check_password(username=name, password="secret")).encode()]

        class Silent(WSGIRequestHandler):
            def log_message(self, format: str, *args: Any) -> None: ...

        with make_server("127.0.0.1", 0, view, handler_class=Silent) as web:
            thread = threading.Thread(target=web.serve_forever)
            thread.start()
            try:
                for name, said in (("admin", b"True"), ("guest", b"False")):
                    with urlopen(f"http://127.0.0.1:{web.server_port}/?{name}") as response:
                        assert response.read() == said
            finally:
                web.shutdown()
                thread.join(60)


class TestFromCoroutines:
    def test_on_several_event_loops_one_after_the_other(self, bus: lightbus.BusPath) -> None:
        async def several() -> list[Any]:
            call = bus.auth.check_password.call_async
            return await asyncio.gather(*(call(**ADMIN) for _ in range(10)))

        for _ in range(3):
            assert asyncio.run(several()) == [True] * 10

    def test_on_two_event_loops_at_the_same_time(self, bus: lightbus.BusPath) -> None:
        async def many() -> list[Any]:
            return [await bus.shop.billing.price_of.call_async(username="x" * n) for n in range(20)]

        with ThreadPoolExecutor(2) as pool:
            assert [f.result(60) for f in [pool.submit(asyncio.run, many()) for _ in range(2)]] == [
                list(range(20))
            ] * 2

    def test_in_an_asgi_endpoint_and_a_thread_beside_it(self, bus: lightbus.BusPath) -> None:
        """As in FastAPI: `async def` endpoints await, and `def` endpoints run in a thread."""

        async def endpoints() -> tuple[bool, bool]:
            awaited = await bus.auth.check_password.call_async(**ADMIN)
            return awaited, await asyncio.to_thread(bus.auth.check_password, **ADMIN)

        assert asyncio.run(endpoints()) == (True, True)

    def test_a_call_that_is_cancelled_ends_at_once(self, bus: lightbus.BusPath) -> None:
        async def impatient() -> None:
            async with asyncio.timeout(1):
                await bus.auth.check_password.call_async(**ADMIN, bus_options={"timeout": 20})
                await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            asyncio.run(impatient())

    def test_a_blocking_form_on_the_loop_names_the_one_to_await(self, bus: lightbus.BusPath) -> None:
        async def wrong(form: str) -> None:
            getattr(bus.auth.check_password, form)(**ADMIN)

        said = r"write: await bus\.auth\.check_password\."
        for form, name in (("__call__", "call_async"), ("call", "call_async"), ("fire", "fire_async")):
            with pytest.raises(SyncCallOnEventLoop, match=rf"{said}{name}\(\.\.\.\)"):
                asyncio.run(wrong(form))


class TestInsideAHost:
    def test_a_synchronous_procedure_calls(self, bus: lightbus.BusPath) -> None:
        assert bus.auth.nested(username="admin") == 5

    def test_many_of_them_at_once(self, bus: lightbus.BusPath) -> None:
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda n: bus.auth.nested(username="x" * n), range(60)))
        assert answers == list(range(60))

    def test_an_async_procedure_awaits(self, bus: lightbus.BusPath) -> None:
        assert bus.auth.nested_async(username="admin") == 5

    def test_an_async_procedure_that_blocks_is_told(self, bus: lightbus.BusPath) -> None:
        with pytest.raises(LightbusWorkerError, match=r"SyncCallOnEventLoop.*price_of\.call_async"):
            bus.auth.nested_wrongly(username="admin")

    def test_a_synchronous_listener_calls(self, project: Project, host: Process) -> None:
        project.fire("auth.user_registered", username="admin", email="nobody")
        eventually(lambda: "charged admin nobody 5" in printed(host))


def test_after_a_fork(project: Project) -> None:
    """As under gunicorn with preloading: the parent has used the bus, then children and parent go on."""
    answers = project.script(
        """
        import os, sys, threading
        import lightbus

        bus = lightbus.create()

        @bus.client.before_rpc_call
        def synchronous_hook(client, rpc_message):
            pass

        def call(name):
            return bus.shop.billing.price_of(username=name)

        print('parent', call('a'), flush=True)
        children = []
        for number in range(3):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    from concurrent.futures import ThreadPoolExecutor
                    with ThreadPoolExecutor(5) as pool:
                        assert list(pool.map(call, ['x' * n for n in range(50)])) == list(range(50))
                    status = 0
                finally:
                    os._exit(status)
            children.append(pid)
        print('parent', call('bb'), flush=True)
        print('children', [os.waitpid(pid, 0)[1] for pid in children])
        print('parent', call('ccc'))
        """
    )
    assert answers.splitlines() == ["parent 1", "parent 2", "children [0, 0, 0]", "parent 3"]


def test_a_multiprocessing_pool(project: Project) -> None:
    answers = project.script(
        """
        import multiprocessing
        import lightbus

        bus = lightbus.create()

        def call(name):
            return bus.shop.billing.price_of(username=name)

        if __name__ == '__main__':
            print(call('parent'))
            with multiprocessing.get_context('fork').Pool(2) as pool:
                print(pool.map(call, ['a', 'bb', 'ccc', 'dddd']))
        """
    )
    assert answers.splitlines() == ["6", "[1, 2, 3, 4]"]


def test_a_script_ends_without_a_word_though_nobody_closes_the_bus(project: Project) -> None:
    said = project.script(
        """
        import asyncio, threading
        import lightbus

        bus = lightbus.create()
        print(bus.auth.check_password(username='admin', password='secret'))
        asyncio.run(bus.auth.check_password.call_async(username='admin', password='secret'))
        """
    )
    assert said == "True\n"


class TestClosing:
    def test_a_closed_bus_takes_no_more_calls(self, server: Server) -> None:
        bus = lightbus.create(patient(server.url), service_name="caller")
        assert bus.auth.check_password(**ADMIN) is True
        bus.client.close()
        with pytest.raises(BusAlreadyClosed, match=r"make a new one with lightbus\.create\(\)"):
            bus.auth.check_password(**ADMIN)
        bus.client.close()

    def test_closing_one_bus_leaves_another_alone(self, server: Server, bus: lightbus.BusPath) -> None:
        other = lightbus.create(patient(server.url), service_name="other")
        assert other.auth.check_password(**ADMIN) is True
        other.client.close()
        assert bus.auth.check_password(**ADMIN) is True

    def test_close_async(self, server: Server) -> None:
        bus = lightbus.create(patient(server.url), service_name="caller")

        async def use() -> None:
            assert await bus.auth.check_password.call_async(**ADMIN) is True
            await bus.client.close_async()
            with pytest.raises(BusAlreadyClosed):
                await bus.auth.check_password.call_async(**ADMIN)

        asyncio.run(use())


class TestWithoutTheApiClass:
    def test_dir_lists_what_others_publish(self, bus: lightbus.BusPath) -> None:
        assert bus.auth.check_password(**ADMIN) is True
        assert {"auth", "shop", "client"} <= set(dir(bus))
        assert "billing" in dir(bus.shop)
        assert {"check_password", "nested", "user_registered", "call", "fire", "listen"} <= set(dir(bus.auth))

    def test_it_cannot_fire(self, bus: lightbus.BusPath) -> None:
        with pytest.raises(NotAuthoritative, match="does not define the API 'auth': before firing, import"):
            bus.auth.user_registered.fire(username="x")

    def test_names_that_start_with_an_underscore(self, bus: lightbus.BusPath) -> None:
        with pytest.raises(AttributeError, match="don't start with an underscore: '_private'"):
            bus.auth._private(username="x")

    def test_a_name_of_no_api(self, bus: lightbus.BusPath) -> None:
        for path in (bus, bus.auth):
            with pytest.raises(lightbus.LightbusException, match=r"write bus\.<api>\.<name>"):
                path()

    def test_a_timeout_of_one_call(self, bus: lightbus.BusPath, host: Process) -> None:
        assert bus.auth.check_password(**ADMIN) is True  # So that it is connected.
        host.pause()
        try:
            with pytest.raises(LightbusTimeout) as caught:
                bus.auth.check_password(**ADMIN, bus_options={"timeout": 0.2})
        finally:
            host.resume()
        assert caught.value.executed in ("no", "unknown")
        assert bus.auth.check_password(**ADMIN) is True


def test_the_command_line_passes_arguments_of_any_name(project: Project) -> None:
    project.write(
        "bus.py",
        """
        from lightbus import Api, Event

        class MathApi(Api):
            plotted = Event(parameters=('function', 'self'))

            class Meta:
                name = 'math'

            def plot(api, function, self):
                return [function, self]

        def on_plotted(message, function, self):
            print('heard', function, self, flush=True)

        def before_server_start(bus):
            bus.math.plotted.listen(on_plotted)
        """,
    )
    host = project.host()
    assert project.run("call", "math.plot", "function=sin", "self=1").stdout == '["sin", 1]\n'
    assert project.run("fire", "math.plotted", "function=sin", "self=1").returncode == 0
    host.wait_for_line("heard sin 1")


def test_an_error_of_a_call_does_not_show_its_way_through_lightbus(project: Project) -> None:
    project.write(
        "script.py",
        """
        import asyncio
        import lightbus

        bus = lightbus.create()
        try:
            bus.other.check(x=1)
        except lightbus.LightbusException:
            asyncio.run(bus.other.check.call_async(x=1))
        """,
    )
    said = project.python("script.py").stderr
    assert said.rstrip().splitlines()[-1].startswith("lightbus.exceptions.NoWorker: nobody serves the API")
    assert "lightbus/client.py" not in said and "concurrent/futures" not in said
    # Each of the two has the way from the user's line to the bus.
    assert said.count("Traceback") == 2 and said.count("script.py") == 2
    assert said.count("/lightbus/") == said.count("/lightbus/bus/path.py") == 2


def test_an_error_of_a_hook_shows_the_hook(project: Project) -> None:
    project.write(
        "script.py",
        """
        import lightbus
        from lightbus.exceptions import ValidationError

        bus = lightbus.create()

        @bus.client.before_rpc_call()
        def refuse(client, rpc_message):
            raise ValidationError('not today')

        bus.other.check(x=1)
        """,
    )
    assert "in refuse" in project.python("script.py").stderr
