"""One service owns an API: a second one is refused, and a crash gives the API free."""

from __future__ import annotations

import asyncio

import pytest

from lightbus.exceptions import ConfigurationError
from tests.guide.project import Project
from tests.host.conftest import Bench
from tests.support.eventually import eventually, eventually_async
from tests.support.servers import Server

OWNER = "lightbus:owner:shop"


def owners(server: Server) -> list[bytes]:
    """The processes that own the API, beside the time of the last look."""
    return [member for member in server.execute("ZRANGE", OWNER, 0, -1) if member]


async def test_a_second_service_is_refused_by_name(bench: Bench) -> None:
    async with bench.host():
        with pytest.raises(ConfigurationError) as caught:
            await bench.host("service_name: thief").__aenter__()
    assert str(caught.value) == (
        "the API 'shop' is served by the service 'shop' already, and this is 'thief'; stop that service, or "
        "leave the API to it with apis.shop.owner: shop. If that service has crashed, the API comes free "
        "by itself within 60 s (bus.schema.ttl): start this one again then"
    )


async def test_the_line_that_claims_the_api_is_named(bench: Bench) -> None:
    async with bench.host():
        thief = bench.host("service_name: thief\napis: {shop: {owner: thief}}")
        with pytest.raises(ConfigurationError, match=r"^lightbus.yaml:2:22  apis\.shop\.owner: the API"):
            await thief.__aenter__()


async def test_processes_of_one_service_share_it_until_the_last_ends(
    bench: Bench, redis_server: Server
) -> None:
    async with bench.host("process_name: one"):
        async with bench.host("process_name: two"):
            assert len(owners(redis_server)) == 2
        assert owners(redis_server) == [b"shop\none"]
    assert redis_server.execute("EXISTS", OWNER) == 0
    async with bench.host("service_name: heir"):
        pass


async def test_a_service_to_which_the_manifest_gives_nothing_takes_nothing(
    bench: Bench, redis_server: Server
) -> None:
    async with bench.host(), bench.host("service_name: guest\napis: {shop: {owner: shop}}"):
        assert len(owners(redis_server)) == 1


async def test_what_is_lost_is_told_once_and_asked_for_again(
    bench: Bench, redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lightbus")
    async with bench.host("bus: {schema: {ttl: 1s}}"):
        # In one step, between which nothing that is under way can come.
        taken = "redis.call('DEL', KEYS[1]) redis.call('ZADD', KEYS[1], 9e12, 'thief\\none')"
        redis_server.execute("EVAL", taken, 1, OWNER)
        await eventually_async(lambda: "the service thief owns the API shop now" in caplog.text)
        await asyncio.sleep(0.5)
        assert caplog.text.count("the service thief owns") == 1
        redis_server.execute("DEL", OWNER)
        await eventually_async(lambda: "the API shop belongs to this service again" in caplog.text)


def test_a_crash_gives_the_api_free(project: Project, redis_server: Server) -> None:
    project.write("bus.py", "import lightbus\nclass A(lightbus.Api):\n    class Meta: name = 'a'\n")
    redis = f"redis: {{url: '{redis_server.url}'}}"
    project.write("lightbus.yaml", f"bus: {{log_format: text, {redis}, schema: {{ttl: 10s}}}}")
    first = project.host("-s", "first")
    status, output = project.refused("-s", "second")
    assert status == 78
    assert "the API 'a' is served by the service 'first' already, and this is 'second'" in output
    assert "If that service has crashed, the API comes free by itself within 10 s" in output
    assert "Traceback" not in output
    first.kill()
    eventually(lambda: not redis_server.execute("EXISTS", "lightbus:owner:a"))
    project.host("-s", "second")
