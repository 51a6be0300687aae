"""A dead letter as an object of JSON, as commands print it and the console exports it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from lightbus.transports.events import DeadLetter


def as_fields(letter: DeadLetter) -> dict[str, Any]:
    """Return all that is known of a letter, by the names that programs rely on."""
    message = letter.message
    return {
        "id": letter.id,
        "event": message.canonical_name if message.api_name else None,
        "event_id": message.id,
        "native_id": message.native_id,
        "group": letter.group,
        "died_at": died_at(letter),
        "reason": letter.reason,
        "attempts": letter.attempts,
        "error": letter.error,
        "kwargs": message.kwargs,
        "trace": letter.trace,
    }


def died_at(letter: DeadLetter) -> str:
    """Return when a letter was put aside, as ISO 8601 in the time zone of this process."""
    return datetime.fromtimestamp(letter.died_at).astimezone().isoformat(timespec="seconds")
