"""``sd_notify``: a service manager such as systemd is told how a host is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.guide.project import Project
from tests.host.test_supervisor import children
from tests.support.notify import NotifySocket
from tests.support.processes import Process
from tests.support.servers import Server

MODULE = """
import os, subprocess, sys, threading, time
import lightbus

NAMES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LIGHTBUS_CHILD", "LIGHTBUS_CHILD_LINE")
SHOW = f"import os; print([name for name in {NAMES!r} if name in os.environ])"

class A(lightbus.Api):
    class Meta:
        name = "a"

    def inherited(self) -> list[str]:
        told = [name for name in NAMES if name in os.environ]
        done = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True)
        return [*told, done.stdout.strip()]

    def threads(self) -> list[str]:
        return [thread.name for thread in threading.enumerate()]

    async def block(self, seconds: float) -> None:
        time.sleep(seconds)
"""
#: What the host may take beyond its drain_timeout; a supervisor takes a second more.
CLOSING = 14


@pytest.fixture
def told() -> Iterator[NotifySocket]:
    with NotifySocket() as it:
        yield it


@pytest.fixture
def served(project: Project, redis_server: Server) -> Project:
    project.write("bus.py", MODULE)
    project.write("lightbus.yaml", f"bus: {{log_format: text, redis: {{url: '{redis_server.url}'}}}}\n")
    return project


def start(project: Project, told: NotifySocket, processes: int, *args: str, **env: str) -> Process:
    return project.start("run", "--set", f"processes={processes}", *args, **told.environment(**env))


both_kinds = pytest.mark.parametrize("processes", [1, 2])


@both_kinds
def test_start_reload_and_end_are_told_in_this_order(
    served: Project, told: NotifySocket, processes: int
) -> None:
    before = time.monotonic_ns() // 1000
    host = start(served, told, processes)
    told.wait_for("READY")
    host.wait_for_line("ready: ")
    assert told.wait_for_status("ready, ").startswith(
        "ready, as " if processes == 1 else "ready, 2 processes"
    )
    os.kill(host.pid, signal.SIGHUP)
    told.wait_for("READY", "RELOADING", "READY")
    assert before < int(told.all_of("MONOTONIC_USEC")[0]) < time.monotonic_ns() // 1000
    assert host.output().count("the manifest was applied") == processes
    assert told.all_of("STATUS")[-2:] == ["reading the manifest again", told.all_of("STATUS")[-3]]
    assert host.terminate() == 0
    assert told.states() == ["READY", "RELOADING", "READY", "STOPPING"]
    assert told.all_of("STATUS")[-1] == "stopping: what runs has 25 s to finish"
    assert told.all_of("EXTEND_TIMEOUT_USEC") == [str((25 + CLOSING + processes - 1) * 10**6)]
    assert told.signs == [], "nobody has asked for them"


@both_kinds
def test_it_is_ready_when_it_can_work_and_until_then_the_reason_is_told(
    served: Project, told: NotifySocket, redis_server: Server, processes: int
) -> None:
    redis_server.pause()
    try:
        quick = ("--set", "bus.redis.connect_timeout=1s", "--set", "bus.redis.command_timeout=1s")
        start(served, told, processes, *quick)
        reason = told.wait_for_status(f"Redis at 127.0.0.1:{redis_server.port}")
        assert "the host is starting" in reason
        # Such a start takes as long as Redis is away.
        assert set(told.all_of("EXTEND_TIMEOUT_USEC")) == {"30000000"}
        assert told.states() == []
    finally:
        redis_server.resume()
    told.wait_for("READY")


@both_kinds
def test_what_is_started_by_handlers_knows_nothing_of_it(
    served: Project, told: NotifySocket, processes: int
) -> None:
    start(served, told, processes, WATCHDOG_USEC="60000000")
    told.wait_for("READY")
    assert served.call("a.inherited") == ["[]"]


def test_a_socket_without_a_file_is_written_to_as_well(served: Project) -> None:
    with NotifySocket(abstract=True) as told:
        start(served, told, 1)
        told.wait_for("READY")


def test_a_socket_that_is_not_there_is_a_warning_and_no_more(served: Project) -> None:
    host = served.host(NOTIFY_SOCKET="/nowhere/socket")
    host.wait_for_line("can't be told how it is: No such file or directory")
    assert host.terminate() == 0
    assert host.output().count("can't be told") == 1


def test_with_reloading_nobody_is_told_and_a_line_says_so(served: Project, told: NotifySocket) -> None:
    host = start(served, told, 1, "--reload")
    host.wait_for_line("ready: ")
    assert host.output().count("NOTIFY_SOCKET is set, but with --reload nobody is told") == 1
    assert host.terminate() == 0
    assert told.messages == [] and told.signs == []
    alone = served.host("--reload")
    assert "NOTIFY_SOCKET" not in alone.output()


def test_without_the_variable_nobody_is_told_anything(served: Project) -> None:
    served.host(WATCHDOG_USEC="1000000")
    assert "lightbus reports" not in served.call("a.threads")


def test_the_watchdog_hears_nothing_while_the_event_loop_is_blocked(
    served: Project, told: NotifySocket
) -> None:
    start(served, told, 1, WATCHDOG_USEC="1000000")
    told.wait_for("READY")
    told.wait_for_sign()
    served.start("call", "a.block", "seconds=3.5", "--timeout", "20")
    told.wait_for_silence(1.5)
    told.wait_for_sign()


def test_the_watchdog_of_another_process_hears_nothing(served: Project, told: NotifySocket) -> None:
    start(served, told, 1, WATCHDOG_USEC="200000", WATCHDOG_PID=str(os.getpid()))
    told.wait_for("READY")
    assert "lightbus reports" in served.call("a.threads")
    assert told.signs == []


def test_the_watchdog_hears_nothing_while_one_process_of_several_is_frozen(
    served: Project, told: NotifySocket
) -> None:
    supervisor = start(served, told, 2, WATCHDOG_USEC="1000000")
    told.wait_for("READY")
    told.wait_for_sign()
    victim = children(supervisor)[0]
    os.kill(victim, signal.SIGSTOP)
    told.wait_for_silence(1.5)
    os.kill(victim, signal.SIGCONT)
    told.wait_for_sign()


def test_one_process_of_several_that_dies_is_told_and_the_others_go_on(
    served: Project, told: NotifySocket
) -> None:
    supervisor = start(served, told, 2, WATCHDOG_USEC="1000000")
    told.wait_for("READY")
    os.kill(children(supervisor)[0], signal.SIGKILL)
    told.wait_for_status("1 of 2 processes are ready; process 1: it has ended")
    told.wait_for_sign()
    told.wait_for_status("ready, 2 processes")
    assert told.states() == ["READY"]


def test_a_start_that_fails_is_never_ready(served: Project, told: NotifySocket) -> None:
    served.write("bus.py", "import nothing_of_that_name")
    assert start(served, told, 1).wait() == 78
    assert told.states() == ["STOPPING"]
    assert told.all_of("STATUS")[-1] == "stopping"
