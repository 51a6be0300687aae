"""Whatever Python and its surroundings are like, a command works or says in a sentence why it can't."""

from __future__ import annotations

import itertools
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from lightbus.exceptions import ConfigurationError, NoWorker
from lightbus.host import embedded
from lightbus.manifest.load import load
from lightbus.runtime.interpreter import refuse_shadows
from tests.conftest import IS_WHOLE
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.processes import clean_environment

BUS = """
    from lightbus import Api

    class ShopApi(Api):
        class Meta:
            name = "shop"

        def letters(self) -> str:
            return "é → 😀"
"""
LIGHTBUS = str(Path(sys.executable).with_name("lightbus"))


def run(project: Project, command: list[str], **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        cwd=project.folder,
        env=clean_environment({**project.env, **env}),
        capture_output=True,
        timeout=100,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["check"], ["run"], ["call", "shop.letters"]])
def test_python_without_docstrings(project: Project, arguments: list[str]) -> None:
    project.write("bus.py", BUS)
    done = run(project, [LIGHTBUS, *arguments], PYTHONOPTIMIZE="2")
    assert done.returncode == 78
    assert b"start it with -O instead of -OO, or with PYTHONOPTIMIZE=1" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_client_that_reads_no_manifest_needs_no_docstrings(bare_project: Project) -> None:
    bare_project.env.clear()
    program = "import lightbus; lightbus.create(); print('made')"
    done = run(bare_project, [sys.executable, "-OO", "-c", program])
    assert (done.stdout, done.stderr) == (b"made\n", b"")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_output_in_any_encoding(project: Project, encoding: str) -> None:
    project.write("bus.py", BUS)
    project.host()
    done = run(project, [LIGHTBUS, "call", "shop.letters"], PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout.decode(encoding)) == "é → 😀"


COMMANDS = {
    "run": [LIGHTBUS, "run"],
    "processes": [LIGHTBUS, "run", "--set", "processes=2"],
    "call": [LIGHTBUS, "call", "shop.letters"],
    "check": [LIGHTBUS, "check", "--imports"],
    "module": [sys.executable, "-m", "lightbus", "run"],
}
MODULES = ["redis.py", "yaml.py", "click.py", "msgspec.py", "rich/__init__.py"]
#: Each package once, and each command with one that it comes to at another time.
SHORT = [
    *(("run", module) for module in MODULES),
    *zip(
        ("processes", "call", "check", "module"),
        ("redis.py", "yaml.py", "click.py", MODULES[-1]),
        strict=True,
    ),
]
#: `python -m` imports Lightbus before any code of it runs; that fails without msgspec, as in any program.
ALL_OF_THEM = [pair for pair in itertools.product(COMMANDS, MODULES) if pair != ("module", "msgspec.py")]


@pytest.mark.parametrize(("command", "module"), ALL_OF_THEM if IS_WHOLE else SHORT)
def test_a_module_of_the_project_in_place_of_a_package(project: Project, module: str, command: str) -> None:
    project.write("bus.py", BUS)
    path = project.write(module, "cache = {}\n")
    done = run(project, COMMANDS[command])
    said = (done.stdout + done.stderr).decode()
    name = module.removesuffix(".py").removesuffix("/__init__")
    assert done.returncode == 78, said
    assert f"{path} hides the package {name}, which Lightbus needs; rename that module" in said
    assert "Traceback" not in said


def test_a_folder_in_which_the_packages_are_installed_is_none_in_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "redis.py").write_text("")
    with pytest.raises(ConfigurationError, match="hides the package redis"):
        refuse_shadows(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    refuse_shadows(tmp_path)
    refuse_shadows(Path(__file__).parents[2])


CLOSED = list(itertools.product((1, 2), ((0,), (1,), (2,), (0, 1, 2))))
#: A supervisor with all of them closed shows as much as with one.
SHORT_CLOSED = [*CLOSED[:4], CLOSED[-1]]


@pytest.mark.parametrize(("processes", "closed"), CLOSED if IS_WHOLE else SHORT_CLOSED, ids=str)
def test_closed_descriptors(project: Project, processes: int, closed: tuple[int, ...]) -> None:
    project.write("bus.py", BUS)
    redirections = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in closed)
    settings = f"--set processes={processes}"
    host = project.start_shell(f"exec {LIGHTBUS} run {settings} {redirections}")

    def answer() -> str:
        try:
            return str(project.call("shop.letters"))
        except NoWorker as e:
            raise AssertionError(e) from e

    # Where standard error is closed, no line says that it is ready.
    assert eventually(answer) == "é → 😀"
    assert host.terminate() == 0


def test_a_daemon_without_standard_descriptors_calls(project: Project) -> None:
    project.write("bus.py", BUS)
    project.host()
    program = "import os, lightbus; os.closerange(0, 3); bus = lightbus.create(); r = bus.shop.letters(); "
    program += "open('got', 'w').write(r)"
    done = run(project, [sys.executable, "-c", program])
    assert done.returncode == 0
    assert (project.folder / "got").read_text() == "é → 😀"


@pytest.mark.parametrize("is_configured", [False, True])
def test_a_redis_that_answers_already_is_told_of_unless_it_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_configured: bool
) -> None:
    """Nothing is connected, since that Redis may be anybody's."""
    monkeypatch.setattr(embedded, "answers", lambda *_: True)
    url = {"LIGHTBUS__BUS__REDIS__URL": "redis://127.0.0.1:6379/0"} if is_configured else {}
    with caplog.at_level(logging.INFO, "lightbus"):
        assert embedded.provide(load([], cwd=tmp_path, environ=url), tmp_path) is None
    line = "Redis: found at 127.0.0.1:6379, since none is configured"
    assert (line in caplog.text) is not is_configured
