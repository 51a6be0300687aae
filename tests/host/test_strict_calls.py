"""``strict_calls``: what a manifest does not declare in ``calls`` is not called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightbus import BusPath
from lightbus.bus.calling import Caller
from lightbus.exceptions import NoWorker, UndeclaredCall
from lightbus.host.checks import client_for
from lightbus.manifest.load import load
from tests.guide.project import Project
from tests.host.conftest import Bench
from tests.support.servers import Server


def bus_of(tmp_path: Path, server: Server, text: str) -> BusPath:
    file = tmp_path / "lightbus.yaml"
    file.write_text(f"{text}\nbus: {{redis: {{url: '{server.url}'}}}}\n")
    return BusPath(client_for(load([str(file)])))


@pytest.mark.parametrize(
    ("calls", "allowed"),
    [("[shop]", True), ("[shop.price]", True), ("[shop.stay]", False), ("[sho]", False), ("[]", False)],
)
async def test_only_declared_calls_are_made(
    bench: Bench, tmp_path: Path, redis_server: Server, calls: str, allowed: bool
) -> None:
    async with bench.host(""), bus_of(tmp_path, redis_server, f"calls: {calls}\nstrict_calls: true") as bus:
        for _ in range(2):
            if allowed:
                assert await bus.shop.price.call_async(sku="cup") == 3
                continue
            with pytest.raises(UndeclaredCall) as caught:
                await bus.shop.price.call_async(sku="cup")
            assert str(caught.value) == (
                f"shop.price is not among the calls that the manifest declares ({tmp_path}/lightbus.yaml:1:8)"
                ", and strict_calls is on; add shop.price or shop to calls"
            )


async def test_they_are_not_restricted_otherwise(bench: Bench, tmp_path: Path, redis_server: Server) -> None:
    async with bench.host(""), bus_of(tmp_path, redis_server, "calls: [shop.stay]") as bus:
        assert await bus.shop.price.call_async(sku="cup") == 3
        # No look is taken at each call.
        assert type(bus.client._caller) is Caller


def test_where_nothing_is_declared_the_line_of_strict_calls_is_named(
    tmp_path: Path, redis_server: Server
) -> None:
    with bus_of(tmp_path, redis_server, "strict_calls: true") as bus:
        with pytest.raises(UndeclaredCall, match=r"declares \(.*lightbus.yaml:1:15\), and"):
            bus.shop.price(sku="cup")


async def test_a_service_calls_its_own_apis(bench: Bench) -> None:
    async with bench.host("strict_calls: true") as host:
        assert await host.bus.shop.price.call_async(sku="cup") == 3
        with pytest.raises(UndeclaredCall):
            await host.bus.other.call_it.call_async()


def test_a_person_calls_what_the_service_may_not(tmp_path: Path, redis_server: Server) -> None:
    project = Project(tmp_path / "project", redis_server.url)
    project.write("bus.py", "")
    project.write("lightbus.yaml", "strict_calls: true\n")
    for command in (("call", "shop.price", "sku=cup"), ("shell", "-e", "bus.shop.price(sku='cup')")):
        done = project.run(*command)
        assert NoWorker.__name__ in done.stderr, done.stderr


def test_a_call_that_is_refused_reaches_no_broker(tmp_path: Path, redis_server: Server) -> None:
    seen: list[Any] = []
    with bus_of(tmp_path, redis_server, "strict_calls: true") as bus:
        bus.client.parts.connections.transports = lambda: seen.append(1)  # type: ignore[method-assign,assignment,return-value]
        with pytest.raises(UndeclaredCall):
            bus.shop.price(sku="cup")
    assert seen == []
