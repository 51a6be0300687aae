"""Listening: what becomes of a failure, how many at a time, from when on, several events at once."""

from __future__ import annotations

import pytest

from tests.guide.project import Project, printed
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.servers import Server

API = """
    import asyncio, threading, time
    import lightbus
    from lightbus import Api, Backoff, DeliveryPolicy, Event, OnError, Parameter

    class AuthApi(Api):
        user_registered = Event(parameters=('username',))
        user_deleted = Event(parameters=('username', Parameter('reason', str, default='none')))

        class Meta:
            name = 'auth'

    def say(*words):
        print(' '.join(map(str, words)) + '\\n', end='', flush=True)

"""


def heard(host: Process, *lines: str) -> None:
    """Wait until a host has printed exactly these lines, in any order."""

    def is_so() -> bool:
        assert sorted(said(host, *lines)) == sorted(lines), host.output()
        return True

    eventually(is_so, what=f"{lines}")


def said(host: Process, *likes: str) -> list[str]:
    """What a host has printed that begins with the first word of one of these lines: no tracebacks."""
    words = {line.partition(" ")[0] for line in likes}
    return [line for line in printed(host) if line.partition(" ")[0] in words]


class TestOnError:
    BUS = (
        API
        + """
    failures = {}

    def handle(event_message, username):
        say('handling', username)
        if username == 'bad':
            raise ValueError('cannot')

    def before_server_start(bus):
        bus.auth.user_registered.listen(handle, on_error=%s)
    """
    )
    QUICK = "DeliveryPolicy(attempts=3, backoff=Backoff(initial=0.01, jitter=False), then=%s)"
    GROUP = "auth-handle"

    def pending(self, server: Server) -> int:
        """How many events the group has taken and not settled."""
        count = server.execute("XPENDING", "auth.*:stream", self.GROUP)[0]
        assert isinstance(count, int)
        return count

    def start(self, project: Project, on_error: str) -> Process:
        project.write("bus.py", self.BUS % on_error)
        host = project.host()
        for name in ("bad", "good"):
            project.fire("auth.user_registered", username=name)
        return host

    def test_dead_letter_after_so_many_attempts(self, project: Project, redis_server: Server) -> None:
        host = self.start(project, self.QUICK % "OnError.DEAD_LETTER")
        heard(host, *["handling bad"] * 3, "handling good")
        eventually(lambda: redis_server.execute("XLEN", "{auth.*:stream}:dead:auth-handle") == 1)
        assert "attempt 3 of 3; it is put aside as a dead letter" in host.output()
        assert host.terminate() == 0

    def test_retry_goes_on(self, project: Project) -> None:
        host = self.start(
            project, "DeliveryPolicy(backoff=Backoff(initial=0.01, factor=1), then=OnError.RETRY)"
        )
        eventually(lambda: printed(host).count("handling bad") > 10)
        # The other event was fired later, and may come later.
        eventually(lambda: "handling good" in printed(host))

    def test_acknowledge_and_log(self, project: Project, redis_server: Server) -> None:
        host = self.start(project, "OnError.ACKNOWLEDGE_AND_LOG")
        heard(host, "handling bad", "handling good")
        eventually(lambda: self.pending(redis_server) == 0)
        assert "ValueError: cannot" in host.output()
        assert host.output().count("TypeError") == 0
        assert redis_server.execute("EXISTS", "{auth.*:stream}:dead:auth-handle") == 0

    def test_stop_listener_keeps_the_event_and_the_host(self, project: Project) -> None:
        project.write("bus.py", self.BUS % "OnError.STOP_LISTENER")
        host = project.host()
        project.fire("auth.user_registered", username="bad")
        host.wait_for_line("the listener stops, and the event stays")
        project.fire("auth.user_registered", username="good")
        assert host.terminate() == 0
        assert said(host, "handling") == ["handling bad"]
        again = project.host()
        eventually(lambda: "handling bad" in printed(again))

    def test_shutdown_ends_the_host_with_1_and_keeps_the_event(self, project: Project) -> None:
        project.write("bus.py", self.BUS % "OnError.SHUTDOWN")
        host = project.host()
        project.fire("auth.user_registered", username="bad")
        assert host.wait() == 1
        assert "shutting down: the listener handle raised on auth.user_registered" in host.output()
        project.write("bus.py", self.BUS % "OnError.ACKNOWLEDGE_AND_LOG")
        heard(project.host(), "handling bad")


