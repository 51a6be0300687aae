"""How Lightbus 1.x has messages on the wire, to derive classes from that have them otherwise.

A manifest names such classes as ``serializer`` and ``deserializer`` of a transport. These four do what the
transports do by themselves, faster and within limits, where nothing is named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from .exceptions import InvalidMessage
from .messages import EventMessage, ResultMessage, RpcMessage

Message = RpcMessage | ResultMessage | EventMessage

_NOT_FINITE = {"inf": b"Infinity", "-inf": b"-Infinity", "nan": b"NaN"}


class NotFinite(float):
    """An infinite number, or none (``nan``), on its way to the bus.

    The fast encoder writes null for such a float and asks nobody. For an object of a class it asks.
    """

    __slots__ = ()


def _written(value: Any) -> msgspec.Raw:
    if isinstance(value, float):
        return msgspec.Raw(_NOT_FINITE.get(float.__repr__(value)) or float.__repr__(value).encode())
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


#: JSON values as ``values.dump()`` makes them to bytes.
json_bytes = msgspec.json.Encoder(enc_hook=_written).encode


def read_json(blob: bytes) -> Any:
    """Read JSON as Python and Lightbus 1.x do, with ``NaN`` and ``Infinity``, where the fast decoder refuses.

    Raises:
        ValueError: It is not JSON, or has text with half a surrogate pair.
    """
    text = blob.decode()
    value = json.loads(text)
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode()
    return value


def encode_json(value: Any) -> str:
    """Return a value as JSON."""
    return json_bytes(value).decode()


class MessageSerializer:
    """Makes of a message what is sent.

    Args:
        encoder: Makes text of one value.
    """

    def __init__(self, encoder: Callable[[Any], str] = encode_json) -> None:
        self.encoder = encoder

    def __call__(self, message: Message) -> Any:
        """Return text or bytes of a call or an answer, a map of fields of an event."""
        raise NotImplementedError


class MessageDeserializer:
    """Makes a message of what has come.

    Args:
        message_class: Its class.
        decoder: Makes a value of the text of one.
    """

    def __init__(self, message_class: type[Message], decoder: Callable[[str], Any] = json.loads) -> None:
        self.message_class = message_class
        self.decoder = decoder

    def __call__(self, serialized: Any, *, native_id: str | None = None, **extra: Any) -> Message:
        """Return the message.

        Args:
            serialized: The bytes of a call or an answer; the names and values of an event's fields as bytes.
            native_id: The broker's id of an event.
            extra: Its other fields.
        """
        raise NotImplementedError

    def make(
        self, metadata: Mapping[str, Any], kwargs: dict[str, Any], native_id: str | None, extra: Any
    ) -> Message:
        """Return the message that these make.

        Raises:
            InvalidMessage: Something of it is missing.
        """
        for name in self.message_class.required_metadata:
            if not metadata.get(name):
                raise InvalidMessage(f"not a {self.message_class.__name__}: its {name} is missing")
        if native_id is not None:
            extra = {**extra, "native_id": native_id}
        return self.message_class.from_dict(metadata, kwargs, **extra)


class BlobMessageSerializer(MessageSerializer):
    """One JSON text, as calls and answers have it."""

    def __call__(self, message: Message) -> str:
        """Return the text."""
        return self.encoder({"metadata": message.get_metadata(), "kwargs": message.get_kwargs()})


class BlobMessageDeserializer(MessageDeserializer):
    """Reads what :class:`BlobMessageSerializer` writes."""

    def __call__(self, serialized: Any, *, native_id: str | None = None, **extra: Any) -> Message:
        """Return the message of a text."""
        decoded = serialized if isinstance(serialized, dict) else self.decoder(_text(serialized))
        return self.make(decoded.get("metadata", {}), decoded.get("kwargs", {}), native_id, extra)


class ByFieldMessageSerializer(MessageSerializer):
    """A field for each value, as events have them."""

    def __call__(self, message: Message) -> dict[str, Any]:
        """Return the fields."""
        fields = {f":{name}": self.encoder(value) for name, value in message.get_kwargs().items()}
        return {**message.get_metadata(), **fields}


class ByFieldMessageDeserializer(MessageDeserializer):
    """Reads what :class:`ByFieldMessageSerializer` writes."""

    def __call__(self, serialized: Any, *, native_id: str | None = None, **extra: Any) -> Message:
        """Return the message of a map of fields."""
        metadata, kwargs = {}, {}
        for name, value in ((_text(n), _text(v)) for n, v in serialized.items()):
            if name.startswith(":"):
                kwargs[name[1:]] = self.decoder(value)
            elif name:
                metadata[name] = value
        return self.make(metadata, kwargs, native_id, extra)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
