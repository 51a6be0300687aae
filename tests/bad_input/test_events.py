"""Bad entries of the stream of events and of what a group keeps beside it."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.support.eventually import eventually

from .conftest import GROUP, MARGIN, PAYLOAD, STREAM, Stage, changed, good_event
from .letters import replay_all

RETRY, DEAD = f"{{{STREAM}}}:retry:{GROUP}", f"{{{STREAM}}}:dead:{GROUP}"
DELAYED, BODIES = f"{{{STREAM}}}:delayed:{GROUP}", f"{{{STREAM}}}:bodies:{GROUP}"

DEEP = "[" * 200_000 + "]" * 200_000
HUGE = json.dumps(PAYLOAD * (20 * 1024 * 1024 // len(PAYLOAD)))

#: Entries that no listener can read.
UNREADABLE: dict[str, list[str | bytes]] = {
    "nothing of an event": ["x", PAYLOAD],
    "no id": changed(good_event(sku=PAYLOAD), id=None),
    "no API": changed(good_event(sku=PAYLOAD), api_name=None),
    "no event": changed(good_event(sku=PAYLOAD), event_name=None),
    "an id of a megabyte": changed(good_event(sku=PAYLOAD), id=PAYLOAD * 70_000),
    "an id of two lines": changed(good_event(sku="x"), id=f"1\n2026-01-01 ERROR {PAYLOAD}"),
    "an empty id": changed(good_event(sku=PAYLOAD), id=""),
    "an id that is no text": changed(good_event(sku=PAYLOAD), id=b"\xff\xfe"),
    "a version that is no number": changed(good_event(sku=PAYLOAD), version="one"),
    "a version of a million digits": changed(good_event(sku=PAYLOAD), version="9" * 1_000_000),
    "an argument that is no JSON": [*good_event(), ":sku", PAYLOAD],
    "half an argument": [*good_event(), ":sku", f'"{PAYLOAD}'],
    "200,000 levels": [*good_event(), ":sku", DEEP],
    "200,000 levels that do not end": [*good_event(), ":sku", '[{"a":' * 100_000],
    "an argument that is no text": [*good_event(), ":sku", b'"\xff\xfe"'],
    "a name that is no text": [*good_event(), b":\xff\xfe", f'"{PAYLOAD}"'],
    "a number of a million digits": [*good_event(), ":sku", "9" * 1_000_000],
    "20 MB": [*good_event(), ":sku", HUGE],
    "20 MB of a name": [*good_event(), ":" + HUGE, "1"],
    "5,000 arguments": [*good_event(), *(text for n in range(5_000) for text in (f":a{n}", "1"))],
    "50,000 nodes": [*good_event(), ":sku", json.dumps([PAYLOAD] * 50_000)],
}

#: Arguments that can be read, and that the handler can't take.
UNFIT = {
    "a list": json.dumps([PAYLOAD]),
    "an object": json.dumps({PAYLOAD: 1}),
    "null": "null",
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "a number beyond every float": "1e400",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_event_is_put_aside_by_each_listener(stage: Stage, name: str) -> None:
    before, memory = len(stage.dead()), stage.memory
    stage.add(*UNREADABLE[name])
    stage.fire()
    stage.complains_once(*[f"an entry of {STREAM} becomes a dead letter unread: "] * 2)
    eventually(lambda: len(stage.dead()) == before + 1)
    assert stage.dead()[-1][b"reason"] == b"invalid_message"
    eventually(lambda: stage.memory <= memory + MARGIN)
    for listener in ("note", "all"):
        stage.server.execute("DEL", f"{{{STREAM}}}:dead:shop-{listener}")


@pytest.mark.parametrize("name", UNFIT)
def test_arguments_that_do_not_fit_are_put_aside(stage: Stage, name: str) -> None:
    before, memory = len(stage.dead()), stage.memory
    stage.add(*good_event(), ":sku", UNFIT[name])
    stage.fire()
    eventually(lambda: len(stage.dead()) == before + 1)
    stage.complains_once(*["shop.sold"] * 2)
    eventually(lambda: stage.memory <= memory + MARGIN)


def test_fields_that_nobody_knows_are_passed_over(stage: Stage) -> None:
    stage.add("traceparent", "00-1", b"\x01\x02", "x", *good_event(sku="with-more"))
    eventually(lambda: "noted with-more" in stage.log)
    stage.complains_once()


def test_a_placeholder_is_passed_over(stage: Stage) -> None:
    stage.add("", "")
    stage.fire()
    stage.complains_once()


@pytest.mark.parametrize("name", ["__class__", "_private", "Meta", "get_event", "sold.sold", "", "*", "../x"])
def test_an_event_is_never_looked_up_by_a_name_from_outside(stage: Stage, name: str) -> None:
    stage.add(*changed(good_event(sku="x"), event_name=name))
    stage.add(*changed(good_event(sku="x"), api_name=name))
    stage.fire()
    stage.complains_once()


RETRIED = {
    "no attempts": [*good_event(sku="retried")],
    "attempts that are no number": [*good_event(sku="retried"), "attempts", PAYLOAD, "origin", "1-1"],
    "a million attempts": [*good_event(sku="retried"), "attempts", "9" * 1_000_000, "origin", "1-1"],
    "attempts in other digits": [*good_event(sku="retried"), "attempts", "\u00b2", "origin", "1-1"],
    "an origin that is no id": [*good_event(sku="retried"), "attempts", "0", "origin", PAYLOAD],
}


@pytest.mark.parametrize("name", RETRIED)
def test_a_retried_event_with_odd_marks_is_handled(stage: Stage, name: str) -> None:
    stage.server.execute("XADD", RETRY, "*", *RETRIED[name])
    eventually(lambda: "noted retried" in stage.log)
    stage.fire()
    stage.complains_once()


def test_a_retried_entry_that_is_no_event_is_put_aside(stage: Stage) -> None:
    before = len(stage.dead())
    stage.server.execute("XADD", RETRY, "*", "x", PAYLOAD)
    stage.fire()
    eventually(lambda: len(stage.dead()) == before + 1)
    stage.complains_once(f"an entry of {RETRY} becomes a dead letter unread: ")


BODIES_OF = {
    "no MessagePack": PAYLOAD.encode(),
    "nothing": b"",
    "a number": b"\x01",
    "an empty list": b"\x90",
    "an odd list": b"\x93\xa1a\xa1b\xa1c",
    "a list of lists": b"\x92\x91\x01\x91\x02",
    "a map": b"\x81\xa1a\xa1b",
    "a list of nothing": b"\x92\xc0\xc0",
    "20,000 values": b"\xdd\x00\x00\x4e\x20" + b"\xa1x" * 20_000,
    "1,000 levels": b"\x91" * 1_000,
    "20 MB": b"\xdb\x01\x31\x2d\x00" + b"x" * 20_000_000,
}


@pytest.mark.parametrize("name", BODIES_OF)
def test_a_delayed_event_that_cannot_be_read_keeps_no_other_one_waiting(stage: Stage, name: str) -> None:
    before = len(stage.dead())
    stage.server.execute("HSET", BODIES, "bad", BODIES_OF[name])
    stage.server.execute("ZADD", DELAYED, 1, "bad")
    body = good_event(sku=f"late-{uuid.uuid4()}")
    packed = b"\xdc" + len(body).to_bytes(2, "big")
    packed += b"".join(b"\xda" + len(t.encode()).to_bytes(2, "big") + t.encode() for t in body)
    stage.server.execute("HSET", BODIES, "good", packed)
    stage.server.execute("ZADD", DELAYED, 2, "good")
    eventually(lambda: f"noted {json.loads(body[-1])}" in stage.log, what=stage.log)
    eventually(lambda: len(stage.dead()) == before + 1)
    letter = stage.dead()[-1]
    assert letter[b"reason"] == b"invalid_message"
    stage.complains_once("becomes a dead letter unread")
    stage.server.execute("DEL", DEAD)


@pytest.mark.parametrize("fields", [["x", PAYLOAD], ["reason", PAYLOAD, "attempts", "9" * 5_000, "x", "y"]])
def test_a_dead_letter_that_is_none_can_be_listed_replayed_and_dropped(
    stage: Stage, fields: list[str]
) -> None:
    stage.server.execute("DEL", DEAD, DEAD.replace("note", "all"))
    stage.server.execute("XADD", DEAD, "*", *fields)
    assert replay_all(stage.server.url) == [True]
    stage.fire()
    eventually(lambda: len(stage.dead()) == 1)
    stage.complains_once(f"an entry of {RETRY} becomes a dead letter unread: ")
    stage.server.execute("DEL", DEAD)
