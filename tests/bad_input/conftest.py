"""A host that stays while one bad thing after another is put into its Redis, and what is asked after each."""

from __future__ import annotations

import itertools
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.processes import Process, lightbus_process
from tests.support.servers import Server

#: Stands in every bad message, and must not be seen in a log.
PAYLOAD = "SECRET-PAYLOAD"
STREAM, QUEUE, GROUP = "shop.*:stream", "shop:rpc_queue", "shop-note"
#: How much more memory a host may hold after something large than before, in MiB. Two listeners settle 20 MB
#: each at the same time: read, parsed, packed and sent; the allocator keeps some of that for what comes next.
MARGIN = 2 * 4 * 20

BUS = """
import lightbus.runtime.complaints
from lightbus import Api, Event, Parameter


class ShopApi(Api):
    sold = Event(parameters=(Parameter("sku", str), Parameter("count", int, default=1)))

    class Meta:
        name = "shop"

    def order(self, sku: str) -> str:
        print(f"ordered {sku}", flush=True)
        return sku

    def _private(self) -> str:
        raise SystemExit("reached what is private")


# Each bad thing is to have its line.
lightbus.runtime.complaints.MOST_LINES = 1_000_000


async def note(event_message, sku, count):
    print(f"noted {sku}", flush=True)


async def note_all(event_message, **arguments):
    print(f"{event_message.event_name} noted", flush=True)
"""
MANIFEST = """
service_name: shop
modules: [bus]
apis: {default: {event_transport: {redis: {acknowledgement_timeout: 1s, consumption_restart_delay: 200ms}}}}
listeners:
  note: {events: [shop.sold], handler: "bus:note"}
  all: {events: ["shop.*"], handler: "bus:note_all"}
"""

_numbers = itertools.count()


class Stage:
    """A Redis, a host that serves ``shop`` and listens to it, and its log since the last question."""

    def __init__(self, server: Server, host: Process) -> None:
        self.server = server
        self.host = host
        self._seen = 0

    def forget(self) -> None:
        """Ask from now on only about what is logged from now on."""
        self._seen = len(self.host.output())

    @property
    def log(self) -> str:
        """What the host has written since then."""
        return self.host.output()[self._seen :]

    @property
    def complaints(self) -> list[str]:
        """The warnings and errors among it, wherever in a line: print() writes its line's end apart."""
        return [
            line for line in self.log.splitlines() if re.search(r"[0-9:]{8} (warning|error|critical) ", line)
        ]

    def add(self, *fields: str | bytes) -> str:
        """Put an entry into the stream of events."""
        entry_id: bytes = self.server.execute("XADD", STREAM, "*", *fields)
        return entry_id.decode()

    def fire(self) -> None:
        """Put a good event into the stream and wait until it is handled."""
        sku = f"good-{next(_numbers)}"
        self.add(*good_event(sku=sku))
        eventually(lambda: f"noted {sku}" in self.log, what=f"noted {sku}\n{self.log[-2000:]}")

    def call(self) -> None:
        """Put a good call into the queue and wait for its answer."""
        sku = f"good-{next(_numbers)}"
        blob, reply = good_call(sku=sku)
        self.push(blob)
        eventually(lambda: self.server.execute("LLEN", reply) == 1, what=f"answer\n{self.log[-2000:]}")
        (answer,) = self.server.execute("LRANGE", reply, 0, -1)
        assert json.loads(answer)["kwargs"] == {"result": sku}
        self.server.execute("DEL", reply)

    def push(self, blob: bytes) -> None:
        """Put a blob into the queue of calls, as one that has not expired if it has an id."""
        found = re.search(rb'"id": ?"([0-9a-f-]{36})"', blob)
        if found is not None:
            self.server.execute("SET", b"rpc_expiry_key:" + found[1], 1, "EX", 60)
        self.server.execute("RPUSH", QUEUE, blob)

    def dead(self, listener: str = "note") -> list[dict[bytes, bytes]]:
        """The dead letters of a listener."""
        entries = self.server.execute("XRANGE", f"{{{STREAM}}}:dead:shop-{listener}", "-", "+")
        return [dict(zip(fields[::2], fields[1::2], strict=True)) for _, fields in entries]

    def complains_once(self, *about: str) -> None:
        """The host writes exactly one line for each listener or queue, without payload or traceback."""
        eventually(lambda: len(self.complaints) >= len(about), what=f"{about} in {self.complaints}")
        self.is_well()
        assert len(self.complaints) == len(about), self.complaints
        for text in about:
            assert any(text in line for line in self.complaints), (text, self.complaints)

    def is_well(self) -> None:
        """The host lives, and its log has neither payload nor traceback nor very long lines."""
        assert self.host.status is None, self.log[-2000:]
        assert PAYLOAD not in self.log
        assert "Traceback" not in self.log
        assert max(map(len, self.log.splitlines()), default=0) < 1_000

    @property
    def memory(self) -> int:
        """The host's resident memory in MiB."""
        status = Path(f"/proc/{self.host.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) // 1024


def good_event(**arguments: Any) -> list[str]:
    """The fields of an event."""
    fields = ["id", str(uuid.uuid4()), "api_name", "shop", "event_name", "sold", "version", "1"]
    for name, value in {"count": 1, **arguments}.items():
        fields += [f":{name}", json.dumps(value)]
    return fields


def changed(fields: list[str], **changes: str | bytes | None) -> list[str | bytes]:
    """An event's fields with other values, or without some."""
    result: list[str | bytes] = []
    for name, value in zip(fields[::2], fields[1::2], strict=True):
        change = changes.get(name, value)
        if change is not None:
            result += [name, change]
    return result


def good_call(procedure: str = "order", **kwargs: Any) -> tuple[bytes, str]:
    """A call, and the key of its answer."""
    call_id = str(uuid.uuid4())
    reply = f"shop.{procedure}:result:{call_id}"
    metadata = {"id": call_id, "api_name": "shop", "procedure_name": procedure}
    blob = {"metadata": {**metadata, "return_path": f"redis+key://{reply}"}, "kwargs": kwargs}
    return json.dumps(blob).encode(), reply


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One host for all tests of a module, as all of them must leave it well."""
    folder = tmp_path_factory.mktemp("bad_input")
    (folder / "bus.py").write_text(BUS)
    (folder / "lightbus.yaml").write_text(MANIFEST)
    with Server("valkey") as server:
        env = {"LIGHTBUS__BUS__REDIS__URL": server.url, "LIGHTBUS__BUS__LOG_FORMAT": "text"}
        with lightbus_process("run", cwd=folder, env=env) as host:
            host.wait_for_line("ready: ")
            yield Stage(server, host)


@pytest.fixture
def stage(running: Stage) -> Stage:
    """The host, which has handled a good event and a good call."""
    running.forget()
    running.fire()
    running.call()
    running.forget()
    return running
