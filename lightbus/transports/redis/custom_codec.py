"""The codec of one transport: Lightbus's own, or classes that its options name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from lightbus.exceptions import ConfigurationError, InvalidMessage
from lightbus.messages import MAX_BYTES, EventMessage, ResultMessage, RpcMessage, is_message_id

from . import codec
from .options import RedisEventOptions, RedisResultOptions, RedisRpcOptions

#: Makes of an entry's fields and id the event (None for a placeholder) and the fields that are not its own.
Decode = Callable[[Sequence[bytes], str], tuple[EventMessage | None, dict[str, str]]]
M = TypeVar("M", RpcMessage, ResultMessage, EventMessage)

_CALLS, _RESULTS, _EVENTS = RedisRpcOptions(), RedisResultOptions(), RedisEventOptions()
#: Fields that are added behind those of the serializer, and taken away before the deserializer gets them.
_ADDED = (b"traceparent", b"tracestate", b"edited_by", b"attempts", b"origin")


@dataclass(frozen=True, slots=True)
class EventCodec:
    """How events are written; see :func:`.codec.encode_event` and :func:`.codec.decode_event`."""

    encode: Callable[[EventMessage], list[Any]] = codec.encode_event
    decode: Decode = codec.decode_event


@dataclass(frozen=True, slots=True)
class RpcCodec:
    """How calls and answers are written; see the functions of these names in :mod:`.codec`."""

    encode_call: Callable[[RpcMessage, str], bytes] = codec.encode_call
    decode_call: Callable[[bytes], RpcMessage] = codec.decode_call
    encode_result: Callable[[ResultMessage], bytes] = codec.encode_result
    decode_result: Callable[[bytes], ResultMessage] = codec.decode_result


def event_codec(options: RedisEventOptions) -> EventCodec:
    """Return how events are written.

    Raises:
        ConfigurationError: A class that the options name can't be had.
    """
    encode: Callable[[EventMessage], list[Any]] = codec.encode_event
    decode: Decode = codec.decode_event
    if options.serializer != _EVENTS.serializer:
        encode = _event_encoder(_made(options.serializer))
    if options.deserializer != _EVENTS.deserializer:
        decode = _event_decoder(_made(options.deserializer, EventMessage))
    return EventCodec(encode, decode)


def rpc_codec(options: RedisRpcOptions) -> RpcCodec:
    """Return how calls and answers are written.

    Raises:
        ConfigurationError: A class that the options name can't be had.
    """
    changed: dict[str, Any] = {}
    if options.serializer != _CALLS.serializer:
        changed["encode_call"] = _call_encoder(_made(options.serializer))
    if options.deserializer != _CALLS.deserializer:
        changed["decode_call"] = _call_decoder(_made(options.deserializer, RpcMessage))
    if options.result_serializer != _RESULTS.serializer:
        changed["encode_result"] = _result_encoder(_made(options.result_serializer))
    if options.result_deserializer != _RESULTS.deserializer:
        changed["decode_result"] = _result_decoder(_made(options.result_deserializer, ResultMessage))
    return RpcCodec(**changed)


def find_class(name: str) -> Any:
    """Import a class by ``package.module.Name``.

    Raises:
        ConfigurationError: It can't be imported.
    """
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as e:
        raise ConfigurationError(f"the class {name} can't be imported: {type(e).__name__}: {e}") from e


def _made(name: str, *arguments: Any) -> Callable[..., Any]:
    cls = find_class(name)
    try:
        made: Callable[..., Any] = cls(*arguments)
    except Exception as e:
        raise ConfigurationError(f"the class {name} can't be made: {type(e).__name__}: {e}") from e
    return made


def _event_encoder(serializer: Callable[..., Any]) -> Callable[[EventMessage], list[Any]]:
    def encode(message: EventMessage) -> list[Any]:
        fields = _serialized(serializer, message)
        if not isinstance(fields, Mapping):
            raise InvalidMessage(f"{message.canonical_name} can't travel: {_name(serializer)} makes no map")
        entry: list[Any] = []
        # The id is what is looked for where a confirmation was lost.
        for name, value in {**fields, "id": message.id, **(message.headers or {})}.items():
            entry += [name, value if isinstance(value, bytes) else str(value)]
        _check_size(message.canonical_name, sum(map(len, entry)))
        return entry

    return encode


def _event_decoder(deserializer: Callable[..., Any]) -> Decode:
    def decode(fields: Sequence[bytes], native_id: str) -> tuple[EventMessage | None, dict[str, str]]:
        if len(fields) == 2 and not fields[0]:
            return None, {}
        _check_size("it", sum(map(len, fields)))
        own, extra = list(fields), {}
        while len(own) > 2 and own[-2] in _ADDED:
            value, name = own.pop(), own.pop()
            extra[name.decode()] = value.decode("utf-8", "replace")
        pairs = dict(zip(own[::2], own[1::2], strict=False))
        message = _deserialized(EventMessage, deserializer, pairs, native_id=native_id)
        if not is_message_id(message.id):
            raise InvalidMessage("not an event: its id is empty, too long or not printable")
        message.native_id = native_id
        message.headers = {name: extra.pop(name) for name in codec.HEADERS if name in extra} or None
        return message, extra

    return decode


def _call_encoder(serializer: Callable[..., Any]) -> Callable[[RpcMessage, str], bytes]:
    def encode(message: RpcMessage, return_path: str) -> bytes:
        call = RpcMessage(message.api_name, message.procedure_name, message.kwargs, return_path, message.id)
        return _blob(serializer, call, message.canonical_name)

    return encode


def _call_decoder(deserializer: Callable[..., Any]) -> Callable[[bytes], RpcMessage]:
    def decode(blob: bytes) -> RpcMessage:
        _check_size("it", len(blob))
        message = _deserialized(RpcMessage, deserializer, blob)
        if not codec.is_call_id(message.id):
            raise InvalidMessage("not a call: its id is not a UUID")
        return message

    return decode


def _result_encoder(serializer: Callable[..., Any]) -> Callable[[ResultMessage], bytes]:
    def encode(message: ResultMessage) -> bytes:
        try:
            return _blob(serializer, message, f"the result of {message.canonical_name}")
        except InvalidMessage:
            if not message.error:
                raise
            # Better an error that its caller may not be able to read than none.
            return codec.encode_result(message)

    return encode


def _result_decoder(deserializer: Callable[..., Any]) -> Callable[[bytes], ResultMessage]:
    def decode(blob: bytes) -> ResultMessage:
        _check_size("it", len(blob))
        return _deserialized(ResultMessage, deserializer, blob, api_name="", procedure_name="")

    return decode


def _blob(serializer: Callable[..., Any], message: RpcMessage | ResultMessage, what: str) -> bytes:
    made = _serialized(serializer, message)
    if not isinstance(made, str | bytes):
        raise InvalidMessage(f"{what} can't travel: {_name(serializer)} makes neither text nor bytes")
    blob = made.encode() if isinstance(made, str) else made
    _check_size(what, len(blob))
    return blob


def _serialized(serializer: Callable[..., Any], message: Any) -> Any:
    try:
        return serializer(message)
    except Exception as e:
        raise InvalidMessage(f"{message.canonical_name} can't travel: {_name(serializer)}: {e!r}") from e


def _deserialized(cls: type[M], deserializer: Callable[..., Any], sent: Any, **known: Any) -> M:
    try:
        message = deserializer(sent, **known)
    except Exception as e:
        # Its text may quote the message.
        raise InvalidMessage(f"{_name(deserializer)} can't read it: {type(e).__name__}") from e
    if not isinstance(message, cls):
        raise InvalidMessage(f"{_name(deserializer)} makes no {cls.__name__} of it")
    return message


def _name(thing: object) -> str:
    return type(thing).__name__


def _check_size(what: str, size: int) -> None:
    if size > MAX_BYTES:
        raise InvalidMessage(f"{what} is {size:,} bytes long; a message may have {MAX_BYTES:,}")
