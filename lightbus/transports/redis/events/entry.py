"""An entry of a stream that a group was given, and its form in the retry stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Fields = Sequence[bytes]


class Entry(NamedTuple):
    """An entry of a stream that is listened to, or of its group's retry stream.

    Args:
        stream: The stream that is listened to.
        source: The stream that the entry is in.
        id: Its id there.
        fields: The event's fields as they are on the wire.
        message_id: The event's own id.
        attempt: The number of this attempt.
        origin: The event's id in the stream that is listened to.
    """

    stream: str
    source: str
    id: str
    fields: Fields
    message_id: str
    attempt: int
    origin: str

    @property
    def is_retry(self) -> bool:
        """Whether it is in the retry stream, from which it is deleted once it is settled."""
        return self.source != self.stream

    def after(self, attempts: int) -> list[Any]:
        """Return its fields for the retry stream, after so many attempts."""
        return [*self.fields, b"attempts", str(attempts).encode(), b"origin", self.origin.encode()]


def is_of_retry(fields: Fields) -> bool:
    """Tell whether fields end with the four that the retry stream adds."""
    return len(fields) >= 4 and fields[-2] == b"origin"


def without_extra(fields: Fields) -> Fields:
    """Take off the four fields that the retry stream adds at the end."""
    return fields[:-4] if is_of_retry(fields) else fields


def read_count(text: str) -> int:
    """Return the number of a field of ours, such as ``attempts``; 0 if it holds none."""
    return int(text) if text.isdecimal() and len(text) <= 9 else 0
