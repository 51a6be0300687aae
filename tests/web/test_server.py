"""``lightbus web`` as a process: where it listens, how it ends, and clients that take their time."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import IS_WHOLE, StartServer
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.servers import Server, free_port

BUS = """
    from lightbus import Api, Event

    class AuthApi(Api):
        user_registered = Event(parameters=("username",))

        class Meta:
            name = "auth"

        async def check_password(self, username: str) -> bool:
            raise ValueError(username)
"""


def get(port: int, path: str = "/", timeout: float = 60.0) -> tuple[int, str]:
    """Status and text of a page."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(link):
        link.request("GET", path)
        answer = link.getresponse()
        return answer.status, answer.read().decode()


def start(project: Project, port: int, *options: str, refresh: str = "1s") -> Process:
    """Start a console, and wait until it listens."""
    process = project.start("web", "--listen", str(port), *options, LIGHTBUS__WEB__REFRESH=refresh)
    process.wait_for_line("the console: http://")
    return process


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    it = Project(tmp_path, redis_server.url)
    yield it
    it.close()


def test_it_says_where_it_is_and_who_may_look_and_ends_in_good_order(project: Project) -> None:
    port = free_port()
    process = start(project, port, "--root-path", "/bus")
    assert f"http://127.0.0.1:{port}/bus/ (everybody on this machine may look" in process.output()
    status, page = get(port, "/bus/")
    assert status == 200 and "No process is on the bus" in page and 'href="/bus/static' in page
    assert process.terminate() == 0
    assert "Traceback" not in process.output() and "Uvicorn" not in process.output()


def test_it_has_looked_at_the_bus_before_the_first_page_is_asked_for(
    project: Project, redis_server: Server
) -> None:
    redis_server.execute("CONFIG", "RESETSTAT")
    port = free_port()
    process = start(project, port, refresh="1h")
    assert get(port, "/static/icon.svg")[0] == 200
    # A server that is held up is ready before its look is over, for which the first page waits then.
    looks = eventually(lambda: calls_of(redis_server, "zrange"), what="the cards of processes were read")
    assert "No process is on the bus" in get(port)[1]
    assert calls_of(redis_server, "zrange") == looks
    process.terminate()


def calls_of(server: Server, command: str) -> int:
    """How often a Redis was sent a command."""
    told = re.search(rf"cmdstat_{command}:calls=(\d+)", server.execute("INFO", "commandstats").decode())
    return int(told[1]) if told is not None else 0


def test_a_port_that_somebody_has_is_told_with_its_place(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = project.run("web", "--listen", f"127.0.0.1:{port}")
    assert done.returncode == 78
    assert f"--listen  web.listen: can't listen at 127.0.0.1:{port}: Address already in use" in done.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--listen", "0.0.0.0:9"], "--listen  web.listen: 0.0.0.0:9 is reached from other machines"),
        (
            ["--auth", "token", "--token-file", "not-there"],
            "web.token_file: not-there: the tokens can't be read",
        ),
        (["--trusted-proxy", "nonsense"], "--trusted-proxy  web.trusted_proxies"),
        (["--host", "a b"], "--host  web.hosts"),
    ],
)
def test_options_that_can_not_be_are_told(project: Project, options: list[str], told: str) -> None:
    done = project.run("web", *options)
    assert done.returncode == 78 and told in done.stderr and "Traceback" not in done.stderr


def test_what_was_seen_last_stays_while_redis_is_away(project: Project, start_server: StartServer) -> None:
    server = start_server()
    project.env["LIGHTBUS__BUS__REDIS__URL"] = server.url
    project.write("bus.py", BUS)
    project.host("-s", "accounts")
    port = free_port()
    start(project, port)
    eventually(lambda: "accounts" in get(port)[1], 60)
    server.stop()
    eventually(lambda: "can't be read now" in get(port)[1], 60)
    status, page = get(port)
    assert status == 200 and "accounts" in page and "This is how it was" in page
    assert "Traceback" not in page
    server.start()
    eventually(lambda: "can't be read now" not in get(port)[1], 60)


