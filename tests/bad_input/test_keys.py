"""Keys that hold something else than they should: the host waits until that is put right, and goes on."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest

import lightbus
from lightbus.transports.redis.events.questions.notes import notes_of
from tests.support.eventually import eventually
from tests.support.patient import patient

from .conftest import GROUP, PAYLOAD, QUEUE, STREAM, Stage, good_call, good_event

RETRY, DEAD = f"{{{STREAM}}}:retry:{GROUP}", f"{{{STREAM}}}:dead:{GROUP}"
DELAYED, BODIES = f"{{{STREAM}}}:delayed:{GROUP}", f"{{{STREAM}}}:bodies:{GROUP}"


def wrong_types(stage: Stage) -> list[str]:
    """What the host has said of keys that hold something else, without the time."""
    return [line[8:].split(None, 1)[1] for line in stage.complaints if "WRONGTYPE" in line]


def is_repaired(stage: Stage, key: str, complaints: int = 0) -> None:
    """Put a text where a key should hold something else, wait a while, and take it away.

    Args:
        stage: The host.
        key: The key.
        complaints: How often the host says something of it at least.
    """
    if key == BODIES:
        stage.server.execute("SET", key, PAYLOAD)
        # Only now: what is due and has no body is forgotten.
        stage.server.execute("ZADD", DELAYED, 1, "due")
    else:
        stage.server.execute("DEL", key)
        stage.server.execute("SET", key, PAYLOAD)
    eventually(lambda: len(wrong_types(stage)) >= complaints)
    time.sleep(2.5)  # Some sweeps and renewals.
    stage.server.execute("DEL", key)
    stage.fire()
    stage.call()
    stage.is_well()


@pytest.mark.parametrize("key", [BODIES, STREAM, DELAYED, QUEUE, RETRY])
def test_a_key_that_is_read_all_the_time_is_complained_of_once(stage: Stage, key: str) -> None:
    is_repaired(stage, key, complaints=1)
    assert len(wrong_types(stage)) <= 2, stage.complaints  # One for each listener of the stream.


@pytest.mark.parametrize(
    "key",
    [
        f"{{{STREAM}}}:groups",
        f"{{{STREAM}}}:trimming",
        "{shop:rpc_queue}:processes",
        "{shop:rpc_queue}:served",
        "schema:shop",
        "{schema:shop}:publishers",
        "{schema:shop}:owners",
        "schemas",
    ],
)
def test_a_key_beside_a_stream_or_queue_that_is_wrong_stops_nothing(stage: Stage, key: str) -> None:
    stage.server.execute("DEL", key)
    stage.server.execute("SET", key, PAYLOAD)
    stage.fire()
    stage.call()
    is_repaired(stage, key)


@pytest.mark.parametrize("member", [b"\xff\xfe", PAYLOAD.encode(), b"", b"a\nb", b"x" * 1_000_000])
def test_a_register_with_members_that_are_none_stops_nothing(stage: Stage, member: bytes) -> None:
    for key in ("{shop:rpc_queue}:processes", "schemas"):
        stage.server.execute("SADD", key, member)
    stage.server.execute("ZADD", "{schema:shop}:publishers", "inf", member)
    time.sleep(2.5)
    stage.fire()
    stage.call()
    stage.is_well()
    for key in ("{shop:rpc_queue}:processes", "schemas"):
        stage.server.execute("SREM", key, member)
    stage.server.execute("ZREM", "{schema:shop}:publishers", member)


def test_an_event_is_not_lost_where_its_dead_letters_cannot_be_kept(stage: Stage) -> None:
    stage.server.execute("DEL", DEAD)
    stage.server.execute("SET", DEAD, PAYLOAD)
    stage.add("x", PAYLOAD)
    stage.fire()
    eventually(lambda: "can't move events to its dead letters" in stage.log, what=stage.log)
    stage.server.execute("DEL", DEAD)
    eventually(lambda: len(stage.dead()) == 1)
    stage.is_well()
    stage.server.execute("DEL", DEAD)


CONTRACTS = {
    "no JSON": PAYLOAD.encode(),
    "no text": b"\xff\xfe",
    "a list": b"[1]",
    "a number": b"1",
    "200,000 levels": b"[" * 200_000 + b"]" * 200_000,
    "a million digits": b"9" * 1_000_000,
    "events that are a list": json.dumps({"events": [PAYLOAD], "rpcs": {}}).encode(),
    "a reference to a URL": json.dumps(
        {"events": {"sold": {"parameters": {"$ref": f"http://127.0.0.1:1/{PAYLOAD}"}}}, "rpcs": {}}
    ).encode(),
    "a reference to a file": json.dumps(
        {"events": {"sold": {"parameters": {"$ref": "file:///etc/passwd"}}}, "rpcs": {}}
    ).encode(),
    "a reference to itself": json.dumps(
        {"events": {"sold": {"parameters": {"$ref": "#"}}}, "rpcs": {}}
    ).encode(),
    "20 MB": json.dumps({"events": {}, "rpcs": {}, "x": PAYLOAD * 1_400_000}).encode(),
}


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_contract_that_is_none_stops_nothing(stage: Stage, name: str) -> None:
    stage.server.execute("SET", "schema:evil", CONTRACTS[name])
    stage.server.execute("SADD", "schemas", "evil")
    # An event that this host does not know makes it look at the contracts.
    fields = good_event(sku="x")
    fields[fields.index("sold")] = f"unknown_{uuid.uuid4().hex}"
    stage.add(*fields)
    eventually(lambda: f"{fields[5]} noted" in stage.log, what=stage.log)
    stage.fire()
    stage.call()
    stage.is_well()
    stage.server.execute("SREM", "schemas", "evil")
    stage.server.execute("DEL", "schema:evil")


@pytest.mark.parametrize(
    "blob",
    [b"", PAYLOAD.encode(), b"\xff\xfe", b"[1]", b"NaN", b"[" * 200_000, b"9" * 1_000_000, b"x" * 20_000_000],
)
def test_an_answer_that_is_none_keeps_no_other_one_waiting(
    stage: Stage, blob: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    bus = lightbus.create(patient(stage.server.url), service_name="caller")
    try:
        assert bus.shop.order(sku="x") == "x"
        replies: Any = bus.client.parts.connections
        transport = next(iter(replies._open.values())).rpc("shop")
        stage.server.execute("LPUSH", transport._replies._key, blob)
        assert bus.shop.order(sku="y") == "y"
        # The answer may have come first, if both have waited.
        (said,) = eventually(
            lambda: [r.getMessage() for r in caplog.records if r.levelname == "WARNING"], what="a warning"
        )
        assert said.startswith("an unreadable answer arrived and is dropped: ")
        assert PAYLOAD not in said
    finally:
        bus.client.close()


def test_a_reply_list_that_is_no_list_is_used_again_once_it_is_put_right(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    bus = lightbus.create(patient(stage.server.url), service_name="caller")
    try:
        assert bus.shop.order(sku="x") == "x"
        replies: Any = bus.client.parts.connections
        key = next(iter(replies._open.values())).rpc("shop")._replies._key
        stage.server.execute("SET", key, PAYLOAD)
        with pytest.raises(lightbus.exceptions.LightbusTimeout):
            bus.shop.order(sku="y", bus_options={"timeout": 0.5})
        stage.server.execute("DEL", key)
        assert bus.shop.order(sku="z") == "z"
        assert PAYLOAD not in caplog.text
    finally:
        bus.client.close()


def test_a_call_that_a_dead_process_has_taken_and_that_is_none_is_dropped(stage: Stage) -> None:
    blob, reply = good_call(sku="taken")
    stage.server.execute("RPUSH", "{shop:rpc_queue}:taken:gone", PAYLOAD, b"\xff", blob)
    # Last: from now on it is looked at.
    stage.server.execute("SADD", "{shop:rpc_queue}:processes", "gone")
    eventually(lambda: stage.server.execute("LLEN", reply))  # It had no expiry key: it was started.
    stage.complains_once("gone died with 3 calls", *["is dropped: not a call"] * 2)


def test_a_listener_goes_on_beside_a_retry_stream_that_is_none(stage: Stage) -> None:
    stage.server.execute("DEL", RETRY)
    stage.server.execute("SET", RETRY, PAYLOAD)
    due = "the consumer group shop-note can't take up events again that are due"
    about = ["reading events as shop-note", due]
    eventually(lambda: len(wrong_types(stage)) >= len(about))
    for _ in range(5):
        stage.fire()
        time.sleep(0.7)  # In all longer than until it is looked at again.
    # They come from two tasks, in any order.
    assert sorted(line.split(": ")[0] for line in wrong_types(stage)) == about
    is_repaired(stage, RETRY)


@pytest.mark.parametrize("count", [b"9" * 5_000, b"x", b"", b"-1"])
def test_a_note_that_should_be_a_count_and_is_none_counts_nothing(count: bytes) -> None:
    made = [None, None, None, count, None, None]
    assert notes_of([made, made]).made == b"0"
