"""Contracts in Redis: stored, renewed, replaced, withdrawn, and what others then know."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from lightbus import Api
from lightbus.exceptions import LightbusWorkerError, NoWorker, ProcedureNotFound, ValidationError
from lightbus.options import SecretUrl
from lightbus.transports.redis.options import RedisSchemaOptions
from lightbus.transports.redis.schema import RedisSchemaTransport
from tests.contracts.buses import bus_of, hosted
from tests.support.eventually import eventually_async
from tests.support.servers import Server
from tests.support.timers import HOUR, an_hour_passes

OLD: dict[str, Any] = {"events": {}, "rpcs": {"order": {"parameters": {"type": "object"}, "response": {}}}}
NEW: dict[str, Any] = {"events": {}, "rpcs": {"buy": {"parameters": {"type": "object"}, "response": {}}}}


class ShopApi(Api):
    """What is published."""

    class Meta:
        name = "shop"
        auto_register = False

    def order(self, qty: int) -> int:
        return qty


class NextShopApi(Api):
    """The same API, a version later."""

    class Meta:
        name = "shop"
        auto_register = False

    def order(self, qty: str) -> str:
        return qty


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def published(server: Server) -> Any:
    """The contract that is in Redis."""
    blob = server.execute("GET", "schema:shop")
    return None if blob is None else json.loads(blob)


def qty_type(server: Server) -> str:
    """What the contract in Redis says of order(qty)."""
    contract = published(server)
    return (
        "" if contract is None else str(contract["rpcs"]["order"]["parameters"]["properties"]["qty"]["type"])
    )


async def within_its_time(condition: Callable[[], Any]) -> None:
    """Wait for what is to happen before a contract lapses, and let that time pass."""

    def is_so() -> bool:
        if condition():
            return True
        an_hour_passes(2 * HOUR)
        return False

    await eventually_async(is_so)


class TestThePublishedText:
    @pytest.mark.parametrize(("human_readable", "lines"), [(True, True), (False, False)])
    def test_is_indented_where_people_are_to_read_it(
        self, redis_server: Server, human_readable: bool, lines: bool
    ) -> None:
        async def scenario() -> None:
            schema = {"transport": {"redis": {}}, "human_readable": human_readable}
            async with hosted(bus_of(ShopApi, url=redis_server.url, bus={"schema": schema})):
                blob = redis_server.execute("GET", "schema:shop")
                assert (b'\n  "rpcs"' in blob) is lines
                assert json.loads(blob).keys() == {"description", "events", "rpcs"}
                assert redis_server.execute("SMEMBERS", "schemas") == [b"shop"]

        run(scenario())

    @pytest.mark.parametrize("ttl", [HOUR, 4 * HOUR])
    def test_lasts_as_long_as_the_manifest_says(self, redis_server: Server, ttl: float) -> None:
        async def scenario() -> None:
            schema = {"transport": {"redis": {}}, "ttl": ttl}
            async with hosted(bus_of(ShopApi, url=redis_server.url, bus={"schema": schema})):
                assert ttl / 2 < redis_server.execute("PTTL", "schema:shop") / 1000 <= ttl

        run(scenario())

    def test_is_renewed_before_it_lapses(self, redis_server: Server) -> None:
        async def scenario() -> None:
            async with hosted(bus_of(ShopApi, url=redis_server.url)):
                redis_server.execute("EXPIRE", "schema:shop", 60)
                await within_its_time(lambda: redis_server.execute("TTL", "schema:shop") > 60)

        run(scenario())

    def test_comes_back_where_redis_lost_it(self, redis_server: Server) -> None:
        async def scenario() -> None:
            async with hosted(bus_of(ShopApi, url=redis_server.url)):
                redis_server.execute("FLUSHALL")
                await within_its_time(lambda: published(redis_server))

        run(scenario())


class TestTheEndOfAHost:
    def test_takes_the_contract_away_so_that_callers_fail_at_once(self, redis_server: Server) -> None:
        async def scenario() -> None:
            client = bus_of(url=redis_server.url, service="web")
            async with hosted(bus_of(ShopApi, url=redis_server.url)):
                assert await client.shop.order.call_async(qty=1) == 1
            assert published(redis_server) is None
            await client.client.close_async()
            client = bus_of(url=redis_server.url, service="web")
            with pytest.raises(NoWorker):  # A call that waits ends with a timeout, which says something else.
                await client.shop.order.call_async(qty=1)
            await client.client.close_async()

        run(scenario())

    def test_leaves_the_contract_where_another_process_serves_the_same(self, any_redis: Server) -> None:
        async def scenario() -> None:
            async with hosted(bus_of(ShopApi, url=any_redis.url)):
                async with hosted(bus_of(ShopApi, url=any_redis.url)):
                    pass
                assert published(any_redis)
            assert published(any_redis) is None

        run(scenario())

    def test_leaves_the_contract_of_a_version_that_has_started_later(self, redis_server: Server) -> None:
        async def scenario() -> None:
            async with hosted(bus_of(NextShopApi, url=redis_server.url)) as late:
                async with hosted(bus_of(ShopApi, url=redis_server.url)):
                    assert qty_type(redis_server) == "integer"
                    await late.publish_contracts()  # a renewal by the one that has started first
                    assert qty_type(redis_server) == "integer"
                assert published(redis_server) is None
                await within_its_time(lambda: qty_type(redis_server) == "string")

        run(scenario())

    def test_leaves_the_contract_of_a_lightbus_1x(self, redis_server: Server) -> None:
        async def scenario() -> None:
            theirs = json.dumps(OLD)
            redis_server.execute("SET", "schema:shop", theirs)
            async with hosted(bus_of(ShopApi, url=redis_server.url)):
                assert qty_type(redis_server) == "integer"
            assert qty_type(redis_server) == "integer"

        run(scenario())

    def test_counts_a_killed_process_no_longer_than_its_contract_lasts(self, redis_server: Server) -> None:
        async def scenario() -> None:
            killed = RedisSchemaTransport(RedisSchemaOptions(url=SecretUrl(redis_server.url)))
            await killed.store({"shop": OLD}, 1)
            await killed.close()
            ours = RedisSchemaTransport(RedisSchemaOptions(url=SecretUrl(redis_server.url)))
            await ours.store({"shop": OLD}, 60)
            await eventually_async(
                lambda: redis_server.execute(
                    "ZCOUNT", "{schema:shop}:publishers", "-inf", int(time.time()) - 1
                )
            )
            await ours.withdraw(["shop"])
            assert published(redis_server) is None
            await ours.close()

        run(scenario())


class TestAChangedContract:
    def test_is_used_by_a_client_whose_call_does_not_fit_the_one_that_it_knew(
        self, redis_server: Server
    ) -> None:
        async def scenario() -> None:
            client = bus_of(url=redis_server.url, service="web")
            async with hosted(bus_of(ShopApi, url=redis_server.url)):
                assert await client.shop.order.call_async(qty=1) == 1
            async with hosted(bus_of(NextShopApi, url=redis_server.url)):

                async def order() -> Any:
                    try:
                        return await client.shop.order.call_async(qty="one")
                    except ValidationError:  # contracts are read again once a second at most
                        return None

                assert await eventually_async(order) == "one"
            await client.client.close_async()

        run(scenario())

    def test_is_used_by_a_client_when_the_one_that_it_knew_is_due(self, redis_server: Server) -> None:
        async def scenario() -> None:
            due_soon = {"schema": {"transport": {"redis": {}}, "ttl": 1}}
            client = bus_of(url=redis_server.url, service="web", bus=due_soon)
            async with hosted(bus_of(ShopApi, url=redis_server.url)):
                assert await client.shop.order.call_async(qty=1) == 1
                redis_server.execute("SET", "schema:shop", json.dumps(NEW))

                async def is_known() -> bool:
                    try:
                        await client.shop.order.call_async(qty=1)
                    except ProcedureNotFound:
                        return True
                    return False

                await eventually_async(is_known)
            await client.client.close_async()

        run(scenario())

    def test_is_known_to_a_host_within_the_time_of_a_renewal(self, redis_server: Server) -> None:
        async def scenario() -> None:
            host = bus_of(ShopApi, url=redis_server.url)
            async with hosted(host):
                redis_server.execute("SET", "schema:other", json.dumps(OLD))
                redis_server.execute("SADD", "schemas", "other")
                await within_its_time(lambda: host.client.parts.contracts.get("other") == OLD)
                redis_server.execute("SET", "schema:other", json.dumps(NEW))
                await within_its_time(lambda: host.client.parts.contracts.get("other") == NEW)
                redis_server.execute("DEL", "schema:other")
                await within_its_time(lambda: host.client.parts.contracts.get("other") is None)

        run(scenario())

    def test_that_is_hostile_is_ignored_and_calls_go_on(
        self, redis_server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def scenario() -> None:
            hostile = {
                "events": {},
                "rpcs": {"x": {"parameters": {"$ref": "http://127.0.0.1:1/"}, "response": {}}},
            }
            redis_server.execute("SET", "schema:evil", json.dumps(hostile))
            redis_server.execute("SET", "schema:broken", "{")
            redis_server.execute("SADD", "schemas", "evil", "broken")
            client = bus_of(url=redis_server.url, service="web")
            async with hosted(bus_of(ShopApi, url=redis_server.url)):
                assert await client.shop.order.call_async(qty=1) == 1
            assert client.client.parts.contracts.api_names() == ["shop"]
            await client.client.close_async()

        run(scenario())
        assert "outside of itself" in caplog.text
        assert "unreadable" in caplog.text


class TestAHostWhoseContractsCannotBePublished:
    def test_goes_on_and_publishes_them_later(self, redis_server: Server) -> None:
        async def scenario() -> None:
            redis_server.execute("SADD", "schema:shop:blocker", "x")
            redis_server.execute("RENAME", "schema:shop:blocker", "schema:shop")  # WRONGTYPE
            client = bus_of(url=redis_server.url, service="web", default={"validate": False})
            async with hosted(bus_of(ShopApi, url=redis_server.url)):
                assert await client.shop.order.call_async(qty=1) == 1
                with pytest.raises(LightbusWorkerError):
                    await client.shop.order.call_async(qty="one")
                redis_server.execute("DEL", "schema:shop")
                await eventually_async(lambda: qty_type(redis_server) == "integer")
            await client.client.close_async()

        run(scenario())
