"""The names by which browsers reach the console."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: Those of this machine itself.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::\d{1,5})?", re.ASCII)
_EVERYWHERE = ("0.0.0.0", "[::]", "")  # noqa: S104 - it is told from a name


def host_of(scope: Mapping[str, Any]) -> str:
    """Return the one Host header of a request, in lower case; empty if it has none or several."""
    found = [value for key, value in scope["headers"] if key.lower() == b"host"]
    return found[0].decode("latin-1").strip().lower() if len(found) == 1 else ""


def name_of_host(scope: Mapping[str, Any]) -> str:
    """Return the name in the Host header of a request, without a port; empty if there is none."""
    found = _HOST.fullmatch(host_of(scope))
    return found[1].rstrip(".") if found is not None else ""


def is_loopback(name: str) -> bool:
    """Tell whether a name is one of this machine itself."""
    return name in LOOPBACK


def known_names(listen: str, hosts: tuple[str, ...]) -> frozenset[str]:
    """Return the names by which a console may be reached.

    Args:
        listen: Where it listens, as ``host:port``.
        hosts: The names that are configured.
    """
    own = listen.rpartition(":")[0].lower()
    return LOOPBACK | {name.lower().rstrip(".") for name in hosts} | ({own} - set(_EVERYWHERE))
