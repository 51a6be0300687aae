"""``lightbus plan``."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Literal

import click

from lightbus.bus.client import BusClient
from lightbus.bus.schema import BusSchema
from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, format_option, manifest_options
from lightbus.cli.wording import is_plain, line_width, paragraph
from lightbus.exceptions import ConfigurationError
from lightbus.host.checks import client_for, import_problems
from lightbus.host.logs import on_one_line
from lightbus.host.shutdown import EXIT_CONFIG, EXIT_FAILED
from lightbus.insight.drift.declared import declared_by
from lightbus.insight.drift.drift import Drift, View
from lightbus.insight.drift.live import look
from lightbus.insight.drift.plan import plan
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import Place, Problem, render
from lightbus.runtime.portal import run
from lightbus.values.wording import counted

Form = Literal["text", "json", "markdown", "github"]

#: Changes when a program that reads the JSON of before could no longer read it.
FORMAT_VERSION = 1
#: The exit status for changes that endanger nothing, where it is asked for.
EXIT_CHANGES = 2
#: The colours of what becomes of a subject.
_COLOURS = {"+": "green", "-": "red", "!": "red", "~": "yellow"}
_DANGER = "DANGER"
_INDENT = " " * 4


@dataclass(frozen=True, slots=True)
class _Plan:
    """A plan, with what could not be taken into account."""

    service: str
    drifts: Sequence[Drift]
    notes: Sequence[str]

    @property
    def dangers(self) -> int:
        return sum(1 for drift in self.drifts if drift.severity == "danger")


@click.command("plan", cls=Command, epilog="Example: lightbus plan -c config --format github")
@click.option("--no-imports", is_flag=True, help="Import no code: listeners and APIs in it are not compared.")
@format_option(
    *("text", "json", "markdown", "github"),
    help="Lines for people, JSON for programs, a table for a comment, or annotations for GitHub.",
)
@click.option(
    "--detailed-exitcode", is_flag=True, help="Exit with 2 where there are changes and nothing is in danger."
)
@manifest_options
def command(no_imports: bool, form: Form, detailed_exitcode: bool, **options: Any) -> int:
    """Say what a deployment of the manifest and its code changes on the bus, and what would be lost.

    Redis is only asked, and nothing is written to it. The exit status is 1 where events would be lost or
    others would break.
    """
    manifest = begin(options, "error", "text")
    client = client_for(manifest)
    try:
        problems = [] if no_imports else _imported(manifest, client)
        errors = [problem for problem in problems if problem.severity == "error"]
        if errors:
            print(render(errors, "github" if form == "github" else "text"), file=sys.stderr)
            return EXIT_CONFIG
        made = _made(manifest, client, no_imports)
    finally:
        client.parts.declarations.discard_background()
    _show(made, form)
    if made.dangers:
        return EXIT_FAILED
    return EXIT_CHANGES if made.drifts and detailed_exitcode else 0


def _imported(manifest: Manifest, client: BusClient) -> list[Problem]:
    # What the code prints is none of our output.
    with contextlib.redirect_stdout(sys.stderr):
        return import_problems(manifest, client, Path.cwd())


def _made(manifest: Manifest, client: BusClient, no_imports: bool) -> _Plan:
    if not client.service_name:
        raise ConfigurationError(
            "the manifest does not name the service: write service_name: NAME into it, or leave out "
            "--no-imports, so that the service is called after its first API"
        )
    declared = declared_by(manifest, client)
    sets_up = [] if no_imports else _setting_up(manifest, client)

    async def view() -> View:
        try:
            live = await look(client, declared)
        finally:
            await client.close_async()
        return View(
            manifest=manifest,
            declared=declared,
            contracts=None if no_imports else BusSchema(client.parts).own(),
            knows_code=not (no_imports or sets_up),
            live=live,
        )

    seen = run(view())
    return _Plan(declared.service, plan(seen), [*_notes(seen, no_imports, sets_up), *_pauses(seen)])


def _setting_up(manifest: Manifest, client: BusClient) -> list[str]:
    """Name the code that may declare more when a host starts."""
    modules = {str(name): sys.modules.get(name) for name in manifest.modules}
    found = [name for name, module in modules.items() if hasattr(module, "before_server_start")]
    return found or (["a callback of on_start"] if client.parts.hooks.before_worker_start else [])


def _notes(view: View, no_imports: bool, sets_up: Sequence[str]) -> Iterator[str]:
    """Say what the plan does not know."""
    if no_imports:
        yield "no code was imported: its APIs, contracts, listeners and schedules were not compared"
    unseen = [name for name, each in view.before.listeners.items() if each.in_code]
    unseen = [name for name in unseen if name not in view.declared.listeners]
    if sets_up and unseen:
        code = ", ".join(sets_up)
        yield f"listeners that {code} sets up at the start were not compared: {', '.join(unseen)}"
    if view.live.before is None and view.live.has_groups_of(view.service):
        yield (
            f"nobody has noted what {view.service} declared, as hosts of this version do at their start: "
            "only its groups, APIs and contracts were compared"
        )


def _pauses(view: View) -> Iterator[str]:
    """Say which listeners of the service take nothing, however it is deployed."""
    for name, pause in sorted(view.live.pauses.items()):
        if not pause.moved_to:
            group = f"{view.service}-{name}"
            yield (
                f"{group} is {pause.in_words()}, and stays so when processes start; it goes on with "
                f"lightbus resume {quote(group)}"
            )


def _show(made: _Plan, form: Form) -> None:
    if form == "json":
        print(json.dumps(_as_json(made), indent=2, ensure_ascii=False))
    elif form == "markdown":
        print("\n".join(_as_markdown(made)))
    elif form == "github":
        problems = [*map(_as_problem, made.drifts), *map(_as_note, made.notes)]
        if problems:
            print(render(problems, "github"))
    else:
        for line in _as_text(made, line_width()):
            click.echo(line, color=None if not is_plain() else False)


def _summary(made: _Plan) -> str:
    if not made.drifts:
        return f"{made.service}: nothing changes"
    danger = f"{made.dangers:,} of them dangerous" if made.dangers else "none of them dangerous"
    return f"{made.service}: {counted(len(made.drifts), 'change')}, {danger}"


# For people


def _as_text(made: _Plan, width: int | None) -> Iterator[str]:
    for drift in made.drifts:
        yield from _row(drift, width)
    if made.drifts and width is not None:
        yield ""
    for note in made.notes:
        yield from paragraph(f"note: {note}", width, rest=_INDENT)
    yield _summary(made)


def _row(drift: Drift, width: int | None) -> Iterator[str]:
    """Show a difference on a terminal in lines that fit it, for a program in one."""
    place = str(drift.place) if drift.place.source else ""
    danger = f"  {_DANGER}" if drift.severity == "danger" else ""
    told = f"{drift.sign} {on_one_line(f'{drift.subject}  {drift.sentence}')}{danger}"
    hint = on_one_line(drift.hint)
    if width is None:
        yield f"{place + '  ' if place else ''}{told}{f'  -> {hint}' if hint else ''}"
        return
    first, *more = paragraph(told, width, rest=_INDENT)
    # What it is about is in colour, in as far as it stands on the first line.
    end = min(len(first), len(f"{drift.sign} {on_one_line(drift.subject)}"))
    lines = [(click.style(first[:end], fg=_COLOURS[drift.sign]), first[end:]), *(("", line) for line in more)]
    for head, line in lines:
        start, found, rest = line.rpartition(_DANGER)
        is_mark = bool(danger) and bool(found) and not rest
        yield head + (start + click.style(found, fg="red", bold=True) if is_mark else line)
    if hint:
        yield from paragraph(hint, width, f"{_INDENT}-> ")
    if place:
        yield click.style(f"{_INDENT}{place}", dim=True)


# For programs


def _as_json(made: _Plan) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "service": made.service,
        "changes": len(made.drifts),
        "dangers": made.dangers,
        "drifts": [
            {
                "kind": drift.kind,
                "sign": drift.sign,
                "severity": drift.severity,
                "subject": drift.subject,
                "change": drift.change,
                "consequence": drift.consequence,
                "hint": drift.hint,
                "path": drift.path,
                "source": drift.place.source,
                "line": drift.place.line,
                "column": drift.place.column,
            }
            for drift in made.drifts
        ],
        "notes": list(made.notes),
    }


def _as_problem(drift: Drift) -> Problem:
    hint = f" -> {drift.hint}" if drift.hint else ""
    what = f"{drift.sign} {drift.subject} {drift.sentence}{hint}"
    return Problem(drift.place, "", what, "error" if drift.severity == "danger" else "warning")


def _as_note(note: str) -> Problem:
    return Problem(Place(""), "", note, "note")


def _as_markdown(made: _Plan) -> Iterator[str]:
    yield f"**lightbus plan** for {_cell(_summary(made))}"
    if made.drifts:
        yield from ("", "| | what | change | where |", "| --- | --- | --- | --- |")
    for drift in made.drifts:
        mark = f"**{_DANGER}** " if drift.severity == "danger" else ""
        hint = f"<br>→ {_cell(drift.hint)}" if drift.hint else ""
        place = _cell(str(drift.place)) if drift.place.source else ""
        cells = (f"`{drift.sign}`", _cell(drift.subject), f"{mark}{_cell(drift.sentence)}{hint}", place)
        yield f"| {' | '.join(cells)} |"
    for note in made.notes:
        yield from ("", f"*{_cell(note)}*")


def _cell(text: str) -> str:
    """Return text as it stands in a cell: nothing in it means anything to Markdown or HTML."""
    line = on_one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "\\|*_`[]" else letter for letter in line)
