"""``lightbus run --reload``: what is saved runs, what is wrong is told, and nothing is lost in between."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from lightbus.exceptions import LightbusException
from lightbus.host.processes.watch import Watch
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server, free_port

BUS = """
import os, time
from lightbus import Api, Event
{imports}

class ShopApi(Api):
    sold = Event(('sku',))

    class Meta:
        name = 'shop'

    def version(self) -> int:
        return {version}

    def pid(self) -> int:
        return os.getpid()

def note(event_message, sku):
    if sku == 'slow':
        print('begun', flush=True)
        time.sleep(1)
    print('noted', sku, flush=True)

def before_server_start(bus):
    bus.shop.sold.listen(note)
"""


def save(project: Project, version: object = 1, imports: str = "") -> None:
    project.write("bus.py", BUS.format(version=version, imports=imports))


def answers(project: Project, version: object) -> None:
    """Wait until the procedure answers so; while processes are started again, nobody serves it."""

    def answer() -> object:
        try:
            return project.call("shop.version")
        except (LightbusException, AssertionError):
            return None

    eventually(lambda: answer() == version, 60, f"version {version} answers")


@pytest.fixture
def shop(project: Project, redis_server: Server) -> Project:
    save(project)
    project.write(
        "lightbus.yaml",
        f"bus: {{redis: {{url: '{redis_server.url}'}}, log_format: text}}\nservice_name: shop\n",
    )
    return project


def test_a_module_that_is_saved_answers_anew(shop: Project) -> None:
    host = shop.host("--reload")
    answers(shop, 1)
    save(shop, 2)
    host.wait_for_line("bus.py changed: starting again")
    answers(shop, 2)
    assert host.terminate() == 0


def test_so_does_one_that_it_imports_and_files_of_others_change_nothing(shop: Project) -> None:
    shop.write("prices.py", "VERSION = 3\n")
    shop.write("tests.py", "")
    shop.write(".venv/lib/prices.py", "")
    save(shop, "prices.VERSION", "import prices")
    host = shop.host("--reload")
    answers(shop, 3)
    shop.write("tests.py", "import this\n")
    shop.write(".venv/lib/prices.py", "import this\n")
    shop.write("prices.py", "VERSION = 4\n")
    answers(shop, 4)
    assert re.findall(r"(\S+) changed", host.output()) == ["prices.py"]


def test_so_does_the_manifest_with_what_it_includes(shop: Project) -> None:
    manifest = (shop.folder / "lightbus.yaml").read_text()
    shop.write("parts/one.yaml", "process_name: one\n")
    shop.write("lightbus.yaml", f"include: [parts]\n{manifest}")
    host = shop.host("--reload")
    host.wait_for_line("ready: shop runs as one")
    shop.write("parts/one.yaml", "process_name: first\n")
    host.wait_for_line("ready: shop runs as first")
    shop.write("parts/two.yaml", "process_name: second\n")
    host.wait_for_line("ready: shop runs as second")
    assert "parts changed: starting again" in host.output()


def test_a_module_that_python_can_not_read_is_told_and_what_runs_goes_on(shop: Project) -> None:
    host = shop.host("--reload")
    pid = shop.call("shop.pid")
    save(shop, "=")
    place = shop.folder / "bus.py"
    host.wait_for_line(f"{place}:12: SyntaxError: invalid syntax")
    host.wait_for_line("bus.py changed, but can't be used: what ran before goes on")
    assert shop.call("shop.pid") == pid
    save(shop, 5)
    answers(shop, 5)


def test_one_that_fails_when_it_is_imported_is_told_and_the_mended_one_comes_up(shop: Project) -> None:
    host = shop.host("--reload")
    save(shop, 6, "import prices")
    host.wait_for_line("bus.py:3: importing the module 'bus' raised")
    host.wait_for_line("nothing runs now: waiting for a change")
    # A file that nobody has read so far mends it.
    shop.write("prices.py", "")
    answers(shop, 6)
    assert host.terminate() == 0


@pytest.mark.parametrize(
    ("name", "wrong", "told", "right"),
    [
        ("lightbus.yaml", "proceses: 2", "lightbus.yaml:1:1  proceses: unknown key", "processes: 1"),
        ("bus.py", "class ShopApi(:", "bus.py:1: importing the module 'bus' raised SyntaxError", ""),
    ],
)
def test_what_is_wrong_from_the_start_is_waited_for_and_ctrl_c_ends_at_once(
    shop: Project, name: str, wrong: str, told: str, right: str
) -> None:
    before = (shop.folder / name).read_text()
    shop.write(name, wrong)
    host = shop.start("run", "--reload", LIGHTBUS__BUS__LOG_FORMAT="text")
    host.wait_for_line(told)
    host.wait_for_line("nothing runs now: waiting for a change")
    host.interrupt()
    assert host.wait() == 78
    host = shop.start("run", "--reload", LIGHTBUS__BUS__LOG_FORMAT="text")
    host.wait_for_line("nothing runs now")
    shop.write(name, f"{right}\n{before}")
    answers(shop, 1)


def test_a_manifest_that_becomes_wrong_leaves_running_what_runs(shop: Project) -> None:
    manifest = (shop.folder / "lightbus.yaml").read_text()
    host = shop.host("--reload")
    pid = shop.call("shop.pid")
    shop.write("lightbus.yaml", f"{manifest}process_nam: x\n")
    host.wait_for_line("lightbus.yaml:3:1  process_nam: unknown key")
    host.wait_for_line("lightbus.yaml changed, but can't be used")
    # It still can't be used when something else changes.
    save(shop, 7)
    host.wait_for_line("bus.py, lightbus.yaml changed, but can't be used")
    # Not asked by a call, which would read the manifest as well.
    os.kill(pid, 0)
    assert host.output().count("ready: ") == 1
    shop.write("lightbus.yaml", f"{manifest}process_name: x\n")
    host.wait_for_line("ready: shop runs as x")
    answers(shop, 7)


def test_all_of_several_processes_are_started_again(shop: Project) -> None:
    host = shop.host("--reload", "--processes", "2")
    eventually(lambda: host.output().count("ready: ") == 2, 60)
    save(shop, 2)
    eventually(lambda: host.output().count("ready: ") == 4, 60)
    answers(shop, 2)
    assert host.terminate() == 0


def test_the_event_that_runs_is_finished_and_those_fired_meanwhile_are_handled(shop: Project) -> None:
    host = shop.host("--reload")
    shop.fire("shop.sold", sku="slow")
    host.wait_for_line("begun")
    save(shop, 2)
    host.wait_for_line("bus.py changed")
    for number in range(5):
        shop.fire("shop.sold", sku=str(number))
    answers(shop, 2)
    wanted = ["noted slow", *(f"noted {number}" for number in range(5))]
    eventually(lambda: [line for line in host.output().splitlines() if line.startswith("noted")] == wanted)
    assert host.output().count("begun") == 1


def test_an_embedded_redis_stays_with_its_data_and_a_new_manifest_is_read(
    project: Project,
) -> None:
    save(project)
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    project.env |= {"LIGHTBUS__BUS__REDIS__EMBEDDED": "true", "LIGHTBUS__BUS__REDIS__URL": url}
    host = project.host("--reload")
    answers(project, 1)
    pid_file = project.folder / ".lightbus" / "valkey.pid"
    pid = pid_file.read_text()
    with socket.create_connection(("127.0.0.1", port)) as redis:
        redis.sendall(b"SET kept 1\r\n")
        assert redis.recv(16) == b"+OK\r\n"
        project.write("lightbus.yaml", "process_name: told\n")
        host.wait_for_line("runs as told")
        redis.sendall(b"GET kept\r\n")
        assert redis.recv(16) == b"$1\r\n1\r\n"
    assert pid_file.read_text() == pid
    assert re.findall("Redis: .*", host.output()) == [
        f"Redis: embedded Valkey at 127.0.0.1:{port}, data in .lightbus"
    ], "told once, by whoever has started it"
    assert host.terminate() == 0
    assert "stopped the embedded Valkey" in host.output()


def test_a_process_that_died_is_started_again_without_a_change(shop: Project) -> None:
    host = shop.host("--reload")
    os.kill(shop.call("shop.pid"), signal.SIGKILL)
    host.wait_for_line("process 1 ended with status -9; starting it again in 1 s")
    eventually(lambda: host.output().count("ready: ") == 2, 60)


def test_it_does_not_go_together_with_failing_fast(shop: Project) -> None:
    done = shop.run("run", "--reload", "--fail-fast")
    assert done.returncode == 64
    assert "--fail-fast ends the host where it can't start, and --reload waits" in " ".join(
        done.stderr.split()
    )


# The files


def changes_after(
    folder: Path, act: Callable[[], object], *followed: Path, is_wide: bool = False
) -> list[Path]:
    """The changes that a watch sees."""

    async def watch() -> list[Path]:
        watch = Watch(folder)
        watch.begin()
        watch.follow(followed)
        if is_wide:
            watch.widen()
        act()
        return await asyncio.wait_for(watch.change(), 60)

    return asyncio.run(watch())


def test_a_file_that_is_not_there_yet_or_no_more_has_changed(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.py"
    other.touch()
    assert changes_after(tmp_path, one.touch, one, other) == [one]
    assert changes_after(tmp_path, other.unlink, one, other) == [other]


def test_a_wide_look_finds_code_and_manifests_but_nothing_installed_or_hidden(tmp_path: Path) -> None:
    inner = tmp_path / "shop" / "new.py"
    inner.parent.mkdir()
    for name in (".git/a.py", "__pycache__/a.py", "node_modules/a.py", "env/pyvenv.cfg", "env/lib/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)

    def act() -> None:
        for name in (".git/a.py", "__pycache__/a.py", "node_modules/a.py", "env/lib/a.py", "shop/a.txt"):
            (tmp_path / name).touch()
        inner.touch()

    (tmp_path / "env/pyvenv.cfg").touch()
    assert changes_after(tmp_path, act, is_wide=True) == [inner]
