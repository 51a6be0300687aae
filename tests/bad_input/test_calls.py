"""Bad blobs in the queue of calls, and what is beside it."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.support.eventually import eventually

from .conftest import MARGIN, PAYLOAD, QUEUE, Stage, good_call

HUGE = PAYLOAD * (20 * 1024 * 1024 // len(PAYLOAD))


def call(metadata: dict[str, Any] | None = None, kwargs: object = None, **more: Any) -> bytes:
    """A call of which something is changed; what is None is left out."""
    blob = json.loads(good_call(sku=PAYLOAD)[0])
    for name, value in (metadata or {}).items():
        blob["metadata"][name] = value
        if value is None:
            del blob["metadata"][name]
    if kwargs is not None:
        blob["kwargs"] = kwargs
    return json.dumps({**blob, **more}).encode()


#: Blobs that nobody can have meant as a call: dropped, since nobody is known to wait.
NO_CALL: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": PAYLOAD.encode(),
    "half of one": call()[:-20],
    "no text": b"\xff\xfe" + call(),
    "a number": b"1",
    "a text": json.dumps(PAYLOAD).encode(),
    "null": b"null",
    "NaN": b"NaN",
    "a list": json.dumps([PAYLOAD]).encode(),
    "a million digits": b"9" * 1_000_000,
    "200,000 levels": b"[" * 200_000 + b"]" * 200_000,
    "200,000 levels that do not end": b'[{"a":' * 100_000,
    "no metadata": json.dumps({"kwargs": {"sku": PAYLOAD}}).encode(),
    "metadata that is a list": json.dumps({"metadata": [PAYLOAD], "kwargs": {}}).encode(),
    "no id": call({"id": None}),
    "an id that is no UUID": call({"id": PAYLOAD}),
    "an id that is a list": call({"id": [PAYLOAD]}),
    "no API": call({"api_name": None}),
    "no procedure": call({"procedure_name": None}),
    "20 MB": call(kwargs={"sku": HUGE}),
    "20 MB of a name": call(kwargs={HUGE: 1}),
}

#: Blobs whose sender is known, and told.
ANSWERED: dict[str, Any] = {
    "arguments that are a list": [PAYLOAD],
    "arguments that are a number": 7,
    "an argument that nobody knows": {"sku": "x", "strange" * 10_000: PAYLOAD},
    "no argument": {},
    "an argument that does not fit": {"sku": [PAYLOAD]},
    "65 levels": {"sku": json.loads("[" * 65 + "]" * 65)},
    "20,000 nodes": {"sku": [PAYLOAD] * 20_000},
    "2,000 arguments": {f"a{n}": n for n in range(2_000)},
}


@pytest.mark.parametrize("name", NO_CALL)
def test_what_is_no_call_is_dropped(stage: Stage, name: str) -> None:
    memory = stage.memory
    stage.push(NO_CALL[name])
    stage.call()
    stage.complains_once(f"a message in {QUEUE} is dropped: ")
    eventually(lambda: stage.memory <= memory + MARGIN)
    eventually(lambda: stage.server.execute("KEYS", "{shop:rpc_queue}:taken:*") == [])


@pytest.mark.parametrize("name", ANSWERED)
def test_a_call_that_cannot_be_run_is_answered(stage: Stage, name: str) -> None:
    blob = json.loads(good_call(sku="x")[0])
    blob["kwargs"] = ANSWERED[name]
    stage.push(json.dumps(blob).encode())
    assert answer_to(stage, blob)["metadata"]["error"] is True
    stage.call()
    stage.complains_once("is dropped: " if "dropped" in stage.log else "is answered with an error")


def answer_to(stage: Stage, blob: dict[str, Any]) -> dict[str, Any]:
    reply = blob["metadata"]["return_path"].removeprefix("redis+key://")
    (answer,) = eventually(lambda: stage.server.execute("LRANGE", reply, 0, -1))
    found: dict[str, Any] = json.loads(answer)
    return found


@pytest.mark.parametrize(
    "name",
    ["__class__", "__init__", "_private", "Meta", "get_event", "sold", "__lightbus__", "", "x" * 70_000],
)
def test_a_procedure_is_never_looked_up_by_a_name_from_outside(stage: Stage, name: str) -> None:
    call_id = str(uuid.uuid4())
    key = f"shop.order:result:{call_id}"
    blob = json.loads(call({"id": call_id, "procedure_name": name, "return_path": f"redis+key://{key}"}))
    stage.push(json.dumps(blob).encode())
    answer = answer_to(stage, blob)
    assert answer["metadata"]["error"] is True
    assert len(answer["kwargs"]["result"]) < 500
    stage.call()
    stage.complains_once("is answered with an error")


@pytest.mark.parametrize("path", ["redis+key://shop.*:stream", PAYLOAD, "", None, "x" * 1_000_000])
def test_an_answer_goes_nowhere_where_its_path_is_none(stage: Stage, path: str | None) -> None:

    def keys() -> set[bytes]:
        return set(stage.server.execute("KEYS", "*"))

    # Others may go meanwhile, since many have their time.
    before = keys()
    stage.push(call({"return_path": path}, {"sku": "x"}))
    stage.call()
    stage.complains_once("can't be answered")
    eventually(lambda: keys() <= before)  # Calls are held for a moment after they were answered.


def test_metadata_that_nobody_knows_is_passed_over(stage: Stage) -> None:
    blob = json.loads(good_call(sku="x")[0])
    blob["metadata"]["traceparent"] = [PAYLOAD]
    blob[PAYLOAD] = 1
    stage.push(json.dumps(blob).encode())
    assert answer_to(stage, blob)["kwargs"] == {"result": "x"}
    stage.complains_once()


def test_a_call_of_another_api_is_refused(stage: Stage) -> None:
    stage.push(call({"api_name": "other"}))
    stage.call()
    stage.complains_once(f"a message in {QUEUE} is dropped: ")
