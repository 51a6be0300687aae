"""The way in: from paths, flags and environment to one :class:`~lightbus.manifest.model.Manifest`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from . import DEFAULT_FILE
from .making.build import build
from .making.notes import add_notes
from .making.overrides import from_environment, from_flags, from_settings
from .model import Manifest
from .problems import Place, Problems
from .text.merge import merge
from .text.nodes import Node, from_python
from .text.sources import Sources
from .text.variables import Variables


def load(
    paths: Sequence[str] = (),
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, str | Sequence[str] | None] | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    trust_remote: bool = False,
    create_arguments: Mapping[str, object] | None = None,
    look_around: bool = True,
    unfilled: bool = False,
) -> Manifest:
    """Read a manifest; nothing that it names is imported or connected to.

    Args:
        paths: Files, folders and http(s) URLs, later ones above earlier ones.
        overrides: ``KEY=VALUE`` each, as ``--set`` takes them.
        flags: Values of the flags that were given: ``modules``, ``service_name``, ``process_name``,
            ``log_level``, ``log_format``, ``features``, ``processes``, those of the console (``web_listen``
            and so on); and ``transport``, the one to use for everything.
        environ: The environment; by default that of the process.
        cwd: The folder in which relative paths start; by default the current one.
        trust_remote: Whether manifests from URLs may name code and local files.
        create_arguments: The arguments of ``lightbus.create()``, as a manifest; it lies beneath all else.
        look_around: Whether, where there are no paths, ``LIGHTBUS_CONFIG`` is read, else ``lightbus.yaml`` in
            the current folder where there is one.
        unfilled: Whether each ``${...}`` has its default or its key is left out, no file is read that
            ``${file:}`` names, and the environment sets no keys: for where neither variables nor secrets are.

    Returns:
        The manifest, with warnings and notes in ``notes``.

    Raises:
        InvalidManifest: It can't be used; ``located`` holds every problem.
    """
    environ = os.environ if environ is None else environ
    cwd = Path(os.path.abspath(cwd or "."))
    problems, flags = Problems(), flags or {}
    variables = Variables(environ, cwd, problems, trust_remote=trust_remote, unfilled=unfilled)
    sources = Sources(cwd, problems, variables, trust_remote)
    looks_around = look_around and not paths
    paths = _default_paths(environ, cwd) if looks_around else paths
    files = _below(sources, paths, _created(create_arguments or {}, problems))
    root = variables.expand(_with_all_above(files, {} if unfilled else environ, overrides, flags, problems))
    transport = str(flags["transport"]) if flags.get("transport") else None
    manifest = build(root, problems, trust_remote=trust_remote, transport=transport)
    problems.raise_errors()
    add_notes(manifest, files, root, environ, problems, looked_in=cwd if looks_around else None)
    notes = tuple(problems.ordered("warning", "note"))
    return replace(manifest, notes=notes, sources=tuple(name for name, _ in sources.layers()))


def _below(sources: Sources, paths: Sequence[str], root: Node) -> Node:
    """Return what the files say, above what ``root`` says."""
    for path in paths:
        sources.read(path)
    for _, layer in sources.layers():
        root = merge(root, layer) or root
    return root


def _with_all_above(
    files: Node,
    environ: Mapping[str, str],
    overrides: Sequence[str],
    flags: Mapping[str, str | Sequence[str] | None],
    problems: Problems,
) -> Node:
    root = merge(files, from_environment(environ, files, problems)) or files
    root = merge(root, from_settings(overrides, root, problems)) or root
    return merge(root, from_flags(flags)) or root


def _default_paths(environ: Mapping[str, str], cwd: Path) -> list[str]:
    named = environ.get("LIGHTBUS_CONFIG")
    if named:
        return [named]
    # A link that leads nowhere is told, not passed over.
    return [DEFAULT_FILE] if os.path.lexists(cwd / DEFAULT_FILE) else []


def _created(arguments: Mapping[str, object], problems: Problems) -> Node:
    place = Place("lightbus.create()", rank=-1)
    try:
        root = from_python(arguments, place)
    except ValueError as e:
        problems.add(place, "", str(e))
        return Node({}, place)
    if root.get("include"):
        problems.add(place, "include", "works in files only; give lightbus.create() the path of a file")
    return Node({k: n for k, n in root.items() if k != "include"}, place, place, literal=True)
