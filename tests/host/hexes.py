"""Serializers as somebody has them who came from Lightbus 1.x: values travel as hexadecimal digits."""

from __future__ import annotations

import json
from typing import Any

from lightbus.serializers import (
    BlobMessageDeserializer,
    BlobMessageSerializer,
    ByFieldMessageDeserializer,
    ByFieldMessageSerializer,
)


def to_hex(value: Any) -> str:
    return json.dumps(value).encode().hex()


def from_hex(text: str) -> Any:
    return json.loads(bytes.fromhex(text))


class HexFields(ByFieldMessageSerializer):
    def __init__(self) -> None:
        super().__init__(to_hex)


class FromHexFields(ByFieldMessageDeserializer):
    def __init__(self, message_class: Any) -> None:
        super().__init__(message_class, from_hex)


class HexBlob(BlobMessageSerializer):
    def __init__(self) -> None:
        super().__init__(to_hex)


class FromHexBlob(BlobMessageDeserializer):
    def __init__(self, message_class: Any) -> None:
        super().__init__(message_class, from_hex)


class Broken:
    """Makes nothing of anything."""

    def __init__(self, *message_class: Any) -> None: ...

    def __call__(self, *message: Any, **known: Any) -> Any:
        raise ArithmeticError("broken")
