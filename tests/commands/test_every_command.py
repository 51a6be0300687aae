"""What holds for every command: an example, the right exit status, no traceback, a place in the docs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lightbus import __version__
from lightbus.cli import cli
from tests.conftest import IS_WHOLE
from tests.guide.project import Project
from tests.support.servers import Server

from .listing import ALL, LEAVES, SHARED, own_options, reads_manifest

PAGE = Path(__file__).parents[2] / "docs/reference/command-line.md"
OK, FAILED, USAGE, UNAVAILABLE, CONFIG = 0, 1, 64, 69, 78
NOBODY = "redis://127.0.0.1:1/0"
#: Values of an option that make no sense; each option gets one of them in turn, and all in `make soak`.
NONSENSE = ("☃", "-1", "")

BUS = """
    from lightbus import Api, Event

    class AuthApi(Api):
        user_registered = Event(parameters=("username",))

        class Meta:
            name = "auth"

        def check_password(self, username, password):
            return username == password
"""

#: An export has to have a name, and one for a cluster a Redis.
SERVICE, REDIS = "--service-name shop", "--set bus.redis.url=redis://redis:6379/0"

#: Arguments of each command with its exit status where a host runs, and where Redis is away.
TABLE = {
    "acl": ("--check", OK, UNAVAILABLE),
    "audit": ("", OK, UNAVAILABLE),
    "call": ("auth.check_password username=a password=a", OK, UNAVAILABLE),
    "check": ("--imports --connect", OK, CONFIG),
    "completion": ("bash", OK, OK),
    "config show": ("", OK, OK),
    "config schema": ("", OK, OK),
    "contract check": ("--against bus", OK, UNAVAILABLE),
    "contract pull": ("auth --out contracts", OK, UNAVAILABLE),
    "contract show": ("auth", OK, OK),
    "dlq list": ("", OK, UNAVAILABLE),
    "dlq show": ("1-1", FAILED, UNAVAILABLE),
    "dlq replay": ("--all", OK, UNAVAILABLE),
    "dlq edit": ("1-1 --kwargs {}", FAILED, UNAVAILABLE),
    "dlq drop": ("--all --yes", OK, UNAVAILABLE),
    "doctor": ("", OK, UNAVAILABLE),
    "dumpconfigschema": ("", OK, OK),
    "dumpschema": ("", OK, OK),
    "export compose": (f"{SERVICE} --set http.listen=8099", OK, OK),
    "export docker": (SERVICE, OK, OK),
    "export keda": (f"{SERVICE} {REDIS} --set listeners.l.events=a.b --set listeners.l.handler=b:c", OK, OK),
    "export kubernetes": (f"{SERVICE} {REDIS} --set http.listen=8099", OK, OK),
    "export systemd": (SERVICE, OK, OK),
    "fire": ("auth.user_registered username=a", OK, UNAVAILABLE),
    "graph": ("--live", OK, UNAVAILABLE),
    "group hand-back": ("shop-old --yes", FAILED, UNAVAILABLE),
    "group list": ("", OK, UNAVAILABLE),
    "group move": ("shop-old shop-new --yes", FAILED, UNAVAILABLE),
    "group rm": ("shop-old --yes", FAILED, UNAVAILABLE),
    "group seek": ("shop-old --to end --yes", FAILED, UNAVAILABLE),
    "group show": ("shop-old", FAILED, UNAVAILABLE),
    "init": ("new", OK, OK),
    "inspect": ("", OK, UNAVAILABLE),
    "outbox ddl": ("--dialect sqlite", OK, OK),
    "outbox drop": ("1", CONFIG, CONFIG),
    "outbox list": ("", CONFIG, CONFIG),
    "outbox retry": ("1", CONFIG, CONFIG),
    "pause": ("auth-mailer", FAILED, UNAVAILABLE),
    "plan": ("", OK, UNAVAILABLE),
    "relay": ("", CONFIG, CONFIG),
    "resume": ("auth-mailer", FAILED, UNAVAILABLE),
    "run": ("--fail-fast", OK, UNAVAILABLE),
    "schedule list": ("", OK, UNAVAILABLE),
    "schedule pause": ("nightly", FAILED, UNAVAILABLE),
    "schedule resume": ("nightly", FAILED, UNAVAILABLE),
    "schedule run": ("nightly", FAILED, UNAVAILABLE),
    "shell": ("-e bus.auth.check_password(username=1,password=1)", OK, UNAVAILABLE),
    "status": ("", OK, UNAVAILABLE),
    "types": ("auth", OK, UNAVAILABLE),
    "version": ("", OK, OK),
    # Else it serves until it is ended.
    "web": ("--auth token", CONFIG, CONFIG),
}

NAMES_OF_SHARED = {
    *("config", "set", "bus", "service-name", "process-name", "log-level", "trust-remote", "transport"),
}
leaf = pytest.mark.parametrize("path", LEAVES, ids=" ".join)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    server = Server("valkey", aof=True)  # one in which doctor finds nothing
    it = Project(tmp_path_factory.mktemp("project"), server.url)
    it.write("bus.py", BUS)
    it.host()
    yield it
    it.close()
    server.close()


@leaf
def test_its_own_options_stand_above_those_that_all_commands_share(path: tuple[str, ...]) -> None:
    command = LEAVES[path]
    shown = command.get_help(click.Context(command, info_name=" ".join(path), terminal_width=80))
    assert all(len(line) <= 80 for line in shown.splitlines())
    if not reads_manifest(command):
        return
    sections = re.findall(r"^(Options|Log|Manifest):$", shown, re.MULTILINE)
    assert sections == ["Options", "Log", "Manifest"]
    listed = re.findall(r"^  (?:-\w, )?--([a-z-]+)", shown, re.MULTILINE)
    own = [each for each in listed if each not in NAMES_OF_SHARED]
    # How the log looks is one command's, and stands beside how much of it there is.
    assert [each for each in own if each != "log-format"] == listed[
        : len([e for e in own if e != "log-format"])
    ]


def test_every_command_is_in_the_table() -> None:
    assert [" ".join(path) for path in LEAVES] == sorted(TABLE)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_the_help_of_a_command_says_what_it_does_and_gives_an_example(path: tuple[str, ...]) -> None:
    command = ALL[path]
    shown = command.get_help(click.Context(command, info_name=" ".join(("lightbus", *path))))
    assert command.help
    example = re.sub(r"\s+", " ", shown).partition("Example: ")[2]
    assert " ".join(("lightbus", *path)) in example
    undescribed = [option.name for option in own_options(command) if not option.help]
    assert undescribed == []


@leaf
def test_with_a_host_at_work(project: Project, path: tuple[str, ...]) -> None:
    if path == ("run",):
        return  # That is the host at work.
    arguments, expected, _ = TABLE[" ".join(path)]
    done = project.run(*path, *arguments.split())
    assert (done.returncode, "Traceback" in done.stderr) == (expected, False), done.stderr
    assert done.stderr if expected else not done.stderr


@leaf
def test_without_redis(project: Project, path: tuple[str, ...]) -> None:
    arguments, _, expected = TABLE[" ".join(path)]
    folder = project.folder / "away"
    folder.mkdir(exist_ok=True)
    project.write("away/bus.py", BUS)
    done = project.within("away").run(*path, *arguments.split(), LIGHTBUS__BUS__REDIS__URL=NOBODY)
    printed = done.stdout + done.stderr
    assert (done.returncode, "Traceback" in printed) == (expected, False), printed
    # The ones ask databases first, and the other serves without Redis, too.
    if expected and path[0] not in ("outbox", "relay", "web"):
        assert "127.0.0.1:1/0 can't be reached" in printed and "start it" in printed


@pytest.mark.parametrize("arguments", ["inspect --follow", "status --watch", "status --watch --json"])
def test_a_live_view_without_redis(project: Project, arguments: str) -> None:
    done = project.run(*arguments.split(), LIGHTBUS__BUS__REDIS__URL=NOBODY)
    assert done.returncode == UNAVAILABLE
    assert "can't be reached" in done.stderr and "Traceback" not in done.stderr


@leaf
def test_an_unknown_option_is_misuse(project: Project, path: tuple[str, ...]) -> None:
    done = project.run(*path, "--nonsense")
    assert done.returncode == USAGE and "--nonsense" in done.stderr


def nonsense_of(path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The options of a command that take a value, each with one that makes no sense, or with all of them."""
    options = [option for option in own_options(LEAVES[path]) if not option.is_flag]
    for number, option in enumerate(options):
        for nonsense in NONSENSE if IS_WHOLE else [NONSENSE[number % len(NONSENSE)]]:
            if path == ("dlq", "drop") and not nonsense:
                continue  # All letters, then.
            # For a run, a word is any name of a feature or of a file.
            yield option.opts[-1], "☃/☃" if path == ("run",) else nonsense


