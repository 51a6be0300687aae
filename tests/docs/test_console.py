"""The commands of the how-tos are given, in the scenes of their pages: here, and in ``make installed``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.patient import ENVIRONMENT
from tests.support.servers import Server

from .console import ELSEWHERE, Console, Shown, given, shown
from .pages import DOCS
from .requirements import only, requirements
from .scenes import SCENES

HOW_TOS = sorted((DOCS / "how-to").glob("*.md"))


#: The others start many processes: `make installed` has them all.
FEW = ("how-to/contracts.md", "how-to/export.md", "how-to/typed-clients.md")


@pytest.mark.parametrize("page", FEW)
def test_the_commands_of_a_how_to_do_what_it_says(page: str, tmp_path: Path, redis_server: Server) -> None:
    hidden = only(requirements(DOCS / page), tmp_path / "hidden")
    (tmp_path / "empty").mkdir()
    env = {**ENVIRONMENT, "PYTHONPATH": hidden}
    with Console(page, tmp_path / "empty", redis_server, sys.executable, env) as console:
        SCENES[page](console)
        assert console.left == []


def test_each_command_of_a_how_to_is_given_or_is_said_to_be_tried_elsewhere() -> None:
    by_page = {f"how-to/{page.name}": shown(page) for page in HOW_TOS}
    assert {page for page in by_page if given(DOCS / page)} <= set(SCENES)
    known = {each.command for commands in by_page.values() for each in commands}
    assert known >= set(ELSEWHERE), "a command that no page has"


def test_what_a_page_shows_is_read_as_a_command_and_what_it_prints(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Words.\n\n    lightbus status  # who is there\n    a line of a log\n\n"
        "    $ lightbus check\n    no\n    problems\n\n```shell\npip install x\nA=1 lightbus run\n```\n"
        "\n```yaml\n    lightbus: 1\n```\n"
    )
    commands = [
        Shown("lightbus status  # who is there"),
        Shown("lightbus check", "no problems"),
        Shown("A=1 lightbus run"),
    ]
    assert shown(page) == commands
