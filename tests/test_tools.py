"""The tests' own tools: servers, proxy, processes, waiting."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import hiredis
import pytest

from tests.conftest import LONGEST, TESTS, StartServer
from tests.support.eventually import eventually, eventually_async
from tests.support.processes import Process, clean_environment, finished, spawn
from tests.support.proxy import Proxy
from tests.support.servers import Server, ServerPool
from tests.support.timers import HOUR, an_hour_passes, until_an_hour_is_waited_for, waiting_for_an_hour


def ping(port: int, timeout: float = 30.0) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as link:
        link.sendall(b"PING\r\n")
        return link.recv(64)


def test_the_files_that_begin_first_are_there() -> None:
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []


def test_each_kind_of_server_answers_and_is_of_the_version_it_says(any_redis: Server) -> None:
    info: bytes = any_redis.execute("INFO", "server")
    version = {
        "valkey": b"valkey_version:9.",
        "redis7": b"redis_version:7.",
        "redis62": b"redis_version:6.2.",
    }
    assert version[any_redis.kind] in info


def test_a_server_of_the_pool_is_empty_and_alive_whatever_the_last_test_did(servers: ServerPool) -> None:
    server = servers.clean("valkey")
    server.execute("SET", "left", "over")
    server.pause()
    assert servers.clean("valkey").execute("DBSIZE") == 0
    server.kill()
    assert servers.clean("valkey").execute("DBSIZE") == 0


def test_a_killed_server_with_a_disk_comes_back_with_its_data_on_the_same_port(
    start_server: StartServer,
) -> None:
    server = start_server(aof=True)
    url = server.url
    server.execute("SET", "key", "value")
    server.kill()
    with pytest.raises(ConnectionRefusedError):
        server.execute("PING")
    server.restart()
    assert (server.url, server.execute("GET", "key")) == (url, b"value")


def test_a_server_with_a_password_wants_it(start_server: StartServer) -> None:
    server = start_server(password="secret")
    assert ping(server.port).startswith(b"-NOAUTH")
    assert server.execute("PING") == b"PONG"
    assert ":secret@" in server.url


def test_an_error_reply_is_raised(redis_server: Server) -> None:
    with pytest.raises(hiredis.ReplyError, match="unknown command"):
        redis_server.execute("NONSENSE")


def test_a_paused_server_is_silent_until_it_is_resumed(start_server: StartServer) -> None:
    server = start_server()
    server.pause()
    with pytest.raises(TimeoutError):
        ping(server.port, timeout=0.2)
    server.resume()
    assert ping(server.port) == b"+PONG\r\n"


class TestProxy:
    def test_passes_bytes_on(self, proxy: Proxy) -> None:
        assert ping(proxy.port) == b"+PONG\r\n"

    def test_blackhole_holds_bytes_until_it_ends(self, proxy: Proxy) -> None:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=0.2) as link:
            proxy.set("blackhole")
            link.sendall(b"PING\r\n")
            with pytest.raises(TimeoutError):
                link.recv(64)
            proxy.set("pass")
            link.settimeout(30.0)
            assert link.recv(64) == b"+PONG\r\n"

    def test_reset_ends_old_and_new_connections(self, proxy: Proxy) -> None:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=30.0) as link:
            eventually(lambda: proxy.connections == 1)
            proxy.set("reset")
            with pytest.raises(ConnectionResetError):
                link.recv(64)
        with pytest.raises(ConnectionResetError):
            ping(proxy.port)

    def test_refuse_lets_nobody_in_and_pass_opens_the_same_port_again(self, proxy: Proxy) -> None:
        proxy.set("refuse")
        with pytest.raises(ConnectionRefusedError):
            ping(proxy.port)
        proxy.set("pass")
        assert ping(proxy.port) == b"+PONG\r\n"

    def test_delay_takes_as_long_as_it_says_each_way(self, proxy: Proxy) -> None:
        proxy.set("delay", delay=0.1)
        started = time.monotonic()
        assert ping(proxy.port) == b"+PONG\r\n"
        assert time.monotonic() - started >= 0.2

    def test_drop_replies_lets_commands_arrive(self, proxy: Proxy, redis_server: Server) -> None:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=30.0) as link:
            proxy.set("drop_replies")
            link.sendall(b"SET key value\r\n")
            eventually(lambda: redis_server.execute("GET", "key") == b"value")
            eventually(lambda: proxy.has_lost_replies)
            proxy.set("pass")
            with pytest.raises(ConnectionResetError):
                link.recv(64)

    def test_cut_resets_once(self, proxy: Proxy) -> None:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=30.0) as link:
            eventually(lambda: proxy.connections == 1)
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                link.recv(64)
        assert ping(proxy.port) == b"+PONG\r\n"


class TestProcess:
    def test_its_lines_can_be_waited_for(self) -> None:
        with Process([sys.executable, "-c", "print('one'); print('two and three')"]) as process:
            assert process.wait_for_line("and") == "two and three"
            assert process.wait() == 0
            assert process.output() == "one\ntwo and three\n"

    def test_waiting_fails_at_once_when_it_ends_and_shows_what_it_said(self) -> None:
        with Process([sys.executable, "-c", "raise SystemExit('bad luck')"]) as process:
            with pytest.raises(RuntimeError, match=r"status 1 before printing 'never'[^\n]*\nbad luck"):
                process.wait_for_line("never", timeout=60)

    def test_it_ends_with_what_it_started(self) -> None:
        child = "import subprocess; p = subprocess.Popen(['sleep', '60']); print('child', p.pid); p.wait()"
        with Process([sys.executable, "-c", child]) as process:
            pid = process.wait_for_line("child").split()[1]
        eventually(lambda: not _running(pid))

    def test_it_does_not_see_settings_of_the_person_who_runs_the_tests(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LIGHTBUS_MODULE", "mine")
        show = "import os; print(os.environ.get('LIGHTBUS_MODULE'), os.environ.get('LIGHTBUS_OTHER'))"
        with Process([sys.executable, "-c", show], env={"LIGHTBUS_OTHER": "given"}) as process:
            process.wait_for_line("None given")


def _running(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


#: Shows all that a program can see of how it was started.
SHOW = """
import os, signal, sys, warnings
from pprint import pprint
mine = [name for name in sys.modules if name.partition(".")[0] in ("tests", "show")]
files = sorted(os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")[:-1])
pprint([__name__, globals().get("__file__"), sys.argv, sys.path, mine, sys.modules["__main__"].__name__])
pprint([os.getcwd(), os.environ, sys.stdin.read(), os.getsid(0) == os.getpid(), len(files)])
pprint([sys.warnoptions, warnings.filters, [signal.getsignal(each) for each in signal.valid_signals()]])
for stream in (sys.stdin, sys.stdout, sys.stderr):
    pprint([stream.encoding, stream.errors, stream.line_buffering, stream.write_through, stream.newlines])
    pprint([type(stream.buffer), stream.seekable(), stream.buffer.fileno()])
    stream.reconfigure(errors="replace")
print("said", file=sys.stderr)
sys.exit(7)
"""


class TestForked:
    @pytest.mark.parametrize(
        "words", [["-m", "show"], ["-c", SHOW], ["show.py"], ["-W", "error", "-m", "show"]]
    )
    def test_it_is_as_one_that_was_started(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
    ) -> None:
        (tmp_path / "show.py").write_text(SHOW)
        command = [sys.executable, *words, "one", "two"]
        environment = clean_environment({"LIGHTBUS_OTHER": "given"})
        forked = finished(command, cwd=tmp_path, env=environment)
        monkeypatch.setenv("LIGHTBUS_TEST_EXEC", "1")
        started = finished(command, cwd=tmp_path, env=environment)
        assert forked.stdout.splitlines() == started.stdout.splitlines()
        assert (forked.returncode, forked.stderr) == (started.returncode, started.stderr) == (7, "said\n")

    def test_it_has_imported_lightbus_already_unless_its_interpreter_must_be_another(
        self, tmp_path: Path
    ) -> None:
        show = [sys.executable, "-c", "import sys; print('lightbus.cli.commands.run' in sys.modules)"]
        environment = clean_environment()
        assert finished(show, cwd=tmp_path, env=environment).stdout == "True\n"
        for early in ({"PYTHONPATH": str(tmp_path)}, {"TZ": "UTC-3"}, {"LD_PRELOAD": ""}):
            assert finished(show, cwd=tmp_path, env={**environment, **early}).stdout == "False\n"
        show.insert(1, "-O")
        assert finished(show, cwd=tmp_path, env=environment).stdout == "False\n"

    def test_it_is_waited_for_signalled_and_killed(self, tmp_path: Path) -> None:
        with Process(
            [sys.executable, "-c", "print('up'); import time; time.sleep(60)"], cwd=tmp_path
        ) as process:
            process.wait_for_line("up")
            assert process.status is None
            with pytest.raises(AssertionError, match=r"still running after 0.01 s; its output:\nup"):
                process.wait(0.01)
            process.kill()
            assert process.status == process.wait() == -signal.SIGKILL
            process.interrupt()  # It does not hear that any more, and nobody else does.

    def test_what_does_not_end_is_killed_and_fails_the_test(self, tmp_path: Path) -> None:
        code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
        for seconds in (2, 30):
            with pytest.raises(AssertionError, match=f"did not end within {seconds} s") as caught:
                finished([sys.executable, "-c", code], cwd=tmp_path, env=clean_environment(), timeout=seconds)
            if printed := re.search(r" s: \['(\d+)", str(caught.value)):
                break  # A busy machine may not begin it within the first time.
        assert printed is not None and not _running(printed[1])

    def test_several_run_at_a_time(self, tmp_path: Path) -> None:
        read, write = os.pipe()
        code = (
            "import os, sys; sys.stdout.reconfigure(errors='replace'); print(os.read(0, 1).decode(), end='')"
        )
        command = [sys.executable, "-c", code]
        env = clean_environment()
        pair = [
            spawn(command, cwd=tmp_path, env=env, stdin=read, stdout=write, stderr=write) for _ in range(2)
        ]
        assert [process.poll() for process in pair] == [None, None]
        os.write(write, b"x")
        assert [process.wait() for process in pair] == [0, 0]
        assert os.read(read, 10) == b"x"
        os.close(read)
        os.close(write)


class TestEventually:
    def test_returns_the_first_true_answer(self) -> None:
        answers: list[Any] = [0, None, "yes"]
        assert eventually(lambda: answers.pop(0)) == "yes"

    def test_says_what_never_became_true(self) -> None:
        def pigs_fly() -> bool:
            return False

        with pytest.raises(AssertionError, match=r"after 0.01 s still not: pigs_fly"):
            eventually(pigs_fly, timeout=0.01)

    def test_takes_a_failed_assertion_for_not_yet(self) -> None:
        seen: list[int] = []

        def third_time() -> bool:
            seen.append(1)
            assert len(seen) == 3
            return True

        assert eventually(third_time)

    def test_waits_on_an_event_loop_too(self) -> None:
        async def scenario() -> list[int]:
            seen: list[int] = []
            asyncio.get_running_loop().call_later(0.01, seen.append, 1)

            async def later() -> list[int]:
                return seen

            await eventually_async(lambda: bool(seen))
            return await eventually_async(later)

        assert asyncio.run(scenario()) == [1]


class TestAnHour:
    def test_passes_for_all_that_waits_so_long_and_for_nothing_else(self) -> None:
        async def scenario() -> tuple[list[str], float]:
            loop, ran = asyncio.get_running_loop(), list[str]()
            loop.call_later(2 * HOUR, ran.append, "later")
            for name, seconds in (("soon", 60), ("second", HOUR + 1), ("first", HOUR), ("never", HOUR)):
                timer = loop.call_later(seconds, ran.append, name)
            timer.cancel()
            began = loop.time()
            waiting = loop.create_task(asyncio.wait_for(loop.create_future(), HOUR))
            await asyncio.sleep(0)
            an_hour_passes(1.5 * HOUR)
            with pytest.raises(TimeoutError):
                await waiting
            an_hour_passes()
            await asyncio.sleep(0)
            return ran, loop.time() - began

        ran, seconds = asyncio.run(scenario())
        assert ran == ["first", "second", "later"]
        assert seconds < 60

    def test_is_waited_for_by_a_task_once_it_has_come_so_far_whatever_others_wait_for(self) -> None:
        async def scenario() -> list[str]:
            loop, done = asyncio.get_running_loop(), list[str]()
            answer: asyncio.Future[None] = loop.create_future()

            async def sweep() -> None:
                await answer
                done.append("looked")
                await asyncio.sleep(HOUR)
                done.append("again")

            async def wait() -> None:
                await asyncio.wait([loop.create_future()], timeout=HOUR)

            tasks = [loop.create_task(work(), name=f"{work.__name__} of a") for work in (sweep, wait)]
            loop.call_later(HOUR, print)
            await until_an_hour_is_waited_for("wait of")
            assert waiting_for_an_hour("sweep") == set()
            loop.call_later(0.01, answer.set_result, None)
            await until_an_hour_is_waited_for("sweep")
            assert waiting_for_an_hour("") == set(tasks)
            seen = list(done)
            an_hour_passes()
            await asyncio.gather(*tasks)
            return [*seen, *done]

        assert asyncio.run(scenario()) == ["looked", "looked", "again"]

    def test_is_not_waited_for_by_anybody(self) -> None:
        async def scenario() -> None:
            asyncio.get_running_loop().call_later(60, print)
            with pytest.raises(AssertionError, match="nothing waits for an hour"):
                an_hour_passes()

        asyncio.run(scenario())
