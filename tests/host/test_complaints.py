"""Whoever fills a queue, a stream or the contracts with what means nothing does not fill the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from lightbus.exceptions import LightbusException
from lightbus.runtime import complaints
from tests.host.conftest import Bench, Hosted
from tests.support.eventually import eventually_async
from tests.support.timers import HOUR, an_hour_passes

LISTENER = "listeners: {note: {events: [shop.sold], handler: 'tests.host.shop:note'}}"
MANY = 40


def into_queue(host: Hosted) -> None:
    host.server.execute("RPUSH", "shop:rpc_queue", *(f"garbage {number}" for number in range(MANY)))


def into_stream(host: Hosted) -> None:
    for number in range(MANY):
        host.server.execute("XADD", "shop.*:stream", "*", "garbage", str(number))


def into_listener(host: Hosted) -> None:
    """Events that do not fit."""
    for number in range(MANY):
        fields = {
            "api_name": "shop",
            "event_name": "sold",
            "id": f"id-{number}",
            "version": "1",
            ":other": "1",
        }
        host.server.execute("XADD", "shop.*:stream", "*", *(each for pair in fields.items() for each in pair))


def refused(host: Hosted) -> int:
    return host.client.parts.metrics.messages_refused.total()


def put_aside(host: Hosted) -> int:
    return int(host.server.execute("XLEN", "{shop.*:stream}:dead:shop-note"))


@pytest.mark.parametrize(
    ("fill", "text", "met"),
    [
        (into_queue, "a message in shop:rpc_queue is dropped", refused),
        (into_stream, "becomes a dead letter unread", refused),
        (into_listener, "does not fit the listener note", put_aside),
    ],
)
async def test_bad_messages_have_a_few_lines_and_a_number(
    bench: Bench,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fill: Callable[[Hosted], None],
    text: str,
    met: Callable[[Hosted], int],
) -> None:
    monkeypatch.setattr(complaints, "INTERVAL", HOUR)
    async with bench.host(LISTENER) as host:
        await asyncio.to_thread(fill, host)
        await eventually_async(lambda: met(host) == MANY)
        an_hour_passes()
        await eventually_async(
            lambda: f"without a line of their own, within 3600 s: {MANY - 5}" in caplog.text
        )
        assert caplog.text.count(text) == complaints.MOST_LINES


async def test_so_have_calls_that_do_not_fit(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    unchecked = "apis: {shop: {validate: false}}"
    async with bench.host() as host, bench.client(unchecked) as other:
        for _ in range(MANY):
            with pytest.raises(LightbusException):
                await other.shop.price.call_async(nothing=1)
        assert caplog.text.count("is answered with an error") == complaints.MOST_LINES
        assert await host.bus.shop.price.call_async(sku="cup") == 3
