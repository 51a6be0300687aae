"""Messages to bytes and back, exactly as Lightbus 1.x has them on the wire.

Calls and answers are one JSON blob each. An event is a stream entry: bare metadata fields, then one field
``:{name}`` per argument with its JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from lightbus.exceptions import InvalidMessage
from lightbus.messages import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    EventMessage,
    ResultMessage,
    RpcMessage,
    check_limits,
    check_sendable,
    is_message_id,
)
from lightbus.serializers import json_bytes, read_json

from .keys import REPLY_KEYS, reply_key

MAX_FIELDS = 1_000

_RETURN_PATH = re.compile(rf"redis\+key://({REPLY_KEYS})", re.ASCII)
#: The beginning of the return paths of this version's callers.
_OURS = f"redis+key://{reply_key('')}"
#: Bare fields beside an event's arguments: its own four, and some of features and of retries.
_BARE_FIELDS = 32
#: The most bytes of an entry whose names are kept: events of one kind have the same ones in the same order.
_LONGEST_KNOWN = 10_000
_Places = tuple[tuple[str, int], ...]
_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}", re.ASCII)

#: The headers that may travel beside the arguments. Lightbus 1.x fails on events with such fields, not on
#: calls. The last one is that of a dead letter that somebody has edited, in the retry stream alone.
HEADERS = ("traceparent", "tracestate", "edited_by")

#: The errors of encoding a value that is not JSON.
_NOT_JSON = (TypeError, ValueError, OverflowError, RecursionError)

encode_json = json_bytes
_decode_json = msgspec.json.Decoder().decode
#: The errors of decoding, by either decoder.
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
T = TypeVar("T")


class _CallMetadata(msgspec.Struct):
    id: str
    api_name: str
    procedure_name: str
    return_path: str | None = None


class _Call(msgspec.Struct):
    metadata: _CallMetadata
    kwargs: dict[str, Any]
    headers: dict[str, str] | None = None


class _CallHead(msgspec.Struct):
    metadata: _CallMetadata


class _ResultHeadMetadata(msgspec.Struct):
    rpc_message_id: str


class _ResultHead(msgspec.Struct):
    metadata: _ResultHeadMetadata


class _ResultMetadata(msgspec.Struct):
    rpc_message_id: str
    id: str = ""
    error: bool = False
    trace: str | None = None


class _Result(msgspec.Struct):
    metadata: _ResultMetadata
    kwargs: dict[str, Any]


_decode_call = msgspec.json.Decoder(_Call).decode
_decode_head = msgspec.json.Decoder(_CallHead).decode
_decode_result = msgspec.json.Decoder(_Result).decode
_decode_result_head = msgspec.json.Decoder(_ResultHead).decode


def encode_call(message: RpcMessage, return_path: str) -> bytes:
    """Return the blob of a call.

    Raises:
        InvalidMessage: It is larger than any worker accepts.
    """
    call: dict[str, Any] = {
        "metadata": {
            "id": message.id,
            "api_name": message.api_name,
            "procedure_name": message.procedure_name,
            "return_path": return_path,
        },
        "kwargs": message.kwargs,
    }
    if message.headers:
        call["headers"] = {name: message.headers[name] for name in HEADERS if name in message.headers}
    return _bounded(message.canonical_name, call)


def decode_call(blob: bytes) -> RpcMessage:
    """Return the call of a blob.

    Raises:
        InvalidMessage: It is not a call, or passes a limit.
    """
    check_limits(blob)
    try:
        call = _decode_call(blob)
    except _UNREADABLE as e:
        call = _again(blob, _Call, "not a call", e)
    metadata = call.metadata
    if len(call.kwargs) > MAX_FIELDS:
        raise InvalidMessage(f"not a call: more than {MAX_FIELDS} arguments")
    if not is_call_id(metadata.id):
        raise InvalidMessage("not a call: its id is not a UUID")
    return RpcMessage(
        metadata.api_name,
        metadata.procedure_name,
        call.kwargs,
        metadata.return_path or "",
        metadata.id,
        call.headers,
    )


def decode_sender(blob: bytes) -> RpcMessage | None:
    """Return a call without its arguments, where they can't be read, so that its caller can be told.

    Args:
        blob: The blob that :func:`decode_call` refused.

    Returns:
        The call; None if it can't be known who sent it.
    """
    if len(blob) > MAX_BYTES:
        return None
    head = _head(blob, _decode_head, _CallHead)
    if head is None or not is_call_id(head.metadata.id):
        return None
    metadata = head.metadata
    return RpcMessage(metadata.api_name, metadata.procedure_name, {}, metadata.return_path or "", metadata.id)


def encode_result(message: ResultMessage) -> bytes:
    """Return the blob of an answer.

    Raises:
        InvalidMessage: It is larger than any caller accepts.
    """
    metadata: dict[str, Any] = {
        "id": message.id,
        "rpc_message_id": message.rpc_message_id,
        "error": message.error,
    }
    if message.trace is not None:
        metadata["trace"] = message.trace
    return _bounded(
        f"the result of {message.canonical_name}",
        {"metadata": metadata, "kwargs": {"result": message.result}},
    )


def decode_result(blob: bytes) -> ResultMessage:
    """Return the answer of a blob.

    Raises:
        InvalidMessage: It is not an answer, or passes a limit.
    """
    check_limits(blob)
    try:
        result = _decode_result(blob)
    except _UNREADABLE as e:
        result = _again(blob, _Result, "not an answer", e)
    metadata = result.metadata
    return ResultMessage(
        result.kwargs.get("result"), metadata.rpc_message_id, metadata.error, metadata.trace, metadata.id
    )


def decode_answered(blob: bytes) -> str | None:
    """Return the id of the call that an answer is for which can't be read; None if that can't be known."""
    head = _head(blob, _decode_result_head, _ResultHead)
    return head.metadata.rpc_message_id if head is not None else None


def is_call_id(text: str) -> bool:
    """Tell whether a text is a UUID, as the ids of calls are."""
    return _UUID.fullmatch(text) is not None


def names_reply_list(return_path: str) -> bool:
    """Tell whether a return path is one that callers of this version make."""
    return return_path.startswith(_OURS)


def return_key(return_path: str) -> str | None:
    """Return the key that an answer goes to, or None if the path is not one that a caller makes."""
    match = _RETURN_PATH.fullmatch(return_path)
    return match[1] if match else None


def encode_event(message: EventMessage) -> list[Any]:
    """Return the fields of an event's stream entry, names and values in turn.

    Raises:
        InvalidMessage: It is larger than any listener accepts.
    """
    fields: list[Any] = [
        "id", message.id, "api_name", message.api_name, "event_name", message.event_name,
        "version", str(message.version),
    ]  # fmt: skip
    if message.headers:
        for name in HEADERS:
            if name in message.headers:
                fields += [name, message.headers[name]]
    if len(message.kwargs) > MAX_FIELDS:
        raise InvalidMessage(f"{message.canonical_name} has more than {MAX_FIELDS} arguments")
    size = 0
    for name, value in message.kwargs.items():
        try:
            blob = encode_json(value)
        except _NOT_JSON as e:
            raise InvalidMessage(f"{message.canonical_name} can't travel: {name}: {e}") from e
        size += len(name) + len(blob)
        if len(blob) > MAX_NODES and size <= MAX_BYTES:
            check_sendable(f"{message.canonical_name}: {name}", blob)
        fields += (":" + name, blob)
    if size > MAX_BYTES:
        raise _too_large(message.canonical_name, size)
    return fields


def decode_event(fields: Sequence[bytes], native_id: str) -> tuple[EventMessage | None, dict[str, str]]:
    """Return the event of a stream entry.

    Args:
        fields: Names and values in turn.
        native_id: The entry's id.

    Returns:
        The event, or None for a placeholder entry that is only to be acknowledged; and the bare fields that
        are not the event's own.

    Raises:
        InvalidMessage: It is not an event, or passes a limit.
    """
    if len(fields) > 2 * (MAX_FIELDS + _BARE_FIELDS):
        raise InvalidMessage(f"not an event: more than {MAX_FIELDS} fields")
    if len(fields) == 2 and not fields[0]:
        return None, {}
    if (size := sum(map(len, fields))) > MAX_BYTES + 65_536:
        raise InvalidMessage(f"not an event: more than {MAX_BYTES} bytes")
    try:
        # Names come from the bus, and memory must not follow them.
        places = _places if size <= _LONGEST_KNOWN else _places.__wrapped__
        at_api, at_event, at_version, at_id, arguments, rest = places(tuple(fields[:-1:2]))
        kwargs = {}
        for name, place in arguments:
            value = fields[place]
            if len(value) > MAX_DEPTH:  # A shorter one can't pass any limit.
                check_limits(value)
            try:
                kwargs[name] = _decode_json(value)
            except msgspec.MsgspecError as e:
                kwargs[name] = _again(value, object, "not an event", e)
        message = EventMessage(
            fields[at_api].decode(),
            fields[at_event].decode(),
            kwargs,
            1 if at_version is None or fields[at_version] == b"1" else _version(fields[at_version]),
            _event_id(fields[at_id].decode()),
            native_id,
        )
        if not rest:
            return message, {}
        others = {name: fields[place].decode() for name, place in rest}
    except KeyError as e:
        raise InvalidMessage(f"not an event: the field {e.args[0]!r} is missing") from e
    except _UNREADABLE as e:
        raise InvalidMessage(f"not an event: {_reason(e)}") from e
    message.headers = {name: others.pop(name) for name in HEADERS if name in others} or None
    return message, others


@lru_cache(1_000)
def _places(names: tuple[bytes, ...]) -> tuple[int, int, int | None, int, _Places, _Places]:
    """Find the values of API, event, version, id, arguments and other fields in entries with these names."""
    bare = {name.decode(): 2 * number + 1 for number, name in enumerate(names)}
    arguments = tuple((name[1:], bare.pop(name)) for name in list(bare) if name[:1] == ":")
    own = bare.pop("api_name"), bare.pop("event_name"), bare.pop("version", None), bare.pop("id")
    return *own, arguments, tuple(bare.items())


def decode_json(blob: bytes) -> Any:
    """Return the value of JSON, in which numbers may be infinite or none.

    Raises:
        InvalidMessage: It is no JSON.
    """
    try:
        return _decode_json(blob)
    except _UNREADABLE as e:
        return _again(blob, object, "not JSON", e)


def _again(blob: bytes, cls: type[T], what: str, error: Exception) -> T:
    """Decode once more what the fast decoder refuses: Lightbus 1.x also writes NaN and Infinity.

    Raises:
        InvalidMessage: It is wrong all the same, by the error of the fast decoder.
    """
    try:
        if len(blob) <= MAX_BYTES:
            return msgspec.convert(read_json(blob), cls)
    except _UNREADABLE:
        pass
    raise InvalidMessage(f"{what}: {_reason(error)}") from error


def _head(blob: bytes, decode: Callable[[bytes], T], cls: type[T]) -> T | None:
    """Return what can be read of a message that can't be read as a whole; None if nothing can."""
    try:
        return decode(blob)
    except _UNREADABLE as e:
        try:
            return _again(blob, cls, "no head", e)
        except InvalidMessage:
            return None


def _bounded(what: str, value: Mapping[str, Any]) -> bytes:
    try:
        blob = encode_json(value)
    except _NOT_JSON as e:
        raise InvalidMessage(f"{what} can't travel: {e}") from e
    if len(blob) > MAX_BYTES:
        raise _too_large(what, len(blob))
    if len(blob) > MAX_NODES:
        check_sendable(what, blob)
    return blob


def _too_large(what: str, size: int) -> InvalidMessage:
    return InvalidMessage(
        f"{what} is {size:,} bytes long and would be refused: a message may have {MAX_BYTES:,}; "
        "store large values elsewhere and send their address"
    )


def _event_id(text: str) -> str:
    if not is_message_id(text):
        raise InvalidMessage("not an event: its id is empty, too long or not printable")
    return text


def _version(value: bytes) -> int:
    text = value.decode()
    if not text.isdecimal() or len(text) > 9:
        raise InvalidMessage("not an event: its version is not a number")
    return int(text)


def _reason(error: Exception) -> str:
    """Say why, without quoting the payload: some errors end with a piece of it."""
    return str(error)[:200] if isinstance(error, msgspec.ValidationError) else type(error).__name__
