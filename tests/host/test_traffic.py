"""At the log level debug, each call and event has a line on each side, without what it carries."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

from lightbus.exceptions import LightbusWorkerError
from lightbus.host.logs import JsonFormatter
from tests.host.conftest import Bench
from tests.host.shop import ledger
from tests.support.eventually import eventually_async
from tests.support.servers import Server

LISTENING = "listeners: {notes: {events: [shop.sold], handler: 'tests.host.shop:note'}}"
LISTS = "listeners: {notes: {events: [shop.sold], handler: 'tests.host.shop:note_list', batch: 10}}"
ALL = "listeners: {notes: {events: ['shop.*'], handler: 'tests.host.shop:note'}}"
LINE = r"(?P<what>[\w ]+) (?P<name>shop\.\w+) \((?P<id>[-\w]+)\): (?P<outcome>\w+), \d+\.\d ms"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, ...]]]:
    """What the lines about messages say by now: what was done, the name, the outcome and the id."""
    caplog.set_level(logging.DEBUG, "lightbus.runtime.traffic")

    def so_far() -> list[tuple[str, ...]]:
        records = [record for record in caplog.records if record.name == "lightbus.runtime.traffic"]
        found = [re.fullmatch(LINE, record.getMessage()) for record in records]
        assert [f"{f and f['id']}" for f in found] == [vars(record)["message_id"] for record in records]
        return [(f["what"], f["name"], f["outcome"], f["id"]) for f in found if f]

    return so_far


async def test_a_call_has_one_where_it_is_made_and_one_where_it_is_answered(
    bench: Bench, lines: Callable[[], Any]
) -> None:
    async with bench.host(), bench.client() as bus:
        assert await bus.shop.price.call_async(sku="secret cup") == 10
        with pytest.raises(LightbusWorkerError):
            await bus.shop.fail.call_async()
    assert [line[:3] for line in lines()] == [
        ("answered", "shop.price", "ok"),
        ("called", "shop.price", "ok"),
        ("answered", "shop.fail", "error"),
        ("called", "shop.fail", "error"),
    ]
    ids = [line[3] for line in lines()]
    assert ids[0] == ids[1] != ids[2] == ids[3]


@pytest.mark.parametrize("listeners", [LISTENING, LISTS], ids=["one by one", "in lists"])
async def test_an_event_has_one_where_it_is_fired_and_one_for_each_listener(
    bench: Bench, lines: Callable[[], Any], listeners: str
) -> None:
    async with bench.host(listeners) as host:
        await host.fire("cup")
        many = [("shop", "sold", {"sku": sku}) for sku in ("pot", "pan")]
        ids = [event.id for event in await host.client.fire_many(many)]
        await eventually_async(lambda: len(lines()) == 6)
    done = {line[:3] for line in lines()}
    assert done == {("fired", "shop.sold", "ok"), ("notes got", "shop.sold", "ok")}
    for message_id in ids:
        assert sorted(what for what, *_, of in lines() if of == message_id) == ["fired", "notes got"]


async def test_an_event_that_is_not_stored_has_one_too(bench: Bench, lines: Callable[[], Any]) -> None:
    async with bench.host() as host:
        host.server.execute("SET", "shop.*:stream", "no stream")
        for fire in (host.fire("cup"), host.client.fire_many([("shop", "sold", {"sku": "pot"})])):
            with pytest.raises(Exception, match="WRONGTYPE"):
                await fire
    assert [line[:3] for line in lines()] == [("fired", "shop.sold", "failed")] * 2


async def test_as_json_each_has_what_it_says_as_fields(
    bench: Bench, lines: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.host(LISTENING) as host, bench.client() as bus:
        assert await bus.shop.price.call_async(sku="secret cup") == 10
        await host.fire("cup")
        await eventually_async(lambda: len(lines()) == 4)
    records = [record for record in caplog.records if record.name == "lightbus.runtime.traffic"]
    written = [json.loads(JsonFormatter().format(record)) for record in records]
    for line, (*_, message_id) in zip(written, lines(), strict=True):
        assert line["message_id"] == message_id
        assert line["message"].endswith(f": ok, {line['ms']:.1f} ms") and line["ms"] >= 0
    names = ("done", "api", "procedure", "event", "listener", "outcome")
    found = [{name: line[name] for name in names if name in line} for line in written]
    call = {"api": "shop", "procedure": "price", "outcome": "ok"}
    event = {"api": "shop", "event": "sold", "outcome": "ok"}
    assert found[:2] == [{"done": "answered", **call}, {"done": "called", **call}]
    assert {"done": "fired", **event} in found[2:]
    assert {"done": "got", **event, "listener": "notes"} in found[2:]


async def test_a_name_from_the_wire_makes_no_line_of_its_own(
    bench: Bench, redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "lightbus.runtime.traffic")
    async with bench.host(ALL):
        about = (
            "id",
            "1",
            "api_name",
            "shop",
            "event_name",
            "sold\n12:00:00 error all is lost",
            "version",
            "1",
        )
        redis_server.execute("XADD", "shop.*:stream", "*", *about, ":sku", '"cup"')
        await eventually_async(lambda: ledger.counts["cup"])
        await eventually_async(lambda: "notes got" in caplog.text)
    (said,) = [record.getMessage() for record in caplog.records if record.name == "lightbus.runtime.traffic"]
    assert said.startswith(r"notes got 'shop.sold\n12:00:00 error all is lost' (1): ok, ")


async def test_nothing_is_made_of_them_at_other_levels(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "lightbus")
    monkeypatch.setattr(
        "lightbus.runtime.traffic.log", lambda *_: pytest.fail("a line is made that nobody reads")
    )
    async with bench.host(LISTENING) as host:
        await host.fire("cup")
        await host.client.fire_many([("shop", "sold", {"sku": "pot"})])
        assert await host.bus.shop.price.call_async(sku="cup") == 3
        await eventually_async(lambda: ledger.counts["pot"])
        await asyncio.sleep(0)
