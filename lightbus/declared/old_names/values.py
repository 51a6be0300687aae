"""Values of 1.x that have no counterpart, for code that still imports them."""

from __future__ import annotations

import enum
import logging

from lightbus.exceptions import LightbusException, SchemaNotFound


class Feature(enum.StrEnum):
    """The work that a process may do, which is told by its text alone now."""

    RPCS = "rpcs"
    EVENTS = "events"
    TASKS = "tasks"


ALL_FEATURES = list(Feature)


def configure_logging(log_level: int | str = logging.INFO) -> None:
    """Show the log of Lightbus, where nobody shows it yet.

    Args:
        log_level: From which level on.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("lightbus").setLevel(log_level)


class NoResponseSchemaFound(SchemaNotFound):
    """Never raised, as in 1.x."""


class PoolProxyError(LightbusException):
    """Raised by the pools of transports of 1.x."""


def __getattr__(name: str) -> type[LightbusException]:
    """Return an exception that nothing raises now, so that ``except`` may name it."""
    from .table import POOL_ERRORS, UNRAISED

    if name not in {*UNRAISED, *POOL_ERRORS}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    base = PoolProxyError if name in POOL_ERRORS else LightbusException
    made = type(name, (base,), {"__module__": __name__, "__doc__": "Raised by nothing now."})
    globals()[name] = made
    return made
