"""Bytes on the wire: those of Lightbus 1.x, those at the limits, and any others."""

from __future__ import annotations

import json
import string
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightbus import messages, values
from lightbus.exceptions import InvalidMessage
from lightbus.messages import MAX_BYTES, EventMessage, ResultMessage, RpcMessage
from lightbus.transports.redis import codec
from lightbus.transports.redis.keys import expiry_prefix, queue_key, stream_key
from lightbus.values.dumping import MAX_DEPTH

CAPTURE = json.loads((Path(__file__).parent / "lightbus-1.3-commands.json").read_text())
COMMANDS: list[list[str]] = CAPTURE["commands"]
CALLS = [command for command in COMMANDS if command[0] == "RPUSH"]
ANSWERS = [command for command in COMMANDS if command[0] == "LPUSH"]
EVENTS = [command for command in COMMANDS if command[0] == "XADD" and "id" in command]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
NAMES = st.text(string.ascii_lowercase + "_", min_size=1, max_size=20)
ARGUMENTS = st.dictionaries(NAMES, JSON, max_size=5)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def encode_call(message: RpcMessage) -> bytes:
    """A call's blob, answered where the call says."""
    return codec.encode_call(message, message.return_path)


def entry(message: EventMessage) -> list[bytes]:
    """An event's fields as a reader gets them."""
    return [part if isinstance(part, bytes) else str(part).encode() for part in codec.encode_event(message)]


class TestLightbus1:
    @pytest.mark.parametrize("command", CALLS, ids=lambda c: json.loads(c[2])["metadata"]["procedure_name"])
    def test_a_call_is_read_and_written_alike(self, command: list[str]) -> None:
        _, key, blob = command
        call = codec.decode_call(blob.encode())
        assert key == queue_key(call.api_name)
        assert json.loads(encode_call(call)) == json.loads(blob)
        assert ["SET", expiry_prefix(call.api_name, is_cluster=False) + call.id, "1"] in COMMANDS

    @pytest.mark.parametrize("command", ANSWERS, ids=lambda c: c[1].partition(":")[0])
    def test_an_answer_is_read_and_written_alike(self, command: list[str]) -> None:
        _, key, blob = command
        result = codec.decode_result(blob.encode())
        assert json.loads(codec.encode_result(result)) == json.loads(blob)
        (call,) = [
            call
            for call in (codec.decode_call(c[2].encode()) for c in CALLS)
            if call.id == result.rpc_message_id
        ]
        assert codec.return_key(call.return_path) == key

    @pytest.mark.parametrize("command", EVENTS, ids=lambda c: c[11])
    def test_an_event_is_read_and_written_alike(self, command: list[str]) -> None:
        fields = command[command.index("*") + 1 :]
        message, extra = codec.decode_event([field.encode() for field in fields], "1-1")
        assert message is not None
        assert (extra, message.native_id) == ({}, "1-1")
        assert command[1] == stream_key(message.api_name, message.event_name, "per_api")
        written = [part.decode() for part in entry(message)]
        assert written[::2] == fields[::2]
        # Arguments are compared as values: 1.x puts spaces after commas.
        assert written[1:8:2] == fields[1:8:2]
        assert list(map(json.loads, written[9::2])) == list(map(json.loads, fields[9::2]))

    def test_its_placeholder_is_no_event(self) -> None:
        (placeholder,) = [command for command in COMMANDS if command[:1] == ["XADD"] and "id" not in command]
        assert codec.decode_event([field.encode() for field in placeholder[3:]], "1-1") == (None, {})


class TestReturnPaths:
    @pytest.mark.parametrize(
        "path",
        [
            "redis+key://lightbus:reply:" + "aZ0_-" * 8 + "abc",
            "redis+key://auth.check:result:bf5d6e5c-e66b-11f1-b210-02fc00000001",
            "redis+key://support.case.close:result:" + "0" * 32,
        ],
    )
    def test_those_that_a_caller_makes_name_a_key(self, path: str) -> None:
        assert codec.return_key(path) == path.removeprefix("redis+key://")

    @given(st.text())
    def test_nothing_else_does(self, text: str) -> None:
        assert codec.return_key(text) is None
        key = codec.return_key("redis+key://" + text)
        assert key is None or ":result:" in key or key.startswith("lightbus:reply:")


