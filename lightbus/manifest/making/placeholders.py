"""The placeholders of ``service_name`` and ``process_name``."""

from __future__ import annotations

import os
import re
import secrets
import socket

from lightbus.manifest.problems import Place, Problems
from lightbus.manifest.text.nodes import Node

_PLACEHOLDER = re.compile(r"\{([^{}]{0,40})\}")
_GOOD = re.compile(r"[^\s\x00-\x1f\x7f{}]{1,200}")
_CHANGES = {"pid", "random4", "random8", "random16", "friendly"}
_MOODS = ("able", "brave", "calm", "clever", "eager", "gentle", "happy", "merry", "quick", "sunny")
_BEASTS = ("badger", "bear", "crane", "deer", "eagle", "falcon", "fox", "hare", "heron", "otter")


def resolve(name: str, node: Node | None, path: str, problems: Problems) -> str:
    """Replace the placeholders in a name.

    Args:
        name: The name as it was written.
        node: Where; None for the default.
        path: ``service_name`` or ``process_name``.
        problems: Takes an unknown placeholder.

    Returns:
        The name to use.
    """
    place = node.place if node else Place("the default")
    used = _PLACEHOLDER.findall(name)
    known = " ".join(f"{{{p}}}" for p in _VALUES)
    for unknown in [p for p in used if p not in _VALUES]:
        shown = "***" if node and node.hidden else unknown
        problems.add(place, path, f"unknown placeholder {{{shown}}}; it may be {known}")
    result = _PLACEHOLDER.sub(lambda match: _VALUES[match[1]]() if match[1] in _VALUES else "", name)
    if not _GOOD.fullmatch(result):
        problems.add(place, path, "must be 1 to 200 characters without spaces and single braces")
    if node and node.hidden:
        what = "comes from ${file:}, but no name is a secret: logs, HTTP and Redis show it"
        problems.add(place, path, what, "note")
    changing = sorted(_CHANGES.intersection(used))
    if path == "service_name" and changing:
        what = (
            f"{{{changing[0]}}} differs at each start, and consumer groups with it, so that events "
            "between two starts are missed; give the service a name that stays"
        )
        problems.add(place, path, what, "warning")
    return result


def tells_processes_apart(name: str) -> bool:
    """Tell whether a name, as it was written, comes out different in each process."""
    return bool(_CHANGES.intersection(_PLACEHOLDER.findall(name)))


def _friendly() -> str:
    return f"{secrets.choice(_MOODS)}-{secrets.choice(_BEASTS)}-{secrets.randbelow(1000)}"


_VALUES = {
    "hostname": lambda: socket.gethostname() or "localhost",
    "pid": lambda: str(os.getpid()),
    "random4": lambda: secrets.token_hex(2),
    "random8": lambda: secrets.token_hex(4),
    "random16": lambda: secrets.token_hex(8),
    "friendly": _friendly,
}
