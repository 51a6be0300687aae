"""An entry of a stream that a group was given, and its form in the retry stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lightbus.transports.redis.codec import read_count

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


def retried(
    stream: str, source: str, entry_id: str, fields: Fields, message_id: str, extra: Mapping[str, str]
) -> Entry:
    """Read an entry of the retry stream.

    Args:
        stream: The stream that is listened to.
        source: Its group's retry stream.
        entry_id: The entry's id there.
        fields: All fields of the entry.
        message_id: The event's own id.
        extra: The fields that are not the event's own.
    """
    attempt = read_count(extra.get("attempts", "0")) + 1
    own = fields[:-4] if len(fields) >= 4 and fields[-2] == b"origin" else fields
    return Entry(stream, source, entry_id, own, message_id, attempt, extra.get("origin", entry_id))
