"""What was measured, as tables for a terminal and as a page with its plots for a repository."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.growth.series import GROWTH
from benchmarks.plots import bars, curves
from benchmarks.rows import BEST, FLOOR, OURS, TARGETS, Rounds, Row, Target, middle, ratio

RESULTS = Path(__file__).parent / "results"
#: What a plot is drawn of, where more than one program was measured in it.
PLOTTED = ("rpc_50", "rpc_p50_ms", "fire", "fire_50", "consume", "latency_p50_ms")

Lines = list[list[str]]


def number(value: float | None, row: Row) -> str:
    """As people read it, with the unit where the title has none."""
    if value is None:
        return "-"
    if row.is_rate:
        return f"{value:,.0f} /s"
    if not row.unit:
        return f"{value:,.0f}"
    return f"{value:,.2f} {row.unit}" if value < 100 else f"{value:,.0f} {row.unit}"


def table(rows: Sequence[Row], rounds: Rounds) -> Lines:
    """A line of headings, then one of each row that some program was measured in."""
    names = list(rounds)
    compared = (OURS, FLOOR) if {OURS, FLOOR} <= rounds.keys() else None
    lines = [["", *names, *([" / ".join(compared)] if compared else [])]]
    for row in rows:
        figures = [middle(rounds[name], row.figure) for name in names]
        if not any(figure is not None for figure in figures):
            continue
        line = [row.title, *(number(figure, row) for figure in figures)]
        if compared:
            outcome = ratio(row, rounds, compared)
            line.append("-" if outcome is None else f"{outcome:.2f}")
        lines.append(line)
    return lines


def against(rows: Sequence[Row], rounds: Rounds) -> Lines:
    """A line of headings, then one of each row: this bus as a multiple of each other program."""
    names = [name for name in rounds if name != OURS]
    lines = [["", *(f"{OURS} / {name}" for name in names)]]
    for row in rows:
        outcomes = [ratio(row, rounds, (OURS, name)) for name in names]
        if any(outcome is not None for outcome in outcomes):
            lines.append([row.title, *("-" if each is None else f"{each:.2f}" for each in outcomes)])
    return lines


def growth(rounds: Rounds) -> Lines:
    """A line of headings, then one of each number that was measured of each series."""
    lines = [["", "measured", "to the smallest"]]
    for series in GROWTH:
        ratios = series.ratios(rounds, OURS)
        for count, figure in series.measured(rounds, OURS).items():
            row = series.row(count)
            lines.append([row.title, number(figure, row), f"{ratios[count]:.2f}" if count in ratios else "-"])
    return lines


def growth_plots(rounds: Rounds) -> dict[str, str]:
    """The curves of growth, each by its title."""
    drawn = {series.curve: series.ratios(rounds, OURS) for series in GROWTH if series.is_drawn}
    known = {name: points for name, points in drawn.items() if len(points) > 1}
    title = "the cost of one, as a multiple of the first (flat is best)"
    return {title: curves(title, known, "N")} if known else {}


def targets(rows: Sequence[Row], rounds: Rounds) -> Lines:
    """Which targets are met, of those that could be looked at."""
    titles = {row.figure: row for row in rows}
    lines = [["", "target", "measured", ""]]
    for target in TARGETS:
        outcome, row = target.outcome(rounds), titles.get(target.figure)
        if outcome is not None and row is not None:  # What a table does not show, another one tells.
            met = "met" if target.is_met(outcome) else "MISSED"
            lines.append([row.title, aim(target, titles), _measured(outcome, target, row), met])
    return lines


def aim(target: Target, titles: dict[str, Row]) -> str:
    """A target in words."""
    if not target.against:
        return f"{target.relation} {target.factor:g} {titles[target.figure].unit}"
    against = {FLOOR: "the floor", BEST: "the best peer", OURS: ""}.get(target.against, target.against)
    if target.base:
        against = f"{against}'s {titles[target.base].title}" if against else titles[target.base].title
    return f"{target.relation} {target.factor:g} x {against}"


def _measured(outcome: float, target: Target, row: Row) -> str:
    return f"{outcome:.2f} x" if target.against else number(outcome, row)


def markdown(lines: Lines) -> str:
    """A table of a page."""
    if len(lines) < 2:
        return ""
    rule = ["---", *["---:"] * (len(lines[0]) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (lines[0], rule, *lines[1:]))


def machine(server: str) -> str:
    """Where it was measured, in words that name nobody's machine."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            model = f"{platform.machine()}, {line.partition(':')[2].strip()}"
            break
    names = ("lightbus", "redis", "hiredis", "uvloop", "msgspec")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return (
        f"{datetime.now(UTC):%-d %B %Y}; {os.cpu_count()} processors ({model}), {platform.system()}; "
        f"{python}; {server} on the loopback; {packages}."
    )


def write(
    name: str,
    title: str,
    rows: Sequence[Row],
    rounds: Rounds,
    *,
    where: str,
    notes: Sequence[str] = (),
    folder: Path = RESULTS,
    tables: Sequence[Lines] = (),
    drawings: Mapping[str, str] | None = None,
) -> Path:
    """Write a page, its plots and all figures of all rounds.

    Args:
        name: Of the files.
        title: Of the page.
        rows: What to show.
        rounds: What was measured.
        where: On what.
        notes: What readers should know, one sentence or two each.
        folder: Where the files go.
        tables: What to show in place of the table of all rows.
        drawings: Further plots, by their titles.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = max(len(each) for each in rounds.values())
    text = [f"# {title}\n", f"Medians of {count} rounds. {where}\n"]
    text += map(markdown, tables or [table(rows, rounds)])
    text += [f"- {note}" for note in notes] + ([""] if notes else [])
    if len(lines := targets(rows, rounds)) > 1:
        text += ["## Targets\n", markdown(lines)]
    plots = []
    for row in rows:
        known = {program: middle(each, row.figure) for program, each in rounds.items()}
        drawn = {program: figure for program, figure in known.items() if figure is not None}
        if row.figure in PLOTTED and len(drawn) > 1:
            file = folder / f"{name}-{row.figure.replace('_', '-')}.svg"
            labels = {program: number(figure, row) for program, figure in drawn.items()}
            hint = "more is better" if row.is_rate else "less is better"
            file.write_text(bars(f"{row.title} ({hint})", drawn, labels, highlighted=OURS))
            plots.append(f"![{row.title}]({file.name})\n")
    for place, (heading, drawing) in enumerate((drawings or {}).items()):
        file = folder / f"{name}{place or ''}.svg"
        file.write_text(drawing)
        plots.append(f"![{heading}]({file.name})\n")
    if plots:
        text += ["## Plots\n", *plots]
    (folder / f"{name}.json").write_text(json.dumps({"where": where, "rounds": rounds}, indent=1) + "\n")
    page = folder / f"{name}.md"
    page.write_text("\n".join(text).rstrip() + "\n")
    return page
