"""Classes that a manifest names as serializer and deserializer write and read the messages."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lightbus.exceptions import InvalidMessage
from lightbus.manifest.problems import InvalidManifest
from lightbus.messages import EventMessage, ResultMessage, RpcMessage
from lightbus.serializers import (
    BlobMessageDeserializer,
    BlobMessageSerializer,
    ByFieldMessageDeserializer,
    ByFieldMessageSerializer,
)
from lightbus.transports.redis import codec
from tests.host.conftest import Bench
from tests.host.hexes import FromHexBlob, HexBlob, from_hex
from tests.host.shop import ledger
from tests.support.eventually import eventually_async
from tests.support.servers import Server

ID = "3f2b8c1e-0d4a-4f57-9a63-1c2d3e4f5a6b"
PATH = f"redis+key://shop.price:result:{ID}"


def transport(kind: str, **classes: str) -> str:
    """One API's transport with these classes of :mod:`tests.host.hexes`."""
    named = ", ".join(f"{key}: tests.host.hexes.{name}" for key, name in classes.items())
    return f"{kind}_transport: {{redis: {{{named}}}}}"


def shop(*transports: str) -> str:
    return f"apis: {{shop: {{{', '.join(transports)}}}}}\n"


def listener(handler: str) -> str:
    return f"""
policies: {{soon: {{attempts: 2, backoff: {{initial: 10ms}}}}}}
listeners: {{it: {{events: [shop.sold], handler: "tests.host.shop:{handler}", on_error: soon}}}}
"""


EVENTS = shop(transport("event", serializer="HexFields", deserializer="FromHexFields"))
CALLS = shop(
    transport("rpc", serializer="HexBlob", deserializer="FromHexBlob"),
    transport("result", serializer="HexBlob", deserializer="FromHexBlob"),
)


def entry(server: Server) -> dict[bytes, bytes]:
    """The newest event of the shop, as Redis has it."""
    ((_, fields),) = server.execute("XREVRANGE", "shop.*:stream", "+", "-", "COUNT", 1)
    return dict(zip(fields[::2], fields[1::2], strict=True))


async def test_events_are_written_and_read_by_them(bench: Bench, redis_server: Server) -> None:
    async with bench.host(EVENTS + listener("note")) as host:
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts["cup"] == 1)
        assert from_hex(entry(redis_server)[b":sku"].decode()) == "cup"
        (found,) = [event async for event in host.client.transports().event("shop").history("shop")]
        assert found.kwargs == {"sku": "cup"}


async def test_inspect_reads_one_api_s_events_with_them(bench: Bench) -> None:
    async with bench.host(EVENTS) as host:
        await host.fire("cup")
    manifest = ("-c", f"{bench.folder}/lightbus.yaml", "--set", f"bus.redis.url={bench.url}")
    command = [sys.executable, "-m", "lightbus", "inspect", *manifest, "--api", "shop", "--format", "json"]
    root = Path(__file__).parents[2]
    found = await asyncio.to_thread(subprocess.run, command, cwd=root, capture_output=True, check=True)
    assert json.loads(found.stdout)["kwargs"] == {"sku": "cup"}


async def test_an_event_that_failed_comes_again(bench: Bench) -> None:
    async with bench.host(EVENTS + listener("fail_once")) as host:
        await host.fire("cup")
        await eventually_async(lambda: ledger.counts["cup"] == 2)


async def test_a_dead_letter_is_read_by_them(bench: Bench) -> None:
    async with bench.host(EVENTS + listener("fail")) as host:
        await host.fire("cup")
        transport = host.client.transports().event("shop")

        async def letters() -> list[Any]:
            return [(letter.attempts, letter.message.kwargs) async for letter in transport.list_dead()]

        assert await eventually_async(letters) == [(2, {"sku": "cup"})]


