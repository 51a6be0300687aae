"""``lightbus check``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lightbus.checks import check
from lightbus.manifest import InvalidManifest, render
from lightbus.manifest.problems import Format, Problem
from lightbus.shutdown import EXIT_CONFIG

from .options import begin, manifest_options


@click.command("check", epilog="Example: lightbus check -c config --imports --connect")
@manifest_options
@click.option("--imports", is_flag=True, help="Import the modules and handlers, and see that they fit.")
@click.option("--connect", is_flag=True, help="Ask each Redis whether it has what is promised.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    help="Lines for people, JSON for programs, or annotations for GitHub.",
)
def command(imports: bool, connect: bool, form: Format, **options: Any) -> int:
    """Say everything that is wrong with the manifest, and where; exit status 78 if anything is.

    Without options nothing is imported, and nothing is connected to.
    """
    try:
        manifest = begin(options, "error", "text")
        problems = check(manifest, Path.cwd(), imports=imports, connect=connect)
    except InvalidManifest as e:
        problems = list(e.located)
    if problems or form == "json":
        print(render(problems, form))
    errors = sum(1 for problem in problems if problem.severity == "error")
    if form == "text":
        print(_summary(problems, errors))
    return EXIT_CONFIG if errors else 0


def _summary(problems: list[Problem], errors: int) -> str:
    if errors:
        return f"{errors} {'problem' if errors == 1 else 'problems'}"
    return f"no problems, {len(problems)} to note" if problems else "no problems"