class TestConcurrency:
    BUS = (
        API
        + """
    most = %d
    running, meeting = [], asyncio.Barrier(most)

    async def handle(event_message, username):
        running.append(username)
        say('most', len(running))
        if int(username) < most:
            await meeting.wait()
        await asyncio.sleep(0.05)  # Long enough for another one to begin, were it let.
        running.remove(username)
        say('done', username)

    def before_server_start(bus):
        bus.auth.user_registered.listen(handle, bus_options={'concurrency': most})
    """
    )

    def test_one_at_a_time_keeps_their_order(self, project: Project) -> None:
        project.write("bus.py", self.BUS % 1)
        host = project.host()
        project.script(FIRE_MANY)
        eventually(lambda: len([line for line in printed(host) if line.startswith("done")]) == 10)
        assert [line for line in printed(host) if line.startswith("done")] == [f"done {n}" for n in range(10)]
        assert {line for line in printed(host) if line.startswith("most")} == {"most 1"}

    def test_several_at_a_time(self, project: Project) -> None:
        project.write("bus.py", self.BUS % 4)
        host = project.host()
        project.script(FIRE_MANY)
        eventually(lambda: len([line for line in printed(host) if line.startswith("done")]) == 10)
        assert max(line for line in printed(host) if line.startswith("most")) == "most 4"

    def test_plain_functions_run_in_threads_side_by_side(self, project: Project) -> None:
        project.write(
            "bus.py",
            f"""{API}
    meet = threading.Barrier(3)

    def handle(event_message, username):
        meet.wait(60)
        say('met', username)

    def before_server_start(bus):
        bus.auth.user_registered.listen(handle, bus_options={{'concurrency': 3}})
""",
        )
        host = project.host()
        for name in "abc":
            project.fire("auth.user_registered", username=name)
        heard(host, "met a", "met b", "met c")


FIRE_MANY = """
    import asyncio
    import lightbus
    from bus import AuthApi

    async def fire():
        bus = lightbus.create()
        for number in range(10):
            await bus.auth.user_registered.fire_async(username=str(number))
        await bus.client.close_async()

    asyncio.run(fire())
"""


class TestSince:
    BUS = (
        API
        + """
    def handle(event_message, username):
        say('heard', username)

    def before_server_start(bus):
        bus.auth.user_registered.listen(handle, bus_options={'since': %r})
    """
    )

    @pytest.mark.parametrize(
        ("since", "expected"), [("new", ["late"]), ("earliest", ["early", "late"]), (0, ["early", "late"])]
    )
    def test_a_new_group_begins_there(self, project: Project, since: object, expected: list[str]) -> None:
        project.write("bus.py", API)
        project.fire("auth.user_registered", username="early")
        project.write("bus.py", self.BUS % since)
        host = project.host()
        project.fire("auth.user_registered", username="late")
        heard(host, *(f"heard {name}" for name in expected))

    def test_nothing_is_missed_between_two_runs(self, project: Project) -> None:
        """The service's name, hence its group, is the same after a restart."""
        project.write("bus.py", self.BUS % "new")
        host = project.host()
        assert host.terminate() == 0
        project.fire("auth.user_registered", username="meanwhile")
        heard(project.host(), "heard meanwhile")