def test_it_runs_beside_a_host_and_ends_with_it_whoever_watches_events(project: Project) -> None:
    project.write("bus.py", BUS)
    port = free_port()
    host = project.start("run", "-s", "accounts", "--web", "--set", f"web.listen={port}")
    host.wait_for_line("the console: http://")
    eventually(lambda: "accounts" in get(port)[1], 60)
    watcher = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(watcher):
        watcher.request("GET", "/tail/stream")
        stream = watcher.getresponse()
        assert stream.readline().startswith(b":")
        assert host.terminate() == 0
        stream.read()
    with pytest.raises(OSError):
        get(port)
    assert "Traceback" not in host.output() and "running task" not in host.output()


def test_one_runs_beside_several_processes(project: Project) -> None:
    project.write("bus.py", BUS)
    port = free_port()
    host = project.start("run", "-s", "accounts", "--processes", "2", "--web", "--set", f"web.listen={port}")
    host.wait_for_line("the console: http://")
    eventually(lambda: "2 ready" in get(port)[1], 60)
    assert host.terminate() == 0
    assert host.output().count("the console: http://") == 1 and "Traceback" not in host.output()


def test_a_port_that_somebody_has_keeps_the_host_from_its_start(project: Project) -> None:
    project.write("bus.py", BUS)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = project.run("run", "-s", "accounts", "--web", "--set", f"web.listen={port}")
    assert done.returncode == 78 and "Traceback" not in done.stderr
    assert f"web.listen: can't listen at 127.0.0.1:{port}: Address already in use" in done.stderr


#: What a client may send to keep a connection for itself, how often, and whether it takes an answer.
_OURS = "Host: localhost\r\nSec-Fetch-Site: same-origin\r\nX-Lightbus-Console: 1\r\n"
_FORM = f"{_OURS}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\na="
_SLOW = (
    ("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", 400),
    (f"POST /actions/pause HTTP/1.1\r\n{_FORM}", 400),
    (f"POST /login HTTP/1.1\r\n{_FORM}", 400),
    ("GET /tail/stream HTTP/1.1\r\nHost: localhost\r\n\r\n", 60),
    ("GET /events.jsonl HTTP/1.1\r\nHost: localhost\r\n\r\n", 60),
    # Of these, all is sent before it is taken.
    *(
        (f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n", 400 if IS_WHOLE else 40)
        for path in ("/events", "/dead", "/calls", "/audit")
    ),
)


def test_clients_that_take_their_time_keep_nobody_out_and_not_the_host_beside(
    project: Project, redis_server: Server
) -> None:
    project.write("bus.py", BUS.replace("raise ValueError(username)", "return username == 'ann'"))
    port = free_port()
    host = project.start(
        *("run", "-s", "accounts", "--web", "--set", f"web.listen={port}", "--set", "web.allow=pause")
    )
    host.wait_for_line("ready: ")
    for number in range(40):
        about = ("api_name", "auth", "event_name", "user_registered", "id", number, "version", 1)
        redis_server.execute("XADD", "auth.*:stream", "*", *about, ":username", f'"{"x" * 50_000}"')
    with contextlib.ExitStack() as slow:
        for sent, count in _SLOW:
            for _ in range(count):
                link = slow.enter_context(socket.socket())
                link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                link.connect(("127.0.0.1", port))
                link.sendall(sent.encode())
            assert get(port, "/static/icon.svg")[0] == 200, sent
            assert get(port)[0] == 200, sent
            assert project.call("auth.check_password", username="ann") is True, sent
    _send_a_head_without_end(port)
    assert get(port)[0] == 200
    assert host.terminate() == 0
    assert "Traceback" not in host.output() and "error" not in host.output()


def _send_a_head_without_end(port: int) -> None:
    """Send it; it is refused before all of it is read."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
        with contextlib.suppress(OSError):
            link.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000)
        with contextlib.suppress(ConnectionError):
            assert link.recv(100)[:10] in (b"HTTP/1.1 4", b"")
