"""At the log level debug, a line for each call and event: what it was, how it ended, how long it took."""

from __future__ import annotations

import logging

from lightbus.messages import EventMessage, RpcMessage

logger = logging.getLogger(__name__)

#: Ask this first: where it says no, a message costs nothing more.
is_logged = logger.isEnabledFor
#: The level of these lines.
DEBUG = logging.DEBUG

_LONGEST_NAME = 200


def log(
    what: str, message: RpcMessage | EventMessage, outcome: str, seconds: float, listener: str | None = None
) -> None:
    """Tell of one message; never of what it carries. A log of JSON has the parts as fields, too.

    Args:
        what: A word for what was done with it, such as ``called``.
        message: The message; its names may come from anybody, and stay on their line, whoever formats it.
        outcome: The outcome.
        seconds: The time that it took.
        listener: The listener that it was done by, if one did it.
    """
    name = message.canonical_name
    shown = name if name.isprintable() else ascii(name)
    milliseconds = round(1000 * seconds, 1)
    about = {"done": what, **_names(message), "outcome": outcome, "ms": milliseconds}
    if listener is not None:
        about["listener"], what = listener, f"{listener} {what}"
    logger.debug(
        "%s %.*s (%s): %s, %.1f ms",
        *(what, _LONGEST_NAME, shown, message.id, outcome, milliseconds),
        extra={"message_id": message.id, "about": about},
    )


def _names(message: RpcMessage | EventMessage) -> dict[str, str]:
    if isinstance(message, EventMessage):
        kind, name = "event", message.event_name
    else:
        kind, name = "procedure", message.procedure_name
    return {"api": message.api_name[:_LONGEST_NAME], kind: name[:_LONGEST_NAME]}
