"""``lightbus graph``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, complete_files, format_option, manifest_options
from lightbus.cli.project import project_bus
from lightbus.declared.names import listed
from lightbus.host.checks import client_for
from lightbus.insight.graph.calls import unknown_calls
from lightbus.insight.graph.declared import declared_by, declared_by_all
from lightbus.insight.graph.drawings.data import data
from lightbus.insight.graph.drawings.dot import dot
from lightbus.insight.graph.drawings.mermaid import mermaid
from lightbus.insight.graph.drawings.picture import picture_of
from lightbus.insight.graph.drawings.svg import svg
from lightbus.insight.graph.live import look_at
from lightbus.insight.graph.model import Graph, Side, together
from lightbus.manifest.load import load
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import render
from lightbus.runtime.portal import run
from lightbus.values.wording import counted


@click.command(
    "graph", cls=Command, epilog="Example: lightbus graph web.yaml shop.yaml --format svg --out bus.svg"
)
@click.argument("manifests", nargs=-1, metavar="[MANIFEST]...", shell_complete=complete_files)
@click.option("--live", is_flag=True, help="Add what the bus shows now: who is there, and what was called.")
@click.option(
    "--diff",
    is_flag=True,
    help="Tell what is declared from what is on the bus, with exit status 1 if that differs. Implies --live.",
)
@click.option("--lag", is_flag=True, help="Say how many events wait for each listener. Implies --live.")
@click.option(
    "--focus", metavar="NAME", default="", help="Only this service, API or listener, and what is next to it."
)
@format_option("mermaid", "dot", "svg", "json", help="How it is drawn.")
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write it; left out, it is printed.",
)
@manifest_options
def command(
    manifests: tuple[str, ...],
    live: bool,
    diff: bool,
    lag: bool,
    focus: str,
    form: str,
    out: Path | None,
    **options: Any,
) -> int:
    """Draw which service owns, calls and listens to which API.

    It is that of the manifests that are named, which are only read; or else of this project, with what its
    bus modules define. Calls are those in the key calls, and with --live those of the last hour.
    """
    options["config"] = options["config"] or (manifests[:1] if live or diff or lag else ())
    manifest = begin(options) if not manifests or live or diff or lag else None
    if manifest is None or manifests:
        files = _files(manifests, trust_remote=options["trust_remote"])
        declared = declared_by_all(files)
    else:
        files, declared = [manifest], _of_project(manifest)
    seen = _look(manifest, lag=lag) if manifest is not None and (live or diff or lag) else None
    _tell_unknown_calls(files, declared, seen)
    graph = Graph(declared, seen, diff)
    if focus and focus not in graph.names():
        raise click.UsageError(
            f"there is nothing named {focus!r} to focus on; there is: {listed(focus, graph.names())}"
        )
    graph = Graph(declared, seen, diff, focus)
    _write(_drawn(graph, form), out)
    differences = graph.differences() if diff else []
    for difference in differences:
        print(difference, file=sys.stderr)
    if diff:
        print(counted(len(differences), "difference"), file=sys.stderr)
    return 1 if differences else 0


def _files(paths: tuple[str, ...], *, trust_remote: bool) -> list[Manifest]:
    """Read manifests of any place, whose variables and secrets are not here."""
    return [load([path], unfilled=True, trust_remote=trust_remote) for path in paths]


def _tell_unknown_calls(manifests: Sequence[Manifest], declared: Side, seen: Side | None) -> None:
    """Warn of declared calls that nobody has; a manifest alone knows only slips, and not all others."""
    known = together(filter(None, [declared, seen])).known()
    is_all = len(manifests) > 1 or seen is not None
    found = [each for manifest in manifests for each in unknown_calls(manifest, known, is_all=is_all)]
    if found:
        print(render(found), file=sys.stderr)


def _of_project(manifest: Manifest) -> Side:
    bus = project_bus(manifest, may_lack_modules=True)
    try:
        return declared_by(manifest, bus.client)
    finally:
        bus.client.close()


def _look(manifest: Manifest, *, lag: bool) -> Side:
    client = client_for(manifest)
    try:
        return run(look_at(client, lag=lag))
    finally:
        client.close()


def _drawn(graph: Graph, form: str) -> str:
    if form == "json":
        return json.dumps(data(graph), indent=2, ensure_ascii=False) + "\n"
    picture = picture_of(graph)
    if form == "svg":
        return svg(picture, compares=graph.compares)
    return dot(picture) if form == "dot" else mermaid(picture)


def _write(text: str, out: Path | None) -> None:
    if out is None:
        print(text, end="")
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, "utf-8")
        print(f"wrote {out}")
