"""Notes on keys that mean something else than in Lightbus 1.x: told, but no errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from lightbus.manifest import OVERLOOKED
from lightbus.manifest.keys.entries import Entry
from lightbus.manifest.keys.forms import Block
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import Place, Problems, shown
from lightbus.manifest.text.nodes import Node
from lightbus.transports.redis.options import RedisEventOptions

from .overrides import SHORT

#: Variables with names of their own; the last one is for the processes of a supervisor.
VARIABLES = (*SHORT, "LIGHTBUS_CONFIG", "LIGHTBUS_CHILD")
#: The variables that Kubernetes sets in every container if a Service is called lightbus.
_OF_KUBERNETES = re.compile(r"LIGHTBUS_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\w+)?)")
#: Keys whose meaning is no longer that of Lightbus 1.x, below ``apis.*``.
CHANGED = {
    "event_transport.redis.max_stream_length": (
        "Lightbus 1.x dropped the oldest events beyond it; now events that a consumer group has not "
        "acknowledged are kept, and firing waits"
    ),
    "event_transport.redis.batch_size": (
        "is a limit now: no more is fetched than there are free slots, or takes a tenth of a second"
    ),
    "rpc_transport.redis.batch_size": "is a limit now: never more is fetched than there are free slots",
    "event_transport.redis.acknowledgement_timeout": (
        "is renewed while a handler runs now, so it need not be longer than the slowest handler"
    ),
}
_CONNECTIONS = "has no effect: a process opens one connection to a Redis, and one for each API and listener"
#: Keys of Lightbus 1.x that there is nothing for here to do with.
WITHOUT_EFFECT = {
    **{
        f"{place}redis.connection_parameters.maxsize": _CONNECTIONS
        for place in ("", "rpc_transport.", "result_transport.", "event_transport.")
    },
    "result_transport.redis.rpc_timeout": "has no effect: the rpc_timeout of the API counts",
}
_OF_BUS = (
    "bus.redis.connection_parameters.maxsize",
    "bus.schema.transport.redis.connection_parameters.maxsize",
)


def add_notes(
    manifest: Manifest,
    files: Node,
    root: Node,
    environ: Mapping[str, str],
    problems: Problems,
    *,
    looked_in: Path | None = None,
) -> None:
    """Tell about keys whose meaning changed, and about what has a name that looks like one of Lightbus.

    Args:
        manifest: What was read, without an error.
        files: The content of the files.
        root: The files with everything above them.
        environ: The environment.
        problems: Takes the notes.
        looked_in: The folder in which a manifest was looked for; None if one was named.
    """
    for path in _OF_BUS:
        node = root.find(path)
        if node is not None and node.value is not None:
            problems.add(node.where, path, _CONNECTIONS, "note")
    apis = root.get("apis")
    default = apis.get("default") if apis else None
    for name, api in apis.items() if apis else ():
        for path, what in (CHANGED | WITHOUT_EFFECT).items():
            node = api.find(path)
            if node is not None and (node.value is not None or path in CHANGED):
                problems.add(node.where, f"apis.{name}.{path}", what, "note")
        for other, node in _other_results(api, default):
            what = "has no effect: answers travel by the transport of calls, which is another one"
            problems.add(node.where, f"apis.{name}.result_transport.{other}", what, "note")
    if apis and default and default.value and sum(1 for _ in apis.items()) > 1:
        what = (
            "lies beneath the APIs that are listed, too; in Lightbus 1.x it held only for those that are not"
        )
        problems.add(default.where, "apis.default", what, "note")
    for variable in ("LIGHTBUS_SERVICE_NAME", "LIGHTBUS_PROCESS_NAME"):
        written = files.get(SHORT[variable])
        if environ.get(variable) and written is not None and written.value is not None:
            what = f"wins over the one at {written.place}; in Lightbus 1.x the file won"
            problems.add(Place(f"environment {variable}"), SHORT[variable], what, "note")
    _add_unknown_variables(environ, problems)
    _add_broken_promises(manifest, problems)
    if looked_in is not None:
        _add_overlooked(looked_in, problems)


def _add_broken_promises(manifest: Manifest, problems: Problems) -> None:
    """Tell where firing gives up before it can be known whether replicas have an event."""
    for name, record in {"default": manifest.default_api, **manifest.apis}.items():
        options, most = record.event_transport.options, record.event_fire_timeout
        if not isinstance(options, RedisEventOptions) or not options.replicas_before_confirmed:
            continue
        if options.replicas_timeout >= most:
            path = f"apis.{name}.event_transport.redis"
            keys = (f"{path}.replicas_timeout", f"apis.{name}.event_fire_timeout")
            at = next(
                (key for key in (*keys, f"{path}.replicas_before_confirmed") if manifest.origin(key)), path
            )
            what = (
                f"firing gives up before it is known how many replicas have the event: replicas_timeout is "
                f"{options.replicas_timeout:g} s, event_fire_timeout {most:g} s; make the former shorter"
            )
            problems.add(manifest.origin(at) or Place(""), at, what, "warning")


def _add_overlooked(folder: Path, problems: Problems) -> None:
    """Tell about files in the working folder that look like its manifest, where none is named."""
    for name in OVERLOOKED:
        if (folder / name).is_file():
            what = f"is not read, only lightbus.yaml is; rename it, or name it: -c {name}"
            problems.add(Place(name), "", what, "warning")


def _add_unknown_variables(environ: Mapping[str, str], problems: Problems) -> None:
    """Tell about variables that look like those of Lightbus and are not."""
    for variable in sorted(environ):
        name = variable.upper()
        if (
            not name.startswith("LIGHTBUS_")
            or name.startswith("LIGHTBUS__")
            or _OF_KUBERNETES.fullmatch(name)
        ):
            continue
        meant = _meant(name) if variable not in VARIABLES else None
        if meant is not None:
            what = f"is no variable of Lightbus, and has no effect; did you mean {meant}?"
            problems.add(Place(f"environment {shown(variable)}"), "", what, "warning")


def _meant(name: str) -> str | None:
    """Return the variable that is nearest to one that is none; None if none is near."""
    near = get_close_matches(name, VARIABLES, 1, 0.85)
    if near:
        return near[0]
    words = name.removeprefix("LIGHTBUS_").replace("__", "_")
    for path in _paths(Entry()):
        # A guess may leave out that it is a key of bus.
        if words in ("_".join(path), "_".join(path[1:]) or None):
            return "__".join(("LIGHTBUS", *path))
    return None


def _paths(entry: Entry) -> Iterator[list[str]]:
    """Go through the keys below and those of the blocks in it, as variables spell them."""
    for each in entry.below():
        if isinstance(each.key.form, Block):
            yield from _paths(each)
        yield [name.upper() for name in each.path]


def _other_results(api: Node, default: Node | None) -> Iterator[tuple[str, Node]]:
    result = api.get("result_transport")
    calls = api.get("rpc_transport") or (default.get("rpc_transport") if default else None)
    known = calls.value if calls and isinstance(calls.value, dict) and calls.value else {"redis"}
    yield from ((name, node) for name, node in (result.items() if result else ()) if name not in known)