async def test_calls_and_answers_are_written_and_read_by_them(bench: Bench, redis_server: Server) -> None:
    async with bench.host(CALLS) as host:
        assert await host.bus.shop.price.call_async(sku="cup") == 3
        redis_server.execute("SET", f"rpc_expiry_key:{ID}", 1)
        call = HexBlob()(RpcMessage("shop", "price", {"sku": "teapot"}, PATH, ID))
        redis_server.execute("RPUSH", "shop:rpc_queue", call)
        key = PATH.partition("//")[2]
        answer = await eventually_async(lambda: redis_server.execute("LPOP", key))
        read = FromHexBlob(ResultMessage)(answer, api_name="shop", procedure_name="price")
        assert isinstance(read, ResultMessage) and (read.result, read.rpc_message_id) == (6, ID)


async def test_what_they_can_not_read_goes_to_the_dead_letters(bench: Bench) -> None:
    text = shop(transport("event", deserializer="Broken"))
    async with bench.host(text + listener("note")) as host:
        await host.fire("cup")
        dead = host.client.parts.metrics.dead_letters
        await eventually_async(lambda: any("invalid_message" in labels for labels in dead.values))
    assert ledger.counts["cup"] == 0


async def test_what_they_can_not_write_is_not_sent(bench: Bench) -> None:
    broken = shop(transport("event", serializer="Broken"), transport("rpc", serializer="Broken"))
    async with bench.host(broken) as host:
        with pytest.raises(InvalidMessage, match=r"shop\.sold can't travel: Broken: ArithmeticError"):
            await host.fire("cup")
        with pytest.raises(InvalidMessage, match=r"shop\.price can't travel: Broken: ArithmeticError"):
            await host.bus.shop.price.call_async(sku="cup")
    async with bench.host(shop(transport("event", serializer="HexBlob"))) as host:
        with pytest.raises(InvalidMessage, match="HexBlob makes no map"):
            await host.fire("cup")


async def test_an_answer_that_nobody_can_read_or_write_is_an_error_at_once_and_ends_nothing(
    bench: Bench,
) -> None:
    broken = shop("rpc_timeout: 60s", transport("result", serializer="Broken", deserializer="Broken"))
    async with bench.host(broken) as host:
        for _ in range(2):
            with pytest.raises(
                InvalidMessage, match=r"shop\.price was run, but its answer can't be read: Broken"
            ):
                await host.bus.shop.price.call_async(sku="cup")
    assert ledger.counts["price"] == 2


def test_a_class_that_is_not_there_is_told_where_it_is_named(bench: Bench) -> None:
    named = "event_transport: {redis: {serializer: tests.host.hexes.Nothing}}"
    with pytest.raises(InvalidManifest, match=r"serializer: the class tests\.host\.hexes\.Nothing can't be"):
        bench.host(shop(named))


@pytest.mark.parametrize(
    "message",
    [
        RpcMessage("shop", "price", {"sku": "cup"}, PATH, ID),
        ResultMessage({"a": 1}, ID, error=True, trace="there", id=ID),
        EventMessage("shop", "sold", {"sku": "cup", "n": [1, None]}, 3, ID, "1-0"),
    ],
)
def test_those_of_1x_write_and_read_what_the_transports_do(message: Any) -> None:
    if isinstance(message, EventMessage):
        fields = [str(part) if isinstance(part, int) else part for part in codec.encode_event(message)]
        written = dict(zip(fields[::2], fields[1::2], strict=True))
        made = {name: str(value).encode() for name, value in ByFieldMessageSerializer()(message).items()}
        assert made == {n: v.encode() if isinstance(v, str) else v for n, v in written.items()}
        assert ByFieldMessageDeserializer(EventMessage)(made, native_id="1-0") == message
        return
    is_call = isinstance(message, RpcMessage)
    blob = codec.encode_call(message, PATH) if is_call else codec.encode_result(message)
    assert json.loads(BlobMessageSerializer()(message)) == json.loads(blob)
    known = {} if is_call else {"api_name": "", "procedure_name": ""}
    assert BlobMessageDeserializer(type(message))(blob, **known) == message
