"""``make installed``: every page as a pip user reads it, with the built wheel in venvs of its own.

For each Python and each set of packages that pages name there is one venv with nothing else. In it the code
of those pages is run; besides, the quickstart, ``lightbus init``, the shop of three services, and the
projects of the frameworks' pages. The commands of the how-tos are given, too, where there is what they are
about.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.support.eventually import eventually
from tests.support.servers import Server, free_port

from .console import Console
from .pages import DOCS, sections, steps
from .requirements import requirements
from .scenes import SCENES
from .sites import Reader, Site

ROOT = DOCS.parent
SUPPORTED = "3.11,3.12,3.13"
#: Not part of what is built.
_LEFT_OUT = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "tests", "benchmarks", "site")
Check = Callable[[Path, Path], None]


def checkout_of(copy: Path) -> None:
    """Copy what a wheel is built from, so that nothing is left in the checkout."""
    shutil.copytree(ROOT, copy, ignore=_LEFT_OUT)


def build(folder: Path) -> Path:
    """Build the wheel as pip does; returns it.

    The pip is that of a venv made for it: the one that runs this may have none, if uv has made it.
    """
    copy = folder / "checkout"
    checkout_of(copy)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "builder")], check=True)
    pip = str(folder / "builder" / "bin" / "pip")
    subprocess.run([pip, "-q", "wheel", "--no-deps", "-w", str(folder), str(copy)], check=True)
    return next(folder.glob("lightbus-*.whl"))


def find_python(version: str) -> Path | None:
    """A Python of this version that is installed here."""
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/python3"))
    found = shutil.which(f"python{version}")
    for each in [*([Path(found)] if found else []), *pyenv]:
        asked = [str(each), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        if subprocess.run(asked, capture_output=True, text=True).stdout.strip() == version:
            return each
    return None


class Venvs:
    """The venvs of one Python, one for each set of packages.

    Args:
        python: The Python.
        wheel: What to install.
        folder: Where they are made.
    """

    def __init__(self, python: Path, wheel: Path, folder: Path) -> None:
        self._python = python
        self._wheel = wheel
        self._folder = folder
        self._made: dict[tuple[str, ...], Path] = {}

    def having(self, wanted: list[str]) -> Path:
        """The Python of a venv with the wheel and some packages, and nothing else."""
        key = tuple(sorted(wanted))
        if key not in self._made:
            folder = self._folder / f"venv-{len(self._made)}"
            subprocess.run([str(self._python), "-m", "venv", str(folder)], check=True)
            python = folder / "bin" / "python"
            packages = [self._from_wheel(each) for each in wanted]
            subprocess.run([str(python), "-m", "pip", "-q", "install", *packages], check=True)
            self._made[key] = python
        return self._made[key]

    def _from_wheel(self, requirement: str) -> str:
        name, bracket, rest = requirement.partition("[")
        return f"{self._wheel}{bracket}{rest}" if name == "lightbus" else requirement


def own_redis() -> dict[str, str]:
    """The environment of a reader without a Redis: the host brings one, but not at everybody's port."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    return {"LIGHTBUS__BUS__REDIS__URL": url, "LIGHTBUS__BUS__REDIS__EMBEDDED": "true"}


def code_of(page: Path, url: str, python: Path, folder: Path) -> None:
    """All of a page's code that is marked to be run."""
    for number, section in enumerate(sections(page)):
        place = folder / str(number)
        place.mkdir()
        done = section.run(place, {"LIGHTBUS__BUS__REDIS__URL": url}, python)
        assert done.returncode == 0, f"{section.title}: {done.stdout}{done.stderr}"
        assert section.output in (None, done.stdout), f"{section.title}: {done.stdout}"


def commands_of(page: str, server: Server, python: Path, folder: Path) -> None:
    """The commands of a how-to, where there is what they are about."""
    with Console(page, folder, server, python) as console:
        SCENES[page](console)
        assert console.left == []


def quickstart(python: Path, folder: Path) -> None:
    """The tutorial's first page, from its first block to its last."""
    from tests.guide.test_quickstart import BUS, BUS_WITH_EVENT, CALL_PROCEDURE, FIRE_EVENT

    package = folder / "quickstart"
    package.mkdir()
    env = own_redis()
    with Reader(package, python, env) as reader, Reader(folder, python, env) as above:
        (package / "bus.py").write_text(BUS)
        (package / "call_procedure.py").write_text(CALL_PROCEDURE)
        host = reader.host()
        assert reader.do("python call_procedure.py").stdout == "Password valid!\n"
        assert host.terminate() == 0
        (package / "bus.py").write_text(BUS_WITH_EVENT)
        (package / "fire_event.py").write_text(FIRE_EVENT)
        host = reader.host()
        above.do("python -m quickstart.fire_event")
        host.wait_for_line("To: admin@example.com")
        assert host.terminate() == 0


