"""The transports that installed packages offer."""

from __future__ import annotations

from typing import Any, cast

from lightbus.exceptions import TransportNotFound
from lightbus.transports.port import Kind


def find_transport(kind: Kind, name: str) -> type[Any]:
    """Look up a transport class by the name that a manifest gives it.

    Args:
        kind: One of the three ports.
        name: The entry point's name in the group ``lightbus_{kind}_transports``.

    Returns:
        The class; it is made with an object of its ``options`` dataclass, or without arguments.

    Raises:
        TransportNotFound: No installed package offers it; the message lists those that are offered.
    """
    # Not at the top: it is slow to import, and a process looks a transport up once.
    from importlib.metadata import entry_points

    offered = entry_points(group=f"lightbus_{kind}_transports")
    for entry in offered:
        if entry.name == name:
            return cast(type[Any], entry.load())
    names = ", ".join(sorted(e.name for e in offered)) or "none at all"
    raise TransportNotFound(f"no {kind} transport named {name!r} is installed; there are: {names}")
