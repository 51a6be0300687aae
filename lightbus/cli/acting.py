"""What commands share that act on the bus: the bus itself, who acts, and the question whether it is meant."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from shlex import quote
from typing import TypeVar

import click

from lightbus.bus.client import BusClient
from lightbus.cli.wording import complain, line_width, paragraph
from lightbus.exceptions import InvalidParameters, TransportError
from lightbus.host.checks import client_for
from lightbus.host.logs import on_one_line
from lightbus.insight.audit import Actor
from lightbus.insight.cards import Heeded, paused_groups
from lightbus.insight.control.pauses import not_heeded, seconds_until
from lightbus.manifest.model import Manifest
from lightbus.runtime.portal import run

T = TypeVar("T")

#: Added to a question.
_YES_OR_NO = " [y/N]: "


def on_the_bus(manifest: Manifest, act: Callable[[BusClient, list[str]], Awaitable[T]]) -> T:
    """Do something with the bus of a manifest, and close it again.

    Args:
        manifest: The manifest.
        act: Gets the bus, and the APIs whose brokers are asked.
    """

    async def use() -> T:
        client = client_for(manifest)
        try:
            return await act(client, manifest.all_apis)
        finally:
            await client.close_async()

    return run(use())


#: Of commands that change something on the bus.
because_option = click.option("--because", metavar="TEXT", default="", help="Why; lightbus audit shows it.")


def _seconds(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else seconds_until(value)
    except InvalidParameters as e:
        raise click.BadParameter(str(e)) from None


#: Of commands that pause something; in seconds from now.
until_option = click.option(
    "--until",
    metavar="TIME",
    callback=_seconds,
    help="When it goes on by itself: 2h for two hours from now, or 2026-01-31T12:00:00Z; left out, never.",
)


def tell_pause(
    name: str, ends: float | None, heeded: Heeded, *, nobody: str, late: str, more: Iterable[str] = ()
) -> None:
    """Say what was paused, and what its processes make of that.

    Args:
        name: Its name.
        ends: When the pause ends by itself, as a Unix time; None if it does not.
        heeded: What they make of it.
        nobody: Said where there is none.
        late: What those do that have not heeded it in time.
        more: What else there is to say.

    Raises:
        ClickException: Some have not heeded it in time.
    """
    until = "" if ends is None else datetime.fromtimestamp(ends).astimezone().isoformat(timespec="seconds")
    print(f"paused: {on_one_line(name)}{f' until {until}' if until else ''}")
    if heeded.concerns_nobody:
        complain(nobody)
    for each in more:
        complain(on_one_line(each))
    if heeded.not_by:
        raise click.ClickException(on_one_line(not_heeded(heeded, late)))


def tell_resume(name: str, heeded: Heeded, *, nobody: str, late: str) -> None:
    """Say what goes on, and what its processes make of that; as :func:`tell_pause`, but without an error."""
    print(f"resumed: {on_one_line(name)}")
    if heeded.concerns_nobody:
        complain(nobody)
    if heeded.not_by:
        complain(on_one_line(not_heeded(heeded, late)))


def actor(because: str) -> Actor:
    """Return who gives the command, for the audit; an act that can't be noted is done, and that is told.

    Args:
        because: Why, in their words.
    """
    # As sshd has it: the address, and two ports.
    address = next(iter(os.environ.get("SSH_CLIENT", "").split()), "")
    return Actor(user=who(), role="cli", origin="cli", address=address, reason=because, tell=_tell)


async def tell_paused(client: BusClient, names: Iterable[str]) -> None:
    """Say which of some groups belong to listeners that are paused, so that what waits there stays."""
    try:
        paused = await paused_groups(client, names)
    except TransportError as e:
        _tell(str(e))
        return
    for group, pause in sorted(paused.items()):
        _tell(f"{group} is {pause.in_words()}; it takes nothing until lightbus resume {quote(group)}")


def who() -> str:
    """Return who gives the command, as ``user@host``; behind sudo, whoever has called that."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # no such user, as in some containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _tell(sentence: str) -> None:
    complain(on_one_line(sentence))


def need_terminal(why: str = "", instead: str = "add --yes, or look first with --dry-run") -> None:
    """See that there is somebody to ask.

    Args:
        why: Begins the error, such as "this deletes all, and ".
        instead: What to do without one.

    Raises:
        UsageError: There is no terminal.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(f"{why}there is no terminal to ask whether it is meant; {instead}")


def confirm(question: str, refused: str) -> None:
    """Ask whether it is meant.

    Raises:
        ClickException: It is not; says ``refused``.
    """
    width = line_width(sys.stderr)
    lines = paragraph(question, width and width - len(_YES_OR_NO))
    if not click.confirm("\n".join(lines), err=True):
        raise click.ClickException(refused)
