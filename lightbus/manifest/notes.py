"""What a manifest may say that does not mean what Lightbus 1.x made of it: told, but no error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .nodes import Node
from .overrides import SHORT
from .problems import Place, Problems

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


def add_notes(files: Node, root: Node, environ: Mapping[str, str], problems: Problems) -> None:
    """Tell about keys whose meaning changed.

    Args:
        files: What the files say.
        root: What they say with everything above them.
        environ: The environment.
        problems: Takes the notes.
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


def _other_results(api: Node, default: Node | None) -> Iterator[tuple[str, Node]]:
    result = api.get("result_transport")
    calls = api.get("rpc_transport") or (default.get("rpc_transport") if default else None)
    known = calls.value if calls and isinstance(calls.value, dict) and calls.value else {"redis"}
    yield from ((name, node) for name, node in (result.items() if result else ()) if name not in known)
