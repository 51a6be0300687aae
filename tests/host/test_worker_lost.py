"""The death of a worker is told from what a procedure raises, whatever that calls itself."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator

import pytest

from lightbus import Api, exceptions
from lightbus.bus.path import BusPath
from lightbus.exceptions import LightbusWorkerError
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.transports.rpc import is_loss, loss_of
from tests.contracts.buses import bus_of, hosted
from tests.support.eventually import eventually_async

CALL = RpcMessage("shop", "hang")


class WorkerLost(Exception):
    """A class of the user's own."""


class Impostor(Exception):
    """An error that shows itself as it likes."""

    def __repr__(self) -> str:
        return "WorkerLost('I am not')"


class ShopApi(Api):
    async def own(self) -> None:
        raise WorkerLost("x")

    async def ours(self) -> None:
        raise exceptions.WorkerLost("x")

    async def impostor(self) -> None:
        raise Impostor

    async def hang(self) -> None:
        await asyncio.sleep(60)

    class Meta:
        name = "shop"
        auto_register = False


@pytest.fixture(params=["memory", "redis"])
def bus(request: pytest.FixtureRequest) -> Iterator[BusPath]:
    """A bus over each transport."""
    server = request.getfixturevalue("redis_server") if request.param == "redis" else None
    yield bus_of(ShopApi, url=server.url if server is not None else None)


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("name", ["own", "ours", "impostor"])
async def test_an_error_of_that_name_is_the_procedures(bus: BusPath, name: str, traced: bool) -> None:
    wiring = bus.client.parts.wiring
    bus.client.parts.connections.rewire(dataclasses.replace(wiring, expose_tracebacks=traced))
    async with hosted(bus):
        with pytest.raises(LightbusWorkerError, match=rf"^shop\.{name} failed in its worker: WorkerLost\("):
            await bus.shop[name].call_async()


async def test_the_caller_of_a_worker_that_ends_is_told(bus: BusPath) -> None:
    async with hosted(bus) as worker:
        calling = asyncio.create_task(bus.shop.hang.call_async(bus_options={"timeout": 30}))
        await eventually_async(lambda: worker.rpcs[0].running == 1)
        await worker.drain(0)
        with pytest.raises(exceptions.WorkerLost, match=r"^shop\.hang: the process that ran it died"):
            await calling


EARLIER = "WorkerLost('the process that was running shop.hang ended')"


@pytest.mark.parametrize(
    ("result", "is_one"),
    [
        (loss_of(CALL), True),
        (ResultMessage(EARLIER, CALL.id, error=True), True),
        (ResultMessage(EARLIER, CALL.id, error=True, trace="Traceback"), False),
        (ResultMessage("WorkerLost('x')", CALL.id, error=True), False),
        (ResultMessage(EARLIER, CALL.id), False),
        (ResultMessage(None, CALL.id), False),
    ],
)
def test_a_report_is_one_by_its_form_and_an_earlier_one_by_its_whole_text(
    result: ResultMessage, is_one: bool
) -> None:
    assert is_loss(CALL, result) is is_one


def test_earlier_readers_find_the_text_that_they_go_by() -> None:
    assert loss_of(CALL).result == EARLIER
