"""The tables of an outbox: their names, and what a row has."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from lightbus.exceptions import InvalidMessage, InvalidParameters
from lightbus.messages import MAX_BYTES, MAX_ID, EventMessage, is_message_id
from lightbus.serializers import json_bytes, read_json
from lightbus.values import marked

OUTBOX: Final = "lightbus_outbox"
LOCK: Final = "lightbus_outbox_lock"
INBOX: Final = "lightbus_inbox"

#: Keys fall into so many buckets. One relay at a time has a bucket: that keeps the order of its events.
BUCKETS: Final = 12
#: The states of a row. ``HELD`` rows come after one of the same key that has failed; ``SENT`` ones are kept.
WAITING, FAILED, HELD, SENT = 0, 1, 2, 3
#: The most characters of a row's error.
MAX_ERROR: Final = 2_000
#: The most characters of the name of an API or an event, and of both together in an inbox.
MAX_NAME: Final = 200
MAX_EVENT: Final = 255

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class NewRow:
    """An event that is to be written.

    Args:
        event_id: Its id, which it keeps however often it is sent.
        api: The API's name.
        event: The event's name.
        version: The version of its parameters.
        kwargs: Its arguments as JSON.
        key: Events of one key are fired in order; empty for none.
        bucket: Where its key falls.
        traceparent: The trace in which it was written; empty for none.
    """

    event_id: str
    api: str
    event: str
    version: int
    kwargs: str
    key: str
    bucket: int
    traceparent: str

    @classmethod
    def of(cls, message: EventMessage, key: str) -> NewRow:
        """Make the row of an event.

        Raises:
            InvalidMessage: It is larger than any listener accepts.
            InvalidParameters: The key can't be one.
        """
        if key and not is_message_id(key):
            raise InvalidParameters(
                f"the key of an outbox is {key!r:.80}; give up to {MAX_ID} printable characters"
            )
        name = message.canonical_name
        try:
            arguments = json_bytes(message.kwargs).decode()
        except (TypeError, ValueError, OverflowError) as e:
            raise InvalidMessage(f"{name} can't travel: {e}") from e
        if len(arguments) > MAX_BYTES:
            raise InvalidMessage(
                f"{name} is {len(arguments):,} bytes long and would be refused: a message may have "
                f"{MAX_BYTES:,}; store what is large elsewhere, and send where it is"
            )
        trace = (message.headers or {}).get("traceparent", "")
        return cls(
            message.id,
            message.api_name,
            message.event_name,
            message.version,
            arguments,
            key,
            bucket_of(key),
            trace,
        )


class Row(NamedTuple):
    """An event that was written: a tuple, as a backlog has many.

    Args:
        seq: Its place among all rows.
        event_id: Its id.
        api: The API's name.
        event: The event's name.
        version: The version of its parameters.
        kwargs: Its arguments as JSON.
        key: Events of one key are fired in order; empty for none.
        traceparent: The trace in which it was written; empty for none.
    """

    seq: int
    event_id: str
    api: str
    event: str
    version: int
    kwargs: str
    key: str
    traceparent: str

    def message(self) -> EventMessage:
        """Return the event as it was when it was written.

        Raises:
            ValueError: Its arguments are no JSON.
        """
        blob = self.kwargs.encode()
        try:
            arguments: dict[str, Any] = _decode(blob)
        except (msgspec.MsgspecError, ValueError):
            # With NaN or Infinity, which JSON by its standard has not.
            arguments = marked(read_json(blob))
        headers = {"traceparent": self.traceparent} if self.traceparent else None
        return EventMessage(self.api, self.event, arguments, self.version, self.event_id, headers=headers)


#: The columns that make a :class:`Row`, in its order.
ROW_COLUMNS: Final = ("seq", "event_id", "api", "event", "version", "kwargs", "key", "traceparent")


@dataclass(frozen=True, slots=True)
class Stuck:
    """A row that can't be sent, for people.

    Args:
        row: The row.
        error: Why.
        attempts: How often it was tried.
        age: For how many seconds it has been there.
        held: How many rows of the same key wait for it.
    """

    row: Row
    error: str
    attempts: int
    age: float
    held: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """How full an outbox is.

    Args:
        rows: How many events wait, up to :data:`MOST_COUNTED`.
        oldest: For how many seconds the oldest of them has waited; 0 where none does.
        failed: How many can't be sent.
    """

    rows: int = 0
    oldest: float = 0.0
    failed: int = 0


#: The most rows that are counted: on a large table, counting takes longer than sending.
MOST_COUNTED: Final = 100_000


def bucket_of(key: str) -> int:
    """Return the bucket of a key, which is the same in all processes and releases."""
    return zlib.crc32(key.encode()) % BUCKETS if key else 0


def buckets_of(part: int, partitions: int) -> tuple[int, ...]:
    """Return the buckets of one of so many partitions; the lowest is the one that its relays compete for."""
    return tuple(range(part, BUCKETS, partitions))


def values(row: NewRow) -> Mapping[str, Any]:
    """Return a row as column names and values."""
    return {name: getattr(row, name) for name in NewRow.__slots__}