@leaf
def test_an_option_with_nonsense_gets_a_sentence(
    project: Project, path: tuple[str, ...], tmp_path: Path
) -> None:
    elsewhere = Project(tmp_path, project.env["LIGHTBUS__BUS__REDIS__URL"])
    elsewhere.write("bus.py", BUS)
    arguments = TABLE[" ".join(path)][0].split() if path[0] in ("call", "fire", "contract") else []
    for option, nonsense in nonsense_of(path):
        done = elsewhere.run(*path, *arguments, option, nonsense)
        assert done.returncode in (OK, FAILED, USAGE, CONFIG), (option, done)
        assert "Traceback" not in done.stderr or path == ("shell",), (option, done)
        assert done.returncode == OK or done.stderr, option


@leaf
def test_a_wrong_configuration_is_78(project: Project, path: tuple[str, ...]) -> None:
    if not reads_manifest(LEAVES[path]):
        return
    arguments = () if path == ("run",) else TABLE[" ".join(path)][0].split()
    for wrong in (("-c", "missing.yaml"), ("--set", "nonsense.key=1"), ("--transport", "nonsense")):
        done = project.run(*path, *arguments, *wrong)
        printed = done.stdout + done.stderr
        assert (done.returncode, "Traceback" in printed) == (CONFIG, False), (wrong, printed)
    assert project.run(*path, *arguments, "--log-level", "loud").returncode == USAGE