def init(python: Path, folder: Path) -> None:
    """What ``lightbus init`` writes, and what it says to try."""
    with Reader(folder, python, own_redis()) as reader:
        *_, call, fire = reader.do("lightbus init").stdout.splitlines()
        reader.do("lightbus check --imports")
        host = reader.host()
        assert reader.do(call.strip()).stdout == "true\n"
        reader.do(fire.strip())
        host.wait_for_line("Welcome, admin <admin@example.com>")
        assert host.terminate() == 0


def shop(python: Path, folder: Path, env: dict[str, str] | None = None) -> None:
    """The shop of three services, by the commands of its page."""
    page = DOCS / "tutorial" / "three-services.md"
    commands = [step.command for step in steps(page) if step.command.startswith("lightbus ")]
    first = next(n for n, command in enumerate(commands) if command.startswith("lightbus call"))
    (make, *runs), (place, paid, *looks) = commands[:first], commands[first:]
    with Reader(folder, python, own_redis() if env is None else env) as reader:
        reader.do(make)
        hosts = [reader.host(command) for command in runs]
        assert reader.do(place).stdout == "1\n"
        for host, line in zip(hosts, ("24.00 paid", "Ann pays 24.00", "dear Ann, thank you"), strict=True):
            host.wait_for_line(f"order 1: {line}")
        assert reader.do(paid).stdout == "24.0\n"
        for command in looks:
            reader.do(command)
        for host in reversed(hosts):
            assert host.terminate() == 0, host.output()


def framework(page: str, url: str, python: Path, folder: Path) -> None:
    """The project of a framework's page, served by its development server."""
    with Site(page, folder, url, python) as site:
        site.make()
        host = site.host()
        if "django" in page:
            site.serve(f"{site.server} {{port}} --noreload")
            assert site.post("/orders", number="1", customer="Ann")[0] == 201
            host.wait_for_line("Order 1: thank you, Ann")
            eventually(lambda: site.get("/orders/1") == (200, {"is_mailed": True}))
            assert "Ran 1 test" in site.do("python manage.py test").stderr
        else:
            site.serve(f"{site.server} --port {{port}}")
            assert site.post("/register", username="ada")[0] == 201
            host.wait_for_line("Welcome, ada")
            assert site.post("/login", username="admin", password="secret")[0] == 200


def checks(server: Server) -> Iterator[tuple[str, list[str], Check]]:
    """Everything to look at: its name, what it wants installed, and how it is done."""
    frameworks = [f"how-to/{name}.md" for name in ("django", "fastapi", "flask")]
    for page in sorted(DOCS.rglob("*.md")):
        name = str(page.relative_to(DOCS))
        if sections(page):
            yield name, requirements(page), partial(code_of, page, server.url)
        if name in SCENES:
            yield f"the commands of {name}", requirements(page), partial(commands_of, name, server)
        if name in frameworks:
            yield f"the project of {name}", requirements(page), partial(framework, name, server.url)
    embedded = requirements(DOCS / "tutorial" / "quickstart.md")
    yield "the quickstart", embedded, quickstart
    yield "lightbus init", embedded, init
    yield "the shop", requirements(DOCS / "tutorial" / "three-services.md"), shop


def main() -> int:
    """Check every page on every Python; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs.installed", description=__doc__)
    parser.add_argument("--pythons", default=SUPPORTED, help="which, such as 3.11,3.13")
    parser.add_argument("--only", default="", help="only what has this in its name")
    options = parser.parse_args()
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="installed-") as name, Server("valkey") as server:
        wheel = build(Path(name))
        for version in options.pythons.split(","):
            python = find_python(version)
            if python is None:
                print(f"Python {version} is not installed, and left out", flush=True)
                continue
            venvs = Venvs(python, wheel, Path(name) / version)
            for number, (what, wanted, check) in enumerate(checks(server)):
                if options.only not in what:
                    continue
                folder = Path(name) / version / str(number)
                folder.mkdir(parents=True)
                server.execute("FLUSHALL")
                outcome = _outcome(check, venvs.having(wanted), folder)
                print(f"{version}  {what}: {outcome}  ({', '.join(wanted)})", flush=True)
                if outcome != "works":
                    failed.append(f"{version}  {what}")
    print("\n".join(["failed:", *failed]) if failed else "all of it works", flush=True)
    return 1 if failed else 0


def _outcome(check: Check, python: Path, folder: Path) -> str:
    try:
        check(python, folder)
    except (AssertionError, RuntimeError, subprocess.TimeoutExpired) as e:
        return f"{type(e).__name__}: {e}"
    return "works"


if __name__ == "__main__":
    sys.exit(main())
