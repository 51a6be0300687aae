"""A host ends in good order when it is asked to, and ends in any case."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import lightbus
from lightbus.exceptions import LightbusTimeout, WorkerLost
from tests.guide.project import Project, printed
from tests.support.eventually import eventually
from tests.support.servers import Server
from tests.support.timers import HOUR, an_hour_passes

BUS = """
    import asyncio, threading, time
    import lightbus
    from lightbus import Api, Event

    class AuthApi(Api):
        happened = Event(parameters=('how',))

        class Meta:
            name = 'auth'

        def slow(self) -> str:
            say('slow')
            time.sleep(0.5)
            return 'done'

        async def slow_async(self) -> str:
            say('slow_async')
            await asyncio.sleep(0.5)
            return 'done'

        def hang(self):
            say('hang')
            time.sleep(1000)

        async def hang_async(self):
            say('hang_async')
            await asyncio.Event().wait()

        async def stubborn(self):
            say('stubborn')
            while True:
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    say('not me')

        async def blocking(self):
            say('blocking')
            time.sleep(1000)


    def say(*words):
        print(' '.join(map(str, words)) + '\\n', end='', flush=True)

    def never(event_message, how):
        say('handling', how)
        if how == 'never':
            time.sleep(1000)

    async def never_async(event_message, how):
        say('handling async', how)
        if how == 'never':
            await asyncio.Event().wait()

    def before_server_start(bus):
        bus.auth.happened.listen(never)
        bus.auth.happened.listen(never_async)
"""


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(10) as pool:
        yield pool


@pytest.mark.parametrize("procedure", ["slow", "slow_async"])
def test_what_runs_is_finished_and_answered(
    project: Project, threads: ThreadPoolExecutor, procedure: str
) -> None:
    project.write("bus.py", BUS)
    host = project.host()
    answers = [threads.submit(project.call, f"auth.{procedure}") for _ in range(5)]
    eventually(lambda: len(printed(host)) == 5)
    assert host.terminate() == 0
    assert [answer.result(60) for answer in answers] == ["done"] * 5
    assert "stopping: no more is taken; what runs has 25 s to finish" in host.output()
    assert "NoWorker: nobody serves the API 'auth'" in project.run("call", "auth.slow").stderr


@pytest.mark.parametrize("procedure", ["hang", "hang_async"])
def test_what_never_returns_is_left_behind_and_its_caller_told(
    project: Project, threads: ThreadPoolExecutor, procedure: str
) -> None:
    project.write("bus.py", BUS)
    host = project.host("--set", "bus.drain_timeout=0.5s")
    answer = threads.submit(project.call, f"auth.{procedure}", bus_options={"timeout": 60})
    host.wait_for_line(procedure)
    assert host.terminate() == 0
    with pytest.raises(WorkerLost, match=rf"auth\.{procedure}"):
        answer.result(120)
    assert "calls of auth that do not end are left behind: 1" in host.output()


@pytest.mark.parametrize("procedure", ["hang", "hang_async", "stubborn", "blocking"])
async def test_a_second_signal_ends_it_at_once(
    project: Project, redis_server: Server, procedure: str
) -> None:
    project.write("bus.py", BUS)
    host = project.host("--set", "bus.drain_timeout=1h")
    async with lightbus.create(redis_server.url) as bus:
        call = bus.auth[procedure].call_async(bus_options={"timeout": HOUR})
        calling = asyncio.create_task(call)
        await asyncio.to_thread(host.wait_for_line, procedure)
        host.interrupt()
        host.wait_for_line("SIGINT received")
        assert host.insist(signal.SIGTERM) == 1
        an_hour_passes()
        with pytest.raises(LightbusTimeout):
            await calling


def test_an_event_whose_handler_never_returns_goes_to_the_next_process_at_once(
    project: Project, redis_server: Server
) -> None:
    project.write("bus.py", BUS)
    host = project.host("--set", "bus.drain_timeout=0.5s")
    project.fire("auth.happened", how="never")
    project.fire("auth.happened", how="well")
    for line in ("handling never", "handling async never"):
        host.wait_for_line(line)
    assert host.terminate() == 0
    project.write("bus.py", BUS.replace("how == 'never'", "False"))
    again = project.host()
    wanted = ["handling never", "handling well", "handling async never", "handling async well"]
    eventually(lambda: sorted(printed(again)) == sorted(wanted))


def test_a_recurring_function_that_never_returns_does_not_keep_it(project: Project) -> None:
    project.write(
        "bus.py",
        f"""{BUS}
    @lightbus.create().client.every(hours=1, also_run_immediately=True)
    def never_ending():
        say('recurring')
        threading.Event().wait()
""",
    )
    host = project.host("--set", "bus.drain_timeout=0.5s")
    host.wait_for_line("recurring")
    assert host.terminate() == 0


def test_request_shutdown(project: Project) -> None:
    project.write(
        "bus.py",
        f"""{BUS}
    bus = lightbus.create()

    @bus.client.every(hours=1, also_run_immediately=True)
    def enough():
        bus.client.request_shutdown('enough for today')
""",
    )
    host = project.start("run")
    assert host.wait() == 1
    assert "shutting down: enough for today" in host.output()
    assert "stopped" in host.output()


def test_a_host_without_redis_ends_as_well(project: Project, redis_server: Server) -> None:
    project.write("bus.py", BUS)
    host = project.host("--set", "bus.drain_timeout=1h")
    redis_server.pause()
    try:
        assert host.terminate() == 0
    finally:
        redis_server.resume()


def test_rolling_restart_fails_no_call(project: Project, threads: ThreadPoolExecutor) -> None:
    project.write("bus.py", BUS.replace("time.sleep(0.5)", "time.sleep(0.01)"))
    hosts = [project.host("--process-name", "first")]
    calls = [threads.submit(lambda: [project.call("auth.slow") for _ in range(60)]) for _ in range(4)]
    for name in ("second", "third"):
        hosts.append(project.host("--process-name", name))
        assert hosts[-2].terminate() == 0
    assert [answer for call in calls for answer in call.result(60)] == ["done"] * 240


def test_a_task_of_user_code_that_raises_system_exit_ends_the_host_in_good_order(project: Project) -> None:
    project.write(
        "bus.py",
        """
        import asyncio
        from lightbus import Api

        class AuthApi(Api):
            class Meta:
                name = 'auth'

            async def slow(self) -> str:
                asyncio.create_task(leave())
                await asyncio.sleep(0.5)
                return 'done'

        async def leave():
            raise SystemExit(3)
        """,
    )
    host = project.host()
    assert project.call("auth.slow") == "done"
    assert host.wait() == 1
    assert "shutting down: a task of user code raised SystemExit(3)" in host.output()
