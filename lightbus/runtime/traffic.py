"""At the log level debug, a line for each call and event: what it was, how it ended, how long it took."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

#: Ask this first: where it says no, a message costs nothing more.
is_logged = logger.isEnabledFor
#: The level of these lines.
DEBUG = logging.DEBUG

_LONGEST_NAME = 200


def log(what: str, name: str, message_id: str, outcome: str, seconds: float) -> None:
    """Tell of one message; never of what it carries.

    Args:
        what: A word for what was done with it, such as ``called``.
        name: Its name, which may come from anybody: it stays on its line, whoever formats it.
        message_id: Its id.
        outcome: The outcome.
        seconds: The time that it took.
    """
    shown = name if name.isprintable() else ascii(name)
    logger.debug(
        "%s %.*s (%s): %s, %.1f ms",
        *(what, _LONGEST_NAME, shown, message_id, outcome, 1000 * seconds),
        extra={"message_id": message_id},
    )