class TestLimits:
    def test_a_call_of_as_many_bytes_as_allowed_passes_and_one_more_does_not(self) -> None:
        message = RpcMessage("auth", "check", {"a": ""})
        room = MAX_BYTES - len(encode_call(message))
        message.kwargs["a"] = "x" * room
        assert codec.decode_call(encode_call(message)).kwargs == message.kwargs
        message.kwargs["a"] += "x"
        with pytest.raises(InvalidMessage, match=r"auth\.check is 1,048,577 bytes"):
            encode_call(message)
        with pytest.raises(InvalidMessage, match="bytes"):
            codec.decode_call(b'{"metadata": {}, "kwargs": {"a": "' + b"x" * MAX_BYTES + b'"}}')

    def test_a_result_of_too_many_bytes_is_refused(self) -> None:
        with pytest.raises(InvalidMessage, match=r"result of .* bytes"):
            codec.encode_result(ResultMessage("x" * MAX_BYTES, "1"))
        with pytest.raises(InvalidMessage, match="bytes"):
            codec.decode_result(b" " * (MAX_BYTES + 1))

    def test_an_event_of_too_many_bytes_is_refused(self) -> None:
        with pytest.raises(InvalidMessage, match=r"auth\.happened is .* bytes"):
            codec.encode_event(EventMessage("auth", "happened", {"a": "x" * MAX_BYTES}))
        half = json.dumps("x" * (MAX_BYTES * 2 // 3)).encode()
        with pytest.raises(InvalidMessage, match="bytes"):
            codec.decode_event([*entry(EventMessage("auth", "happened")), b":a", half, b":b", half], "1-1")

    def test_what_readers_refuse_for_its_many_values_is_not_sent(self) -> None:
        many = {"a": [1] * (messages.MAX_NODES + 1)}
        sent: list[Callable[[], object]] = [
            lambda: encode_call(RpcMessage("auth", "check", many)),
            lambda: codec.encode_event(EventMessage("auth", "happened", many)),
            lambda: codec.encode_result(ResultMessage(many["a"], "1")),
        ]
        for send in sent:
            with pytest.raises(InvalidMessage, match="more than 10000 nodes and would be refused: a message"):
                send()
        # Commas in a text are none, and so many values as are allowed arrive.
        fits = RpcMessage(
            "auth", "check", {"a": [1] * (messages.MAX_NODES - 20), "b": "," * messages.MAX_NODES}
        )
        assert codec.decode_call(encode_call(fits)).kwargs == fits.kwargs

    def test_what_is_as_deep_as_can_be_sent_is_read(self) -> None:
        deep = values.dump(nested(MAX_DEPTH))
        call, event = RpcMessage("auth", "check", {"a": deep}), EventMessage("auth", "happened", {"a": deep})
        assert codec.decode_call(encode_call(call)).kwargs == {"a": deep}
        assert codec.decode_result(codec.encode_result(ResultMessage(deep, call.id))).result == deep
        read, _ = codec.decode_event(entry(event), "1-1")
        assert read is not None and read.kwargs == {"a": deep}

    @pytest.mark.parametrize("levels", [messages.MAX_DEPTH, messages.MAX_DEPTH + 1])
    def test_levels(self, levels: int) -> None:
        blob = json.dumps(nested(levels)).encode()
        if levels <= messages.MAX_DEPTH:
            messages.check_limits(blob)
        else:
            with pytest.raises(InvalidMessage, match="more than 64 levels"):
                messages.check_limits(blob)

    def test_many_lists_side_by_side_are_not_deep(self) -> None:
        messages.check_limits(json.dumps([[[]]] * 1_000).encode())

    @pytest.mark.parametrize("nodes", [messages.MAX_NODES - 1, messages.MAX_NODES + 1])
    def test_nodes(self, nodes: int) -> None:
        blob = json.dumps([1] * nodes).encode()
        if nodes < messages.MAX_NODES:
            messages.check_limits(blob)
        else:
            with pytest.raises(InvalidMessage, match="more than 10000 nodes"):
                messages.check_limits(blob)

    def test_brackets_and_commas_in_text_do_not_count(self) -> None:
        messages.check_limits(json.dumps(['[{,"\\' * 20_000, "\\", '"' * 100]).encode())

    def test_as_many_arguments_as_allowed_pass_and_one_more_does_not(self) -> None:
        kwargs = {f"a{n}": n for n in range(codec.MAX_FIELDS)}
        call = RpcMessage("auth", "check", dict(kwargs))
        event = EventMessage("auth", "happened", dict(kwargs))
        assert codec.decode_call(encode_call(call)).kwargs == kwargs
        message, _ = codec.decode_event(
            # A retry adds two fields, which must not make it too many.
            [*entry(event), b"attempts", b"1", b"origin", b"1-1"],
            "1-1",
        )
        assert message is not None
        assert message.kwargs == kwargs
        call.kwargs["more"] = event.kwargs["more"] = 1
        with pytest.raises(InvalidMessage, match="1000 arguments"):
            codec.decode_call(encode_call(call))
        with pytest.raises(InvalidMessage, match="1000 arguments"):
            codec.encode_event(event)
        with pytest.raises(InvalidMessage, match="1000 fields"):
            codec.decode_event([b"a", b"b"] * 1_100, "1-1")

    @pytest.mark.parametrize(
        "blob",
        [
            b"[" * MAX_BYTES,
            b'{"a":"' + b"," * 10_001 + b'\\"' * 500_000,
            b'"' * MAX_BYTES,
            b"," * 10_001 + b'"\\' * 500_000,
            b"9" * MAX_BYTES,
            b'{"":' * 60 + b"1" * 1_000_000,
        ],
        ids=["brackets", "escapes", "quotes", "mixed", "digits", "keys"],
    )
    def test_the_costliest_bytes_cost_little(self, blob: bytes) -> None:
        started = time.process_time()
        with pytest.raises(InvalidMessage):
            codec.decode_call(blob)
        assert codec.decode_sender(blob) is None
        assert time.process_time() - started < 5  # What is quadratic takes minutes.


class TestValuesThatAreNotJson:
    @pytest.mark.parametrize("value", [object(), "\ud800", {(1, 2): 3}, {"a": [object()]}])
    def test_they_are_refused(self, value: object) -> None:
        kwargs = {"a": value}
        with pytest.raises(InvalidMessage, match=r"auth\.check can't travel"):
            encode_call(RpcMessage("auth", "check", kwargs))
        with pytest.raises(InvalidMessage, match=r"auth\.happened can't travel: a"):
            codec.encode_event(EventMessage("auth", "happened", kwargs))
        with pytest.raises(InvalidMessage, match="can't travel"):
            codec.encode_result(ResultMessage(value, "1"))


class TestRoundTrips:
    @settings(suppress_health_check=[HealthCheck.too_slow])
    @given(NAMES, NAMES, ARGUMENTS, st.uuids())
    def test_calls(self, api: str, name: str, kwargs: dict[str, Any], call_id: uuid.UUID) -> None:
        path = f"redis+key://{api}.{name}:result:{call_id}"
        call = RpcMessage(api, name, kwargs, path, str(call_id))
        assert codec.decode_call(encode_call(call)) == call

    @given(JSON, st.booleans(), st.none() | st.text())
    def test_answers(self, value: Any, error: bool, trace: str | None) -> None:
        result = ResultMessage(value, str(uuid.uuid4()), error, trace)
        assert codec.decode_result(codec.encode_result(result)) == result

    @given(NAMES, NAMES, st.dictionaries(st.text(), JSON, max_size=5), st.integers(0, 999_999_999))
    def test_events(self, api: str, name: str, kwargs: dict[str, Any], version: int) -> None:
        message = EventMessage(api, name, kwargs, version, native_id="1-1")
        assert codec.decode_event(entry(message), "1-1") == (message, {})


BYTES = st.binary() | st.text().map(str.encode) | JSON.map(lambda value: json.dumps(value).encode())
FIELD_NAMES = st.sampled_from([b"id", b"api_name", b"event_name", b"version", b":a", b":", b""]) | st.binary()
ODD_BLOBS = st.fixed_dictionaries(
    {},
    optional={
        "metadata": JSON
        | st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(
                ("id", "api_name", "procedure_name", "return_path", "rpc_message_id", "error", "trace"),
                JSON | st.uuids().map(str),
            ),
        ),
        "kwargs": JSON,
    },
).map(lambda value: json.dumps(value).encode())


class TestAnyBytes:
    """They make a message or an InvalidMessage, and never another error."""

    @given(BYTES | ODD_BLOBS)
    def test_as_a_call(self, blob: bytes) -> None:
        try:
            call = codec.decode_call(blob)
        except InvalidMessage as e:
            assert len(str(e)) < 500
        else:
            assert uuid.UUID(call.id)
            assert isinstance(call.kwargs, dict)
            codec.return_key(call.return_path)
        codec.decode_sender(blob)

    @given(BYTES | ODD_BLOBS)
    def test_as_an_answer(self, blob: bytes) -> None:
        try:
            codec.decode_result(blob)
        except InvalidMessage as e:
            assert len(str(e)) < 500

    @given(st.lists(st.tuples(FIELD_NAMES, BYTES), max_size=8))
    def test_as_an_event(self, pairs: list[tuple[bytes, bytes]]) -> None:
        try:
            message, _ = codec.decode_event([part for pair in pairs for part in pair], "1-1")
        except InvalidMessage as e:
            assert len(str(e)) < 500
        else:
            assert message is None or isinstance(message.kwargs, dict)

    @given(BYTES)
    def test_within_limits_or_not(self, blob: bytes) -> None:
        try:
            messages.check_limits(blob)
        except InvalidMessage:
            return
