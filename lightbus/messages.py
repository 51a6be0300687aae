"""The three messages, and how large they may be. One object goes all the way from caller to wire and back.

Fields are fixed once a message is made, save for those that hooks may edit: ``kwargs`` and ``headers`` of a
call or an event, ``result`` of an answer, and ``native_id``, which the broker gives.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

from lightbus.exceptions import InvalidMessage

_set = object.__setattr__

#: Of each digit in the place of a UUID's variant, the one that stands there.
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
#: The most characters of an event's id.
MAX_ID = 200
#: The most bytes, levels and values that a message may have.
MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 10_000

# Possessive, and without need of its closing quote: hostile text is passed over just once.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def new_id() -> str:
    """Return a fresh random UUID (version 4, RFC 9562) as text."""
    h = os.urandom(16).hex()
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{_VARIANTS[h[16]]}{h[17:20]}-{h[20:]}"


def is_message_id(text: str) -> bool:
    """Tell whether an event may have this id: it is logged, and part of keys."""
    return 0 < len(text) <= MAX_ID and text.isprintable()


def check_limits(blob: bytes) -> None:
    """Refuse JSON that would cost too much, before any of it is decoded.

    Raises:
        InvalidMessage: It is over the limit of bytes, levels or nodes.
    """
    if len(blob) > MAX_BYTES:
        raise InvalidMessage(f"more than {MAX_BYTES} bytes")
    opened = blob.count(b"[") + blob.count(b"{")
    if opened <= MAX_DEPTH and opened + blob.count(b",") < MAX_NODES:
        return
    # Brackets and commas may stand in strings: only now is it worth taking those out.
    bare = _STRING.sub(b"", blob)
    if bare.count(b"[") + bare.count(b"{") + bare.count(b",") >= MAX_NODES:
        raise InvalidMessage(f"more than {MAX_NODES} nodes")
    depth = 0
    for bracket in bare.translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise InvalidMessage(f"more than {MAX_DEPTH} levels")


def check_sendable(what: str, blob: bytes) -> None:
    """Refuse JSON that whoever reads it would refuse.

    Args:
        what: The message, for the error.
        blob: All of it, or one of its arguments. Where it has no more bytes than :data:`MAX_NODES`, there is
            no room for so many values, and no need to call this.

    Raises:
        InvalidMessage: It has too many values. How deep these are is seen when they are made JSON values.
    """
    try:
        check_limits(blob)
    except InvalidMessage as e:
        raise InvalidMessage(
            f"{what} has {e} and would be refused: a message may have {MAX_NODES:,} values in {MAX_DEPTH} "
            "levels; send them in parts, or store them elsewhere and send their address"
        ) from None


#: The id of the message that is being handled, for log lines. It is in a list that is emptied when that is
#: done, since tasks that were begun meanwhile, and live on, keep the list.
handled: ContextVar[list[str] | None] = ContextVar("lightbus_handled", default=None)


class _Message:
    """Keeps every field but the editable ones as it was made."""

    __slots__ = ()
    _editable: ClassVar[frozenset[str]] = frozenset()
    #: The fields that a deserializer must have found.
    required_metadata: ClassVar[tuple[str, ...]] = ()

    def get_metadata(self) -> dict[str, Any]:
        """Return all but the arguments or the result, for serializers."""
        return {name: getattr(self, name) for name in self.required_metadata}

    def __setattr__(self, name: str, value: object) -> None:
        if name not in self._editable:
            editable = " and ".join(sorted(self._editable))
            raise AttributeError(f"{type(self).__name__}.{name} is fixed; a hook may edit {editable} only")
        _set(self, name, value)


def _setters(cls: Any) -> Any:
    """Return the functions that set the fields of a message as it is made, by their names.

    Each takes half the time of ``object.__setattr__``, which looks up the field again.
    """
    return SimpleNamespace(**{name: vars(cls)[name].__set__ for name in cls.__slots__})


@dataclass(slots=True, init=False)
class RpcMessage(_Message):
    """A call of one procedure.

    Args:
        api_name: Such as ``auth`` or ``support.case``.
        procedure_name: The method's name.
        kwargs: The arguments by name, as JSON values once they are on their way.
        return_path: The address of the answer; the transport of the caller fills it in.
        id: A UUID; a new one if not given.
        headers: Fields beside the arguments: ``traceparent`` and ``tracestate``, if it is traced.
        deadline: When its caller gives up, by ``time.monotonic()``, where its worker knows.
    """

    _editable = frozenset({"kwargs", "headers"})
    required_metadata = ("id", "api_name", "procedure_name", "return_path")

    api_name: str
    procedure_name: str
    kwargs: dict[str, Any]
    return_path: str
    id: str
    headers: dict[str, str] | None
    deadline: float | None = field(compare=False)

    def __init__(
        self,
        api_name: str,
        procedure_name: str,
        kwargs: dict[str, Any] | None = None,
        return_path: str = "",
        id: str = "",
        headers: dict[str, str] | None = None,
        deadline: float | None = None,
    ) -> None:
        _call.api_name(self, api_name)
        _call.procedure_name(self, procedure_name)
        _call.kwargs(self, {} if kwargs is None else kwargs)
        _call.return_path(self, return_path)
        _call.id(self, id or new_id())
        _call.headers(self, headers)
        _call.deadline(self, deadline)

    def expire_at(self, deadline: float) -> None:
        """Note when its caller gives up, by ``time.monotonic()``; its worker's transport finds that out."""
        _call.deadline(self, deadline)

    @property
    def canonical_name(self) -> str:
        """The API's and the procedure's name, with a dot between."""
        return f"{self.api_name}.{self.procedure_name}"

    def get_kwargs(self) -> dict[str, Any]:
        """Return the arguments, for serializers."""
        return self.kwargs

    @classmethod
    def from_dict(cls, metadata: Mapping[str, Any], kwargs: dict[str, Any], **extra: Any) -> RpcMessage:
        """Make a message, for deserializers."""
        return cls(**metadata, **extra, kwargs=kwargs)


