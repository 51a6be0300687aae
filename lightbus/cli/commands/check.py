"""``lightbus check``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, format_option, manifest_options
from lightbus.cli.wording import line_width, paragraph
from lightbus.host.banner import listed
from lightbus.host.checks import check
from lightbus.host.shutdown import EXIT_CONFIG
from lightbus.manifest import DEFAULT_FILE
from lightbus.manifest.problems import Format, InvalidManifest, Problem, render
from lightbus.values.wording import counted


@click.command("check", cls=Command, epilog="Example: lightbus check -c config --imports --connect")
@manifest_options
@click.option("--imports", is_flag=True, help="Import the modules and handlers, and see that they fit.")
@click.option("--connect", is_flag=True, help="Ask each Redis whether it has what is promised.")
@format_option(
    "text", "json", "github", help="Lines for people, JSON for programs, or annotations for GitHub."
)
def command(imports: bool, connect: bool, form: Format, **options: Any) -> int:
    """Say everything that is wrong with the manifest, and where; exit status 78 if anything is.

    Without options nothing is imported, and nothing is connected to.
    """
    manifest = None
    try:
        manifest = begin(options, "error", "text")
        problems = check(manifest, Path.cwd(), imports=imports, connect=connect)
    except InvalidManifest as e:
        problems = list(e.located)
    if problems or form == "json":
        width = line_width() if form == "text" else None
        for line in render(problems, form).splitlines():
            # On a terminal, a long sentence is broken between its words.
            print("\n".join(paragraph(line, width, rest="    ")))
    if form == "text":
        print(_summary(problems, imports, connect, manifest.sources if manifest is not None else None))
    return EXIT_CONFIG if any(problem.severity == "error" for problem in problems) else 0


def _summary(problems: list[Problem], imports: bool, connect: bool, sources: Sequence[str] | None) -> str:
    """Say how many problems there are, in what, and what was not looked at.

    Args:
        problems: The problems that were found.
        imports: Whether code was imported.
        connect: Whether brokers were asked.
        sources: The files and URLs that make the manifest; None if it can't be read.
    """
    errors = sum(1 for problem in problems if problem.severity == "error")
    count = counted(errors, "problem") if errors else "no problems"
    if sources is None:
        return count
    to_note = f", {len(problems) - errors} to note" if len(problems) > errors else ""
    if sources:
        found = f"{count} in {listed(sources)}{to_note}"
    else:
        nowhere = f"there is no manifest here: no {DEFAULT_FILE}, no -c"
        found = f"{count}{to_note}{';' if errors else ', but'} {nowhere}"
    unseen = ["handlers were not imported (--imports)"] if not imports else []
    unseen += ["Redis was not asked (--connect)"] if not connect else []
    return found + (f"; {', '.join(unseen)}" if unseen else "")
