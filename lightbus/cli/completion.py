"""Names that a shell completes: of APIs, procedures, events, parameters and groups.

They come from the bus, as far as it answers at once, and from the manifest. Nothing is imported that a
manifest names, nothing is started or written, and no error is told: it would stand in a prompt.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from lightbus.manifest.model import Manifest
    from lightbus.transports.redis.link.glance import Glance

T = TypeVar("T")

#: Set by the shell that asks.
VARIABLE = "_LIGHTBUS_COMPLETE"
#: Seconds for which Redis is asked, and after which nothing is waited for, such as a name server.
_PATIENCE = 0.2
_LONGEST = 1.0
#: The most APIs whose contracts are read.
_MOST_APIS = 100
#: A shell puts a name into the command line as it is, where any other character may mean something.
_HARMLESS = re.compile(r"\w[\w.@/-]*", re.ASCII)
_INTERNAL = "internal."


def is_asked() -> bool:
    """Tell whether a shell asks for completions, and not somebody for a command."""
    return os.environ.get(VARIABLE, "").endswith("_complete")


def wants_option() -> bool:
    """Tell whether the word that is completed is an option, which a plugin may have added."""
    return any(word.startswith("-") for word in os.environ.get("COMP_WORDS", "").split()[-1:])


def answer(cli: click.Command) -> NoReturn:
    """Print the completions that a shell asks for, and end without a word about what went wrong."""
    logging.disable()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    with contextlib.suppress(BaseException):
        cli.main(prog_name="lightbus", standalone_mode=False)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    # Not sys.exit(): that would wait for a thread that asks a name server.
    os._exit(0)


def procedures(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a procedure: its API first."""
    return _items(_dotted(context, incomplete, "rpcs"))


def events(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of an event: its API first."""
    return _items(_dotted(context, incomplete, "events"))


def parameters_of(kind: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Return what completes ``parameter=``.

    Args:
        kind: Of ``rpcs`` or of ``events``; the command's first argument names which.
    """

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        target = str(context.params.get("procedure" if kind == "rpcs" else "event") or "")
        given = [str(each) for each in context.params.get("arguments") or ()]
        # For bash, the = is a word of its own.
        if "=" in incomplete or given[-1:] == ["="] or (given and given[-1].endswith("=")):
            return []
        api, _dot, name = target.rpartition(".")
        contracts = _from_bus(context, lambda glance: glance.contracts([api]))
        schema = _at(contracts, api, kind, name, "parameters")
        names = {each.partition("=")[0] for each in given}
        required = _at(schema, "required") if isinstance(_at(schema, "required"), list) else []
        found = {
            f"{name}=": _about(name in required, about)
            for name, about in dict(_at(schema, "properties") or {}).items()
            if name not in names and name.startswith(incomplete)
        }
        return [CompletionItem(n, help=about) for n, about in found.items() if _HARMLESS.fullmatch(n[:-1])]

    return complete


def apis(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of an API."""
    return _items(name for name in _apis(context, incomplete) if name.startswith(incomplete))


def events_of_api(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of an event, without its API, which another option may give."""
    api = str(context.params.get("api") or "*")
    names = [api] if api != "*" else _apis(context, "")[:_MOST_APIS]
    contracts = _from_bus(context, lambda glance: glance.contracts(names)) or {}
    found = {name for each in contracts for name in _at(contracts, each, "events") or ()}
    return _items(name for name in sorted(found) if name.startswith(incomplete))


def groups(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a listener's group: its service, a dash, and its name."""
    manifest = _manifest(context)
    service = manifest.service_name if manifest is not None else None
    ours = [f"{service}-{name}" for name in manifest.listeners] if manifest is not None and service else []
    found = {*ours, *(_from_bus(context, lambda glance: glance.group_names()) or ())}
    return _items(name for name in sorted(found) if name.startswith(incomplete))


def _dotted(context: click.Context, incomplete: str, kind: str) -> list[str]:
    """Return names that begin so: those of APIs with a dot, and where only one fits, all of its own."""
    names = [
        name
        for name in _apis(context, incomplete)
        if name.startswith(incomplete) or incomplete.startswith(f"{name}.")
    ][:_MOST_APIS]
    contracts = _from_bus(context, lambda glance: glance.contracts(names)) or {}
    members = {name: list(_at(contracts, name, kind) or ()) for name in names}
    # Where its contract is known, an API without procedures has nothing to call.
    fitting = [name for name in names if members[name] or name not in contracts]
    found = []
    for name in fitting:
        if members[name] and (len(fitting) == 1 or incomplete.startswith(f"{name}.")):
            found += [f"{name}.{member}" for member in members[name]]
        else:
            found.append(f"{name}.")
    return [name for name in found if name.startswith(incomplete)]


def _apis(context: click.Context, incomplete: str) -> list[str]:
    manifest = _manifest(context)
    ours = manifest.apis if manifest is not None else ()
    names = {*ours, *(_from_bus(context, lambda glance: glance.api_names()) or ())}
    wants_internal = incomplete.startswith("internal")
    return sorted(name for name in names if wants_internal or not name.startswith(_INTERNAL))


def _items(names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if _HARMLESS.fullmatch(name)]


def _from_bus(context: click.Context, question: Callable[[Glance], T]) -> T | None:
    """Return what the Redis of contracts answers; None where none answers at once."""
    meta = context.meta
    try:
        if "glance" not in meta:
            meta["glance"] = None
            meta["glance"] = _connected(_manifest(context))
        if meta["glance"] is not None:
            return question(meta["glance"])
    except Exception:
        # Whatever it is, the prompt goes on without; the command itself will tell it.
        meta["glance"] = None
    return None


def _connected(manifest: Manifest | None) -> Glance | None:
    chosen = manifest.bus.schema.transport if manifest is not None else None
    if chosen is None or chosen.name != "redis":
        return None
    from lightbus.transports.redis.link.glance import Glance
    from lightbus.transports.redis.options import RedisSchemaOptions

    # It is closed with the process, which ends with the answer.
    return Glance(chosen.options or RedisSchemaOptions(), _PATIENCE)


def _manifest(context: click.Context) -> Manifest | None:
    """Read the manifest that the command would read; None if it can't be, or would be fetched from a URL."""
    if "manifest" not in context.meta:
        context.meta["manifest"] = None
        # A file that it includes may be a URL, and a name server may be silent.
        watchdog = threading.Timer(_LONGEST, os._exit, (0,))
        watchdog.daemon = True
        watchdog.start()
        paths = context.params.get("config") or [os.environ.get("LIGHTBUS_CONFIG", "")]
        if not any("://" in path for path in paths):
            with contextlib.suppress(Exception):
                context.meta["manifest"] = _read(context.params)
    manifest: Manifest | None = context.meta["manifest"]
    return manifest


def _read(params: Mapping[str, Any]) -> Manifest:
    from lightbus.cli.manifest_options import read

    names = ("modules", "service_name", "process_name", "log_level", "transport", "trust_remote")
    lists = {name: params.get(name) or () for name in ("config", "overrides")}
    return read(**{name: params.get(name) for name in names}, **lists)


def _at(value: Any, *path: str) -> Any:
    """Return what lies at a path in JSON of others, or None."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _about(is_required: bool, schema: Any) -> str:
    kind = _at(schema, "type")
    said = [kind] if isinstance(kind, str) else []
    return ", ".join([*said, "required"] if is_required else said)