_call = _setters(RpcMessage)


@dataclass(slots=True, init=False)
class ResultMessage(_Message):
    """The answer to one call.

    Args:
        result: The result of the procedure; ``repr(exception)`` if it raised.
        rpc_message_id: The id of the call that this answers.
        error: Whether the procedure raised.
        trace: The remote traceback, where the worker exposes it.
        id: A UUID; a new one if not given.
        api_name: The API that was called, where known.
        procedure_name: The procedure that was called, where known.
    """

    _editable = frozenset({"result"})
    required_metadata = ("id", "rpc_message_id")

    result: Any
    rpc_message_id: str
    error: bool
    trace: str | None
    id: str
    api_name: str
    procedure_name: str

    def __init__(
        self,
        result: Any,
        rpc_message_id: str,
        error: bool = False,
        trace: str | None = None,
        id: str = "",
        api_name: str = "",
        procedure_name: str = "",
    ) -> None:
        _answer.result(self, result)
        _answer.rpc_message_id(self, rpc_message_id)
        _answer.error(self, error)
        _answer.trace(self, trace)
        _answer.id(self, id or new_id())
        _answer.api_name(self, api_name)
        _answer.procedure_name(self, procedure_name)

    @property
    def canonical_name(self) -> str:
        """The name of the call that this answers."""
        return f"{self.api_name}.{self.procedure_name}"

    def get_metadata(self) -> dict[str, Any]:
        """Return all but the result, for serializers."""
        trace = {} if self.trace is None else {"trace": self.trace}
        return {"id": self.id, "rpc_message_id": self.rpc_message_id, "error": self.error, **trace}

    def get_kwargs(self) -> dict[str, Any]:
        """Return the result, for serializers."""
        return {"result": self.result}

    @classmethod
    def from_dict(cls, metadata: Mapping[str, Any], kwargs: dict[str, Any], **extra: Any) -> ResultMessage:
        """Make a message, for deserializers."""
        return cls(**metadata, **extra, result=kwargs.get("result"))


_answer = _setters(ResultMessage)


@dataclass(slots=True, init=False)
class EventMessage(_Message):
    """An event of an API.

    Args:
        api_name: Such as ``auth`` or ``support.case``.
        event_name: The name of the ``Event`` attribute.
        kwargs: The arguments by name, as JSON values once they are on their way.
        version: The version of the event's parameters.
        id: A UUID, or another text that names it; a new UUID if not given.
        native_id: The broker's id, once it has stored the event.
        headers: Fields beside the arguments: ``traceparent`` and ``tracestate``, if it is traced; and
            ``edited_by``, if it was a dead letter that somebody has edited.
    """

    _editable = frozenset({"kwargs", "native_id", "headers"})
    required_metadata = ("id", "api_name", "event_name", "version")

    api_name: str
    event_name: str
    kwargs: dict[str, Any]
    version: int
    id: str
    native_id: str | None
    headers: dict[str, str] | None

    def __init__(
        self,
        api_name: str,
        event_name: str,
        kwargs: dict[str, Any] | None = None,
        version: int = 1,
        id: str = "",
        native_id: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        _event.api_name(self, api_name)
        _event.event_name(self, event_name)
        _event.kwargs(self, {} if kwargs is None else kwargs)
        _event.version(self, version)
        _event.id(self, id or new_id())
        _event.native_id(self, native_id)
        _event.headers(self, headers)

    @property
    def canonical_name(self) -> str:
        """The API's and the event's name, with a dot between."""
        return f"{self.api_name}.{self.event_name}"

    def get_kwargs(self) -> dict[str, Any]:
        """Return the arguments, for serializers."""
        return self.kwargs

    @classmethod
    def from_dict(cls, metadata: Mapping[str, Any], kwargs: dict[str, Any], **extra: Any) -> EventMessage:
        """Make a message, for deserializers."""
        return cls(**{**metadata, "version": int(metadata.get("version", 1))}, **extra, kwargs=kwargs)


_event = _setters(EventMessage)
