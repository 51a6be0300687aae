"""Work that recurs, background tasks, and which of all that a process does."""

from __future__ import annotations

import pytest

from tests.guide.project import Project, printed
from tests.support.eventually import eventually

BUS = """
    import asyncio, time
    import lightbus
    from lightbus import Api, Event

    bus = lightbus.create()
    client = bus.client


    class AuthApi(Api):
        user_registered = Event(parameters=('username',))

        class Meta:
            name = 'auth'

        def ping(self):
            return 'pong'


    def say(*words):
        print(' '.join(map(str, words)) + '\\n', end='', flush=True)
"""


def test_every(project: Project) -> None:
    project.write(
        "bus.py",
        f"""{BUS}
    @client.every(seconds=0.05)
    def plain():
        say('plain')

    @client.every(seconds=0.05)
    async def coroutine():
        say('coroutine')

    @client.every(hours=1, also_run_immediately=True)
    def at_once():
        say('at once', bus.auth.ping())

    @client.every(days=1)
    def never():
        say('never')

    @client.every(seconds=0.05)
    def failing():
        say('failing')
        raise ValueError('cannot')

    @client.every(seconds=0.05)
    async def leaving():
        say('leaving')
        raise SystemExit(5)

    @client.every(seconds=0.05)
    async def cancelling():
        say('cancelling')
        raise asyncio.CancelledError
""",
    )
    host = project.host()
    for word in ("plain", "coroutine", "failing", "leaving", "cancelling"):
        eventually(lambda word=word: printed(host).count(word) >= 3, what=word)  # type: ignore[misc]
    eventually(lambda: "at once pong" in printed(host))
    assert "never" not in printed(host)
    assert "failing failed; it runs again at its next time" in host.output()
    assert host.terminate() == 0


def test_schedule(project: Project) -> None:
    project.write(
        "bus.py",
        f"""{BUS}
    import schedule

    @client.schedule(schedule.every(1).seconds)
    def soon():
        say('soon')

    @client.schedule(schedule.every().day.at('00:00'), also_run_immediately=True)
    async def daily():
        say('daily')
""",
    )
    host = project.host()
    eventually(lambda: {"soon", "daily"} <= set(printed(host)))
    assert host.terminate() == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("@client.every()\n    def job(): ...", "job can't run every 0 s; give a time above zero"),
        ("@client.every(seconds=-1)\n    def job(): ...", "job can't run every -1 s"),
        ("@client.schedule('daily')\n    def job(): ...", "'daily' is not the five fields of cron"),
        ("@client.schedule(daily := 5)\n    def job(): ...", "job has no times"),
        ("@client.every(seconds='1')\n    def job(): ...", "seconds"),
        ("client.set_features(['rpc'])", "there is no feature 'rpc'; there are rpcs, events, tasks, outbox"),
        ("client.set_features('rpcs')", "features are a list"),
        ("client.set_features([])", "at least one"),
        ("client.add_background_task(say)", "as in add_background_task(watch())"),
        (
            "async def f(): ...\n    client.add_background_task(f(), on_failure='end')",
            "on_failure='end'): give 'log' or 'shutdown'",
        ),
        (
            "async def f(): ...\n    client.add_background_task(f(), cancel_on_close=False)",
            "is gone; leave it out: a task is cancelled once all else has finished",
        ),
    ],
)
def test_what_can_never_run_is_refused_at_the_start(project: Project, line: str, said: str) -> None:
    path = project.write("bus.py", f"{BUS}\n    {line}\n")
    status, output = project.refused()
    assert status == 78, output
    assert said in output
    assert f"{path}:" in output
    assert "Traceback" not in output


def test_background_tasks(project: Project) -> None:
    project.write(
        "bus.py",
        f"""{BUS}
    async def watch():
        try:
            while True:
                say('watching', await bus.auth.ping.call_async())
                await asyncio.sleep(0.05)
        finally:
            say('no longer watching')

    async def fail():
        raise ValueError('cannot watch')

    async def leave():
        raise SystemExit(3)

    client.add_background_task(watch())
    client.add_background_task(fail())
    client.add_background_task(leave())
""",
    )
    host = project.host()
    eventually(lambda: printed(host).count("watching pong") >= 3)
    assert "ValueError: cannot watch" in host.output()
    assert host.terminate() == 0
    assert printed(host)[-1] == "no longer watching"


