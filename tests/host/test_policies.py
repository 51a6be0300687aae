"""Policies of the manifest, as a host acts upon them."""

from __future__ import annotations

import re
import time

import pytest

from tests.host.conftest import Bench
from tests.host.shop import ledger
from tests.support.eventually import eventually_async
from tests.support.servers import Server

DEAD = "{shop.*:stream}:dead:shop-fail"


def failing(policy: str, handler: str = "fail") -> str:
    return f"""
policies:
  base: {{backoff: {{initial: 20ms, factor: 1, jitter: false}}}}
  mine: {{extends: base, {policy}}}
listeners:
  fail: {{events: [shop.sold], handler: "tests.host.shop:{handler}", on_error: mine}}
"""


def dead_letters(server: Server) -> int:
    keys = server.execute("KEYS", "*dead*")
    return sum(server.execute("XLEN", key) for key in keys if server.execute("TYPE", key) == b"stream")


@pytest.mark.parametrize("attempts", [1, 3])
async def test_an_event_is_tried_so_often(bench: Bench, redis_server: Server, attempts: int) -> None:
    async with bench.host(failing(f"attempts: {attempts}")) as host:
        await host.fire("cup")
        await eventually_async(lambda: dead_letters(redis_server) == 1)
    assert ledger.counts["cup"] == attempts


@pytest.mark.parametrize(("max_deaths", "dead"), [(1, 1), (3, 0)])
async def test_an_event_is_put_aside_after_so_many_deaths(
    bench: Bench, redis_server: Server, max_deaths: int, dead: int
) -> None:
    stream, group = "shop.*:stream", "shop-fail"
    quick = "apis: {default: {event_transport: {redis: {acknowledgement_timeout: 200ms}}}}\n"
    text = "service_name: shop\n" + quick + failing(f"attempts: 1, max_deaths: {max_deaths}", "note")
    async with bench.host(text.replace("{events", "{enabled: false, events")) as host:
        await host.fire("cup")
    redis_server.execute("XGROUP", "CREATE", stream, group, "0")
    redis_server.execute("XREADGROUP", "GROUP", group, "killed", "STREAMS", stream, ">")
    async with bench.host(text):
        await eventually_async(lambda: redis_server.execute("XPENDING", stream, group)[0] == 0)
    assert (dead_letters(redis_server), ledger.counts["cup"]) == (dead, 1 - dead)


@pytest.mark.parametrize("name", ["tests.host.shop:NoSuchSku", "ValueError"])
async def test_an_exception_that_nothing_cures_ends_the_attempts(
    bench: Bench, redis_server: Server, name: str
) -> None:
    async with bench.host(failing(f"attempts: 3, give_up_on: ['{name}']")) as host:
        await host.fire("cup")
        await eventually_async(lambda: dead_letters(redis_server) == 1)
    assert ledger.counts["cup"] == (3 if name == "ValueError" else 1)


@pytest.mark.parametrize(
    ("backoff", "least", "most"),
    [
        ("{initial: 100ms}", 0.1, 0.1),
        ("{initial: 500ms}", 0.5, 0.5),
        ("{initial: 500ms, max: 200ms}", 0.2, 0.2),
        ("{initial: 500ms, jitter: true}", 0.2, 0.5),
    ],
)
async def test_a_retry_waits_as_its_policy_says(
    bench: Bench, caplog: pytest.LogCaptureFixture, backoff: str, least: float, most: float
) -> None:
    async with bench.host(failing(f"attempts: 2, backoff: {backoff}", "fail_once")) as host:
        fired = time.monotonic()
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts["cup"] == 2)
        assert time.monotonic() - fired >= least - 0.05
    (said,) = re.findall(r"it is tried again in (\S+) s", caplog.text)
    assert least <= float(said) <= most


async def test_waits_grow_by_the_factor_of_their_policy(bench: Bench) -> None:
    host = bench.host(failing("backoff: {initial: 1s, factor: 3, max: 1h}"))
    policy = host.client.listeners["fail"].on_error
    assert [policy.backoff.delay(n) for n in (1, 2, 3)] == [1.0, 3.0, 9.0]


@pytest.mark.parametrize(("then", "dead", "handled"), [("dead_letter", 1, 2), ("acknowledge_and_log", 0, 2)])
async def test_what_becomes_of_an_event_in_the_end_is_said_by_its_policy(
    bench: Bench, redis_server: Server, then: str, dead: int, handled: int
) -> None:
    async with bench.host(failing(f"attempts: 1, then: {then}")) as host:
        await host.fire("cup")
        await host.fire("pot")
        await eventually_async(lambda: ledger.counts["cup"] + ledger.counts["pot"] == handled)
        await eventually_async(lambda: dead_letters(redis_server) == 2 * dead)


async def test_a_policy_may_stop_its_listener(bench: Bench, redis_server: Server) -> None:
    async with bench.host(failing("attempts: 1, then: stop_listener")) as host:
        await host.fire("cup")
        await eventually_async(lambda: not host.client.listeners["fail"].enabled)
        await host.fire("pot")
    assert ledger.counts["pot"] == 0 and dead_letters(redis_server) == 0


@pytest.mark.parametrize("on_error", ["dead_letter", "acknowledge_and_log"])
async def test_a_listener_names_its_policy_or_an_outcome(
    bench: Bench, redis_server: Server, on_error: str
) -> None:
    record = bench.host(failing("attempts: 2").replace("on_error: mine", f"on_error: {on_error}"))
    assert record.client.listeners["fail"].on_error.then.value == on_error
