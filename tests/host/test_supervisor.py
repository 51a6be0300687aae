"""``processes: N``: one supervisor, N hosts."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

import pytest

from lightbus.host.processes.crew import Crew
from tests.guide.project import Project
from tests.host.conftest import Bench
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.servers import Server, free_port

MODULE = """
import lightbus, os, time

class A(lightbus.Api):
    class Meta:
        name = "a"

    def pid(self) -> int:
        return os.getpid()

    def doze(self, seconds: float) -> int:
        print("dozing", flush=True)
        time.sleep(seconds)
        print("awake", flush=True)
        return 1
"""


@pytest.fixture
def served(project: Project, redis_server: Server) -> Project:
    project.write("bus.py", MODULE)
    project.write(
        "lightbus.yaml",
        f"processes: 2\nbus: {{log_format: text, redis: {{url: '{redis_server.url}'}}}}\n",
    )
    return project


def children(supervisor: Process) -> list[int]:
    listed = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children")
    if listed.exists():
        return [int(pid) for pid in listed.read_text().split()]
    return [int(pid) for pid in re.findall(r"runs with the id (\d+)", supervisor.output())]


def both_ready(supervisor: Process, times: int = 2) -> None:
    eventually(lambda: supervisor.output().count("ready: ") == times)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_is_a_process_of_its_own_and_all_end_in_good_order(served: Project) -> None:
    supervisor = served.host()
    both_ready(supervisor)
    pids = children(supervisor)
    assert len(pids) == 2
    names = re.findall(r"runs as (\S+)", supervisor.output())
    assert len(set(names)) == 2
    assert served.call("a.pid") in pids
    assert supervisor.terminate() == 0
    assert not any(alive(pid) for pid in pids)
    assert supervisor.output().count("stopped") == 3


def test_a_reload_ends_no_process_that_is_only_just_started(served: Project) -> None:
    supervisor = served.start("run")
    supervisor.wait_for_line("runs with the id")

    def are_ready_or_gone() -> bool:
        os.kill(supervisor.pid, signal.SIGHUP)
        output = supervisor.output()
        return output.count("ready: ") >= 2 or "ended with status" in output

    eventually(are_ready_or_gone)
    assert "ended with status" not in supervisor.output()
    supervisor.wait_for_line("SIGHUP received")
    assert supervisor.terminate() == 0, supervisor.output()


def test_names_without_a_placeholder_get_numbers(served: Project) -> None:
    supervisor = served.host("-p", "worker")
    both_ready(supervisor)
    assert sorted(re.findall(r"runs as (\S+)", supervisor.output())) == ["worker-1", "worker-2"]


def test_one_that_dies_is_started_again_and_the_other_goes_on(served: Project) -> None:
    supervisor = served.host()
    both_ready(supervisor)
    victim, other = children(supervisor)
    os.kill(victim, signal.SIGKILL)
    supervisor.wait_for_line("ended with status -9; starting it again in 1 s")
    both_ready(supervisor, 3)
    assert other in children(supervisor) and victim not in children(supervisor)
    assert supervisor.terminate() == 0


async def test_one_that_ends_just_as_it_is_signalled_has_the_status_with_which_it_ended(bench: Bench) -> None:
    crew = Crew(bench.read("{}"), ["sh", "-c", "exit 3"])

    async def ended() -> int:
        running = asyncio.create_task(crew._run_once(1))
        while not running.done():
            crew.send(signal.SIGHUP)
            await asyncio.sleep(0)
        return await running

    assert {await ended() for _ in range(20)} == {3}


def test_what_runs_is_finished_and_a_second_signal_skips_that(served: Project) -> None:
    supervisor = served.host()
    both_ready(supervisor)
    served.start("call", "a.doze", "seconds=0.7")
    supervisor.wait_for_line("dozing")
    assert supervisor.terminate() == 0
    assert "awake" in supervisor.output()

    supervisor = served.host()
    both_ready(supervisor)
    served.start("call", "a.doze", "seconds=60")
    supervisor.wait_for_line("dozing")
    supervisor.interrupt()
    supervisor.wait_for_line("what runs has")
    assert supervisor.insist(signal.SIGINT, timeout=30) == 1
    assert "awake" not in supervisor.output()


def test_a_mistake_that_no_further_start_cures_ends_them_all(served: Project) -> None:
    served.write("bus.py", "import nothing_of_that_name")
    status, output = served.refused()
    assert status == 78 and "nothing_of_that_name" in output and "starting it again" not in output


def test_they_end_with_a_supervisor_that_was_killed(served: Project) -> None:
    supervisor = served.host()
    both_ready(supervisor)
    pids = children(supervisor)
    supervisor.kill()
    eventually(lambda: not any(alive(pid) for pid in pids))


def test_they_share_one_embedded_server(project: Project) -> None:
    project.write("bus.py", MODULE)
    url = f"redis://127.0.0.1:{free_port()}/0"
    project.write(
        "lightbus.yaml",
        f"processes: 2\nbus: {{log_format: text, redis: {{embedded: true, url: '{url}'}}}}\n",
    )
    supervisor = project.host()
    both_ready(supervisor)
    told = [line for line in supervisor.output().splitlines() if " Redis: " in line]
    assert len(told) == 1 and "Redis: embedded Valkey at" in told[0], told
    assert project.call("a.pid") in children(supervisor)
    assert supervisor.terminate() == 0
    assert "stopped the embedded Valkey" in supervisor.output()


def test_one_process_needs_no_supervisor(served: Project) -> None:
    host = served.host("--set", "processes=1")
    assert served.call("a.pid") == host.pid


def test_the_command_line_says_how_many_whatever_the_manifest_says(served: Project) -> None:
    supervisor = served.host("--processes", "3")
    both_ready(supervisor, 3)
    assert supervisor.terminate() == 0
    host = served.host("--processes", "1")
    assert served.call("a.pid") == host.pid


@pytest.mark.parametrize("number", ["0", "1025", "two"])
def test_a_number_of_processes_that_makes_no_sense_is_misuse(served: Project, number: str) -> None:
    done = served.run("run", "--processes", number)
    assert done.returncode == 64 and "--processes" in done.stderr
