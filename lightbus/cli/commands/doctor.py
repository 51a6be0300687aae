"""``lightbus doctor``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from lightbus.cli.diagnosis import Check, diagnose, exit_status
from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, format_option, manifest_options
from lightbus.cli.wording import is_plain, line_width, paragraph
from lightbus.host.logs import on_one_line
from lightbus.manifest.problems import Problem
from lightbus.values.wording import counted

#: Of each state: the mark, one for output that takes no other letters, and the colour.
_MARKS = {
    "ok": ("✓", "+", "green"),
    "note": ("·", ".", "cyan"),
    "warning": ("!", "!", "yellow"),
    "error": ("✗", "x", "red"),
    "skipped": ("-", "-", "bright_black"),
}


@click.command("doctor", cls=Command, epilog="Example: lightbus doctor")
@format_option("text", "json", help="Lines for people, or one object for programs.")
@manifest_options
def command(form: Literal["text", "json"], **options: Any) -> int:
    """Look at everything at once: the manifest, the code, each Redis, groups, clocks and versions.

    Says what to do about each thing that is found. Redis is only asked, and nothing is written to it. The
    exit status is 78 for a wrong configuration, 69 where a Redis is away, and 1 where data is in danger.
    """
    checks = diagnose(lambda: begin(options, "error", "text"), Path.cwd())
    status = exit_status(checks)
    if form == "json":
        shown = {"exit_status": status, "checks": [_fields(check) for check in checks]}
        print(json.dumps(shown, indent=2, ensure_ascii=False))
        return status
    for line in _lines(checks, line_width()):
        click.echo(line, color=None if not is_plain() else False)
    print(_summary(checks, status))
    return status


def _lines(checks: Sequence[Check], width: int | None) -> Iterator[str]:
    for check in checks:
        head = f"{_mark(check.state)} {check.state:8} {check.name:12} "
        first, *more = paragraph(on_one_line(check.summary), width, head)
        yield click.style(first[: len(head)], fg=_MARKS[check.state][2]) + first[len(head) :]
        yield from more
        for problem in check.problems:
            told, then = _parts(problem)
            start = f"    {_mark(problem.severity)} {problem.severity}: "
            first, *more = paragraph(on_one_line(told), width, start, " " * 6)
            yield click.style(first[: len(start)], fg=_MARKS[problem.severity][2]) + first[len(start) :]
            yield from more
            if then:
                yield from paragraph(on_one_line(then), width, "      -> ", " " * 9)


def _parts(problem: Problem) -> tuple[str, str]:
    """Return what is wrong, with its place, and what to do next."""
    what, semicolon, then = problem.what.rpartition("; ")
    if problem.severity == "note":
        what, then = problem.what, ""  # It is only good to know.
    elif not semicolon:
        what, then = problem.what, "put that right, then run lightbus doctor again"
    path = f"{problem.path}: " if problem.path else ""
    place = f"{problem.place}  " if problem.place.source else ""
    return f"{place}{path}{what}", then


def _mark(state: str) -> str:
    mark, plain, _ = _MARKS[state]
    try:
        mark.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return plain
    return mark


def _summary(checks: Sequence[Check], status: int) -> str:
    found = [problem.severity for check in checks for problem in check.problems]
    counts = [counted(found.count(severity), severity) for severity in ("error", "warning", "note")]
    return f"\n{', '.join(counts)}; exit status {status}"


def _fields(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "state": check.state,
        "summary": check.summary,
        "findings": [
            {
                "severity": problem.severity,
                "topic": problem.topic,
                "source": problem.place.source,
                "line": problem.place.line,
                "column": problem.place.column,
                "path": problem.path,
                "message": problem.what,
                "next": _parts(problem)[1],
            }
            for problem in check.problems
        ],
    }