def test_a_background_task_of_1x_may_say_that_it_is_cancelled_in_the_end(project: Project) -> None:
    project.write(
        "bus.py",
        f"""{BUS}
    async def watch(number):
        say('watching', number)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            say('finished', number)
            raise

    for number in range(2):
        client.add_background_task(watch(number), cancel_on_close=True)
""",
    )
    host = project.host(PYTHONWARNINGS="default")
    eventually(lambda: {"watching 0", "watching 1"} <= set(printed(host)))
    assert host.terminate() == 0
    assert {"finished 0", "finished 1"} <= set(printed(host))
    said = "cancel_on_close is an argument of add_background_task() in Lightbus 1.x; leave it out"
    assert [line.partition("/bus.py:")[2] for line in printed(host) if said in line] == [
        f"31: DeprecationWarning: {said}"
    ]


def test_a_background_task_may_be_one_without_which_the_host_is_not_to_go_on(project: Project) -> None:
    project.write(
        "bus.py",
        f"""{BUS}
    async def fail():
        await asyncio.sleep(0.1)
        raise ValueError('cannot watch')

    client.add_background_task(fail(), on_failure='shutdown')
""",
    )
    host = project.start("run")
    assert host.wait() == 1
    assert "ValueError: cannot watch" in host.output()
    assert "shutting down: the background task fail failed" in host.output()
    assert "stopped" in host.output()


FEATURES = (
    BUS
    + """
    def listen(event_message, username):
        say('listener', username)

    def before_server_start(bus):
        bus.auth.user_registered.listen(listen)

    @client.every(seconds=0.05)
    def tick():
        say('tick')

    async def background():
        say('background')

    client.add_background_task(background())
"""
)


class TestFeatures:
    @pytest.mark.parametrize(
        ("args", "does"),
        [
            ([], "rpcs events tasks"),
            (["--only", "rpcs"], "rpcs"),
            (["--only", "events,tasks"], "events tasks"),
            (["--skip", "rpcs"], "events tasks"),
            (["-k", "events,tasks"], "rpcs"),
        ],
    )
    def test_a_process_does_what_it_is_told(self, project: Project, args: list[str], does: str) -> None:
        project.write("bus.py", FEATURES)
        host = project.host(*args)
        project.fire("auth.user_registered", username="ada")
        patience = "20" if "rpcs" in does else "0.3"
        done = project.run("call", "auth.ping", "--timeout", patience)
        assert (done.returncode == 0) == ("rpcs" in does), done.stderr
        if "events" in does:
            eventually(lambda: "listener ada" in printed(host))
        if "tasks" in does:
            eventually(lambda: {"tick", "background"} <= set(printed(host)))
        assert host.terminate() == 0
        assert {line.partition(" ")[0] for line in printed(host)} == {
            word for word in ("listener", "tick", "background") if _feature_of(word) in does
        }
        assert "never awaited" not in host.output()

    def test_the_environment_and_the_module_may_say_so_too(self, project: Project) -> None:
        project.write("bus.py", FEATURES.replace("lightbus.create()", "lightbus.create(features=['rpcs'])"))
        host = project.host()
        assert project.call("auth.ping") == "pong"
        assert host.terminate() == 0
        assert printed(host) == []

    def test_flags_are_stronger_than_the_module(self, project: Project) -> None:
        project.write("bus.py", FEATURES.replace("lightbus.create()", "lightbus.create(features=['rpcs'])"))
        host = project.host("--only", "tasks")
        eventually(lambda: "tick" in printed(host))
        host.terminate()

    def test_the_environment_is_stronger_than_the_module(self, project: Project) -> None:
        project.write("bus.py", FEATURES + "\n    client.set_features(['rpcs'])\n")
        host = project.host(LIGHTBUS_FEATURES="tasks")
        eventually(lambda: "tick" in printed(host))
        host.terminate()


def _feature_of(word: str) -> str:
    return "events" if word == "listener" else "tasks"