@leaf
def test_a_folder_that_is_not_there_is_made_or_gets_a_sentence(
    project: Project, path: tuple[str, ...]
) -> None:
    for option in own_options(LEAVES[path]):
        if option.name != "out":
            continue
        arguments = TABLE[" ".join(path)][0].split()
        # One of its own: what another command makes there may be a folder.
        out = f"not/there/{'-'.join(path)}.json"
        done = project.run(*path, *arguments, "--out", out)
        assert (done.returncode == OK) == (project.folder / out).exists()
        assert "Traceback" not in done.stderr and (done.returncode == OK or "not/there" in done.stderr)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_the_reference_has_every_command_with_every_option(path: tuple[str, ...]) -> None:
    sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    section = next(each for each in sections if each.startswith(f"lightbus {path[0]}\n"))
    assert path[-1] in section
    missing = [name for option in own_options(ALL[path]) for name in option.opts if f"`{name}" not in section]
    assert missing == []


def test_the_reference_has_no_option_that_is_not_there() -> None:
    known = {n for command in ALL.values() for p in command.params for n in (*p.opts, *p.secondary_opts)}
    known |= {"--help", "--version"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE.read_text()))
    assert named - known == set()


def test_the_reference_has_the_options_that_commands_share() -> None:
    shared = [p for p in LEAVES[("run",)].params if p.name in SHARED]
    table = PAGE.read_text().partition("## Options of all commands")[2].partition("\n## ")[0]
    assert [name for p in shared for name in p.opts if f"`{name}" not in table] == []


def test_help_imports_no_command() -> None:
    show = "import sys, atexit; atexit.register(lambda: print(sorted(sys.modules)))\n"
    show += "from lightbus.cli import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    heavy = [
        "yaml",
        "rich",
        "cerberus",
        "lightbus.host.host",
        "lightbus.cli.commands.run",
        "lightbus.cli.commands.dlq",
        "IPython",
    ]
    assert [name for name in heavy if f"'{name}'" in done.stdout] == []
    assert "  inspect " in done.stdout


def test_the_version_is_printed_either_way(project: Project) -> None:
    assert project.run("--version").stdout.startswith("lightbus, version 2")
    assert project.run("version").stdout == f"{__version__}\n", "scripts of 1.x read it"
    assert f"lightbus       {__version__}\npython " in project.run("version", "--all").stdout
    assert '"redis": "' in project.run("version", "--json").stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["runn"], "No such command 'runn'. Did you mean run?"),
        (["dlq", "lst"], "No such command 'lst'. Did you mean list?"),
        (["zzzzzz"], "No such command 'zzzzzz'."),
    ],
)
def test_a_slip_of_a_command_is_told_with_the_one_that_was_meant(given: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, given)
    assert done.exit_code != OK and done.output.splitlines()[-1] == f"Error: {said}"
