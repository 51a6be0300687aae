"""Layers above the files: flags, ``--set`` and the environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lightbus.exceptions import ConfigurationError
from lightbus.manifest.keys.forms import ROOT, Block, Form, Leaves, Named, Nothing, OneOf, Plugins, keys_of
from lightbus.manifest.keys.scalars import Leaf
from lightbus.manifest.problems import Place, Problems, shown
from lightbus.manifest.text.merge import merge
from lightbus.manifest.text.nodes import Node, Untyped

_PREFIX = "LIGHTBUS__"
#: Variables with names of their own, and what they set.
SHORT = {
    "LIGHTBUS_MODULE": "modules",
    "LIGHTBUS_SERVICE_NAME": "service_name",
    "LIGHTBUS_PROCESS_NAME": "process_name",
    "LIGHTBUS_FEATURES": "features",
}
#: Flags of the command line, by the name under which :func:`load` takes them.
FLAGS = {
    "modules": ("--bus", "modules"),
    "service_name": ("--service-name", "service_name"),
    "process_name": ("--process-name", "process_name"),
    "log_level": ("--log-level", "bus.log_level"),
    "log_format": ("--log-format", "bus.log_format"),
    "features": ("--only/--skip", "features"),
    "processes": ("--processes", "processes"),
    "web_listen": ("--listen", "web.listen"),
    "web_hosts": ("--host", "web.hosts"),
    "web_auth": ("--auth", "web.auth"),
    "web_token_file": ("--token-file", "web.token_file"),
    "web_user_header": ("--user-header", "web.user_header"),
    "web_role_header": ("--role-header", "web.role_header"),
    "web_trusted_proxies": ("--trusted-proxy", "web.trusted_proxies"),
    "web_allow": ("--allow", "web.allow"),
    "web_root_path": ("--root-path", "web.root_path"),
}
_RANK = 1_000_000
_LONGEST_NAME = 30


def from_environment(environ: Mapping[str, str], below: Node, problems: Problems) -> Node | None:
    """Return the layer that the environment makes.

    ``LIGHTBUS__BUS__LOG_LEVEL`` sets ``bus.log_level``: two underscores part keys. Names are found whatever
    their case, with ``_`` for ``-``; the words of a dotted API name are parted like keys, so that
    ``LIGHTBUS__APIS__SUPPORT__CASE__OWNER`` sets ``apis.support.case.owner``. A name that is not in the
    manifest is taken in lower case.

    Args:
        environ: The environment.
        below: The layers beneath, for the names in them.
        problems: Takes variables that set nothing.
    """
    layer: Node | None = None
    for variable in sorted(environ):
        if variable.upper().startswith(_PREFIX):
            place = Place(f"environment {shown(variable)}", rank=_RANK)
            parts = [part.lower() for part in variable[len(_PREFIX) :].split("__")]
            layer = merge(layer, _one(parts, environ[variable], below, place, problems, fold=True))
    for variable, path in SHORT.items():
        if environ.get(variable):
            place = Place(f"environment {variable}", rank=_RANK)
            layer = merge(layer, _nest(path.split("."), environ[variable], place))
    return layer


def from_settings(settings: Sequence[str], below: Node, problems: Problems) -> Node | None:
    """Return the layer that ``--set KEY=VALUE`` makes, later ones above earlier ones."""
    layer: Node | None = None
    for number, setting in enumerate(settings):
        path, equals, value = setting.partition("=")
        place = Place(f"--set {shown(path)}", rank=_RANK + 1 + number)
        if not equals or not path:
            problems.add(Place("--set", rank=_RANK + 1 + number), "", "must be KEY=VALUE")
        else:
            layer = merge(layer, _one(path.strip().split("."), value, below, place, problems, fold=False))
    return layer


def from_flags(flags: Mapping[str, str | Sequence[str] | None]) -> Node | None:
    """Return the layer that flags with names of their own make."""
    layer: Node | None = None
    for name, (flag, path) in FLAGS.items():
        value = flags.get(name)
        if value is not None:
            text = value if isinstance(value, str) else ",".join(value)
            layer = merge(layer, _nest(path.split("."), text, Place(flag, rank=2 * _RANK)))
    return layer


def _one(
    parts: list[str], value: str, below: Node, place: Place, problems: Problems, *, fold: bool
) -> Node | None:
    readings = list(_readings(parts, ROOT, below, fold))
    whole = [r for r in readings if r.unknown is None]
    if whole:
        return _nest(max(whole, key=lambda r: r.known).path, value, place)
    best = max(readings, key=lambda r: (len(r.path), r.known))
    path = shown(".".join(best.path))
    if best.unknown:
        advice = problems.suggest(best.unknown, best.instead)
        problems.add(place, path, f"unknown key {shown(best.unknown)!r}{advice}")
    else:
        problems.add(place, path, f"is a map; set one of its keys: {', '.join(best.instead)}")
    return None


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to part a path into keys.

    Args:
        path: The keys.
        known: How many of them are known, names that are in the manifest counting most.
        unknown: The first that is not known; None if the whole path is a key that takes a value.
        instead: The keys that may be there.
    """

    path: tuple[str, ...] = ()
    known: int = 0
    unknown: str | None = None
    instead: tuple[str, ...] = ()

    def under(self, name: str, weight: int) -> _Reading:
        return replace(self, path=(name, *self.path), known=self.known + weight)


def _readings(parts: list[str], form: Form, below: Node | None, fold: bool) -> Iterator[_Reading]:
    if isinstance(form, Leaf | Leaves) or (isinstance(form, Block) and form.toggle and not parts):
        yield _Reading(unknown=".".join(parts) or None)
    elif isinstance(form, Named):
        yield from _names(parts, form, below, fold)
    else:
        name = parts[0] if parts else ""
        known, child = _child(form, name)
        if child is None:
            yield _Reading(unknown=name, instead=known)
        else:
            rest = _readings(parts[1:], child, below.get(name) if below else None, fold)
            yield from (r.under(name, 1) for r in rest)


def _names(parts: list[str], form: Named, below: Node | None, fold: bool) -> Iterator[_Reading]:
    if not parts:
        yield _Reading(unknown="", instead=("NAME",))
    for end in range(1, min(len(parts), _LONGEST_NAME) + 1):
        # Known names win, the longest first; of unknown names the shortest that leaves known keys.
        name, known = _name(".".join(parts[:end]), below, fold)
        rest = _readings(parts[end:], form.value, below.get(name) if below else None, fold)
        yield from (r.under(name, 100 * end if known else -end) for r in rest)


def _child(form: Block | OneOf | Plugins, name: str) -> tuple[tuple[str, ...], Form | None]:
    """Return the keys that may be there, and the form of the one that is."""
    if isinstance(form, Block):
        keys = keys_of(form.cls)
        return tuple(keys), keys[name].form if name in keys and name != "include" else None
    names = form.names()
    try:
        return names, Block(form.options(name) or Nothing) if name in names else None
    except ConfigurationError:
        return names, None


def _name(name: str, below: Node | None, fold: bool) -> tuple[str, bool]:
    if below is None or not isinstance(below.value, dict):
        return name, False
    if name in below.value:
        return name, True
    if fold:
        for known in below.value:
            if known.lower().replace("-", "_") == name.replace("-", "_"):
                return known, True
    return name, False


def _nest(path: Sequence[str], value: str, place: Place) -> Node:
    node = Node(Untyped(value), place, place, literal=True)
    for key in reversed(path):
        node = Node({key: node}, place, place, literal=True)
    return node