def test_several_events_of_several_apis_and_all_of_one(project: Project) -> None:
    project.write(
        "bus.py",
        f"""{API}
    class ShopApi(Api):
        order_placed = Event(parameters=('number',))

        class Meta:
            name = 'shop.orders'

    def any_of_two(event_message, **kwargs):
        say('two', event_message.canonical_name, *sorted(kwargs.items()))

    def all_of_auth(event_message, **kwargs):
        say('all', event_message.canonical_name, *sorted(kwargs.items()))

    def before_server_start(bus):
        bus.client.listen_for_events([('auth', 'user_deleted'), ('shop.orders', 'order_placed')], any_of_two)
        bus.auth['*'].listen(all_of_auth)
""",
    )
    host = project.host()
    project.fire("auth.user_registered", username="ada")
    project.fire("auth.user_deleted", username="ada", reason="none")
    project.fire("shop.orders.order_placed", number=1)
    heard(
        host,
        "all auth.user_registered ('username', 'ada')",
        "all auth.user_deleted ('reason', 'none') ('username', 'ada')",
        "two auth.user_deleted ('reason', 'none') ('username', 'ada')",
        "two shop.orders.order_placed ('number', 1)",
    )


def test_one_function_for_two_events_is_one_listener(project: Project, redis_server: Server) -> None:
    project.write(
        "bus.py",
        f"""{API}
    def log(event_message, username, reason=None):
        say(event_message.event_name, username)

    def before_server_start(bus):
        bus.auth.user_registered.listen(log)
        bus.auth.user_deleted.listen(log)
""",
    )
    host = project.host()
    assert "listener log: auth.user_registered, auth.user_deleted" in host.output()
    project.fire("auth.user_registered", username="ada")
    project.fire("auth.user_deleted", username="ada", reason="none")
    heard(host, "user_registered ada", "user_deleted ada")
    assert len(redis_server.execute("XINFO", "GROUPS", "auth.*:stream")) == 1


def test_each_listener_gets_every_event(project: Project) -> None:
    project.write(
        "bus.py",
        f"""{API}
    class Mailer:
        def __call__(self, event_message, username):
            say('object', username)

        def method(self, event_message, *, username: str):
            say('method', username)

        @staticmethod
        async def static(event_message, **everything):
            say('static', everything['username'])

    def before_server_start(bus):
        mailer = Mailer()
        listen = bus.auth.user_registered.listen
        listen(mailer, listener_name='object')
        listen(mailer.method)
        listen(Mailer.static)
        listen(lambda message, username: say('lambda', username), listener_name='lambda')
""",
    )
    host = project.host()
    project.fire("auth.user_registered", username="ada")
    heard(host, "object ada", "method ada", "static ada", "lambda ada")


def test_two_processes_of_a_service_share_the_events(project: Project) -> None:
    project.write(
        "bus.py",
        f"""{API}
    def handle(event_message, username):
        say('heard', username)

    def before_server_start(bus):
        bus.auth.user_registered.listen(handle)
""",
    )
    hosts = [project.host() for _ in range(2)]
    project.script(FIRE_MANY)
    eventually(lambda: len(printed(hosts[0]) + printed(hosts[1])) == 10)
    assert sorted(printed(hosts[0]) + printed(hosts[1])) == [f"heard {n}" for n in range(10)]


def test_a_process_without_the_api_class_listens_and_calls_and_cannot_fire(project: Project) -> None:
    project.write(
        "bus.py",
        """
        from lightbus import Api, Event

        class AuthApi(Api):
            user_registered = Event(parameters=('username',))

            class Meta:
                name = 'auth'

            def greet(self, name: str) -> str:
                return f'Hello {name}'
        """,
    )
    owner = project.host()
    project.write(
        "other.py",
        """
        import lightbus

        bus = lightbus.create(service_name='other')

        def handle(event_message, username):
            print('other heard', username, bus.auth.greet(name=username), flush=True)
            try:
                bus.auth.user_registered.fire(username=username)
            except lightbus.LightbusException as e:
                print(type(e).__name__, e, flush=True)

        def before_server_start(bus):
            bus.auth.user_registered.listen(handle)
        """,
    )
    other = project.host("--bus", "other")
    project.fire("auth.user_registered", username="ada")
    eventually(lambda: len(printed(other)) == 2)
    first, second = printed(other)
    assert first == "other heard ada Hello ada"
    assert second.startswith("NotAuthoritative auth.user_registered can't be fired here")
    assert "such as `from bus import AuthApi`" in second
    assert owner.terminate() == other.terminate() == 0
