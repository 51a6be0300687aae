"""Every command of Lightbus that a page shows exists, with its options."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from lightbus.cli import cli

from .pages import DOCS

#: Indented lines, and code within a line.
_SHOWN = re.compile(r"^    (lightbus .*)$|`(lightbus [a-z][^`]*)`", re.MULTILINE)
_BLOCK = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def shown() -> list[tuple[str, str]]:
    """The commands that each page shows."""
    found = []
    for page in sorted(DOCS.rglob("*.md")):
        for indented, inline in _SHOWN.findall(_BLOCK.sub("", page.read_text())):
            command = re.split(r" [|&<>] ?| # |&&", indented or " ".join(inline.split()))[0].strip()
            if "..." not in command and not command.endswith("|"):
                found.append((str(page.relative_to(DOCS)), command))
    return sorted(set(found))


def parse(line: str) -> None:
    """Read a command as the command line does, and do nothing."""
    words = shlex.split(line)[1:]
    command: click.Command = cli
    context = click.Context(cli, info_name="lightbus")
    while isinstance(command, click.Group) and words:
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    command.make_parser(context).parse_args(list(words))


@pytest.mark.parametrize(("page", "line"), shown(), ids=lambda value: value)
def test_a_command_that_a_page_shows_exists(page: str, line: str) -> None:
    try:
        parse(line)
    except click.UsageError as e:
        pytest.fail(f"{page}: {line}: {e.message}")


def test_a_command_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(click.UsageError):
        parse("lightbus status --wtach")
    with pytest.raises(click.UsageError):
        parse("lightbus stauts")
